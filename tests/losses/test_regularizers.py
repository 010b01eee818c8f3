"""Penalties on vectors, against loops and pytorch-metric-learning's."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import regularizers as theirs

from likewise.errors import InputError
from likewise.losses import CenterInvariant, EmbeddingNorm, RegularFace, SparseCenters, ZeroMean

X = torch.randn(8, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (EmbeddingNorm(), theirs.LpRegularizer()),
        (EmbeddingNorm(p=1.0, power=2.0), theirs.LpRegularizer(p=1, power=2)),
        (ZeroMean(), theirs.ZeroMeanRegularizer()),
        (CenterInvariant(), theirs.CenterInvariantRegularizer()),
        (RegularFace(), theirs.RegularFaceRegularizer()),
    ],
)
def test_equal_to_pytorch_metric_learning(mine, other) -> None:
    a, b = X.clone().requires_grad_(), X.clone().requires_grad_()
    found, expected = mine(a), other(b)
    torch.testing.assert_close(found, expected)
    (slope,) = torch.autograd.grad(found, a)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, b)[0])


def test_sparse_centres_by_a_loop() -> None:
    unit = X / X.norm(dim=1, keepdim=True)
    pairs = [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    expected = sum((unit[i] - unit[j]).norm() for i, j in pairs)
    torch.testing.assert_close(SparseCenters(centres=3, reduction="sum")(X[:6]), expected)


def test_gradients_of_equal_vectors_are_finite() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    for penalty in (RegularFace(), SparseCenters(centres=2), CenterInvariant()):
        (slope,) = torch.autograd.grad(penalty(x), x)
        assert torch.isfinite(slope).all()


def test_hostile_input_is_refused() -> None:
    with pytest.raises(InputError, match="row 2"):
        EmbeddingNorm()(X.index_fill(0, torch.tensor([2]), float("nan")))
    with pytest.raises(InputError, match="multiple of 3 centres; found 8"):
        SparseCenters(centres=3)(X)
    for build, options in (
        (EmbeddingNorm, {"p": 0.5}),
        (EmbeddingNorm, {"power": 0.0}),
        (SparseCenters, {"centres": 1}),
        (ZeroMean, {"reduction": "most"}),
    ):
        with pytest.raises(InputError, match=next(iter(options))):
            build(**options)
