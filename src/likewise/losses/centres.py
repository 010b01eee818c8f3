"""Losses with several learned centres a class: SoftTriple, and ArcFace over sub-centres.

What a class is worth depends on all its centres, so they are read by whole rows: a block of rows
against all centres is held a few times over, at least 64 rows of them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, unit_rows
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.classes import Beyond, ClassLoss, arc_logits, check_angles
from likewise.relations import Relation
from likewise.table import Part, WholeRows

__all__ = ["CentreRows", "SoftTriple", "SubCenterArcFace"]


class CentreRows(WholeRows):
    """A softmax over classes whose logits are made of the distances to their centres.

    Parameters
    ----------
    centres : int
        Centres a class; columns stand class by class.
    """

    def __init__(self, centres: int) -> None:
        self.centres = centres

    @abstractmethod
    def logits(self, distances: Tensor, own: Tensor) -> Tensor:
        """Logits (r, c) from distances (r, c, centres); own (r, c) is 1 for each row's class, else 0."""

    def rows(self, distances: Tensor, near: Tensor, far: Tensor) -> Tensor:  # noqa: ARG002
        """Minus the log-probability of the own class; of no meaning where a row has none."""
        shape = (distances.shape[0], -1, self.centres)
        own = near.view(shape)[:, :, 0].to(distances.dtype)
        logits = self.logits(distances.view(shape), own)
        return logits.logsumexp(1) - (logits * own).sum(1)

    def part(self, value: Tensor, near: Tensor, far: Tensor) -> Part:  # noqa: ARG002
        """Every row with a class of its own is a term."""
        terms = near.any(1)
        value = torch.where(terms, value, 0.0)
        return Part(value, terms, value != 0)


class _SoftTripleRows(CentreRows):
    def __init__(self, centres: int, scale: float, temperature: float, margin: float) -> None:
        super().__init__(centres)
        self._scale, self._temperature, self._margin = scale, temperature, margin

    def logits(self, distances: Tensor, own: Tensor) -> Tensor:
        shares = (distances / -self._temperature).softmax(2)
        similarity = 1.0 - (shares * distances).sum(2)
        return self._scale * (similarity - self._margin * own)


class SoftTriple(ClassLoss):
    r"""SoftTriple: a softmax over classes with several centres each, of which the nearest count most.

    ``S_c = sum_k softmax_k(cos_ck / g) cos_ck``, and a row costs
    ``-log(exp(l (S_y - m)) / (exp(l (S_y - m)) + sum_{c != y} exp(l S_c)))``. Added to a batch's value is
    t times the mean distance of the centres of a class from one another (half of it, as each pair is
    counted once and divided by K (K - 1)), so that centres that aren't needed fall together.

    Defaults: cosine distance (``cos = 1 - d``; embeddings and centres are normalised), K = 10, l = 20,
    g = 0.1, m = 0.01 and t = 0.2, the paper's for CUB and Cars (it takes K = 2 for SOP), mean over the
    rows. pytorch-metric-learning's SoftTripleLoss is the same without the term of the centres (t = 0);
    the authors' code adds 1e-5 under its root. Whole rows are needed: see the module.

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
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            n_classes, dimension, distance=Cosine(), centres=centres, reduction=reduction, miner=miner
        )
        self.margin = positive("margin", margin, zero=True)
        self.scale = positive("scale", scale)
        self.temperature = positive("temperature", temperature)
        self.regularization = positive("regularization", regularization, zero=True)

    def function(self) -> WholeRows:
        """The softmax over whole rows."""
        return _SoftTripleRows(self.centres, self.scale, self.temperature, self.margin)

    def spread_of_centres(self) -> Tensor:
        """Half the mean distance between two centres of one class at unit length; zero with one centre."""
        if self.centres == 1:
            return self.weight.new_zeros(())
        units = unit_rows(self.weight).view(self.n_classes, self.centres, self.dimension)
        pairs = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist")
        return pairs.sum() / (2 * self.n_classes * self.centres * (self.centres - 1))

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        value = super()._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)
        if not self.regularization or self.centres == 1 or not rows.shape[0]:
            return value
        return value + (self.regularization * self.spread_of_centres()).to(value.dtype)


class _ArcRows(CentreRows):
    def __init__(self, centres: int, margin: float, scale: float, beyond: Beyond) -> None:
        super().__init__(centres)
        self._margin, self._scale, self._beyond = margin, scale, beyond

    def logits(self, distances: Tensor, own: Tensor) -> Tensor:
        nearest = distances.min(2).values
        mine = (nearest * own).sum(1)
        with torch.no_grad():
            value, slope = arc_logits(mine, self._margin, self._scale, self._beyond)
        # the value with its slope, which autograd would lose at angle zero
        mine = value + slope * (mine - mine.detach())
        return torch.where(own > 0, mine[:, None], -self._scale * nearest)


class SubCenterArcFace(ClassLoss):
    r"""ArcFace with several sub-centres a class: the nearest one gives the class's angle.

    ``cos theta_c = max_k cos_ck``; then as :class:`~likewise.losses.ArcFace`. Noisy items gather about
    sub-centres of their own.

    Defaults: the cosine distance (embeddings and centres are normalised), 3 sub-centres, s = 64, m = 0.5,
    mean over the rows, as pytorch-metric-learning's SubCenterArcFaceLoss (its margin in degrees).
    Whole rows are needed: see the module.

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
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            n_classes, dimension, distance=Cosine(), centres=centres, reduction=reduction, miner=miner
        )
        check_angles(margin, beyond)
        self.margin, self.beyond = float(margin), beyond
        self.scale = positive("scale", scale)

    def function(self) -> WholeRows:
        """The softmax over whole rows."""
        return _ArcRows(self.centres, self.margin, self.scale, self.beyond)
