"""Miners against plain loops, on every kind of relation, and against pytorch-metric-learning where it agrees.

pytorch-metric-learning 2.9: BatchHardMiner, BatchEasyHardMiner (easy positive, semi-hard negative) and
MultiSimilarityMiner choose as ours do. Its TripletMarginMiner lists every triplet inside the margin and calls
those semi-hard that FaceNet chooses from; its DistanceWeightedMiner draws with replacement from the global
random state, one positive at random, and takes weights off the largest of the whole table, so that rows far
from everything underflow to no weight at all.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import miners as theirs
from torch import Tensor

from likewise import mining
from likewise.distances import Bilinear, Cityblock, Cosine, Distance, Euclidean, unit_rows
from likewise.errors import InputError
from likewise.losses import Contrastive, TripletMargin
from likewise.relations import Labels, Resolved, Sides, as_relation
from reference.losses import euclidean
from reference.tables import PlainRow, PlainTable, random_tables

Cell = tuple[int, int]
Row = tuple[list[Cell], list[Cell]]
BY_ITSELF = ("triplets", "quadruplets")


def resolved(table: PlainTable) -> Resolved:
    n = table.embeddings.shape[0]
    columns = table.columns
    ids = {name: table.options.get(name) for name in ("ids", "column_ids")}
    row_ids, column_ids = (None if v is None else torch.tensor(v) for v in ids.values())
    m = n if columns is None else columns.shape[0]
    sides = Sides(n, m, columns is None, torch.device("cpu"), row_ids, column_ids)
    return as_relation(table.relation).resolve(table.options.get("column_relation"), sides)


def listing(found: Resolved) -> list[Row]:
    """The near and far cells of each row as (embedding, column), columns ascending."""
    rows: list[Row] = []
    for start in range(found.n_rows):
        block = found.block(start, start + 1)
        anchor = start if found.anchors is None else int(found.anchors[start])
        near = [(anchor, int(c)) for c in block.near.columns[block.near.valid]]
        if block.far is None:
            marks = torch.ones(1, found.n_columns)
            block.hide(marks, 0, found.n_columns, 0.0)
            far = [(anchor, int(c)) for c in marks[0].nonzero().view(-1)]
        else:
            own = block.far.anchors
            own = torch.full_like(block.far.columns, anchor) if own is None else own
            pairs = zip(own[block.far.valid], block.far.columns[block.far.valid], strict=True)
            far = [(int(a), int(c)) for a, c in pairs]
        rows.append((sorted(near), sorted(far)))
    return rows


class Look:
    """Distances of cells of a plain table."""

    def __init__(self, table: PlainTable, distance: Callable[[Tensor, Tensor], Tensor] = euclidean) -> None:
        self.x = table.embeddings
        self.y = self.x if table.columns is None else table.columns
        self.distance = distance

    def __call__(self, cell: Cell) -> float:
        return float(self.distance(self.x[cell[0]], self.y[cell[1]]))

    def nearest(self, cells: list[Cell]) -> Cell:
        return min(cells, key=lambda cell: (self(cell), cell))

    def farthest(self, cells: list[Cell]) -> Cell:
        return min(cells, key=lambda cell: (-self(cell), cell))


def batch_hard(row: PlainRow, look: Look) -> Row:
    return ([look.farthest(row.near)], [look.nearest(row.far)]) if row.near and row.far else ([], [])


def hardest(row: PlainRow, look: Look) -> Row:
    return (row.near, [look.nearest(row.far)]) if row.near and row.far else ([], [])


def easy_positive(negatives: str) -> Callable[[PlainRow, Look], Row]:
    def choose(row: PlainRow, look: Look) -> Row:
        if not row.near or not row.far:
            return [], []
        easiest, far = look.nearest(row.near), row.far
        if negatives == "semi-hard":
            far = [cell for cell in far if look(cell) > look(easiest)]
        if not far:
            return [], []
        return [easiest], far if negatives == "all" else [look.nearest(far)]

    return choose


def multi_similarity(epsilon: float) -> Callable[[PlainRow, Look], Row]:
    def choose(row: PlainRow, look: Look) -> Row:
        if not row.near or not row.far:
            return [], []
        limit, start = max(map(look, row.near)) + epsilon, min(map(look, row.far)) - epsilon
        near = [cell for cell in row.near if look(cell) > start]
        return near, [cell for cell in row.far if look(cell) < limit]

    return choose


def semi_hard(otherwise: str) -> Callable[[PlainTable, Look], list[Row]]:
    def choose(table: PlainTable, look: Look) -> list[Row]:
        found = []
        for row in table.rows:
            for cell in row.near:
                beyond = [other for other in row.far if look(other) > look(cell)]
                if beyond:
                    found.append(([cell], [look.nearest(beyond)]))
                elif otherwise == "farthest" and row.far:
                    found.append(([cell], [look.farthest(row.far)]))
        return found

    return choose


def hard_quadruplets(per_anchor: bool) -> Callable[[PlainTable, Look], list[Row]]:
    def choose(table: PlainTable, look: Look) -> list[Row]:
        pairs = [(number, look.farthest(row.near)) for number, row in enumerate(table.rows) if row.near]
        if not per_anchor and pairs:
            pairs = [min(pairs, key=lambda pair: (-look(pair[1]), pair[0]))]
        found = []
        for number, cell in pairs:
            ends = [table.rows[number].far]
            if table.name not in BY_ITSELF and table.columns is None:
                ends.append(table.rows[cell[1]].far)
            elif table.name not in BY_ITSELF:
                ends.append([other for row in table.rows for other in row.far if other[1] == cell[1]])
            found += [([cell], [look.nearest(end)]) for end in ends if end]
        return found

    return choose


BY_ROW: list[tuple[mining.Miner, Callable[[PlainRow, Look], Row]]] = [
    (mining.AllTriplets(), lambda row, look: (row.near, row.far)),
    (mining.BatchHard(), batch_hard),
    (mining.Hardest(), hardest),
    (mining.EasyPositive(), easy_positive("semi-hard")),
    (mining.EasyPositive(negatives="hardest"), easy_positive("hardest")),
    (mining.EasyPositive(negatives="all"), easy_positive("all")),
    (mining.MultiSimilarityPairs(epsilon=0.15), multi_similarity(0.15)),
]
BY_COMPARISON: list[tuple[mining.Miner, Callable[[PlainTable, Look], list[Row]]]] = [
    (mining.SemiHard(), semi_hard("nothing")),
    (mining.SemiHard(otherwise="farthest"), semi_hard("farthest")),
    (mining.HardQuadruplets(), hard_quadruplets(False)),
    (mining.HardQuadruplets(per_anchor=True), hard_quadruplets(True)),
]
ALL = [miner for miner, _ in BY_ROW + BY_COMPARISON] + [mining.DistanceWeighted()]


def sizes(monkeypatch: pytest.MonkeyPatch, tile: int, whole: int, rows: int) -> None:
    monkeypatch.setattr("likewise.table.blocks.TILE", tile)
    monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
    monkeypatch.setattr("likewise.table.blocks.ROWS", rows)


def assert_same(found: list[Row], expected: list[Row], table: PlainTable) -> None:
    """Equal cells; or, for points on float32's grid at offset 1,000, equal distances.

    Many distances of such points are exactly equal, and a product can't tell which come first.
    """
    if not table.close:
        assert found == expected, table.name
        return
    look = Look(table)
    plain = [[sorted(map(look, cells)) for row in rows for cells in row] for rows in (found, expected)]
    assert len(plain[0]) == len(plain[1])
    for one, other in zip(*plain, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


@pytest.mark.parametrize(("miner", "choose"), BY_ROW)
def test_choices_a_row_equal_the_loops(miner: mining.Miner, choose: Callable[[PlainRow, Look], Row]) -> None:
    for table in random_tables(200, seed=11):
        look = Look(table)
        found = miner(table.embeddings, resolved(table), columns=table.columns, distance=Euclidean())
        expected = [(sorted(near), sorted(far)) for near, far in (choose(row, look) for row in table.rows)]
        assert_same(listing(found), expected, table)


@pytest.mark.parametrize(("miner", "choose"), BY_COMPARISON)
def test_comparisons_equal_the_loops(
    miner: mining.Miner, choose: Callable[[PlainTable, Look], list[Row]]
) -> None:
    for table in random_tables(200, seed=12):
        found = miner(table.embeddings, resolved(table), columns=table.columns, distance=Euclidean())
        assert_same(sorted(listing(found)), sorted(choose(table, Look(table))), table)


class Turned(Distance):
    """Not symmetric, and not a product: counts only where x lies above y."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.relu(x - y).sum(-1)


@pytest.mark.parametrize(
    "distance",
    [Cosine(), Cityblock(), Turned(), Bilinear(torch.tensor([[1.0, 2, 0], [0, 1, 0], [3, 0, -1]]).double())],
)
def test_the_losses_distance_is_the_miners(distance: Distance) -> None:
    for table in random_tables(60, seed=13):
        if table.embeddings.shape[1] != 3 or table.close:
            continue
        look = Look(table, lambda a, b: distance(a, b).detach())
        for miner, choose in BY_ROW:
            found = miner(table.embeddings, resolved(table), columns=table.columns, distance=distance)
            rows = (choose(row, look) for row in table.rows)
            assert listing(found) == [(sorted(near), sorted(far)) for near, far in rows]
        found = mining.SemiHard()(table.embeddings, resolved(table), columns=table.columns, distance=distance)
        assert sorted(listing(found)) == sorted(semi_hard("nothing")(table, look))


@pytest.mark.parametrize("kind", ["labels", "columns", "partly"])
def test_tile_size_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (23, 31))
    labels, other = (torch.randint(0, 5, (n,), generator=generator) for n in (23, 31))
    columns = y if kind == "columns" else None
    sides = Sides(23, 23 if columns is None else 31, columns is None, torch.device("cpu"))
    unlabelled = 3 if kind == "partly" else None
    table = Labels(labels, unlabelled=unlabelled).resolve(None if columns is None else Labels(other), sides)
    for miner in ALL:
        found = []
        for tile, whole, rows in ((1 << 17, 8192, 256), (64, 2, 4), (64, 2, 16), (64, 8192, 256)):
            sizes(monkeypatch, tile, whole, rows)
            if isinstance(miner, mining.DistanceWeighted):
                miner.step.zero_()
            chosen = miner(x, table, columns=columns, distance=Euclidean())
            rows_found = listing(chosen)
            assert any(near and far for near, far in rows_found)
            found.append(rows_found if chosen.n_rows == 23 else sorted(rows_found))
        assert all(other == found[0] for other in found), type(miner).__name__


@pytest.mark.parametrize("tile", [(1 << 17, 8192, 256), (64, 2, 4), (64, 2, 32)])
def test_ties_go_to_the_lower_index(tile: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """All points alike: every positive and every negative is at distance zero, in every tile."""
    sizes(monkeypatch, *tile)
    table = Labels([0] * 8).resolve(Labels([0] * 9 + [1] * 50), Sides(8, 59, False, torch.device("cpu")))
    hardest_ones = mining.Hardest()(
        torch.zeros(8, 2), table, columns=torch.zeros(59, 2), distance=Euclidean()
    )
    assert [far for _, far in listing(hardest_ones)] == [[(row, 9)] for row in range(8)]
    x, sides = torch.zeros(6, 2), Sides(6, 6, True, torch.device("cpu"))
    table = Labels([0, 1, 0, 1, 0, 1]).resolve(None, sides)
    hard = listing(mining.BatchHard()(x, table, distance=Euclidean()))
    assert hard[0] == ([(0, 2)], [(0, 1)])
    assert hard[4] == ([(4, 0)], [(4, 1)])
    assert hard[1] == ([(1, 3)], [(1, 0)])
    assert listing(mining.SemiHard()(x, table, distance=Euclidean())) == []
    quadruplet = listing(mining.HardQuadruplets()(x, table, distance=Euclidean()))
    assert quadruplet == [([(0, 2)], [(0, 1)]), ([(0, 2)], [(2, 1)])]


def loss_of(x: Tensor, miner: mining.Miner) -> TripletMargin:
    return TripletMargin(margin=0.3, reduction="mean", miner=miner)


@pytest.mark.parametrize("name", ["hard", "easy", "multi"])
def test_equal_to_pytorch_metric_learning(name: str) -> None:
    euclid = their_distances.LpDistance()
    for seed in range(5):
        x = torch.randn(24, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        labels = torch.arange(24) // 4
        table = Labels(labels).resolve(None, Sides(24, 24, True, torch.device("cpu")))
        if name == "multi":
            a, p, b, n = theirs.MultiSimilarityMiner(0.1)(x, labels)
            found = mining.MultiSimilarityPairs(epsilon=0.1)(x, table, distance=Cosine())
            rows = listing(found)
            assert sorted(cell for near, _ in rows for cell in near) == sorted(
                zip(a.tolist(), p.tolist(), strict=True)
            )
            assert sorted(cell for _, far in rows for cell in far) == sorted(
                zip(b.tolist(), n.tolist(), strict=True)
            )
            continue
        if name == "hard":
            triplets = theirs.BatchHardMiner(distance=euclid)(x, labels)
            found = mining.BatchHard()(unit_rows(x), table, distance=Euclidean())
        else:
            a, p, _, n = theirs.BatchEasyHardMiner(distance=euclid)(x, labels)
            triplets = (a, p, n)
            found = mining.EasyPositive()(unit_rows(x), table, distance=Euclidean())
        ours = {(near[0][0], near[0][1], far[0][1]) for near, far in listing(found) if near}
        assert ours == set(zip(*(part.tolist() for part in triplets), strict=True))


def test_a_mined_loss_is_the_loss_of_the_mined_triplets() -> None:
    """Value and gradient of batch-hard and semi-hard triplets, by loops."""
    x = torch.randn(15, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = [i // 3 for i in range(15)]
    rows = [
        PlainRow(
            [(i, j) for j in range(15) if j != i and labels[j] == labels[i]],
            [(i, j) for j in range(15) if labels[j] != labels[i]],
        )
        for i in range(15)
    ]
    table = PlainTable("labels", x, labels, rows)
    look = Look(table)
    chosen = {
        "hard": [batch_hard(row, look) for row in rows],
        "semi": semi_hard("nothing")(table, look),
    }
    for name, miner in (("hard", mining.BatchHard()), ("semi", mining.SemiHard())):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = TripletMargin(margin=0.4, reduction="mean", miner=miner)(a, labels)
        terms = [
            torch.relu(euclidean(b[n[0][0]], b[n[0][1]]) - euclidean(b[f[0][0]], b[f[0][1]]) + 0.4)
            for n, f in chosen[name]
        ]
        expected = torch.stack(terms).mean()
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        found.backward()
        expected.backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)
        assert a.grad.any()


@pytest.mark.parametrize("miner", ALL, ids=lambda miner: type(miner).__name__)
def test_batches_without_pairs_give_zero(miner: mining.Miner) -> None:
    for n in (0, 1, 3):
        x = torch.randn(n, 3, requires_grad=True)
        with pytest.warns(UserWarning, match="raise the samples a class"):
            value = TripletMargin(miner=miner)(x, list(range(n)))
        value.backward()
        assert float(value.detach()) == 0.0
        assert not x.grad.any()


def test_a_choice_is_no_larger_than_the_positive_pairs() -> None:
    """Nothing of the size of all triplets: 256 rows of 4 a class have 768 pairs and 193,536 triplets."""
    x, labels = torch.randn(256, 8), torch.arange(256) // 4
    table = Labels(labels).resolve(None, Sides(256, 256, True, torch.device("cpu")))
    for miner in (mining.SemiHard(otherwise="farthest"), mining.DistanceWeighted(limit=2.0)):
        assert miner(x, table, distance=Euclidean()).n_rows == 256 * 3
    assert sum(len(far) for _, far in listing(mining.Hardest()(x, table, distance=Euclidean()))) == 256


MASK = 2**64 - 1


def mixed(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def drawn(seed: int, step: int, row: int, column: int) -> float:
    state = mixed(seed & MASK)
    for coordinate in (step, row, column):
        state = mixed(state ^ coordinate)
    return (state >> 11) * 2.0**-53


def weight(distance: float, dimension: int, cutoff: float, limit: float) -> float:
    if distance >= limit:
        return 0.0
    d = max(distance, cutoff)
    return 1.0 / (d ** (dimension - 2) * (1 - d * d / 4) ** ((dimension - 3) / 2))


def chord(x: Tensor, y: Tensor) -> Tensor:
    return (x / x.norm() - y / y.norm()).norm()


@pytest.mark.parametrize("seed", [0, -5, 2**70])
def test_distance_weighted_draws_equal_the_loops(seed: int) -> None:
    """Inverse distribution functions by plain sums, random numbers by plain integers."""
    cutoff, limit = 0.6, 1.5
    miner = mining.DistanceWeighted(cutoff=cutoff, limit=limit, seed=seed)
    for step, table in enumerate(random_tables(60, seed=14)):
        if table.embeddings.shape[0] == 0:
            continue
        look, dimension = Look(table, chord), table.embeddings.shape[1]
        expected = []
        for number, row in enumerate(table.rows):
            far = sorted(row.far, key=lambda cell: cell[1])
            weights = [weight(look(cell), dimension, cutoff, limit) for cell in far]
            for cell in row.near:
                target = drawn(seed, step, number, cell[1]) * sum(weights)
                passed = [i for i in range(len(far)) if sum(weights[: i + 1]) > target]
                if passed:
                    expected.append(([cell], [far[passed[0]]]))
        found = miner(table.embeddings, resolved(table), columns=table.columns, distance=Euclidean())
        assert sorted(listing(found)) == sorted(expected), table.name


def test_distance_weighted_frequencies() -> None:
    """Over 600 steps each negative of one anchor is drawn as often as its weight says."""
    angles = torch.tensor([0.0, 0.1, 0.3, 0.6, 0.9, 1.2, 1.5, 2.9], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin(), torch.zeros(8).double(), torch.zeros(8).double()], dim=1)
    labels = [0, 0, 1, 2, 3, 4, 5, 6]
    table = Labels(labels).resolve(None, Sides(8, 8, True, torch.device("cpu")))
    miner, counts = mining.DistanceWeighted(seed=3), Counter()
    for _ in range(600):
        counts[int(miner(x, table, distance=Euclidean()).block(0, 1).far.columns[0, 0])] += 1
    weights = [weight(2 * math.sin(float(a) / 2), 4, 0.5, 1.4) for a in angles[2:]]
    assert counts[7] == 0  # beyond the limit
    for column, share in enumerate(weights, start=2):
        expected = share / sum(weights)
        assert counts[column] / 600 == pytest.approx(expected, abs=5 * math.sqrt(expected / 600) + 1e-9)


def test_distance_weighted_steps_are_in_the_checkpoint() -> None:
    x, labels = torch.randn(32, 6), torch.arange(32) // 4
    table = Labels(labels).resolve(None, Sides(32, 32, True, torch.device("cpu")))
    first, second = (mining.DistanceWeighted(limit=2.0) for _ in range(2))
    one = listing(first(x, table, distance=Euclidean()))
    two = listing(first(x, table, distance=Euclidean()))
    assert one != two
    assert one == listing(second(x, table, distance=Euclidean()))
    loss, again = (TripletMargin(miner=miner) for miner in (first, mining.DistanceWeighted(limit=2.0)))
    again.load_state_dict(loss.state_dict())
    assert int(again.miner.step) == 2
    torch.testing.assert_close(again(x, labels), loss(x, labels))
    other = mining.DistanceWeighted(limit=2.0, seed=1)
    assert listing(other(x, table, distance=Euclidean())) != one


def test_multi_similarity_pairs_keep_both_parts_of_another_loss() -> None:
    """Contrastive over the kept pairs is the sum over the two lists."""
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.arange(20) // 4
    miner = mining.MultiSimilarityPairs(epsilon=0.05)
    value = Contrastive(margin=3.0, squared=False, miner=miner)(x, labels)
    table = Labels(labels).resolve(None, Sides(20, 20, True, torch.device("cpu")))
    rows = listing(miner(x, table, distance=Euclidean()))
    near = [float(euclidean(x[a], x[c])) for cells, _ in rows for a, c in cells]
    far = [max(0.0, 3.0 - float(euclidean(x[a], x[c]))) for _, cells in rows for a, c in cells]
    assert 0 < len(far) < 20 * 16
    assert float(value) == pytest.approx(sum(near) / len(near) + sum(far) / len(far), rel=1e-9)


def test_bad_options_are_refused() -> None:
    for build, message in (
        (lambda: mining.SemiHard(otherwise="random"), "otherwise"),
        (lambda: mining.EasyPositive(negatives="hard"), "negatives"),
        (lambda: mining.MultiSimilarityPairs(epsilon=-0.1), "epsilon"),
        (lambda: mining.MultiSimilarityPairs(epsilon=float("nan")), "epsilon"),
        (lambda: mining.DistanceWeighted(cutoff=0.0), "cutoff"),
        (lambda: mining.DistanceWeighted(cutoff=1.5), "cutoff"),
        (lambda: mining.DistanceWeighted(limit=2.5), "limit"),
        (lambda: mining.DistanceWeighted(seed=0.5), "seed"),
    ):
        with pytest.raises(InputError, match=message):
            build()


def test_float32_choices_are_those_of_float64() -> None:
    """Points apart by more than float32's error are told apart, also 1e-4 apart at offset 1,000."""
    for table in random_tables(60, seed=3):
        low = table.embeddings.float()
        columns = None if table.columns is None else table.columns.float()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = mining.BatchHard()(low, resolved(table), columns=columns, distance=Euclidean())
        look = Look(table)
        for (near, far), row in zip(listing(found), table.rows, strict=True):
            best = batch_hard(row, look)
            assert len(near) == len(best[0])
            if near:
                assert look(near[0]) == pytest.approx(look(best[0][0]), rel=1e-5)
                assert look(far[0]) == pytest.approx(look(best[1][0]), rel=1e-5)
