"""Multi-similarity, circle, lifted structure over sets, FastAP, PNP and Smooth-AP."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise import losses
from reference.losses import Reference, Terms, cosine, euclidean, hinge


def _log_sum(values: list[Tensor]) -> Tensor:
    """log(sum exp), taken from the largest so that nothing overflows."""
    top = max(float(v.detach()) for v in values)
    return top + torch.log(sum(torch.exp(v - top) for v in values))


def multi_similarity(
    near: list[Tensor],
    far: list[Tensor],
    near_scale: float,
    far_scale: float,
    threshold: float,
    mining: float | None,
) -> Terms:
    if mining is None:
        if not near and not far:
            return
    else:
        if not near or not far:
            return
        farthest, nearest = max(near), min(far)
        near = [d for d in near if d > nearest - mining]
        far = [d for d in far if d < farthest + mining]
        if not near or not far:
            yield "joint", (farthest + nearest) * 0
            return
    total = 0.0
    if near:
        zero = near[0] * 0
        total = total + _log_sum([zero, *((d - threshold) * near_scale for d in near)]) / near_scale
    if far:
        zero = far[0] * 0
        total = total + _log_sum([zero, *((threshold - d) * far_scale for d in far)]) / far_scale
    yield "joint", total


def circle(
    near: list[Tensor], far: list[Tensor], margin: float, scale: float, detached_weights: bool
) -> Terms:
    if not near or not far:
        return
    fixed = Tensor.detach if detached_weights else (lambda weight: weight)
    pulls, pushes = [], []
    for d in near:
        s = 1 - d
        pulls.append(-scale * fixed(hinge(1 + margin - s)) * (s - (1 - margin)))
    for d in far:
        s = 1 - d
        pushes.append(scale * fixed(hinge(s + margin)) * (s - margin))
    total = _log_sum(pulls) + _log_sum(pushes)
    yield "joint", torch.logaddexp(total, total * 0)


def lifted_sets(near: list[Tensor], far: list[Tensor], margin: float) -> Terms:
    if near and far:
        yield "joint", hinge(_log_sum(near) + _log_sum([margin - d for d in far]))


def fast_ap(near: list[Tensor], far: list[Tensor], bins: int, limit: float) -> Terms:
    if not near or not far:
        return
    width = limit / bins
    positives, everything, precision = near[0] * 0, near[0] * 0, near[0] * 0
    for number in range(bins + 1):
        alike = sum((hinge(1 - abs(d - number * width) / width) for d in near), near[0] * 0)
        unlike = sum((hinge(1 - abs(d - number * width) / width) for d in far), near[0] * 0)
        positives = positives + alike
        everything = everything + alike + unlike
        if everything > 0:
            precision = precision + alike * positives / everything
    value = 1 - precision / len(near)
    yield "joint", value if abs(value) > 1e-12 else value * 0  # rounding isn't activity


def _counted(near: list[Tensor], count_self: bool) -> list[Tensor]:
    return [*near, near[0] * 0] if count_self else near


def _before(d: Tensor, others: list[Tensor], temperature: float) -> Tensor:
    return sum((torch.sigmoid((d - other) / temperature) for other in others), d * 0)


def pnp(
    near: list[Tensor],
    far: list[Tensor],
    variant: str,
    temperature: float,
    exponent: float = 1.0,
    bound: float = 2.0,
    count_self: bool = False,
) -> Terms:
    if not near or not far:
        return
    penalty: dict[str, Any] = {
        "linear": lambda r: r,
        "log": lambda r: torch.log(1 + r),
        "power": lambda r: 1 - (1 + r) ** -exponent,
        "entropy": lambda r: (1 + r) * torch.log(1 + r),
        "bounded": lambda r: (bound * r - torch.log(1 + bound * r)) / bound**2,
    }
    alike = _counted(near, count_self)
    yield "joint", sum(penalty[variant](_before(d, far, temperature)) for d in alike) / len(alike)


def smooth_ap(near: list[Tensor], far: list[Tensor], temperature: float, count_self: bool = False) -> Terms:
    if not near or not far:
        return
    alike = _counted(near, count_self)
    precision = near[0] * 0
    for number, d in enumerate(alike):
        rank = 1 + _before(d, alike[:number] + alike[number + 1 :], temperature)
        precision = precision + rank / (rank + _before(d, far, temperature))
    yield "joint", 1 - precision / len(alike)


_MINED = {"near_scale": 2.0, "far_scale": 50.0, "threshold": 0.5, "mining": 0.1}
_ALL = {"near_scale": 1.5, "far_scale": 10.0, "threshold": 0.8, "mining": None}
_DETACHED = "the weights of the terms are constants in its gradient, as in the paper"

REFERENCES: dict[str, list[Reference]] = {
    "MultiSimilarity": [
        Reference(losses.MultiSimilarity, multi_similarity, _MINED, cosine),
        Reference(losses.MultiSimilarity, multi_similarity, _ALL, cosine),
    ],
    "Circle": [
        Reference(
            losses.Circle,
            circle,
            {"margin": 0.4, "scale": 80.0, "detached_weights": True},
            cosine,
            no_gradcheck=_DETACHED,
        ),
        Reference(losses.Circle, circle, {"margin": 0.25, "scale": 4.0, "detached_weights": False}, cosine),
    ],
    "GeneralizedLiftedStructure": [
        Reference(losses.GeneralizedLiftedStructure, lifted_sets, {"margin": 0.8}, euclidean),
    ],
    "FastAP": [
        Reference(losses.FastAP, fast_ap, {"bins": 10, "limit": 2.0}, cosine),
        Reference(losses.FastAP, fast_ap, {"bins": 3, "limit": 1.1}, cosine),
    ],
    "PNP": [
        Reference(losses.PNP, pnp, {"variant": "linear", "temperature": 0.05}, cosine),
        Reference(losses.PNP, pnp, {"variant": "log", "temperature": 0.3, "count_self": True}, cosine),
        Reference(losses.PNP, pnp, {"variant": "power", "temperature": 0.2, "exponent": 2.0}, cosine),
        Reference(losses.PNP, pnp, {"variant": "entropy", "temperature": 0.1}, cosine),
        Reference(losses.PNP, pnp, {"variant": "bounded", "temperature": 0.2, "bound": 3.0}, cosine),
    ],
    "SmoothAP": [
        Reference(losses.SmoothAP, smooth_ap, {"temperature": 0.05}, cosine),
        Reference(losses.SmoothAP, smooth_ap, {"temperature": 0.3, "count_self": True}, cosine),
    ],
}

ELSEWHERE = {"LiftedStructure": "losses/test_lifted.py"}
