"""Lifted structure reads the far cells of both ends of a pair, which no list of one row's cells can say."""

from __future__ import annotations

import random
import warnings
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from likewise.distances import Bilinear, Cosine, Dot
from likewise.errors import InputError, UnsupportedError
from likewise.losses import LiftedStructure
from likewise.relations import Labels, Matches
from reference.losses import euclidean
from reference.tables import PlainTable, random_tables

REDUCTIONS = ("mean", "active", "sum", "none")
BY_ITSELF = ("triplets", "quadruplets")


def loops(table: PlainTable, x: Tensor, margin: float, distance=euclidean) -> list[list[Tensor]]:
    """The terms of each row, from equation 4."""
    columns = x if table.columns is None else table.columns
    far_of_column = defaultdict(list)
    for row in table.rows:
        for a, c in row.far:
            far_of_column[c].append((a, c))
    found = []
    for row in table.rows:
        terms = []
        for a, c in row.near:
            cells = list(row.far)
            if table.name not in BY_ITSELF:
                cells += table.rows[c].far if table.columns is None else far_of_column[c]
            if cells:
                total = sum(torch.exp(margin - distance(x[i], columns[k])) for i, k in cells)
                gap = torch.log(total) + distance(x[a], columns[c])
                terms.append(gap**2 / 2 if gap > 0 else gap * 0)
        found.append(terms)
    return found


def reduced(terms: list[list[Tensor]], reduction: str, weights: Tensor | None, like: Tensor) -> Tensor:
    zero = like.sum() * 0
    rows = torch.stack([sum(row, zero) for row in terms]) if terms else like.new_zeros(0)
    rows = rows if weights is None else rows * weights
    if reduction == "none":
        return rows
    flat = [term for row in terms for term in row]
    divisor = {"mean": len(flat), "active": sum(bool(t != 0) for t in flat), "sum": 1}[reduction]
    return rows.sum() / max(1, divisor)


def call(loss: LiftedStructure, table: PlainTable, x: Tensor, weights: Tensor | None = None) -> Tensor:
    columns = None if table.columns is None else table.columns.to(x.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        return loss(x, table.relation, columns=columns, weights=weights, **table.options)


@pytest.mark.parametrize("margin", [1.0, -0.3])
def test_value_and_gradient_equal_the_loops(margin: float) -> None:
    """200 random cases of every kind of relation in float64."""
    draw = random.Random(5)
    for number, table in enumerate(random_tables(200, seed=11)):
        reduction = REDUCTIONS[number % 4]
        weights = None
        if draw.random() < 0.3 and table.name not in BY_ITSELF:
            weights = torch.rand(table.embeddings.shape[0], dtype=torch.float64)
        x = table.embeddings.clone().requires_grad_()
        expected = reduced(loops(table, x, margin), reduction, weights, x)
        mix = torch.linspace(0.5, 1.5, max(1, expected.numel()), dtype=torch.float64).reshape(expected.shape)
        (slope,) = torch.autograd.grad((expected * mix).sum(), x)
        y = table.embeddings.clone().requires_grad_()
        found = call(LiftedStructure(margin=margin, reduction=reduction), table, y, weights)
        message = lambda m, t=table: f"{t.name}: {m}"  # noqa: E731
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=message)
        (found * mix).sum().backward()
        torch.testing.assert_close(y.grad, slope, rtol=1e-8, atol=1e-9, msg=message)


def test_float32_is_as_exact_as_float32_can_be() -> None:
    for table in random_tables(60, seed=3):
        expected = reduced(loops(table, table.embeddings, 1.0), "sum", None, table.embeddings)
        found = call(LiftedStructure(reduction="sum"), table, table.embeddings.float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(7, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, other = [0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 2, 2, 2]
    for reduction in ("mean", "none"):
        loss = LiftedStructure(reduction=reduction)
        assert torch.autograd.gradcheck(lambda a, w, loss=loss: loss(a, labels, weights=w), (x, weights))
        assert torch.autograd.gradcheck(
            lambda a, b, loss=loss: loss(a, labels, columns=b, column_relation=other), (x, y)
        )


def test_an_unsymmetric_distance_is_turned_round_for_columns() -> None:
    """d(x, y) = -x'Wy: the negatives of a column are measured from the rows, also for a learned W."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    distance = Bilinear(torch.randn(3, 4, generator=generator, dtype=torch.float64))
    found = LiftedStructure(distance=distance)(x, Matches(), columns=y)
    table = x @ -distance.weight @ y.T
    far = torch.exp(1 - table).masked_fill(torch.eye(5, dtype=torch.bool), 0.0)
    gap = torch.log(far.sum(1) + far.sum(0)) + table.diagonal()
    expected = (gap.clamp(min=0) ** 2 / 2).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = (x, y, distance.weight)
    for one, other in zip(
        torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_tile_size_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(23, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(31, 5, generator=generator, dtype=torch.float64)
    labels, other = (torch.randint(0, 5, (n,), generator=generator) for n in (23, 31))
    order = torch.randperm(23, generator=generator)
    for options in ({}, {"columns": y, "column_relation": other}):
        found = []
        for tile, whole, rows, turn in (
            (1 << 19, 8192, 256, None),
            (64, 2, 4, None),
            (64, 8192, 256, None),
            (64, 2, 4, order),
        ):
            monkeypatch.setattr("likewise.table.blocks.TILE", tile)
            monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
            monkeypatch.setattr("likewise.table.blocks.ROWS", rows)
            a = x.clone().requires_grad_()
            turn = torch.arange(23) if turn is None else turn
            value = LiftedStructure()(a[turn], labels[turn], **options)
            value.backward()
            found.append((value.detach(), a.grad))
        for value, gradient in found[1:]:
            torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(gradient, found[0][1], rtol=1e-12, atol=1e-13)


def test_half_precision_and_double_backward() -> None:
    low = torch.randn(12, 8, generator=torch.Generator().manual_seed(4)).bfloat16().requires_grad_()
    labels = torch.arange(12) // 3
    found = LiftedStructure()(low, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, LiftedStructure()(low.detach().float(), labels))
    found.backward(retain_graph=True)
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16
    assert low.grad.any()
    with pytest.raises(UnsupportedError, match="twice"):
        torch.autograd.grad(found, low, create_graph=True)


def test_batches_without_pairs_and_hostile_input() -> None:
    for n in (0, 1):
        x = torch.randn(n, 3, requires_grad=True)
        with pytest.warns(UserWarning, match="raise the samples a class"):
            value = LiftedStructure()(x, torch.zeros(n, dtype=torch.int64))
        value.backward()
        assert float(value.detach()) == 0.0
        assert x.grad is not None
        assert not x.grad.any()
    x = torch.randn(4, 3)
    with pytest.raises(InputError, match="expected 4, found 3"):
        LiftedStructure()(x, [0, 0, 1])
    with pytest.raises(InputError, match="row 1"):
        LiftedStructure()(x.index_fill(0, torch.tensor([1]), torch.nan), [0, 0, 1, 1])
    with pytest.raises(InputError, match="column_relation"):
        LiftedStructure()(x, Labels([0, 0, 1, 1]), columns=x)
    with pytest.raises(InputError, match="weights"):
        LiftedStructure()(x, [0, 0, 1, 1], weights=torch.ones(3))
    with pytest.raises(InputError, match="reduction"):
        LiftedStructure(reduction="average")
    with pytest.raises(InputError, match="distance"):
        LiftedStructure(distance="cosin")


@pytest.mark.parametrize("distance", [Cosine(), Dot()])
def test_other_distances(distance: torch.nn.Module) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
    alike = labels[:, None] == labels[None, :]
    table = distance.table(x, x)
    far = torch.exp(1 - table).masked_fill(alike, 0.0).sum(1)
    near = alike & ~torch.eye(8, dtype=torch.bool)
    gap = torch.log(far[:, None] + far[None, :]) + table
    expected = (gap.clamp(min=0) ** 2 / 2)[near].mean()
    torch.testing.assert_close(
        LiftedStructure(distance=distance)(x, labels), expected, rtol=1e-10, atol=1e-12
    )
