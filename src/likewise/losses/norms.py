"""Class losses whose own logit reads lengths as well as an angle.

The other classes enter by their log-sum-exp, which the engine walks for; each row's own logit is plain
PyTorch on one pair of vectors, known before the walk, which notes the value's derivative by it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, Dot, Form, ProductDistance, unit_rows
from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import ReductionName, positive
from likewise.losses.classes import Beyond, ClassLoss, check_angles, count
from likewise.losses.log_sum import FarLogSum, RowTerms, one_plus
from likewise.losses.recorded import RowNotes
from likewise.relations import Relation, Sides
from likewise.relations.base import check_count
from likewise.table import Near, Part, Rows, TableRequest, table_value

__all__ = ["AdaFace", "LargeMarginSoftmax", "MagFace", "OwnLogit", "SphereFace"]


class _Against(FarLogSum):
    """``log(1 + exp(far - own))`` of each row, with own logits known beforehand; notes its slope by them."""

    def __init__(self, rate: float, own: Tensor, *, always_active: bool) -> None:
        super().__init__(rate, self._terms)
        self._own, self._always_active = own, always_active
        self.slopes = RowNotes()

    def _terms(self, near: Near, far: Tensor) -> RowTerms:
        known = near.count > 0
        gap = far - self._own[near.start : near.start + far.shape[0]]
        value = torch.where(known, one_plus(gap), 0.0)
        by_far = torch.where(known, gap.sigmoid(), 0.0)
        self.slopes.note(near.start, -by_far)
        active = known if self._always_active else value != 0
        return RowTerms(Rows(joint=Part(value, known, active)), by_far, torch.zeros_like(near.distances))


class OwnLogit(ClassLoss):
    """Cross-entropy over the classes with an own logit made of the two vectors themselves."""

    rate: float
    """Logits of the other classes are ``-rate d``."""

    def __init__(
        self, n_classes: int, dimension: int, *, distance: Distance, reduction: ReductionName | None = None
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance, reduction=reduction)

    @abstractmethod
    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """The logit (n,) of each row's own class from the rows and their classes' vectors (n, d)."""

    def added(self, rows: Tensor) -> Tensor | None:  # noqa: ARG002
        """What each row's value has on top: (n,), or None."""
        return None

    def function(self) -> FarLogSum:
        """Not there: the walk needs the own logits of one call.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(f"{type(self).__name__} needs its own logits first: call the loss itself")

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,  # noqa: ARG002  # a learned vector is nobody's item
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        self.refuse_columns(columns=columns, column_relation=column_relation, column_ids=column_ids)
        vectors, classes = self.columns_for(rows), self.class_numbers(relation)
        check_count("labels", classes.n_items, rows.shape[0])
        numbers, known = self.numbers_of(classes, rows.device)
        if not bool(known.any()):
            return self.nothing(rows, vectors)
        sides = Sides(rows.shape[0], vectors.shape[0], columns_are_rows=False, device=rows.device)
        resolved = classes.resolve(self.column_classes(), sides)
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        own = torch.where(known, self.own_logits(rows, vectors[numbers]), 0.0)
        added = self.added(rows)
        function = _Against(self.rate, own.detach(), always_active=added is not None)
        request = TableRequest(function, self.distance, resolved, self.reduction)
        value, outcome = table_value(request, rows, vectors, weights)
        # the own logits' gradient goes by what the walk noted; their value is in the walk's
        more = (own - own.detach()) * function.slopes.all(resolved.n_rows, rows)
        if added is not None:
            more = more + torch.where(known, added, 0.0)
        if weights is not None:
            more = more * weights
        found: Tensor = value + (more if self.reduction == "none" else more.sum() / outcome.divisors["joint"])
        return found


class _UnitColumns(ProductDistance):
    """``-x.w/|w|``: minus the inner product with unit columns."""

    form = Form.NEGATIVE_PRODUCT

    def column_features(self, y: Tensor) -> Tensor:
        return unit_rows(y)


def _stepped_cosine(cosine: Tensor, multiple: int) -> Tensor:
    """``(-1)^k cos(m theta) - 2k`` for theta in [k pi / m, (k + 1) pi / m]: it falls all the way."""
    before, power = torch.ones_like(cosine), cosine
    for _ in range(multiple - 1):
        before, power = power, 2 * cosine * power - before  # Chebyshev: cos(m theta) from cos theta
    angle = torch.acos(cosine.detach().clamp(-1.0, 1.0))
    step = (angle * (multiple / math.pi)).floor().clamp_(max=multiple - 1)
    return (1.0 - 2.0 * (step % 2)) * power - 2.0 * step


class LargeMarginSoftmax(OwnLogit):
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

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: int = 4,
        relaxation: float = 0.0,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(n_classes, dimension, distance=Dot(), reduction=reduction)
        self.margin = count("margin", margin)
        self.relaxation = positive("relaxation", relaxation, zero=True)
        self.rate = 1.0

    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """``|w| |x| psi(theta)``."""
        lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1)
        return lengths * _angular(rows, vectors, self.margin, self.relaxation)


class SphereFace(OwnLogit):
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

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: int = 4,
        relaxation: float = 0.0,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(n_classes, dimension, distance=_UnitColumns(), reduction=reduction)
        self.margin = count("margin", margin)
        self.relaxation = positive("relaxation", relaxation, zero=True)
        self.rate = 1.0

    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """``|x| psi(theta)``."""
        return _angular(rows, vectors, self.margin, self.relaxation)


def _angular(rows: Tensor, vectors: Tensor, margin: int, relaxation: float) -> Tensor:
    """``|x| (lambda cos theta + psi(theta)) / (1 + lambda)``."""
    cosine = (unit_rows(rows) * unit_rows(vectors)).sum(1)
    mixed = (relaxation * cosine + _stepped_cosine(cosine, margin)) / (1.0 + relaxation)
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths * mixed


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
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), reduction=reduction)
        check_angles(margin, "linear")
        self.margin = float(margin)
        self.rate = self.scale = positive("scale", scale)
        self.concentration = positive("concentration", concentration)
        self.momentum = positive("momentum", momentum)
        if self.momentum > 1:
            raise InputError(f"momentum must be at most 1; found {momentum!r}")
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_deviation", torch.tensor(100.0))

    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """``s (cos(theta - m q) - m q - m - 1)``: the one that the others' ``-s d`` leaves out, too."""
        distance: Tensor = self.distance(rows, vectors)
        with torch.no_grad():
            norms = torch.linalg.vector_norm(rows, dim=1).clamp_(0.001, 100.0)
            if self.training and norms.shape[0] > 1:
                self.norm_mean.lerp_(norms.mean().to(self.norm_mean.dtype), self.momentum)
                self.norm_deviation.lerp_(norms.std().to(self.norm_deviation.dtype), self.momentum)
            spread = (self.norm_deviation.to(norms.dtype) + 0.001) / self.concentration
            quality = ((norms - self.norm_mean.to(norms.dtype)) / spread).clamp_(-1.0, 1.0)
            shift = -self.margin * quality
            value, slope, _ = _shifted(distance, shift)
            angle = torch.atan2((distance * (2.0 - distance)).clamp(min=0.0).sqrt(), 1.0 - distance) + shift
            clipped = (angle < 0.001) | (angle > math.pi - 0.001)
            value = torch.where(clipped, angle.clamp(0.001, math.pi - 0.001).cos(), value)
            slope = torch.where(clipped, 0.0, slope)
            value = value - self.margin * quality - (self.margin + 1.0)
        logits: Tensor = self.scale * (value + slope * (distance - distance.detach()))
        return logits


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
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), reduction=reduction)
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

    def _norms(self, rows: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norms.clamp(self.lower_norm, self.upper_norm)

    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """``s (cos(theta + m(a)) - 1)``: the one that the others' ``-s d`` leaves out, too."""
        distance = self.distance(rows, vectors)
        rise = (self.upper_margin - self.lower_margin) / (self.upper_norm - self.lower_norm)
        margin = self.lower_margin + rise * (self._norms(rows) - self.lower_norm)
        with torch.no_grad():
            value, by_distance, by_margin = _shifted(distance, margin)
            cosine = 1.0 - distance
            if self.beyond == "linear":
                inside = cosine >= -margin.cos()
                other, slope = cosine - margin * margin.sin(), -margin.sin() - margin * margin.cos()
            elif self.beyond == "easy":
                inside, other, slope = cosine > 0, cosine, torch.zeros_like(cosine)
            else:
                inside, other, slope = torch.ones_like(cosine, dtype=torch.bool), cosine, cosine
            value = torch.where(inside, value, other) - 1.0
            by_distance = torch.where(inside, by_distance, -1.0)
            by_margin = torch.where(inside, by_margin, slope)
        turn = by_distance * (distance - distance.detach()) + by_margin * (margin - margin.detach())
        return self.scale * (value + turn)

    def added(self, rows: Tensor) -> Tensor | None:
        """``lambda_g (1 / a + a / u_a^2)``."""
        norms = self._norms(rows)
        return self.norm_weight * (1.0 / norms + norms / self.upper_norm**2)
