"""Margins that read an embedding's norm as the quality of its image: AdaFace and MagFace."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine
from likewise.errors import InputError
from likewise.losses.angular_margins import Beyond, check_angles
from likewise.losses.base import positive
from likewise.losses.classes import ClassOptions
from likewise.losses.own_logit import OwnLogit, OwnTerms

__all__ = ["AdaFace", "MagFace"]


def _shifted(distance: Tensor, margin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``cos(theta + margin)`` of cosine distances, and its derivatives by distance and margin."""
    cosine = 1.0 - distance
    sine = (distance * (2.0 - distance)).clamp(min=0.0).sqrt()
    along, across = margin.cos(), margin.sin()
    by_distance = -along - across * torch.where(sine > 0, cosine / sine, 0.0)
    return cosine * along - sine * across, by_distance, -cosine * across - sine * along


class AdaFace(OwnLogit):
    r"""AdaFace: a margin that grows with the embedding's norm, taken for the quality of the image.

    With ``q = clip((|x| - mean) / (std / h), -1, 1)``, running mean and deviation of the norms, the own
    logit is ``s (cos(theta_y - m q) - (m q + m))``, the others' ``s cos theta_c``: at q = -1 an angular
    margin (ArcFace), at q = 0 an additive one (CosFace). q isn't differentiated.

    Defaults: cosine distance, s = 64, m = 0.4, h = 0.333, momentum 0.01, mean over the rows; norms are
    clipped to [0.001, 100] and the shifted angle to [0.001, pi - 0.001], as in the authors' code. The
    statistics start at 20 and 100 and follow the batches while the loss is in training mode.
    pytorch-metric-learning has none.

    Parameters
    ----------
    n_classes, dimension : int
    margin : float, 0 to pi
        m.
    scale : float, above 0
        s.
    concentration : float, above 0
        h.
    momentum : float, above 0, at most 1
        The weight of a batch in the running mean and deviation (1: the batch's alone).

    References
    ----------
    M. Kim, A. Jain, X. Liu, "AdaFace: quality adaptive margin for face recognition", 2022, equations 12
    to 15 (numbers, and the authors' code, from memory).

    >>> loss = AdaFace(2, 2, margin=0.4, scale=1.0, momentum=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> x = torch.tensor([[0.6, 0.8], [0.6, 0.8]])  # the same norm, so q = 0: 0.6 - 0.4 against 0.8
    >>> round(loss(x, [0, 0]).item(), 4)  # log(1 + exp(0.6))
    1.0375
    """

    norm_mean: Tensor
    norm_deviation: Tensor

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        concentration: float = 0.333,
        momentum: float = 0.01,
        **options: Unpack[ClassOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), **options)
        check_angles(margin, "linear")
        self.margin = float(margin)
        self.rate = self.scale = positive("scale", scale)
        self.concentration = positive("concentration", concentration)
        self.momentum = positive("momentum", momentum)
        if self.momentum > 1:
            raise InputError(f"momentum must be at most 1; found {momentum!r}")
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_deviation", torch.tensor(100.0))

    def _norms(self, rows: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norms.clamp_(0.001, 100.0)

    @torch.no_grad()
    def row_numbers(self, rows: Tensor) -> Tensor:
        """Minus ``m q``; the running mean and deviation of the norms follow the batch in training mode."""
        norms = self._norms(rows)
        if self.training and norms.shape[0] > 1:
            self.norm_mean.lerp_(norms.mean().to(self.norm_mean.dtype), self.momentum)
            self.norm_deviation.lerp_(norms.std().to(self.norm_deviation.dtype), self.momentum)
        spread = (self.norm_deviation.to(norms.dtype) + 0.001) / self.concentration
        quality = ((norms - self.norm_mean.to(norms.dtype)) / spread).clamp_(-1.0, 1.0)
        return quality.mul_(-self.margin)

    def own_logits(self, distances: Tensor, of_rows: Tensor, of_vectors: Tensor | None) -> OwnTerms:  # noqa: ARG002
        """``s (cos(theta - m q) - m q - m - 1)``: the one that the others' ``-s d`` leaves out, too."""
        value, slope, _ = _shifted(distances, of_rows)
        sine = (distances * (2.0 - distances)).clamp_(min=0.0).sqrt_()
        angle = torch.atan2(sine, 1.0 - distances).add_(of_rows)
        within = angle.clamp(0.001, math.pi - 0.001)
        clipped = within != angle
        if bool(clipped.any()):
            value, slope = torch.where(clipped, within.cos(), value), slope.masked_fill(clipped, 0.0)
        logits = (value + of_rows).sub_(self.margin + 1.0).mul_(self.scale)
        return OwnTerms(logits, slope * self.scale)


class MagFace(OwnLogit):
    r"""MagFace: an angular margin that grows with the embedding's norm a, and a price on small norms.

    The own logit is ``s cos(theta_y + m(a))`` with m(a) rising linearly from l_m at ``a = l_a`` to u_m at
    u_a, between which a is clipped; the others' are ``s cos theta_c``. Added to each row is
    ``lambda_g (1 / a + a / u_a^2)``. Both are differentiated by the norm.

    Defaults: cosine distance, s = 64, norms 10 to 110, margins 0.45 to 0.8, lambda_g = 35, mean over the
    rows. pytorch-metric-learning has none.

    Parameters
    ----------
    n_classes, dimension : int
    lower_norm, upper_norm : float, above 0
        l_a and u_a.
    lower_margin, upper_margin : float, 0 to pi
        l_m and u_m.
    scale : float, above 0
        s.
    norm_weight : float, 0 or more
        lambda_g.
    beyond : {"linear", "easy", "cosine"}
        As in ArcFace; the authors' code has ``"easy"`` as an option.

    References
    ----------
    Q. Meng, S. Zhao, Z. Huang, F. Zhou, "MagFace: a universal representation for face recognition and
    quality assessment", 2021, equations 3 and 4, and the appendix for the parameters (from memory).

    >>> loss = MagFace(2, 2, scale=1.0, norm_weight=0.0, lower_margin=torch.pi / 2, upper_margin=torch.pi / 2)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), [0]).item(), 4)  # cos(0 + pi / 2) = 0, as of the other class
    0.6931
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        lower_norm: float = 10.0,
        upper_norm: float = 110.0,
        lower_margin: float = 0.45,
        upper_margin: float = 0.8,
        scale: float = 64.0,
        norm_weight: float = 35.0,
        beyond: Beyond = "linear",
        **options: Unpack[ClassOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), **options)
        self.lower_norm = positive("lower_norm", lower_norm)
        self.upper_norm = positive("upper_norm", upper_norm)
        for margin in (lower_margin, upper_margin):
            check_angles(margin, beyond)
        if lower_norm >= upper_norm or lower_margin > upper_margin:
            raise InputError(
                f"lower_norm and lower_margin must be below their uppers; found norms {lower_norm!r} to "
                f"{upper_norm!r} and margins {lower_margin!r} to {upper_margin!r}"
            )
        self.lower_margin, self.upper_margin = float(lower_margin), float(upper_margin)
        self.rate = self.scale = positive("scale", scale)
        self.norm_weight = positive("norm_weight", norm_weight, zero=True)
        self.beyond = beyond

    def row_numbers(self, rows: Tensor) -> Tensor:
        """The norm a."""
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norms.clamp(self.lower_norm, self.upper_norm)

    def own_logits(self, distances: Tensor, of_rows: Tensor, of_vectors: Tensor | None) -> OwnTerms:  # noqa: ARG002
        """``s (cos(theta + m(a)) - 1)``: the one that the others' ``-s d`` leaves out, too."""
        rise = (self.upper_margin - self.lower_margin) / (self.upper_norm - self.lower_norm)
        margin = (of_rows - self.lower_norm).mul_(rise).add_(self.lower_margin)
        value, by_distance, by_margin = _shifted(distances, margin)
        if self.beyond != "cosine":
            cosine = 1.0 - distances
            beyond = cosine < -margin.cos() if self.beyond == "linear" else cosine <= 0
            if bool(beyond.any()):
                other, slope = cosine, torch.zeros_like(cosine)
                if self.beyond == "linear":
                    sine = margin.sin()
                    other, slope = cosine - margin * sine, -sine - margin * margin.cos()
                value = torch.where(beyond, other, value)
                by_distance = by_distance.masked_fill(beyond, -1.0)
                by_margin = torch.where(beyond, slope, by_margin)
        scale = self.scale
        return OwnTerms((value - 1.0).mul_(scale), by_distance * scale, by_margin * (scale * rise))

    def added(self, of_rows: Tensor) -> Tensor | None:
        """``lambda_g (1 / a + a / u_a^2)``."""
        return self.norm_weight * (1.0 / of_rows + of_rows / self.upper_norm**2)
