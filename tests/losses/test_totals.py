"""Histogram and intra-pair variance, whose terms know the whole batch, against loops over all pairs."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise.distances import Euclidean
from likewise.errors import InputError
from likewise.losses import Histogram, IntraPair
from reference.losses import cosine, euclidean, hinge
from reference.tables import PlainTable, random_tables

TABLES = [table for table in random_tables(220, seed=21) if not table.close]


def crowds(table: PlainTable, x: Tensor, distance) -> tuple[list[Tensor], list[Tensor]]:
    columns = x if table.columns is None else table.columns
    near = [distance(x[a], columns[c]) for row in table.rows for a, c in row.near]
    far = [distance(x[a], columns[c]) for row in table.rows for a, c in row.far]
    return near, far


def histogram(near: list[Tensor], far: list[Tensor], bins: int) -> Tensor | float:
    width = 2 / bins

    def density(distances: list[Tensor]) -> list[Tensor | float]:
        cosines = [1 - d for d in distances]
        return [
            sum(hinge(1 - abs(s - (node * width - 1)) / width) for s in cosines) / max(1, len(cosines))
            for node in range(bins + 1)
        ]

    alike, unlike = density(near), density(far)
    return sum(unlike[r] * sum(alike[: r + 1]) for r in range(bins + 1))


def intra_pair(
    near: list[Tensor], far: list[Tensor], slack: float, *, cosines: bool, mean: bool
) -> Tensor | float:
    total = 0.0
    for kind, sign in ((near, 1), (far, -1)):
        if not kind:
            continue
        values = [1 - d for d in kind] if cosines else kind
        middle = sum(values) / len(values)
        outward = -sign if cosines else sign
        terms = [hinge(outward * (v - (1 + outward * slack) * middle)) ** 2 for v in values]
        total = total + sum(terms) / (len(terms) if mean else 1)
    return total


def same(loss, expected, table: PlainTable) -> None:
    x, y = table.embeddings.clone().requires_grad_(), table.embeddings.clone().requires_grad_()
    wanted = expected(x) + x.sum() * 0
    found = loss(y, table.relation, columns=table.columns, **table.options)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11, msg=lambda m: f"{table.name}: {m}")
    (slope,) = torch.autograd.grad(wanted, x)
    found.backward()
    torch.testing.assert_close(y.grad, slope, rtol=1e-7, atol=1e-8, msg=lambda m: f"{table.name}: {m}")


@pytest.mark.filterwarnings("ignore:.*no positive pair")
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_value_and_gradient_equal_the_loops(table: PlainTable) -> None:
    if "duplicates" not in table.name:  # there a cosine lies on a node, where the histogram has no derivative
        same(Histogram(bins=7), lambda x: histogram(*crowds(table, x, cosine), 7), table)
    for reduction in ("mean", "sum"):
        loss = IntraPair(near_slack=0.1, far_slack=0.1, reduction=reduction)
        same(
            loss,
            lambda x, m=reduction == "mean": intra_pair(*crowds(table, x, cosine), 0.1, cosines=True, mean=m),
            table,
        )
    loss = IntraPair(near_slack=0.2, far_slack=0.2, distance=Euclidean())
    same(loss, lambda x: intra_pair(*crowds(table, x, euclidean), 0.2, cosines=False, mean=True), table)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(23, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(23) // 4
    for loss in (Histogram(bins=20), IntraPair()):
        found = []
        for tile, whole in ((1 << 18, 8192), (64, 2), (64, 8192)):
            monkeypatch.setattr("likewise.table.blocks.TILE", tile)
            monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
            y = x.clone().requires_grad_()
            value = loss(y, labels)
            value.backward()
            found.append((value.detach(), y.grad))
        for value, gradient in found[1:]:
            torch.testing.assert_close(value, found[0][0], rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(gradient, found[0][1], rtol=1e-11, atol=1e-13)


def test_intra_pair_equals_pytorch_metric_learning() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.arange(12) // 3
    found = IntraPair()(x, labels)
    torch.testing.assert_close(found, theirs.IntraPairVarianceLoss()(x, labels), rtol=1e-6, atol=1e-8)


def test_hostile_input_is_refused() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    for loss in (Histogram(), IntraPair()):
        with pytest.raises(InputError, match="takes no weights"):
            loss(x, [0, 0, 1, 1, 2, 2], weights=torch.ones(6))
        with pytest.raises(InputError, match="reduction"):
            type(loss)(reduction="none")
    with pytest.raises(InputError, match="bins must be a whole number from 2"):
        Histogram(bins=1)
    with pytest.raises(InputError, match="distance must be Cosine"):
        Histogram(distance=Euclidean())
