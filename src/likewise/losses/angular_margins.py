"""Softmaxes with an additive angular margin: ArcFace."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine
from likewise.errors import InputError
from likewise.losses.base import positive
from likewise.losses.classes import ClassSoftmax, MinedOptions

__all__ = ["AngularMargin", "ArcFace", "Beyond", "arc_logits", "check_angles"]

Beyond = Literal["linear", "easy", "cosine"]


def arc_logits(distances: Tensor, margin: float, scale: float, beyond: Beyond) -> tuple[Tensor, Tensor]:
    """``s (cos(theta + m) - 1)`` and its derivative, from cosine distances of any shape.

    The one is what ``-s d`` leaves out of the other classes' ``s cos theta``, too.
    """
    cosine = 1.0 - distances
    sine = (distances * (2.0 - distances)).clamp_(min=0.0).sqrt_()
    along, across = math.cos(margin), math.sin(margin)
    shifted = cosine * along - sine * across
    slope = -along - across * torch.where(sine > 0, cosine / sine, 0.0)
    if beyond == "linear":
        inside = cosine >= -along
        shifted = torch.where(inside, shifted, cosine - margin * across)
        slope = torch.where(inside, slope, -1.0)
    elif beyond == "easy":
        shifted = torch.where(cosine > 0, shifted, cosine)
        slope = torch.where(cosine > 0, slope, -1.0)
    return (shifted - 1.0).mul_(scale), slope.mul_(scale)


def check_angles(margin: float, beyond: str) -> None:
    """Refuse a margin that is no angle in radians, and an unknown choice of what is beyond pi."""
    if positive("margin", margin, zero=True) > math.pi:
        raise InputError(f"margin must be radians, at most pi; found {margin!r}")
    if beyond not in ("linear", "easy", "cosine"):
        raise InputError(f'beyond must be "linear", "easy" or "cosine"; found {beyond!r}')


class AngularMargin(ClassSoftmax):
    """A softmax whose own class has the logit ``s cos(theta + m)``."""

    margin: float
    scale: float
    beyond: Beyond

    def use_margin(self, margin: float, scale: float, beyond: Beyond) -> None:
        """Take m in radians, s, and what follows where theta + m passes pi.

        Raises
        ------
        InputError
        """
        check_angles(margin, beyond)
        self.margin, self.beyond = float(margin), beyond
        self.rate = self.scale = positive("scale", scale)

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``s (cos(theta + m) - 1)``: the one that the others' ``-s d`` leaves out, too."""
        return arc_logits(distances, self.margin, self.scale, self.beyond)


class ArcFace(AngularMargin):
    r"""Additive angular margin: the own class has the logit ``s cos(theta_y + m)``, others ``s cos theta_c``.

    The sine comes of the distance, ``sin^2 = d (2 - d)``, so that small angles keep their digits; at
    theta = 0 the slope is zero.

    Defaults: the cosine distance (embeddings and vectors are normalised; no other has angles), s = 64,
    m = 0.5, mean over the rows. pytorch-metric-learning's ArcFaceLoss counts the margin in degrees (28.6)
    and is the same with ``beyond="linear"``.

    Parameters
    ----------
    n_classes, dimension : int
    margin : float, 0 to pi
        m, in radians.
    scale : float, above 0
        s.
    beyond : {"linear", "easy", "cosine"}
        What follows where ``theta + m`` passes pi and the cosine would rise again: ``"linear"`` takes
        ``cos theta - m sin m``, as the authors' code; ``"easy"`` applies the margin only where
        ``cos theta > 0``, their easy margin; ``"cosine"`` is the bare formula of the paper.

    References
    ----------
    J. Deng, J. Guo, N. Xue, S. Zafeiriou, "ArcFace: additive angular margin loss for deep face
    recognition", 2019, equation 3.

    >>> loss = ArcFace(2, 2, margin=torch.pi / 2, scale=1.0)
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
        margin: float = 0.5,
        scale: float = 64.0,
        beyond: Beyond = "linear",
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), centres=1, **options)
        self.use_margin(margin, scale, beyond)
