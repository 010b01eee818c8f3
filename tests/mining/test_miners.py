"""Miners against plain loops, on every kind of relation."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from likewise import mining
from likewise.distances import Bilinear, Cityblock, Cosine, Distance, Euclidean
from likewise.errors import InputError
from likewise.relations import Labels, Sides
from reference.mining import ALL, BY_COMPARISON, BY_ROW, Look, Row, batch_hard, listing, resolved, semi_hard
from reference.tables import PlainRow, PlainTable, random_tables


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


def test_a_choice_is_no_larger_than_the_positive_pairs() -> None:
    """Nothing of the size of all triplets: 256 rows of 4 a class have 768 pairs and 193,536 triplets."""
    x, labels = torch.randn(256, 8), torch.arange(256) // 4
    table = Labels(labels).resolve(None, Sides(256, 256, True, torch.device("cpu")))
    for miner in (mining.SemiHard(otherwise="farthest"), mining.DistanceWeighted(limit=2.0)):
        assert miner(x, table, distance=Euclidean()).n_rows == 256 * 3
    assert sum(len(far) for _, far in listing(mining.Hardest()(x, table, distance=Euclidean()))) == 256


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
