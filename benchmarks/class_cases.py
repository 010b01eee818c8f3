"""Losses against learned vectors of the classes, beside pytorch-metric-learning's and dense ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dense_classes as dense
import torch
from contenders import Batch, Case, Contender, floor, squares
from pytorch_metric_learning import distances as their_distances
from pytorch_metric_learning import losses as theirs
from torch import Tensor
from torch.nn import functional

from likewise import losses
from likewise.distances import Cosine, Distance, Dot

__all__ = ["CLASS_CASES", "class_case"]


def class_case(
    name: str,
    loss: Callable[[int, int], Any],
    plain: Callable[[Tensor, Tensor, Tensor], Tensor],
    other: Callable[..., torch.nn.Module] | None = None,
    *,
    bare: Distance | None = None,
    centres: int = 1,
    fused: bool = True,
    proxies_are_rows: bool = False,
    walked: bool = True,
) -> Case:
    """A loss against as many learned vectors as there are rows, or several times as many."""
    distance = Cosine() if bare is None else bare

    def vectors(batch: Batch) -> Tensor:
        n, d = batch.x.shape
        return batch.more((batch.classes or n) * centres, d).div_(d**0.5)

    def ours(batch: Batch) -> Contender:
        n, d = batch.x.shape
        module, x = loss(batch.classes or n, d), batch.x.clone().requires_grad_()
        with torch.no_grad():
            module.weight.copy_(vectors(batch))
        return Contender(lambda: module(x, batch.y), [x, module.weight])

    def plainly(batch: Batch) -> Contender:
        x, weight = batch.x.clone().requires_grad_(), vectors(batch).requires_grad_()
        return Contender(lambda: plain(x, batch.y, weight), [x, weight])

    def their(batch: Batch) -> Contender:
        assert other is not None
        n, d = batch.x.shape
        module, x = other(num_classes=batch.classes or n, embedding_size=d), batch.x.clone().requires_grad_()
        ((kept_as, weight),) = module.named_parameters()
        given, turned = vectors(batch), kept_as != "proxies"
        with torch.no_grad():
            weight.copy_(given.T if turned else given)
        return _Turned(lambda: module(x, batch.y), [x, weight], turned)

    def bare_walk(batch: Batch) -> Callable[[], object]:
        both = (vectors(batch), batch.x) if proxies_are_rows else (batch.x, vectors(batch))
        return floor(distance, *both)

    cost = squares(8 * centres)
    there = None if other is None else their
    return Case(
        name,
        fused,
        ours,
        plainly,
        cost,
        there,
        None if other is None else cost,
        bare_walk if walked else None,
    )


@dataclass(frozen=True)
class _Turned(Contender):
    """Theirs keep some vectors as columns."""

    turned: bool

    def gradients(self) -> list[Tensor]:
        x, weight = super().gradients()
        return [x, weight.T if self.turned else weight]


CLASS_CASES = (
    class_case(
        "NormalizedSoftmax",
        losses.NormalizedSoftmax,
        lambda x, y, w: dense.softmax(x, y, w, temperature=0.05),
        lambda **sizes: theirs.NormalizedSoftmaxLoss(distance=their_distances.CosineSimilarity(), **sizes),
    ),
    class_case(
        "CosFace",
        losses.CosFace,
        lambda x, y, w: dense.cos_face(x, y, w, margin=0.35, scale=64.0),
        theirs.CosFaceLoss,
    ),
    class_case(
        "ArcFace",
        losses.ArcFace,
        lambda x, y, w: dense.arc_face(x, y, w, margin=0.5, scale=64.0),
        lambda **sizes: theirs.ArcFaceLoss(margin=math.degrees(0.5), **sizes),
    ),
    class_case(
        "ProxyNCA",
        lambda n, d: losses.ProxyNCA(n, d, include_positive=True),
        lambda x, y, w: dense.softmax(x, y, w, temperature=0.5),
        theirs.ProxyNCALoss,
    ),
    class_case(
        "ProxyAnchor",
        losses.ProxyAnchor,
        lambda x, y, w: dense.proxy_anchor(x, y, w, margin=0.1, alpha=32.0),
        theirs.ProxyAnchorLoss,
        proxies_are_rows=True,
    ),
    class_case(
        "SoftTriple",
        lambda n, d: losses.SoftTriple(n, d, centres=2, regularization=0.0),
        lambda x, y, w: dense.soft_triple(x, y, w, centres=2, margin=0.01, scale=20.0, temperature=0.1),
        lambda **sizes: theirs.SoftTripleLoss(centers_per_class=2, **sizes),
        centres=2,
        fused=False,
    ),
    class_case(
        "SubCenterArcFace",
        lambda n, d: losses.SubCenterArcFace(n, d, centres=2),
        lambda x, y, w: dense.sub_centers(x, y, w, centres=2, margin=0.5, scale=64.0),
        lambda **sizes: theirs.SubCenterArcFaceLoss(sub_centers=2, margin=math.degrees(0.5), **sizes),
        centres=2,
        fused=False,
    ),
    class_case(
        "LargeMarginSoftmax",
        losses.LargeMarginSoftmax,
        lambda x, y, w: dense.large_margin(x, y, w, multiple=4),
        theirs.LargeMarginSoftmaxLoss,
        bare=Dot(),
    ),
    class_case(
        "SphereFace",
        losses.SphereFace,
        lambda x, y, w: dense.large_margin(x, y, functional.normalize(w), multiple=4),
        theirs.SphereFaceLoss,
        bare=Dot(),
    ),
    class_case(
        "AdaFace",
        lambda n, d: losses.AdaFace(n, d).eval(),  # so that its statistics stay
        lambda x, y, w: dense.ada_face(x, y, w, margin=0.4, scale=64.0, concentration=0.333),
    ),
    class_case(
        "MagFace",
        losses.MagFace,
        lambda x, y, w: dense.mag_face(
            x, y, w, norms=(10.0, 110.0), margins=(0.45, 0.8), scale=64.0, norm_weight=35.0
        ),
    ),
)
