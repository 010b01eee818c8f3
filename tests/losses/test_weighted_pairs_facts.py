"""Facts about the losses that weigh pairs, and equality with pytorch-metric-learning 2.9.

Equal, with the options named here: MultiSimilarity (theirs doesn't mine by itself), Circle, LiftedStructure
and GeneralizedLiftedStructure (theirs on normalised embeddings), FastAP, and, with the anchor counted as its
own positive, all five variants of PNP and SmoothAP. Where they differ:

- MultiSimilarity: an anchor without a positive or a negative is averaged in by theirs when it is mined;
  ours leaves it out, so that a batch without pairs warns.
- Circle: theirs averages over the anchors not zero by default (``reduction="active"`` here).
- LiftedStructure: without any negative a positive pair costs ``d^2 / 2`` in theirs, here it doesn't count;
  with columns of their own theirs takes a column's number for a row's when it looks for its negatives.
- GeneralizedLiftedStructure: theirs averages over all anchors, and one without a positive (or a negative)
  costs what is left of the formula; here it doesn't count.
- FastAP, PNP, SmoothAP: theirs have no columns of their own, and count the anchors that we leave out (those
  without a negative, at zero).
- SmoothAP: theirs wants classes of one size, in order, and takes the number of items a class for the number
  of classes: it gives the loss only where both are equal (4 classes of 4; not 2 of 3).
- PNP: theirs clamps the sigmoid's argument to +-50, below any difference that float64 shows.
"""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import distances, miners, reducers
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise import losses
from likewise.distances import unit_rows
from likewise.errors import InputError


def batch(n: int = 24, per_class: int = 4, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x, torch.arange(n) // per_class


def same_as(
    ours: losses.Loss, other: torch.nn.Module, indices: object = None, normalise: bool = False
) -> None:
    """Value and gradient on three batches."""
    for seed in range(3):
        x, labels = batch(seed=seed)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = ours(unit_rows(a) if normalise else a, labels)
        mined = None if indices is None else indices(b.detach(), labels)
        expected = other(b, labels, mined)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
        found.backward()
        expected.backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-8)
        assert a.grad.abs().max() > 1e-6


def test_multi_similarity_equals_theirs() -> None:
    same_as(losses.MultiSimilarity(mining=None), theirs.MultiSimilarityLoss())
    same_as(losses.MultiSimilarity(), theirs.MultiSimilarityLoss(), miners.MultiSimilarityMiner(0.1))
    same_as(
        losses.MultiSimilarity(near_scale=1.0, far_scale=7.0, threshold=0.2, mining=0.02),
        theirs.MultiSimilarityLoss(alpha=1, beta=7, base=0.8),
        miners.MultiSimilarityMiner(0.02),
    )


def test_circle_equals_theirs() -> None:
    same_as(losses.Circle(), theirs.CircleLoss(reducer=reducers.MeanReducer()))
    same_as(losses.Circle(margin=0.25, scale=256.0, reduction="active"), theirs.CircleLoss(m=0.25, gamma=256))


def test_lifted_structures_equal_theirs() -> None:
    same_as(losses.LiftedStructure(), theirs.LiftedStructureLoss(), normalise=True)
    same_as(losses.LiftedStructure(margin=0.3), theirs.LiftedStructureLoss(0.5, 0.2), normalise=True)
    same_as(losses.GeneralizedLiftedStructure(), theirs.GeneralizedLiftedStructureLoss(), normalise=True)
    same_as(
        losses.GeneralizedLiftedStructure(margin=-0.5),
        theirs.GeneralizedLiftedStructureLoss(0.5, 1.0),
        normalise=True,
    )


def test_fast_ap_equals_theirs() -> None:
    same_as(losses.FastAP(), theirs.FastAPLoss())
    same_as(losses.FastAP(bins=4), theirs.FastAPLoss(num_bins=4))


@pytest.mark.parametrize(
    ("ours", "name"),
    [("linear", "O"), ("log", "Ds"), ("power", "Dq"), ("entropy", "Iu"), ("bounded", "Ib")],
)
def test_pnp_equals_theirs(ours: str, name: str) -> None:
    same_as(
        losses.PNP(variant=ours, temperature=0.1, exponent=3.0, bound=1.5, count_self=True),
        theirs.PNPLoss(b=1.5, alpha=3, anneal=0.1, variant=name),
    )


def test_smooth_ap_equals_theirs() -> None:
    ours, other = losses.SmoothAP(temperature=0.1, count_self=True), theirs.SmoothAPLoss(temperature=0.1)
    for seed in range(3):
        x, labels = batch(n=16, seed=seed)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = ours(a, labels), other(b, labels)
        # theirs adds up average precisions in float32
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-5, atol=1e-6)
        found.backward()
        expected.backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
        assert a.grad.abs().max() > 1e-4


def test_where_theirs_gives_a_pair_without_negatives_a_cost() -> None:
    x, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 0, 1, 1])
    chosen = tuple(torch.tensor(part) for part in ([0, 2], [1, 3], [2, 2], [0, 1]))
    relation = losses.LiftedStructure(reduction="none")
    far = torch.zeros(4, 4, dtype=torch.bool)
    far[2, 0] = far[2, 1] = True
    near = torch.zeros(4, 4, dtype=torch.bool)
    near[0, 1] = near[2, 3] = True
    from likewise.relations import Mask

    found = relation(unit_rows(x), Mask(near, far))
    summed = theirs.LiftedStructureLoss(reducer=reducers.SumReducer(), distance=distances.LpDistance())(
        x, labels, chosen
    )
    assert float(found[0]) == 0.0
    torch.testing.assert_close(found[2] + 2.0 / 2, summed)  # the pair (0, 1) lies at sqrt 2


def test_average_precision_of_a_perfect_and_of_a_reversed_row() -> None:
    """With small steps Smooth-AP is average precision: 1 when positives come first; else, of two positives
    behind one negative, (1/2 + 2/3) / 2."""
    angles = torch.tensor([0.0, 0.3, 0.6, 0.9], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    loss = losses.SmoothAP(temperature=1e-4, reduction="none")
    assert float(loss(x, [0, 0, 0, 1])[0]) == pytest.approx(0.0, abs=1e-9)
    assert float(loss(x, [0, 1, 0, 0])[0]) == pytest.approx(1 - (1 / 2 + 2 / 3) / 2, abs=1e-9)


def test_pnp_counts_negatives_before_positives() -> None:
    """Two negatives lie before the one positive of anchor 0, none before that of anchor 3."""
    angles = torch.tensor([0.0, 0.3, 0.6, 0.9], dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    found = losses.PNP(temperature=1e-4, reduction="none")(x, [0, 1, 2, 0])
    torch.testing.assert_close(found, torch.tensor([2.0, 0.0, 0.0, 2.0], dtype=torch.float64))


def test_fast_ap_of_separated_and_of_mixed_classes() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert float(losses.FastAP()(x, [0, 0, 1, 1])) == 0.0
    reversed_labels = losses.FastAP(reduction="none")(x, [0, 1, 0, 1])
    # a negative in the first bin, the positive and another negative in the last: one of three
    torch.testing.assert_close(reversed_labels, torch.full((4,), 2 / 3))


def test_circle_weights_grow_with_the_distance_from_the_optimum() -> None:
    """Of two positives in one softmax the slope's ratio is share times weight; at d = m the weight is 2 m."""
    loss = losses.Circle(margin=0.5, scale=2.0)
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    value = loss(x, [0, 0, 1])
    near, far = 1.5 * 0.5, (1.5 - 2.0, 1.5 - 1.0)  # w_p (d_p - m); 1 + m - d_n
    rows = [torch.log1p(torch.exp(torch.tensor(2.0 * (max(0, w) * (w - 1) + near)))) for w in far]
    assert float(value) == pytest.approx(float(sum(rows)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: losses.MultiSimilarity(near_scale=0.0), "near_scale"),
        (lambda: losses.MultiSimilarity(far_scale=float("nan")), "far_scale"),
        (lambda: losses.MultiSimilarity(mining=-0.1), "mining"),
        (lambda: losses.Circle(margin=-1.0), "margin"),
        (lambda: losses.Circle(scale=float("inf")), "scale"),
        (lambda: losses.FastAP(bins=0), "bins"),
        (lambda: losses.FastAP(bins=2.5), "bins"),
        (lambda: losses.FastAP(limit=0.0), "limit"),
        (lambda: losses.PNP(variant="O"), "variant"),
        (lambda: losses.PNP(temperature=0.0), "temperature"),
        (lambda: losses.PNP(exponent=0.0), "exponent"),
        (lambda: losses.PNP(bound=-2.0), "bound"),
        (lambda: losses.SmoothAP(temperature=-1.0), "temperature"),
    ],
)
def test_bad_parameters_are_refused(build: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
