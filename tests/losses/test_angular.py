"""Angular against a loop over positive pairs and their anchors' negatives, and pytorch-metric-learning's."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise.distances import Euclidean
from likewise.errors import InputError
from likewise.losses import Angular
from likewise.relations import Quadruplets, Triplets
from reference.losses import reduced
from reference.tables import PlainTable, random_tables

TABLES = random_tables(220, seed=23)


def terms(table: PlainTable, x: Tensor, angle: float) -> list[list[tuple[str, Tensor]]]:
    columns = x if table.columns is None else table.columns
    square = math.tan(math.radians(angle)) ** 2
    u, v = x / x.norm(dim=1, keepdim=True), columns / columns.norm(dim=1, keepdim=True)
    found = []
    for row in table.rows:
        listed = []
        for a, p in row.near:
            pair = 2 * (1 + square) * (u[a] * v[p]).sum()
            ends = [v[n] for _, n in row.far]
            if isinstance(table.relation, Quadruplets):  # columns are rows
                ends = [u[n] for n in sorted({end for cell in row.far for end in cell} - {a, p})]
            logits = [4 * square * ((u[a] + v[p]) * n).sum() - pair for n in ends]
            listed.append(("joint", torch.logsumexp(torch.stack([pair * 0, *logits]), 0)))
        found.append(listed)
    return found


@pytest.mark.filterwarnings("ignore:.*no positive pair")
@pytest.mark.parametrize("number", range(len(TABLES)))
def test_value_and_gradient_equal_the_loops(number: int) -> None:
    table, reduction = TABLES[number], ("mean", "active", "sum", "none")[number % 4]
    x, y = table.embeddings.clone().requires_grad_(), table.embeddings.clone().requires_grad_()
    expected = reduced(terms(table, x, 30.0), reduction, None, x)
    found = Angular(angle=30.0, reduction=reduction)(
        y, table.relation, columns=table.columns, **table.options
    )
    tolerance = 1e-6 if table.close else 1e-9
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=1e-11)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    found.sum().backward()
    torch.testing.assert_close(y.grad, slope, rtol=10 * tolerance, atol=1e-8)


def test_equal_to_pytorch_metric_learning() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)  # theirs leaves the negatives at their own length
    labels = torch.arange(12) // 3
    torch.testing.assert_close(Angular()(x, labels), theirs.AngularLoss()(x, labels), rtol=1e-6, atol=1e-8)


def test_a_quadruplet_that_shares_an_item_is_a_triplet() -> None:
    x, z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for far_left, far_right in ((0, 2), (1, 2), (2, 0), (2, 1)):
        found = Angular()(x, Quadruplets([0], [1], [far_left], [far_right]))
        torch.testing.assert_close(found, Angular()(x, Triplets([0], [1], [2])), rtol=1e-12, atol=1e-14)
    found = Angular()(x, Quadruplets([0], [1], [0], [2]), columns=z)
    torch.testing.assert_close(found, Angular()(x, Triplets([0], [1], [2]), columns=z))
    apart = Angular()(x, Quadruplets([0], [1], [2], [1]), columns=z)  # item 2 of the rows is the negative
    both = torch.cat([x, z])
    torch.testing.assert_close(apart, Angular()(both, Triplets([0], [5], [2])))


def test_hostile_input_is_refused() -> None:
    for angle in (0.0, 90.0, float("nan")):
        with pytest.raises(InputError, match="angle"):
            Angular(angle=angle)
    with pytest.raises(InputError, match="distance must be Cosine"):
        Angular(distance=Euclidean())
