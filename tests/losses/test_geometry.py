"""The geometry-aware loss with inputs, against loops; pytorch-metric-learning 2.9 has no such loss.

Without inputs (classification_weight=1) the contract of all losses holds it.
"""

from __future__ import annotations

import random

import pytest
import torch

from likewise.distances import Euclidean
from likewise.errors import InputError
from likewise.losses import GeometryAware
from reference.tables import random_tables

OPTIONS = (
    {},
    {"classification_weight": 0.0},
    {"classification_weight": 0.3, "balanced": True, "n_classes": 4},
    {"classification_weight": 0.6, "neighbors": 1},
    {"classification_weight": 0.2, "neighbors": 2, "balanced": True, "centred": False},
)
REDUCTIONS = ("mean", "active", "sum", "none")


def cos(x, z):
    return (x * z).sum() / (x.norm() * z.norm())


def terms_of(table, x, inputs, column_inputs, options):
    """(row, group, term) for every near and far cell."""
    weight = options.get("classification_weight", 0.5)
    k, n_classes = options.get("neighbors"), options.get("n_classes")
    far_target = -1.0 if n_classes is None else -1 / (n_classes - 1)
    columns = x if table.columns is None else table.columns
    a, b = inputs, inputs if column_inputs is None else column_inputs
    if options.get("centred", True):
        everything = a if column_inputs is None else torch.cat([a, b])
        a, b = a - everything.mean(0), b - everything.mean(0)
    for number, row in enumerate(table.rows):
        geometry = [float(cos(a[i], b[j])) for i, j in row.near]
        nearest = sorted(range(len(geometry)), key=lambda place: -geometry[place])[:k]
        for place, (i, j) in enumerate(row.near):
            h = cos(x[i], columns[j])
            if place in nearest:
                yield number, "near", (h - weight - (1 - weight) * geometry[place]) ** 2
            else:
                yield number, "near", weight * (h - 1) ** 2
        for i, j in row.far:
            yield number, "far", (cos(x[i], columns[j]) - far_target) ** 2


def reduced(terms, reduction, balanced, weights, like, n_rows):
    if reduction == "none":
        rows = [like.sum() * 0 for _ in range(n_rows)]
        for row, _, term in terms:
            rows[row] = rows[row] + term
        stacked = torch.stack(rows)
        return stacked if weights is None else stacked * weights
    total = like.sum() * 0
    for group in (("near",), ("far",)) if balanced else (("near", "far"),):
        mine = [(row, term) for row, name, term in terms if name in group]
        active = sum(bool(term != 0) for _, term in mine)
        count = {"mean": len(mine), "sum": 1, "active": active}[reduction]
        for row, term in mine:
            total = total + term * (1.0 if weights is None else weights[row]) / max(1, count)
    return total


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
@pytest.mark.parametrize("options", OPTIONS)
def test_value_and_gradient_equal_the_loops(options) -> None:
    draw = random.Random(4)
    compared = 0
    for number, table in enumerate(random_tables(320, seed=21)):
        x = table.embeddings
        if table.close or x.shape[1] == 1:
            continue  # in one dimension cosines are 1 or -1 and errors are zero but for rounding
        generator = torch.Generator().manual_seed(number)
        inputs = torch.randn(x.shape[0], 2, 3, generator=generator, dtype=torch.float64)
        other = None
        if table.columns is not None:
            other = torch.randn(table.columns.shape[0], 2, 3, generator=generator, dtype=torch.float64)
        flat = inputs.reshape(x.shape[0], -1)
        flat_other = None if other is None else other.reshape(other.shape[0], -1)
        reduction = REDUCTIONS[number % 4]
        if (reduction == "active" and "duplicates" in table.name) or "one row" in table.name:
            continue  # a term of two equal points is zero in one rounding and 1e-32 in another
        weights = None
        if draw.random() < 0.3 and table.name not in ("triplets", "quadruplets"):
            weights = torch.rand(x.shape[0], generator=generator, dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        terms = list(terms_of(table, a, flat, flat_other, options))
        expected = reduced(terms, reduction, options.get("balanced", False), weights, a, len(table.rows))
        found = GeometryAware(reduction=reduction, **options)(
            b,
            table.relation,
            columns=table.columns,
            inputs=inputs,
            column_inputs=other,
            weights=weights,
            **table.options,
        )
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
        mix = torch.linspace(0.5, 1.5, found.numel(), dtype=torch.float64).reshape(found.shape)
        (expected * mix).sum().backward()
        (found * mix).sum().backward()
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-8, atol=1e-9)
        compared += 1
    assert compared > 200


def case(seed: int = 0, n: int = 12, d: int = 4):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.arange(n) % 3, torch.randn(n, 6, generator=generator, dtype=torch.float64)


def test_the_weighted_sum_of_both_criteria_is_the_same_up_to_a_constant() -> None:
    """w (h - 1)^2 + (1 - w) (h - c)^2 = (h - t)^2 + w (1 - w) (1 - c)^2 for each alike pair."""
    x, labels, inputs = case()
    w = 0.3
    centred = inputs - inputs.mean(0)
    unit = centred / centred.norm(dim=1, keepdim=True)
    alike = (labels[:, None] == labels) & ~torch.eye(12, dtype=torch.bool)
    constant = (w * (1 - w) * (1 - unit @ unit.T) ** 2)[alike].sum()
    values, slopes = [], []
    for weight in (1.0, 0.0, w):
        a = x.clone().requires_grad_()
        value = GeometryAware(classification_weight=weight, reduction="sum")(a, labels, inputs=inputs)
        value.backward()
        values.append(float(value.detach()))
        slopes.append(a.grad)
    assert w * values[0] + (1 - w) * values[1] == pytest.approx(values[2] + float(constant), rel=1e-12)
    torch.testing.assert_close(w * slopes[0] + (1 - w) * slopes[1], slopes[2])


def test_the_feasible_target_can_be_reached_and_minus_one_not() -> None:
    """Three directions at 120 degrees have cosines -1/2 = -1 / (3 - 1)."""
    angles = torch.arange(6) % 3 * (2 * torch.pi / 3)
    x = torch.stack([angles.cos(), angles.sin()], dim=1).double()
    labels = torch.arange(6) % 3
    feasible = GeometryAware(classification_weight=1.0, n_classes=3)(x, labels)
    assert float(feasible) == pytest.approx(0.0, abs=1e-12)
    # 4 of the 5 pairs of an item are unlike, each (-1/2 + 1)^2 off
    assert float(GeometryAware(classification_weight=1.0)(x, labels)) == pytest.approx(0.25 * 4 / 5, rel=1e-6)


def test_weight_zero_is_zero_where_embeddings_keep_the_geometry() -> None:
    x, _, _ = case()
    centred = x - x.mean(0)
    loss = GeometryAware(classification_weight=0.0)
    value = loss(centred, torch.zeros(12, dtype=torch.int64), inputs=x)
    assert float(value) == pytest.approx(0.0, abs=1e-12)


def test_as_many_neighbors_as_there_are_is_the_global_loss() -> None:
    x, labels, inputs = case()
    whole = GeometryAware()(x, labels, inputs=inputs)
    torch.testing.assert_close(GeometryAware(neighbors=11)(x, labels, inputs=inputs), whole)
    assert float(GeometryAware(neighbors=1)(x, labels, inputs=inputs)) != pytest.approx(float(whole))


def test_gradcheck_float32_order_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, inputs = case(3, n=7, d=3)
    y, column_labels, column_inputs = case(4, n=5, d=3)
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    for options in ({}, {"neighbors": 1}, {"balanced": True}):
        for reduction in ("mean", "none"):
            loss = GeometryAware(reduction=reduction, **options)
            assert torch.autograd.gradcheck(lambda u, f=loss: f(u, labels, inputs=inputs), (a,))
            assert torch.autograd.gradcheck(
                lambda u, v, f=loss: f(
                    u,
                    labels,
                    columns=v,
                    column_relation=column_labels,
                    inputs=inputs,
                    column_inputs=column_inputs,
                ),
                (a, b),
            )
        loss = GeometryAware(**options)
        exact = loss(x, labels, inputs=inputs)
        low = loss(x.float(), labels, inputs=inputs.float())
        assert low.dtype == torch.float32
        torch.testing.assert_close(low.double(), exact, rtol=2e-5, atol=2e-5)
        order = torch.randperm(7, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(
            loss(x[order], labels[order], inputs=inputs[order]), exact, rtol=1e-12, atol=1e-14
        )
        with monkeypatch.context() as patch:
            patch.setattr("likewise.table.blocks.TILE", 64)
            patch.setattr("likewise.table.blocks.WHOLE_ROWS", 2)
            torch.testing.assert_close(loss(x, labels, inputs=inputs), exact, rtol=1e-12, atol=1e-14)


def test_hostile_input_is_refused() -> None:
    x, labels, inputs = case()
    bad = inputs.clone()
    bad[5, 0] = torch.nan
    loss = GeometryAware()
    for options, message in (
        ({}, "inputs must be given"),
        ({"inputs": bad}, "inputs must be finite.*row 5"),
        ({"inputs": inputs[:5]}, "expected 12, found 5"),
        ({"inputs": [1, 2]}, "inputs must be a torch tensor"),
        ({"inputs": inputs, "column_inputs": inputs}, "given together"),
        (
            {"inputs": inputs, "columns": x, "column_relation": labels, "column_inputs": inputs[:, :2]},
            "6 numbers an item as inputs; found 2",
        ),
    ):
        with pytest.raises(InputError, match=message):
            loss(x, labels, **options)
    for options, message in (
        ({"classification_weight": 1.1}, "at most 1"),
        ({"classification_weight": -0.1}, "classification_weight"),
        ({"n_classes": 1}, "n_classes"),
        ({"neighbors": 0}, "neighbors"),
        ({"distance": Euclidean()}, "distance must be Cosine"),
    ):
        with pytest.raises(InputError, match=message):
            GeometryAware(**options)
