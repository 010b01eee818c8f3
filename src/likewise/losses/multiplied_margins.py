"""Angular margins that multiply the angle: L-Softmax, and A-Softmax (SphereFace)."""

from __future__ import annotations

import math
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from likewise.distances import Dot, Form, ProductDistance, unit_rows
from likewise.losses.base import positive
from likewise.losses.classes import ClassOptions, count
from likewise.losses.own_logit import OwnLogit, OwnTerms

__all__ = ["LargeMarginSoftmax", "SphereFace"]


class _UnitColumns(ProductDistance):
    """``-x.w/|w|``: minus the inner product with unit columns."""

    form = Form.NEGATIVE_PRODUCT

    def column_features(self, y: Tensor) -> Tensor:
        return unit_rows(y)


def _stepped_cosine(cosine: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """``(-1)^k cos(m theta) - 2k`` for theta in [k pi / m, (k + 1) pi / m], falling; and its slope."""
    # Chebyshev: cos(m theta) and sin(m theta) / sin(theta) from cos theta
    power, ratio = cosine, torch.ones_like(cosine)
    for _ in range(multiple - 1):
        power, ratio = cosine * power - (1.0 - cosine * cosine) * ratio, cosine * ratio + power
    angle = torch.acos(cosine.clamp(-1.0, 1.0))
    step = (angle * (multiple / math.pi)).floor().clamp_(max=multiple - 1)
    sign = 1.0 - 2.0 * (step % 2)
    return sign * power - 2.0 * step, sign * ratio * multiple


class _MultipliedMargin(OwnLogit):
    """A loss whose own angle is multiplied, over some products of embeddings and vectors."""

    products: ClassVar[type[ProductDistance]]

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: int = 4,
        relaxation: float = 0.0,
        **options: Unpack[ClassOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=self.products(), **options)
        self.margin = count("margin", margin)
        self.relaxation = positive("relaxation", relaxation, zero=True)
        self.rate = 1.0

    def row_numbers(self, rows: Tensor) -> Tensor:
        """``|x|``."""
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return lengths

    def own_logits(self, distances: Tensor, of_rows: Tensor, of_vectors: Tensor | None) -> OwnTerms:
        """``|x| |w| (lambda cos theta + psi(theta)) / (1 + lambda)``, of distances ``-|x| |w| cos theta``."""
        lengths = of_rows if of_vectors is None else of_rows * of_vectors
        tiny = torch.finfo(lengths.dtype).tiny
        cosine = -distances / lengths.clamp(min=tiny)  # of a zero vector zero
        value, slope = _stepped_cosine(cosine, self.margin)
        if self.relaxation:
            part = 1.0 / (1.0 + self.relaxation)
            value, slope = (self.relaxation * cosine + value) * part, (self.relaxation + slope) * part
        by_lengths = value - cosine * slope
        by_distance = torch.where(lengths > 0, -slope, 0.0)
        if of_vectors is None:
            return OwnTerms(lengths * value, by_distance, by_lengths)
        return OwnTerms(lengths * value, by_distance, by_lengths * of_vectors, by_lengths * of_rows)


class LargeMarginSoftmax(_MultipliedMargin):
    r"""Large-margin softmax (L-Softmax): the own logit is ``|w_y| |x| psi(theta_y)``, the others' ``w_c.x``.

    ``psi(theta) = (-1)^k cos(m theta) - 2k`` for theta between ``k pi / m`` and ``(k + 1) pi / m``.

    Defaults: inner products of embeddings and vectors as given, m = 4, mean over the rows; the same as
    pytorch-metric-learning's LargeMarginSoftmaxLoss.

    Parameters
    ----------
    n_classes, dimension : int
    margin : int, above 0
        m; 1 is the plain softmax.
    relaxation : float, 0 or more
        The paper's lambda: the own logit is ``(lambda cos theta + psi) / (1 + lambda)`` of the lengths. The
        authors begin large and let it fall while training; it is an attribute that may be set.

    References
    ----------
    W. Liu, Y. Wen, Z. Yu, M. Yang, "Large-margin softmax loss for convolutional neural networks", 2016,
    equations 4 to 6 and 8 (numbers partly from memory).

    >>> loss = LargeMarginSoftmax(2, 2, margin=2)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[1.0, 1.0]]), [0]).item(), 4)  # cos 90 degrees = 0 against 1: log(1 + e)
    1.3133
    """

    products = Dot

    def vector_numbers(self, vectors: Tensor, own: Tensor) -> Tensor | None:
        """``|w|``."""
        lengths: Tensor = torch.linalg.vector_norm(vectors.index_select(0, own), dim=1)
        return lengths


class SphereFace(_MultipliedMargin):
    r"""Angular softmax (A-Softmax): the own logit is ``|x| psi(theta_y)``, the others' ``|x| cos theta_c``.

    As :class:`LargeMarginSoftmax` with vectors at unit length; embeddings keep theirs.

    Defaults: m = 4, mean over the rows; the same as pytorch-metric-learning's SphereFaceLoss.

    Parameters
    ----------
    n_classes, dimension : int
    margin : int, above 0
        m.
    relaxation : float, 0 or more
        As in LargeMarginSoftmax; the authors let it fall from 1,000 to 5.

    References
    ----------
    W. Liu et al., "SphereFace: deep hypersphere embedding for face recognition", 2017, equation 7.

    >>> loss = SphereFace(2, 2, margin=2)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(5 * torch.eye(2))
    >>> round(loss(torch.tensor([[1.0, 1.0]]), [0]).item(), 4)  # cos 90 degrees = 0 against 1: log(1 + e)
    1.3133
    """

    products = _UnitColumns
