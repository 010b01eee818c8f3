"""Losses with several learned centres a class: SoftTriple, and ArcFace over sub-centres.

What a class is worth depends on all its centres, so these are a group of columns that no tile splits: the
walk makes one distance of each group, and the softmax is over classes.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Cosine, unit_rows
from likewise.losses.angular_margins import AngularMargin, Beyond
from likewise.losses.base import positive
from likewise.losses.class_cells import Settled
from likewise.losses.classes import ClassSoftmax, MinedOptions
from likewise.table.groups import Grouped, NearestOf, SoftNearest

__all__ = ["SoftTriple", "SubCenterArcFace"]


class SoftTriple(ClassSoftmax):
    r"""SoftTriple: a softmax over classes with several centres each, of which the nearest count most.

    ``S_c = sum_k softmax_k(cos_ck / g) cos_ck``, and a row costs
    ``-log(exp(l (S_y - m)) / (exp(l (S_y - m)) + sum_{c != y} exp(l S_c)))``. Added to a batch's value is
    t times the mean distance of the centres of a class from one another (half of it, as each pair is
    counted once and divided by K (K - 1)), so that centres that aren't needed fall together.

    Defaults: cosine distance (``cos = 1 - d``; embeddings and centres are normalised), K = 10, l = 20,
    g = 0.1, m = 0.01 and t = 0.2, the paper's for CUB and Cars (it takes K = 2 for SOP), mean over the
    rows. pytorch-metric-learning's SoftTripleLoss is the same without the term of the centres (t = 0);
    the authors' code adds 1e-5 under its root.

    Parameters
    ----------
    n_classes, dimension : int
    centres : int, above 0
        K.
    margin : float, 0 or more
        m.
    scale : float, above 0
        l.
    temperature : float, above 0
        g: how soft the choice of centre is.
    regularization : float, 0 or more
        t. It is added once to a reduced value, and to each row's with ``reduction="none"``.

    References
    ----------
    Q. Qian et al., "SoftTriple loss: deep metric learning without triplet sampling", 2019, equations 6 to
    9 (numbers from memory).

    >>> loss = SoftTriple(2, 2, centres=1, margin=0.0, scale=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), [0]).item(), 4)  # log(1 + 1 / e)
    0.3133
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        centres: int = 10,
        margin: float = 0.01,
        scale: float = 20.0,
        temperature: float = 0.1,
        regularization: float = 0.2,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), centres=centres, **options)
        self.margin = positive("margin", margin, zero=True)
        self.rate = self.scale = positive("scale", scale)
        self.temperature = positive("temperature", temperature)
        self.regularization = positive("regularization", regularization, zero=True)

    def function(self) -> Grouped:
        """The softmax over classes, each at the soft minimum of its centres' distances."""
        return Grouped(super().function(), self.centres, SoftNearest(self.temperature))

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``-l (d + m)``."""
        return (distances + self.margin) * -self.scale, -self.scale

    def spread_of_centres(self, weight: Tensor | None = None) -> Tensor:
        """Half the mean distance between two centres of one class at unit length; zero with one centre.

        weight : vectors of some classes (k * centres, dimension), by default of all.
        """
        weight = self.weight if weight is None else weight
        if self.centres == 1:
            return weight.new_zeros(())
        units = unit_rows(weight).view(-1, self.centres, self.dimension)
        pairs = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist")
        return pairs.sum() / (2 * units.shape[0] * self.centres * (self.centres - 1))

    def _against(self, rows: Tensor, relation: Settled, vectors: Tensor, weights: Tensor | None) -> Tensor:
        value = super()._against(rows, relation, vectors, weights)
        if not self.regularization or self.centres == 1 or not rows.shape[0]:
            return value
        return value + (self.regularization * self.spread_of_centres(vectors)).to(value.dtype)


class SubCenterArcFace(AngularMargin):
    r"""ArcFace with several sub-centres a class: the nearest one gives the class's angle.

    ``cos theta_c = max_k cos_ck``; then as :class:`~likewise.losses.ArcFace`. Noisy items gather about
    sub-centres of their own.

    Defaults: the cosine distance (embeddings and centres are normalised), 3 sub-centres, s = 64, m = 0.5,
    mean over the rows, as pytorch-metric-learning's SubCenterArcFaceLoss (its margin in degrees).


    Parameters
    ----------
    n_classes, dimension : int
    centres : int, above 0
        K.
    margin : float, 0 to pi
        m, in radians.
    scale : float, above 0
        s.
    beyond : {"linear", "easy", "cosine"}
        As in ArcFace.

    References
    ----------
    J. Deng, J. Guo, T. Liu, M. Gong, S. Zafeiriou, "Sub-center ArcFace: boosting face recognition by
    large-scale noisy web faces", 2020, section 3.2 (from memory).

    >>> loss = SubCenterArcFace(2, 2, centres=2, margin=torch.pi / 2, scale=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> round(loss(torch.tensor([[-3.0, 0.0]]), [0]).item(), 4)  # its second centre; then as in ArcFace
    0.6931
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        centres: int = 3,
        margin: float = 0.5,
        scale: float = 64.0,
        beyond: Beyond = "linear",
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), centres=centres, **options)
        self.use_margin(margin, scale, beyond)

    def function(self) -> Grouped:
        """ArcFace's softmax, each class at the distance of its nearest centre."""
        return Grouped(super().function(), self.centres, NearestOf())
