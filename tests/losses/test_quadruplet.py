"""DoubleHeaderHinge against loops over all quadruplets; pytorch-metric-learning 2.9 has no such loss."""

from __future__ import annotations

import random

import pytest
import torch

from likewise.distances import Bilinear, Cosine, Euclidean, PositionDependent
from likewise.errors import InputError, UnsupportedError
from likewise.losses import DoubleHeaderHinge
from likewise.relations import Quadruplets
from reference.tables import random_tables

REDUCTIONS = ("mean", "active", "sum", "none")


def unit_length(x):
    return x / x.norm() if float(x.detach().norm()) > 0 else x * 0


def similarity(unit: PositionDependent, x, z):
    """S of the position-dependent unit, written from its formula."""
    u, v = (x - z).abs(), (x + z) / 2
    if unit.normalize_inputs:
        u, v = unit_length(u), unit_length(v)
    u = torch.relu(unit.difference.weight @ u + unit.difference.bias)
    v = torch.relu(unit.position.weight @ v + unit.position.bias)
    both = torch.cat([unit_length(u), unit_length(v)])
    c = torch.relu(unit.joint.weight @ both + unit.joint.bias)
    return (unit.score.weight @ c + unit.score.bias).reshape(())


def squared(x, z):
    return ((x - z) ** 2).sum()


def hinge(value):
    return value if value > 0 else value * 0


def quadruplets(table, x, unit, per, mine_by):
    """(row, (i, j), first negative, second negative) by looking at all; the lowest numbers win ties."""
    columns = x if table.columns is None else table.columns
    far_cells = {cell for row in table.rows for cell in row.far}

    def cost(cell):
        a, b = x[cell[0]].detach(), columns[cell[1]].detach()
        if mine_by == "unit":
            return -float(similarity(unit, a, b).detach())
        return float(squared(unit_length(a), unit_length(b)))

    found = []
    for number, row in enumerate(table.rows):
        if not row.near or not row.far:
            continue
        i, j = min(row.near, key=lambda cell: (-cost(cell), cell))
        side = 0 if table.columns is None else 1
        of_positive = [cell for cell in far_cells if cell[side] == j]
        second = min(of_positive, key=lambda cell: (cost(cell), cell)) if of_positive else None
        found.append((number, (i, j), min(row.far, key=lambda cell: (cost(cell), cell)), second))
    if per == "batch" and found:
        return [min(found, key=lambda one: (-cost(one[1]), one[0]))]
    return found


def loops(table, x, loss, reduction, weights):
    columns = x if table.columns is None else table.columns
    terms = []
    for number, (i, j), *negatives in quadruplets(table, x, loss.unit, loss.per, loss.mine_by):
        total = x.sum() * 0
        for cell in negatives:
            if cell is None:
                continue
            row, column = cell
            alike = similarity(loss.unit, x[i], columns[j])
            total = total + hinge(0.5 + similarity(loss.unit, x[row], columns[column]) - alike)
            near = squared(unit_length(x[i]), unit_length(columns[j]))
            far = squared(unit_length(x[row]), unit_length(columns[column]))
            total = total + 0.7 * hinge(1.0 + near - far)
        terms.append((number, total))
    weight = (lambda number: 1.0) if weights is None else (lambda number: weights[number])
    if reduction == "none":
        rows = [x.sum() * 0 for _ in table.rows]
        for number, term in terms:
            rows[number] = rows[number] + term * weight(number)
        return torch.stack(rows)
    count = {"mean": len(terms), "sum": 1, "active": sum(bool(t != 0) for _, t in terms)}[reduction]
    return sum((t * weight(number) for number, t in terms), x.sum() * 0) / max(1, count)


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("per", ["batch", "anchor"])
@pytest.mark.parametrize("mine_by", ["unit", "embedding"])
def test_value_and_gradient_equal_the_loops(per: str, mine_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mined in one tile, and row by row; with each option more than 200 random cases."""
    draw = random.Random(7)
    compared = 0
    for number, table in enumerate(random_tables(320, seed=31)):
        if table.close or "duplicates" in table.name or table.embeddings.shape[1] == 1:
            continue  # there cells tie up to rounding; see the test of ties
        compared += 1
        monkeypatch.setattr("likewise.losses.quadruplet._CELLS", (1 << 21, 1)[number // 12 % 2])
        x = table.embeddings
        torch.manual_seed(number)
        unit = PositionDependent(x.shape[1], hidden=4, normalize_inputs=number % 2 == 0).double()
        reduction = REDUCTIONS[number // 2 % 4]
        loss = DoubleHeaderHinge(
            x.shape[1], unit=unit, per=per, mine_by=mine_by, weight_embedding=0.7, reduction=reduction
        )
        weights = None
        if draw.random() < 0.3 and table.name not in ("triplets", "quadruplets"):
            weights = torch.rand(x.shape[0], dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected = loops(table, a, loss, reduction, weights)
        found = loss(b, table.relation, columns=table.columns, weights=weights, **table.options)
        message = lambda m, t=table: f"{t.name}: {m}"  # noqa: E731
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=message)
        mix = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(found.shape)
        parameters = list(unit.parameters())
        wanted = torch.autograd.grad(
            (expected * mix).sum(), [a, *parameters], allow_unused=True, materialize_grads=True
        )
        slopes = torch.autograd.grad(
            (found * mix).sum(), [b, *parameters], allow_unused=True, materialize_grads=True
        )
        torch.testing.assert_close(slopes, wanted, rtol=1e-8, atol=1e-9, msg=message)
    assert compared > 200


def test_ties_go_to_the_lowest_numbers_whatever_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a line with equal gaps: 0 and 2 are of one class, 1 and 3 of the other."""
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    loss = DoubleHeaderHinge(1, unit=Euclidean(), normalize=False, per="anchor", reduction="none")
    found = []
    for cells in (1 << 21, 1):
        monkeypatch.setattr("likewise.losses.quadruplet._CELLS", cells)
        a = x.clone().requires_grad_()
        value = loss(a, [0, 1, 0, 1])
        value.sum().backward()
        found.append((value.detach(), a.grad))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    # anchor 0: positive 2; both negatives at distance 1: (0.5 + 2 - 1) * 2 + 0.5 * (1 + 4 - 1) * 2
    torch.testing.assert_close(found[0][0][0], torch.tensor(7.0, dtype=torch.float64))


def case(n: int = 9, d: int = 4):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.manual_seed(2)
    return x, torch.arange(n) % 3, DoubleHeaderHinge(d, per="anchor").double()


def test_gradcheck_order_and_low_precision() -> None:
    x, labels, loss = case()
    a = x.clone().requires_grad_()
    weights = torch.rand(9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u, w: loss(u, labels, weights=w), (a, weights))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    for per in ("anchor", "batch"):
        loss.per = per
        torch.testing.assert_close(loss(x[order], labels[order]), loss(x, labels), rtol=1e-12, atol=1e-14)
    loss.per = "anchor"
    exact = loss(x, labels)
    low = loss.float()(x.float(), labels)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), exact, rtol=2e-5, atol=2e-5)
    half = x.to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, labels)
    torch.testing.assert_close(value, loss(half.detach().float(), labels))
    value.backward()
    assert half.grad.dtype == torch.bfloat16


def test_learning_separates_classes_and_trains_the_unit() -> None:
    """Two classes by the sign of the first coordinate: the mined hinge falls to zero, and S tells them."""
    torch.manual_seed(0)
    x = torch.randn(24, 4)
    labels = (x[:, 0] > 0).long()
    encoder = torch.nn.Linear(4, 3)
    loss = DoubleHeaderHinge(3, unit=PositionDependent(3, hidden=16), per="anchor", mine_by="embedding")
    optimizer = torch.optim.Adam([*encoder.parameters(), *loss.parameters()], lr=0.02)
    for step in range(120):
        if step == 30:
            loss.mine_by = "unit"
        optimizer.zero_grad()
        loss(encoder(x), labels).backward()
        optimizer.step()
    distances = loss.unit.table(encoder(x), encoder(x)).detach()
    alike = labels[:, None] == labels
    alike_pairs = distances[alike & ~torch.eye(24, dtype=torch.bool)]
    wins = (alike_pairs[:, None] < distances[~alike][None, :]).float().mean()
    assert float(wins) > 0.95


def test_without_quadruplets_zero_with_a_gradient() -> None:
    for n in (0, 1, 3):
        x = torch.randn(n, 3, requires_grad=True)
        loss = DoubleHeaderHinge(3)
        with pytest.warns(UserWarning, match="raise the samples a class"):
            value = loss(x, torch.zeros(n, dtype=torch.int64))
        value.backward()
        assert float(value.detach()) == 0.0
        assert not x.grad.any()


def test_a_quadruplet_relation_compares_its_own_far_pair() -> None:
    x = torch.tensor([[0.0], [3.0], [4.0], [4.5]], dtype=torch.float64)
    loss = DoubleHeaderHinge(1, unit=Euclidean(), weight_embedding=0.0)
    value = loss(x, Quadruplets([0], [1], [2], [3]))
    torch.testing.assert_close(value, torch.tensor(0.5 + 3.0 - 0.5, dtype=torch.float64))


def test_hostile_input_is_refused() -> None:
    x, labels, loss = case()
    bad = x.clone()
    bad[4, 0] = torch.nan
    for arguments, options, message in (
        ((bad, labels), {}, "row 4"),
        ((x, labels[:5]), {}, "expected 9, found 5"),
        ((x, labels), {"columns": x}, "column_relation"),
        ((x, labels), {"weights": torch.ones(2)}, "weights"),
        ((x, labels), {"ids": [1, 2]}, "ids"),
    ):
        with pytest.raises(InputError, match=message):
            loss(*arguments, **options)
    for options, message in (
        ({"unit": "pddm"}, "unit"),
        ({"per": "epoch"}, "per"),
        ({"mine_by": "chance"}, "mine_by"),
        ({"margin_similarity": -1}, "margin_similarity"),
        ({"margin_embedding": -1}, "margin_embedding"),
        ({"weight_embedding": -1}, "weight_embedding"),
        ({"reduction": "average"}, "reduction"),
        ({"distance": "cosin"}, "distance"),
    ):
        with pytest.raises(InputError, match=message):
            DoubleHeaderHinge(4, **options)
    with pytest.raises(InputError, match="dimension"):
        DoubleHeaderHinge(0)
    with pytest.raises(UnsupportedError, match="single walk"):
        loss.function()


def test_any_distance_can_be_the_unit() -> None:
    x, labels, _ = case()
    for unit in (Cosine(), Bilinear(torch.eye(4, dtype=torch.float64))):
        assert torch.isfinite(DoubleHeaderHinge(4, unit=unit)(x, labels))
