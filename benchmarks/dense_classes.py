"""Losses against learned vectors in dense plain PyTorch: all logits at once, the gradient by autograd."""

from __future__ import annotations

import math

import torch
from dense import cosines
from torch import Tensor
from torch.nn import functional

__all__ = [
    "ada_face",
    "arc_face",
    "cos_face",
    "large_margin",
    "mag_face",
    "proxy_anchor",
    "soft_triple",
    "softmax",
    "sub_centers",
]


def softmax(x: Tensor, y: Tensor, weight: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy over the cosines with one vector a class; Proxy-NCA's too, at half the temperature."""
    return functional.cross_entropy(cosines(x, weight) / temperature, y)


def cos_face(x: Tensor, y: Tensor, weight: Tensor, *, margin: float, scale: float) -> Tensor:
    """Cross-entropy with a margin off the own cosine."""
    cosine = cosines(x, weight)
    shift = torch.zeros_like(cosine).scatter(1, y[:, None], margin)
    return functional.cross_entropy(scale * (cosine - shift), y)


def _with_angle(cosine: Tensor, y: Tensor, margin: float) -> Tensor:
    """Cosines (n, c) with a margin added to the own angle; beyond pi they go on linearly."""
    own = cosine.gather(1, y[:, None])
    angle = own.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    own = torch.where(angle <= math.pi - margin, (angle + margin).cos(), own - margin * math.sin(margin))
    return cosine.scatter(1, y[:, None], own)


def arc_face(x: Tensor, y: Tensor, weight: Tensor, *, margin: float, scale: float) -> Tensor:
    """Cross-entropy with a margin on the own angle."""
    return functional.cross_entropy(scale * _with_angle(cosines(x, weight), y, margin), y)


def sub_centers(x: Tensor, y: Tensor, weight: Tensor, *, centres: int, margin: float, scale: float) -> Tensor:
    """ArcFace on the nearest of several centres a class."""
    cosine = cosines(x, weight).view(len(x), -1, centres).amax(2)
    return functional.cross_entropy(scale * _with_angle(cosine, y, margin), y)


def soft_triple(
    x: Tensor, y: Tensor, weight: Tensor, *, centres: int, margin: float, scale: float, temperature: float
) -> Tensor:
    """Cross-entropy on a soft choice among several centres a class."""
    cosine = cosines(x, weight).view(len(x), -1, centres)
    classes = ((cosine / temperature).softmax(2) * cosine).sum(2)
    shift = torch.zeros_like(classes).scatter(1, y[:, None], margin)
    return functional.cross_entropy(scale * (classes - shift), y)


def large_margin(x: Tensor, y: Tensor, weight: Tensor, *, multiple: int) -> Tensor:
    """Cross-entropy of products with the own angle multiplied; SphereFace where the vectors are unit."""
    logits = x @ weight.T
    lengths = (x.norm(dim=1) * weight[y].norm(dim=1))[:, None]
    angle = (logits.gather(1, y[:, None]) / lengths).clamp(-1 + 1e-7, 1 - 1e-7).acos()
    step = (angle * (multiple / math.pi)).floor()
    own = lengths * ((1 - 2 * (step % 2)) * (multiple * angle).cos() - 2 * step)
    return functional.cross_entropy(logits.scatter(1, y[:, None], own), y)


def ada_face(
    x: Tensor, y: Tensor, weight: Tensor, *, margin: float, scale: float, concentration: float
) -> Tensor:
    """ArcFace to CosFace by the embeddings' norms, with statistics of 20 and 100."""
    cosine = cosines(x, weight)
    quality = ((x.detach().norm(dim=1) - 20.0) * concentration / (100.0 + 0.001)).clamp(-1, 1)[:, None]
    angle = cosine.gather(1, y[:, None]).clamp(-1 + 1e-7, 1 - 1e-7).acos()
    own = (angle - margin * quality).clamp(0.001, math.pi - 0.001).cos() - margin * (quality + 1)
    return functional.cross_entropy(scale * cosine.scatter(1, y[:, None], own), y)


def mag_face(
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    *,
    norms: tuple[float, float],
    margins: tuple[float, float],
    scale: float,
    norm_weight: float,
) -> Tensor:
    """ArcFace with a margin that grows with the norm, and a price on small norms."""
    norm = x.norm(dim=1).clamp(*norms)
    margin = margins[0] + (margins[1] - margins[0]) / (norms[1] - norms[0]) * (norm - norms[0])
    cosine, margin = cosines(x, weight), margin[:, None]
    own = cosine.gather(1, y[:, None])
    angle = own.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    own = torch.where(angle <= math.pi - margin, (angle + margin).cos(), own - margin * margin.sin())
    price = norm_weight * (1 / norm + norm / norms[1] ** 2).mean()
    return functional.cross_entropy(scale * cosine.scatter(1, y[:, None], own), y) + price


def proxy_anchor(x: Tensor, y: Tensor, weight: Tensor, *, margin: float, alpha: float) -> Tensor:
    """Proxies as anchors: those with a positive pull, all push."""
    similarity = cosines(weight, x)
    own = torch.arange(len(weight), device=y.device)[:, None] == y
    pull = (alpha * (margin - similarity)).masked_fill(~own, -torch.inf)
    push = (alpha * (similarity + margin)).masked_fill(own, -torch.inf)
    some = own.any(1)
    return functional.softplus(pull[some].logsumexp(1)).mean() + functional.softplus(push.logsumexp(1)).mean()
