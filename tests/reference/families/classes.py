"""Losses against learned vectors of the classes, as loops over rows and classes.

A reference gives the terms of each row of the table, as ``(part, term)``, from embeddings x, vectors w and
the class of each embedding, -1 where it is unknown. Their contract is kept in losses/test_classes.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise import losses
from likewise.losses import Loss

Listed = list[list[tuple[str, Tensor]]]


@dataclass
class ClassReference:
    """How to build a class loss and what it must equal.

    rows_are_classes : whether the table's rows are the classes. angles : whether the plain formula goes
    through an angle, and so has no derivative where an embedding lies on its class's vector. held : whether
    something is held constant in the gradient, which so isn't that of the value.
    added : what a reduced value has on top, from the vectors.
    """

    build: Callable[..., Loss]
    terms: Callable[..., Listed]
    options: dict[str, Any] = field(default_factory=dict)
    rows_are_classes: bool = False
    angles: bool = False
    held: bool = False
    added: Callable[..., Tensor] | None = None

    @property
    def centres(self) -> int:
        return int(self.options.get("centres", 1))

    def loss(self, n_classes: int, dimension: int, **more: Any) -> Loss:
        return self.build(n_classes, dimension, **self.options, **more)


def unit(x: Tensor) -> Tensor:
    return x / x.norm()


def units(x: Tensor) -> list[Tensor]:
    return [unit(row) for row in x]


def product(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum()


def cross_entropy(own: Tensor, others: list[Tensor]) -> Tensor:
    """-log of the own class's share, exact also where nearly all is its own."""
    if not others:
        return own * 0
    return torch.logaddexp(own * 0, torch.logsumexp(torch.stack(others), 0) - own)


def softmax_terms(
    x: Tensor, w: Tensor, classes: list[int], own: Callable[..., Tensor], other: Callable[..., Tensor]
) -> Listed:
    """A row's cross-entropy, with logits by the cosine of embedding and vector."""
    rows: Listed = []
    u, v = units(x), units(w)
    for i, y in enumerate(classes):
        if y < 0:
            rows.append([])
            continue
        others = [other(product(u[i], v[c])) for c in range(len(w)) if c != y]
        rows.append([("joint", cross_entropy(own(product(u[i], v[y])), others))])
    return rows


def normalized(x: Tensor, w: Tensor, classes: list[int], temperature: float) -> Listed:
    logit = lambda cos: cos / temperature  # noqa: E731
    return softmax_terms(x, w, classes, logit, logit)


def cos_face(x: Tensor, w: Tensor, classes: list[int], margin: float, scale: float) -> Listed:
    return softmax_terms(x, w, classes, lambda cos: scale * (cos - margin), lambda cos: scale * cos)


def shifted_cosine(cos: Tensor, margin: float, beyond: str) -> Tensor:
    angle = torch.acos(cos.clamp(-1.0, 1.0))
    if beyond == "linear" and float(angle.detach()) > math.pi - margin:
        return cos - margin * math.sin(margin)
    if beyond == "easy" and float(cos.detach()) <= 0:
        return cos
    return torch.cos(angle + margin)


def arc_face(
    x: Tensor, w: Tensor, classes: list[int], margin: float, scale: float, beyond: str = "linear"
) -> Listed:
    own = lambda cos: scale * shifted_cosine(cos, margin, beyond)  # noqa: E731
    return softmax_terms(x, w, classes, own, lambda cos: scale * cos)


def proxy_nca(
    x: Tensor, w: Tensor, classes: list[int], include_positive: bool = False, scale: float = 1.0
) -> Listed:
    rows: Listed = []
    u, v = units(x), units(w)
    for i, y in enumerate(classes):
        weigh = lambda c, i=i: torch.exp(-scale * ((u[i] - v[c]) ** 2).sum())  # noqa: E731
        inside = [c for c in range(len(w)) if y >= 0 and (c != y or include_positive)]
        rows.append([("joint", -torch.log(weigh(y) / sum(weigh(c) for c in inside)))] if inside else [])
    return rows


def multi_proxy(
    x: Tensor, w: Tensor, classes: list[int], centres: int, include_positive: bool, scale: float
) -> Listed:
    rows: Listed = []
    u, v = units(x), units(w)
    for i, y in enumerate(classes):
        logits = [-scale * ((u[i] - a) ** 2).sum() for a in v]
        own = [z for c, z in enumerate(logits) if y >= 0 and c // centres == y]
        rest = [z for c, z in enumerate(logits) if y >= 0 and c // centres != y]
        inside = own + rest if include_positive else rest
        gap = torch.logsumexp(torch.stack(inside), 0) - torch.logsumexp(torch.stack(own), 0) if inside else 0
        rows.append([("joint", gap)] if inside else [])
    return rows


def p2s_grad(x: Tensor, w: Tensor, classes: list[int]) -> Listed:
    u, v = units(x), units(w)
    return [
        [("joint", sum((product(u[i], a) - float(c == y)) ** 2 for c, a in enumerate(v)))] if y >= 0 else []
        for i, y in enumerate(classes)
    ]


def proxy_anchor(x: Tensor, w: Tensor, classes: list[int], margin: float, alpha: float) -> Listed:
    rows: Listed = []
    u, v = units(x), units(w)
    for c in range(len(w)):
        near = [i for i, y in enumerate(classes) if y == c]
        far = [i for i, y in enumerate(classes) if y not in (c, -1)]
        row = []
        if near:
            pull = sum(torch.exp(-alpha * (product(u[i], v[c]) - margin)) for i in near)
            row.append(("near", torch.log(1 + pull)))
        push = sum((torch.exp(alpha * (product(u[i], v[c]) + margin)) for i in far), w.sum() * 0)
        row.append(("far", torch.log(1 + push)))
        rows.append(row)
    return rows


def soft_triple(
    x: Tensor,
    w: Tensor,
    classes: list[int],
    centres: int,
    margin: float,
    scale: float,
    temperature: float,
    regularization: float,
) -> Listed:
    rows: Listed = []
    u, v = units(x), units(w)
    for i, y in enumerate(classes):
        similar = []
        for c in range(len(w) // centres):
            cosines = torch.stack([product(u[i], v[c * centres + k]) for k in range(centres)])
            shares = torch.exp(cosines / temperature) / torch.exp(cosines / temperature).sum()
            similar.append((shares * cosines).sum())
        if y < 0:
            rows.append([])
            continue
        others = [scale * s for c, s in enumerate(similar) if c != y]
        rows.append([("joint", cross_entropy(scale * (similar[y] - margin), others))])
    return rows


def spread_of_centres(w: Tensor, centres: int, regularization: float, **_: Any) -> Tensor:
    total = w.sum() * 0
    for first in range(0, len(w), centres):
        for s in range(centres):
            for t in range(s):
                total = total + (unit(w[first + s]) - unit(w[first + t])).norm()
    return regularization * total / (len(w) // centres * centres * max(1, centres - 1))


def sub_centre_arc_face(
    x: Tensor, w: Tensor, classes: list[int], centres: int, margin: float, scale: float, beyond: str
) -> Listed:
    rows: Listed = []
    u, v = units(x), units(w)
    for i, y in enumerate(classes):
        if y < 0:
            rows.append([])
            continue
        best = []
        for c in range(len(w) // centres):
            cosines = [product(u[i], v[c * centres + k]) for k in range(centres)]
            best.append(max(cosines, key=lambda cos: float(cos.detach())))
        own = scale * shifted_cosine(best[y], margin, beyond)
        rows.append([("joint", cross_entropy(own, [scale * b for c, b in enumerate(best) if c != y]))])
    return rows


def norm_terms(
    x: Tensor, w: Tensor, classes: list[int], own: Callable[..., Tensor], other: Callable[..., Tensor]
) -> Listed:
    """A row's cross-entropy, with logits by (embedding, vector)."""
    rows: Listed = []
    for i, y in enumerate(classes):
        others = [other(x[i], w[c]) for c in range(len(w)) if c != y]
        rows.append([("joint", cross_entropy(own(x[i], w[y]), others))] if y >= 0 else [])
    return rows


def stepped(x: Tensor, w: Tensor, margin: int, relaxation: float) -> Tensor:
    cos = product(unit(x), unit(w))
    angle = torch.acos(cos.clamp(-1.0, 1.0))
    k = min(margin - 1, math.floor(float(angle.detach()) * margin / math.pi))
    return (relaxation * cos + (-1) ** k * torch.cos(margin * angle) - 2 * k) / (1 + relaxation)


def large_margin(x: Tensor, w: Tensor, classes: list[int], margin: int, relaxation: float = 0.0) -> Listed:
    own = lambda a, b: a.norm() * b.norm() * stepped(a, b, margin, relaxation)  # noqa: E731
    return norm_terms(x, w, classes, own, product)


def sphere_face(x: Tensor, w: Tensor, classes: list[int], margin: int, relaxation: float = 0.0) -> Listed:
    own = lambda a, b: a.norm() * stepped(a, b, margin, relaxation)  # noqa: E731
    return norm_terms(x, w, classes, own, lambda a, b: product(a, unit(b)))


NORM_MEAN, NORM_DEVIATION = 3.0, 1.5


def ada_face_loss(n_classes: int, dimension: int, **options: Any) -> Loss:
    loss = losses.AdaFace(n_classes, dimension, **options)
    loss.norm_mean.fill_(NORM_MEAN)
    loss.norm_deviation.fill_(NORM_DEVIATION)
    return loss


def ada_face(
    x: Tensor, w: Tensor, classes: list[int], margin: float, scale: float, concentration: float
) -> Listed:
    def own(a: Tensor, b: Tensor) -> Tensor:
        norm = min(100.0, max(0.001, float(a.detach().norm())))
        quality = max(-1.0, min(1.0, (norm - NORM_MEAN) / (NORM_DEVIATION + 0.001) * concentration))
        angle = torch.acos(product(unit(a), unit(b)).clamp(-1.0, 1.0)) - margin * quality
        return scale * (torch.cos(angle.clamp(0.001, math.pi - 0.001)) - margin * quality - margin)

    return norm_terms(x, w, classes, own, lambda a, b: scale * product(unit(a), unit(b)))


def mag_face(
    x: Tensor,
    w: Tensor,
    classes: list[int],
    lower_norm: float,
    upper_norm: float,
    lower_margin: float,
    upper_margin: float,
    scale: float,
    norm_weight: float,
    beyond: str = "linear",
) -> Listed:
    def own(a: Tensor, b: Tensor) -> Tensor:
        norm = a.norm().clamp(lower_norm, upper_norm)
        margin = lower_margin + (upper_margin - lower_margin) * (norm - lower_norm) / (
            upper_norm - lower_norm
        )
        cos = product(unit(a), unit(b))
        angle = torch.acos(cos.clamp(-1.0, 1.0))
        if beyond == "linear" and float((angle + margin).detach()) > math.pi:
            return scale * (cos - margin * torch.sin(margin))
        if beyond == "easy" and float(cos.detach()) <= 0:
            return scale * cos
        return scale * torch.cos(angle + margin)

    rows = norm_terms(x, w, classes, own, lambda a, b: scale * product(unit(a), unit(b)))
    for a, row in zip(x, rows, strict=True):
        norm = a.norm().clamp(lower_norm, upper_norm)
        row[:] = [(part, term + norm_weight * (1 / norm + norm / upper_norm**2)) for part, term in row]
    return rows


NORMS = {"lower_norm": 0.5, "upper_norm": 3.0, "lower_margin": 0.3, "upper_margin": 0.8}

CLASSES: dict[str, list[ClassReference]] = {
    "NormalizedSoftmax": [ClassReference(losses.NormalizedSoftmax, normalized, {"temperature": 0.2})],
    "CosFace": [ClassReference(losses.CosFace, cos_face, {"margin": 0.35, "scale": 6.0})],
    "ArcFace": [
        ClassReference(losses.ArcFace, arc_face, {"margin": 0.5, "scale": 6.0, "beyond": way}, angles=True)
        for way in ("linear", "easy", "cosine")
    ],
    "ProxyNCA": [
        ClassReference(losses.ProxyNCA, proxy_nca),
        ClassReference(losses.ProxyNCA, proxy_nca, {"include_positive": True, "scale": 3.0}),
    ],
    "MultiProxy": [
        ClassReference(
            losses.MultiProxy, multi_proxy, {"centres": k, "include_positive": inside, "scale": 3.0}
        )
        for k, inside in ((3, True), (2, False), (1, False))
    ],
    "P2SGrad": [ClassReference(losses.P2SGrad, p2s_grad)],
    "Instance": [ClassReference(losses.Instance, normalized, {"temperature": 0.2})],
    "ProxyAnchor": [
        ClassReference(losses.ProxyAnchor, proxy_anchor, {"margin": 0.1, "alpha": 8.0}, rows_are_classes=True)
    ],
    "SoftTriple": [
        ClassReference(
            losses.SoftTriple,
            soft_triple,
            {"centres": k, "margin": 0.1, "scale": 5.0, "temperature": 0.3, "regularization": r},
            added=spread_of_centres,
        )
        for k, r in ((3, 0.2), (1, 0.2), (2, 0.0))
    ],
    "LargeMarginSoftmax": [
        ClassReference(losses.LargeMarginSoftmax, large_margin, {"margin": 4}, angles=True),
        ClassReference(
            losses.LargeMarginSoftmax, large_margin, {"margin": 3, "relaxation": 2.0}, angles=True
        ),
    ],
    "SphereFace": [ClassReference(losses.SphereFace, sphere_face, {"margin": 4}, angles=True)],
    "AdaFace": [
        ClassReference(
            ada_face_loss,
            ada_face,
            {"margin": 0.4, "scale": 6.0, "concentration": 0.7},
            angles=True,
            held=True,
        )
    ],
    "MagFace": [
        ClassReference(
            losses.MagFace,
            mag_face,
            NORMS | {"scale": 6.0, "norm_weight": 2.0, "beyond": way},
            angles=True,
        )
        for way in ("linear", "easy", "cosine")
    ],
    "SubCenterArcFace": [
        ClassReference(
            losses.SubCenterArcFace,
            sub_centre_arc_face,
            {"centres": 3, "margin": 0.5, "scale": 6.0, "beyond": "linear"},
            angles=True,
        )
    ],
}

REFERENCES: dict[str, list[Any]] = {}
ELSEWHERE = dict.fromkeys(CLASSES, "losses/test_classes.py")
