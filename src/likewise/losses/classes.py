"""Losses against one learned vector a class: softmaxes with and without a margin.

The rows are the embeddings, the columns the vectors, and each row's near column is its class's: nothing
of size (n, n_classes) is ever held. The vectors are of use for the classes of training alone.
"""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Loss, Miner, ReductionName, check_embeddings, positive
from likewise.losses.log_sum import FarLogSum, RowTerms, pair_softmax
from likewise.relations import Labels, Relation
from likewise.table import Near

__all__ = [
    "ArcFace",
    "Beyond",
    "ClassLoss",
    "ClassSoftmax",
    "CosFace",
    "NormalizedSoftmax",
    "arc_logits",
    "check_angles",
    "count",
]


def count(name: str, value: int) -> int:
    """A whole number above zero."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number above zero; found {value!r}")
    return value


class ClassLoss(Loss):
    """A loss against learned vectors of the classes.

    Called with the embeddings and their classes, integers from 0 to n_classes - 1, as a tensor, a list or
    :class:`~likewise.relations.Labels` (of which some may be unlabelled: those rows have no term).

    Parameters
    ----------
    n_classes : int, above 0
    dimension : int, above 0
        Of the embeddings.
    centres : int, above 0
        Vectors a class; those of class c are rows ``c * centres`` to ``(c + 1) * centres`` of ``weight``.

    Attributes
    ----------
    weight : nn.Parameter (n_classes * centres, dimension)
        The vectors, in float32 and kept so whatever the dtype of the embeddings; normal, of norm about
        one. Give it a larger learning rate than the network's. With several processes all must hold the
        same vectors: draw them from one seed, or let DistributedDataParallel hand them round.
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        distance: Distance,
        centres: int = 1,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance, reduction=reduction, miner=miner)
        self.n_classes, self.dimension = count("n_classes", n_classes), count("dimension", dimension)
        self.centres = count("centres", centres)
        self.weight = nn.Parameter(torch.empty(n_classes * centres, dimension, dtype=torch.float32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew: normal, of norm about one."""
        nn.init.normal_(self.weight, std=self.dimension**-0.5)

    def extra_repr(self) -> str:
        """Sizes, for ``print``."""
        return f"n_classes={self.n_classes}, dimension={self.dimension}"

    def class_numbers(self, relation: Relation) -> Labels:
        """The classes of the rows, if they are integers from 0 to n_classes - 1.

        Raises
        ------
        InputError
        """
        name = type(self).__name__
        expected = f"{name}: labels must be integers from 0 to {self.n_classes - 1} of shape (n,)"
        if not isinstance(relation, Labels):
            raise InputError(f"{expected}; found {type(relation).__name__}")
        values = relation._values
        if not isinstance(values, Tensor):
            raise InputError(f"{expected}; found strings: number the classes first")
        if values.ndim != 1:
            raise InputError(f"{expected}; found a table of shape {tuple(values.shape)}")
        outside = (values < 0) | (values >= self.n_classes)
        known = relation._known()
        if known is not None:
            outside &= known
        if bool(outside.any()):
            row = int(outside.nonzero()[0])
            raise InputError(f"{expected}; found {int(values[row])} in row {row}")
        return relation

    def numbers_of(self, classes: Labels, device: torch.device) -> tuple[Tensor, Tensor]:
        """Each row's class (n,), 0 where unknown, and whether it is known (n,)."""
        values, known = classes._values, classes._known()
        assert isinstance(values, Tensor)
        known = torch.ones_like(values, dtype=torch.bool) if known is None else known
        return torch.where(known, values, 0).to(device), known.to(device)

    def columns_for(self, rows: Tensor) -> Tensor:
        """The learned vectors in the dtype of the rows, checked to fit them.

        Raises
        ------
        InputError
        """
        name = type(self).__name__
        if rows.shape[1] != self.dimension:
            raise InputError(
                f"{name}: embeddings must have shape (n, {self.dimension}); found {tuple(rows.shape)}"
            )
        if self.weight.device != rows.device:
            raise InputError(
                f"{name}: weight is on {self.weight.device} and embeddings on {rows.device}: move the loss"
            )
        return check_embeddings(f"{name}.weight", self.weight).to(rows.dtype)

    def column_classes(self) -> Labels:
        """The class of each learned vector."""
        numbers = torch.arange(self.n_classes, device=self.weight.device)
        return Labels(numbers if self.centres == 1 else numbers.repeat_interleave(self.centres))

    def refuse_columns(self, **given: Any) -> None:
        """Refuse columns that aren't the learned vectors."""
        found = [name for name, value in given.items() if value is not None]
        if found:
            raise InputError(
                f"{type(self).__name__}: the columns are the loss's own learned vectors; leave out "
                f"{' and '.join(found)}"
            )

    def nothing(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """The value of a batch without an embedding of a known class: zero, with gradients, and a warning."""
        warnings.warn(
            f"{type(self).__name__}: the batch has no positive pair (no embedding of a known class), so the "
            "loss is zero; raise the samples a class in a batch",
            UserWarning,
            stacklevel=5,
        )
        values = (rows * 0.0).sum(1) + (vectors[:1] * 0.0).sum()
        return values if self.reduction == "none" else values.sum()

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
        return super()._evaluate(rows, classes, vectors, self.column_classes(), None, None, weights)


class ClassSoftmax(ClassLoss):
    """A softmax over the classes in which the logit of the own class may be another: ``-log p_y``."""

    rate: float
    """Logits of the other classes are ``-rate d``."""

    @abstractmethod
    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """The own class's logits from its distances (r, p), and their derivatives by them."""

    def function(self) -> FarLogSum:
        """The own class against the log-sum-exp of the others."""
        return FarLogSum(self.rate, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        logits, slopes = self.own_logits(near.distances)
        return pair_softmax(near, far, logits, slopes)


class NormalizedSoftmax(ClassSoftmax):
    r"""Normalised softmax: ``-log(exp(cos_y / t) / sum_c exp(cos_c / t))`` over unit vectors, no bias.

    Defaults: cosine distance (``cos = 1 - d``; embeddings and vectors are normalised), temperature 0.05,
    mean over the rows; the same as pytorch-metric-learning's NormalizedSoftmaxLoss.

    Parameters
    ----------
    n_classes, dimension : int
    temperature : float, above 0
        t. NormFace learns a scale 1 / t; Zhai and Wu take 0.05.

    References
    ----------
    A. Zhai, H.-Y. Wu, "Classification is a strong baseline for deep metric learning", 2018, equation 3
    (from memory); F. Wang et al., "NormFace: L2 hypersphere embedding for face verification", 2017.

    >>> loss = NormalizedSoftmax(2, 2, temperature=1.0)
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
        temperature: float = 0.05,
        distance: Distance | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            n_classes, dimension, distance=distance or Cosine(), reduction=reduction, miner=miner
        )
        self.temperature = positive("temperature", temperature)
        self.rate = 1.0 / self.temperature

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``-d / t`` as for the others."""
        return distances * -self.rate, -self.rate


class CosFace(ClassSoftmax):
    r"""Large margin cosine loss: the own class's logit is ``s (cos_y - m)``, the others' ``s cos_c``.

    Defaults: cosine distance (embeddings and vectors are normalised), s = 64 and m = 0.35 as in the
    paper's experiments, mean over the rows; the same as pytorch-metric-learning's CosFaceLoss. With m = 0
    it is NormalizedSoftmax at temperature 1 / s. Also known as AM-Softmax (there s = 30).

    Parameters
    ----------
    n_classes, dimension : int
    margin : float, 0 or more
        m, in units of the cosine.
    scale : float, above 0
        s.

    References
    ----------
    H. Wang et al., "CosFace: large margin cosine loss for deep face recognition", 2018, equation 4;
    F. Wang et al., "Additive margin softmax for face verification", 2018.

    >>> loss = CosFace(2, 2, margin=1.0, scale=1.0)
    >>> with torch.no_grad():
    ...     _ = loss.weight.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), [0]).item(), 4)  # log(1 + 1)
    0.6931
    """

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        margin: float = 0.35,
        scale: float = 64.0,
        distance: Distance | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            n_classes, dimension, distance=distance or Cosine(), reduction=reduction, miner=miner
        )
        self.margin = positive("margin", margin, zero=True)
        self.rate = self.scale = positive("scale", scale)

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``-s (d + m)``."""
        return (distances + self.margin) * -self.scale, -self.scale


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


class ArcFace(ClassSoftmax):
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
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(n_classes, dimension, distance=Cosine(), reduction=reduction, miner=miner)
        check_angles(margin, beyond)
        self.margin = float(margin)
        self.beyond = beyond
        self.rate = self.scale = positive("scale", scale)

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``s (cos(theta + m) - 1)``: the one that the others' ``-s d`` leaves out, too."""
        return arc_logits(distances, self.margin, self.scale, self.beyond)
