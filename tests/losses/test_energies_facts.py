"""Known values of Chopra's energies, the triplet network's ratio and Koch's cross-entropy.

pytorch-metric-learning 2.9 has none of the three: its ContrastiveLoss is the unsquared hinge of 2006, its
TripletMarginLoss the margin form, and it has no loss on a logit of a distance. PyTorch's own functions are
the oracles where the formula is theirs.
"""

from __future__ import annotations

import math

import pytest
import torch

from likewise.distances import SquaredEuclidean, WeightedCityblock
from likewise.errors import InputError
from likewise.losses import BinaryPair, ChopraContrastive, TripletRatio
from likewise.relations import Pairs, Triplets


def at(distance: float) -> torch.Tensor:
    return torch.tensor([[0.0], [distance]], dtype=torch.float64, requires_grad=True)


def chopra(gap: float, alike: bool, **options) -> tuple[float, float]:
    """Value and slope by the distance of one pair, which the table holds in both directions."""
    x = at(gap)
    value = ChopraContrastive(**options)(x, Pairs([0], [1], [alike]))
    value.backward()
    return float(value.detach()), float(x.grad[1])


@pytest.mark.filterwarnings("ignore:.*no positive pair.*")
def test_the_branches_cross_at_half_of_q() -> None:
    q = 50.0
    exact = {"upper_bound": q, "decay": 4 * math.log(2)}
    for alike in (True, False):
        assert chopra(q / 2, alike, **exact)[0] == pytest.approx(q / 2, rel=1e-12)
        assert chopra(q / 2, alike, upper_bound=q)[0] == pytest.approx(q / 2, rel=2e-3)
    # slopes: 4 E / Q, and -2 * 2.77 exp(-2.77 E / Q), which is steepest at zero
    assert chopra(10.0, True, upper_bound=q)[1] == pytest.approx(40 / q)
    assert chopra(10.0, False, upper_bound=q)[1] == pytest.approx(-5.54 * math.exp(-27.7 / q))
    assert chopra(1e-9, False, upper_bound=q)[1] == pytest.approx(-5.54)
    # with a squared norm as the energy, coinciding unlike pairs are pushed no more
    assert chopra(1e-9, False, upper_bound=q, distance=SquaredEuclidean())[1] == pytest.approx(0.0, abs=1e-7)


def test_q_must_be_given() -> None:
    with pytest.raises(TypeError, match="upper_bound"):
        ChopraContrastive()
    for options, name in (
        ({"upper_bound": 0.0}, "upper_bound"),
        ({"upper_bound": 1.0, "decay": -1}, "decay"),
    ):
        with pytest.raises(InputError, match=name):
            ChopraContrastive(**options)


def test_collapse_gives_one_half_and_one_quarter() -> None:
    x = torch.zeros(12, 4)
    labels = torch.arange(12) // 3
    assert float(TripletRatio()(x, labels)) == 0.5
    assert float(TripletRatio(scale="code")(x, labels)) == 0.25


def test_the_slope_of_the_ratio_is_largest_at_two_thirds() -> None:
    """The code's scale: dL/d(d_p - d_n) = 2 r^2 (1 - r); log(r / (1 - r)) = log 2 at r = 2/3."""
    gaps = torch.tensor([-5.0, 0.0, math.log(2), 1.5, 8.0], dtype=torch.float64)
    slopes = []
    for gap in gaps.tolist():
        x = torch.tensor([[0.0], [10.0 + gap], [10.0]], dtype=torch.float64, requires_grad=True)
        TripletRatio(scale="code", reduction="sum")(x, Triplets([0], [1], [2])).backward()
        ratio = 1 / (1 + math.exp(-gap))
        assert float(x.grad[1]) == pytest.approx(2 * ratio**2 * (1 - ratio))
        slopes.append(float(x.grad[1]))
    assert max(slopes) == slopes[2] == pytest.approx(8 / 27)


def test_distances_that_overflow_an_exponential_dont() -> None:
    x = torch.tensor([[0.0], [5000.0], [1.0]], requires_grad=True)
    value = TripletRatio()(x, Triplets([0, 0], [1, 2], [2, 1]))
    value.backward()
    assert float(value.detach()) == 1.0  # one triplet at 2, one at 0
    assert torch.isfinite(x.grad).all()


def test_the_ratio_refuses() -> None:
    for options, name in (({"scale": "theirs"}, "scale"), ({"temperature": 0}, "temperature")):
        with pytest.raises(InputError, match=name):
            TripletRatio(**options)


def test_binary_pair_is_cross_entropy_of_the_logits_and_learns_weights_and_bias() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    left, right, same = [0, 1, 2, 3], [4, 5, 6, 7], [True, False, True, False]
    for reduction in ("mean", "sum", "active"):
        loss = BinaryPair(distance=WeightedCityblock(5), bias=0.3, reduction=reduction).double()
        with torch.no_grad():
            loss.distance.weight.copy_(torch.tensor([0.5, -1.0, 2.0, 0.1, 1.0]))
        value = loss(x, Pairs(left, right, same))
        alpha, bias = loss.distance.weight, loss.bias
        logits = bias - ((x[left] - x[right]).abs() * alpha).sum(1)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.tensor(same).double(), reduction="sum" if reduction == "sum" else "mean"
        )
        factor = 2 if reduction == "sum" else 1  # the table holds a pair in both directions
        torch.testing.assert_close(value, factor * expected)
        found = torch.autograd.grad(value, (x, alpha, bias))
        wanted = torch.autograd.grad(factor * expected, (x, alpha, bias))
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_slope_by_the_bias_is_that_of_finite_differences(balanced: bool, reduction: str) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(7, generator=generator, dtype=torch.float64, requires_grad=True)
    loss = BinaryPair(balanced=balanced, reduction=reduction).double()

    def value(bias, rows, row_weights):
        return torch.func.functional_call(
            loss, {"bias": bias}, (rows, [0, 0, 1, 1, 1, 2, 2]), {"weights": row_weights}
        )

    bias = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (bias, x, weights))


def test_logits_far_from_zero_stay_finite() -> None:
    loss = BinaryPair(bias=0.0)
    x = torch.tensor([[0.0], [1e4]], requires_grad=True)
    value = loss(x, Pairs([0], [1], [True]))
    value.backward()
    assert float(value.detach()) == pytest.approx(1e4)
    assert x.grad.abs().max() == 1.0
    with pytest.raises(InputError, match="bias"):
        BinaryPair(bias=math.nan)
    assert not BinaryPair(learn_bias=False).bias.requires_grad
