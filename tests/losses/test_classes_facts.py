"""Facts of the losses against learned vectors, and how they stand to pytorch-metric-learning 2.9.

The same, and tested equal in value and both gradients, given the same vectors: NormalizedSoftmaxLoss,
CosFaceLoss, ArcFaceLoss, SubCenterArcFaceLoss, LargeMarginSoftmaxLoss, SphereFaceLoss, ProxyNCALoss (own
proxy in the sum), ProxyAnchorLoss, SoftTripleLoss (without the term of the centres).
Where theirs differ:

- a miner gives them weights, us a smaller relation.
- vectors: theirs change their own dtype to the embeddings'; ours stay float32. NormalizedSoftmaxLoss,
  ArcFaceLoss and their kin hold (dimension, n_classes), ours all (n_classes, dimension).
- ArcFaceLoss: margin in degrees; angles by acos of a clamped cosine, whose derivative is infinite at angle
  zero (a NaN gradient there), where our slope is zero.
- ProxyNCALoss has the own proxy always in the sum (the paper: out), and drops rows whose probability
  underflows to zero.
- ProxyAnchorLoss: the same; a class without a far embedding counts in the divisor of both.
- SoftTripleLoss has no term of the centres (the paper's is ours by default).
- LargeMarginSoftmaxLoss, SphereFaceLoss: a constant scale instead of the papers' relaxation.
- it has neither AdaFace nor MagFace: those stand against the loops alone.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pytorch_metric_learning import losses as theirs

from likewise import losses
from likewise.errors import InputError
from likewise.losses.classes import ClassLoss

CLASSES, DIMENSION = 5, 4


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(16, DIMENSION, generator=generator, dtype=torch.float64, requires_grad=True)
    return x, torch.randint(0, CLASSES - 1, (16,), generator=generator)  # the last class has no item


PAIRS = [
    (losses.NormalizedSoftmax, {}, theirs.NormalizedSoftmaxLoss, {}, "W"),
    (losses.CosFace, {"scale": 8.0}, theirs.CosFaceLoss, {"scale": 8.0}, "W"),
    (losses.ArcFace, {"scale": 8.0}, theirs.ArcFaceLoss, {"scale": 8.0, "margin": math.degrees(0.5)}, "W"),
    (
        losses.SubCenterArcFace,
        {"scale": 8.0},
        theirs.SubCenterArcFaceLoss,
        {"scale": 8.0, "margin": math.degrees(0.5)},
        "W",
    ),
    (
        losses.ProxyNCA,
        {"include_positive": True, "scale": 2.0},
        theirs.ProxyNCALoss,
        {"softmax_scale": 2.0},
        "proxies",
    ),
    (losses.LargeMarginSoftmax, {}, theirs.LargeMarginSoftmaxLoss, {}, "W"),
    (losses.LargeMarginSoftmax, {"margin": 3}, theirs.LargeMarginSoftmaxLoss, {"margin": 3}, "W"),
    (losses.SphereFace, {}, theirs.SphereFaceLoss, {}, "W"),
    (losses.ProxyAnchor, {}, theirs.ProxyAnchorLoss, {}, "proxies"),
    (losses.SoftTriple, {"regularization": 0.0}, theirs.SoftTripleLoss, {}, "fc"),
]


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # theirs hands a tensor to scipy
@pytest.mark.parametrize(("ours", "options", "other", "other_options", "name"), PAIRS)
def test_equal_to_pytorch_metric_learning(
    ours: Any, options: dict[str, Any], other: Any, other_options: dict[str, Any], name: str
) -> None:
    x, y = batch()
    loss = ours(CLASSES, DIMENSION, **options).double()
    peer = other(num_classes=CLASSES, embedding_size=DIMENSION, **other_options).double()
    vectors = getattr(peer, name)
    turned = vectors.shape[0] == DIMENSION
    with torch.no_grad():
        vectors.copy_(loss.weight.T if turned else loss.weight)
    found, expected = loss(x, y), peer(x, y)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    a, b = torch.autograd.grad(found, (x, loss.weight)), torch.autograd.grad(expected, (x, vectors))
    torch.testing.assert_close(a[0], b[0], rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(a[1], b[1].T if turned else b[1], rtol=1e-7, atol=1e-8)


def with_vectors(loss: ClassLoss, w: torch.Tensor) -> ClassLoss:
    loss = loss.double()
    with torch.no_grad():
        loss.weight.copy_(w)
    return loss


def test_proxy_nca_may_be_negative() -> None:
    """Two antipodal proxies and x on its own: d = 0 and 4, so -log(e^0 / e^-4) = -4."""
    loss = with_vectors(losses.ProxyNCA(2, 2), torch.tensor([[0.0, 3.0], [0.0, -1.0]]))
    assert loss(torch.tensor([[0.0, 0.5]], dtype=torch.float64), [0]).item() == pytest.approx(-4.0)


def test_proxy_nca_with_its_proxy_is_cross_entropy_of_twice_the_cosine() -> None:
    x, y = batch()
    loss = losses.ProxyNCA(CLASSES, DIMENSION, include_positive=True).double()
    cosines = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(loss.weight).T
    torch.testing.assert_close(loss(x, y), torch.nn.functional.cross_entropy(2 * cosines, y))


def test_lengths_of_proxies_and_embeddings_are_a_scale() -> None:
    """The port's lengths (8, 1): |8p - x|^2 is 65 - 16 cos, so scale 8 but for a constant."""
    x, y = batch()
    loss = losses.ProxyNCA(CLASSES, DIMENSION, include_positive=True, scale=8.0).double()
    unit = torch.nn.functional.normalize
    squared = torch.cdist(unit(x), 8 * unit(loss.weight)) ** 2
    torch.testing.assert_close(loss(x, y), torch.nn.functional.cross_entropy(-squared, y))


def test_proxy_anchor_averages_its_parts_apart() -> None:
    """One embedding on proxy 0 of four orthogonal ones, a = 1 and m = 0: log(1 + 1/e) over the one proxy
    with a positive, and over all four (0 + 3 log 2) / 4."""
    x = torch.eye(4, dtype=torch.float64)[:1] * 7
    expected = {
        "mean": math.log(1 + math.exp(-1)) + 3 * math.log(2) / 4,
        "active": math.log(1 + math.exp(-1)) + math.log(2),
        "sum": math.log(1 + math.exp(-1)) + 3 * math.log(2),
    }
    for reduction, value in expected.items():
        loss = losses.ProxyAnchor(4, 4, margin=0.0, alpha=1.0, reduction=reduction)
        assert with_vectors(loss, torch.eye(4))(x, [0]).item() == pytest.approx(value)
    loss = losses.ProxyAnchor(4, 4, margin=0.0, alpha=1.0, reduction="none")
    by_class = with_vectors(loss, torch.eye(4))(x, [0])
    assert by_class.tolist() == pytest.approx([math.log(1 + math.exp(-1))] + [math.log(2)] * 3)


def test_a_margin_of_zero_is_the_normalized_softmax() -> None:
    x, y = batch()
    w = torch.randn(CLASSES, DIMENSION, dtype=torch.float64)
    plain = with_vectors(losses.NormalizedSoftmax(CLASSES, DIMENSION, temperature=1 / 8), w)(x, y)
    for build in (losses.CosFace, losses.ArcFace):
        torch.testing.assert_close(
            with_vectors(build(CLASSES, DIMENSION, margin=0.0, scale=8.0), w)(x, y), plain
        )
    one = losses.SoftTriple(CLASSES, DIMENSION, centres=1, margin=0.0, scale=8.0)
    torch.testing.assert_close(with_vectors(one, w)(x, y), plain)
    sub = losses.SubCenterArcFace(CLASSES, DIMENSION, centres=1, margin=0.0, scale=8.0)
    torch.testing.assert_close(with_vectors(sub, w)(x, y), plain)


@pytest.mark.parametrize("build", [losses.ArcFace, losses.SubCenterArcFace])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_arc_face_is_finite_on_its_vector_and_opposite(build: Any, sign: float) -> None:
    """At angle 0 the logit is s cos m, at angle pi -s - s m sin m; neither gradient is NaN."""
    w = torch.eye(3)[:2].repeat_interleave(3 if build is losses.SubCenterArcFace else 1, 0)
    loss = with_vectors(build(2, 3, margin=0.5, scale=2.0), w)
    x = (sign * torch.eye(3, dtype=torch.float64)[:1]).requires_grad_()
    value = loss(x, [0])
    own = 2 * math.cos(0.5) if sign > 0 else -2 - 2 * 0.5 * math.sin(0.5)
    assert value.item() == pytest.approx(math.log(1 + math.exp(-own)))
    value.backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weight.grad).all()


def test_arc_face_keeps_small_angles_in_float32() -> None:
    """At 1e-3 from its vector: cos(theta + m), where acos of a float32 cosine is off by 2 %."""
    x = torch.tensor([[math.cos(1e-3), math.sin(1e-3)]])
    loss = losses.ArcFace(2, 2, margin=0.5, scale=64.0)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    x.requires_grad_()
    expected = math.log1p(math.exp(64 * (math.sin(1e-3) - math.cos(1e-3 + 0.5))))
    value = loss(x, [0])
    assert value.item() == pytest.approx(expected, rel=1e-4)
    # the own logit's slope along the circle is -64 sin(theta + m)
    (slope,) = torch.autograd.grad(value, x)
    share = 1 - math.exp(-expected)
    along = slope[0, 1].item() * math.cos(1e-3) - slope[0, 0].item() * math.sin(1e-3)
    assert along == pytest.approx(share * 64 * (math.cos(1e-3) + math.sin(1e-3 + 0.5)), rel=1e-3)


def test_soft_triple_pulls_the_centres_of_a_class_together() -> None:
    """Two orthogonal centres are sqrt 2 apart: one pair over K (K - 1) = 2, mean over the one class."""
    loss = losses.SoftTriple(1, 2, centres=2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    assert loss.spread_of_centres().item() == pytest.approx(math.sqrt(2) / 2)
    loss.spread_of_centres().backward()
    assert (loss.weight.grad[0, 1] < 0) and (loss.weight.grad[1, 0] < 0)  # downhill they turn together
    with torch.no_grad():
        loss.weight[1] = loss.weight[0]
    loss.zero_grad()
    loss.spread_of_centres().backward()
    assert not loss.weight.grad.any()


def test_the_nearest_centre_gives_the_sub_center_angle() -> None:
    """Moving a centre that isn't the nearest changes nothing."""
    x, y = (values[:1] for values in batch())
    loss = losses.SubCenterArcFace(CLASSES, DIMENSION).double()
    before = loss(x, y)
    before.backward()
    untouched = (loss.weight.grad == 0).all(1)
    assert int(untouched.sum()) == 2 * CLASSES  # of three a class, one row reads one
    with torch.no_grad():
        loss.weight[untouched] *= 3.0  # a length changes nothing either
    torch.testing.assert_close(loss(x, y), before)


def test_large_margin_with_margin_one_is_the_plain_softmax() -> None:
    x, y = batch()
    loss = losses.LargeMarginSoftmax(CLASSES, DIMENSION, margin=1).double()
    torch.testing.assert_close(loss(x, y), torch.nn.functional.cross_entropy(x @ loss.weight.T, y))
    relaxed = losses.SphereFace(CLASSES, DIMENSION, relaxation=1e12).double()
    units = torch.nn.functional.normalize(relaxed.weight)
    torch.testing.assert_close(relaxed(x, y), torch.nn.functional.cross_entropy(x @ units.T, y))


def test_the_stepped_cosine_falls_over_all_angles() -> None:
    """psi(0) = 1 and psi(pi) = 1 - 2m: with |x| = 1 against an orthogonal class."""
    angles = torch.linspace(0, math.pi, 40, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], dim=1)
    w = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for margin in (1, 2, 3, 4, 5):
        loss = with_vectors(losses.SphereFace(2, 3, margin=margin, reduction="none"), w)
        logits = -torch.log(torch.expm1(loss(x, [0] * 40)))  # log(1 + e^-z) back to z
        assert logits[0].item() == pytest.approx(1.0)
        assert logits[-1].item() == pytest.approx(1.0 - 2 * margin)
        assert bool((logits.diff() < 0).all())


def test_ada_face_follows_the_norms_while_training_only() -> None:
    loss = losses.AdaFace(2, 2, momentum=0.5)
    x = torch.tensor([[3.0, 4.0], [0.0, 9.0]])  # norms 5 and 9: mean 7, deviation sqrt 8
    loss(x, [0, 1])
    assert float(loss.norm_mean) == pytest.approx((20 + 7) / 2)
    assert float(loss.norm_deviation) == pytest.approx((100 + math.sqrt(8)) / 2)
    loss.eval()
    loss(x, [0, 1])
    assert float(loss.norm_mean) == pytest.approx(13.5)


@pytest.mark.parametrize(("norm", "same"), [(1e-6, losses.ArcFace), (99.0, None), (20.0, losses.CosFace)])
def test_ada_face_lies_between_arc_face_and_cos_face(norm: float, same: Any) -> None:
    """Of poor quality (q = -1) it is ArcFace, of middling CosFace; of good quality harder than both."""
    angle = 0.9
    x = norm * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    loss = losses.AdaFace(2, 2, margin=0.4, scale=5.0, concentration=1e6 if norm != 20.0 else 0.3).eval()
    found = with_vectors(loss, torch.eye(2))(x, [0]).item()
    if same is not None:
        assert found == pytest.approx(
            with_vectors(same(2, 2, margin=0.4, scale=5.0), torch.eye(2))(x, [0]).item()
        )
    else:
        own = math.cos(angle - 0.4) - 0.8
        assert found == pytest.approx(math.log1p(math.exp(5 * (math.sin(angle) - own))))


def test_mag_face_is_arc_face_with_the_margin_of_the_norm() -> None:
    """At norm 60, half way: margin (0.45 + 0.8) / 2; and 35 (1 / 60 + 60 / 110^2) on top."""
    x = 60 * torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    found = with_vectors(losses.MagFace(2, 2, scale=4.0), torch.eye(2))(x, [0]).item()
    arc = with_vectors(losses.ArcFace(2, 2, scale=4.0, margin=0.625), torch.eye(2))(x, [0]).item()
    assert found == pytest.approx(arc + 35 * (1 / 60 + 60 / 110**2))


def test_bad_ranges_are_refused() -> None:
    for options in ({"lower_norm": 120.0}, {"lower_margin": 0.9}, {"norm_weight": -1.0}, {"beyond": "far"}):
        with pytest.raises(InputError, match=r"lower|norm_weight|beyond"):
            losses.MagFace(2, 2, **options)
    for options in ({"momentum": 0.0}, {"momentum": 1.5}, {"concentration": 0.0}, {"margin": 4.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            losses.AdaFace(2, 2, **options)
    for margin in (0, 2.5, True):
        with pytest.raises(InputError, match="margin must be a whole number"):
            losses.SphereFace(2, 2, margin=margin)
    with pytest.raises(InputError, match="at most pi"):
        losses.ArcFace(2, 2, margin=28.6)  # degrees
    with pytest.raises(InputError, match="beyond must be"):
        losses.ArcFace(2, 2, beyond="far")


def test_vectors_have_norms_about_one() -> None:
    norms = losses.ProxyNCA(500, 256).weight.norm(dim=1)
    assert abs(float(norms.mean().detach()) - 1.0) < 0.02


@pytest.mark.parametrize("build", [losses.ProxyNCA, losses.ArcFace, losses.SoftTriple, losses.ProxyAnchor])
def test_steps_bring_embeddings_to_their_vectors(build: Any) -> None:
    """Free embeddings and vectors, 60 steps: each embedding ends nearest its own class's vector."""
    x = torch.randn(30, 8, requires_grad=True)
    y = torch.arange(30) % 3
    loss = build(3, 8)
    optimizer = torch.optim.Adam([x, *loss.parameters()], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize
    nearest = (unit(x) @ unit(loss.weight).T).argmax(1) // loss.centres
    assert torch.equal(nearest, y)
