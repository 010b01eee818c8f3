"""Losses against one learned vector a class: softmaxes over the classes.

The rows are the embeddings, the columns the vectors, and each row's near column is its class's: nothing
of size (n, n_classes) is ever held. The vectors are of use for the classes of training alone.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Loss, Miner, ReductionName, check_embeddings, positive
from likewise.losses.class_cells import Classes, Settled, several_centres
from likewise.losses.log_sum import FarLogSum, RowTerms, pair_softmax
from likewise.relations import Labels, Relation
from likewise.table import Near, TableFunction

__all__ = [
    "ClassLoss",
    "ClassOptions",
    "ClassSoftmax",
    "CosFace",
    "MinedOptions",
    "NormalizedSoftmax",
    "count",
]


def count(name: str, value: int) -> int:
    """A whole number above zero."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number above zero; found {value!r}")
    return value


class ClassOptions(TypedDict, total=False):
    """What every loss against vectors of classes takes besides its own options: see :class:`ClassLoss`."""

    classes: Any
    reduction: ReductionName | None


class MinedOptions(ClassOptions, total=False):
    """Also a miner."""

    miner: Miner | None


class ClassLoss(Loss):
    """A loss against learned vectors of the classes.

    Called with the embeddings and a relation of theirs to the classes:

    - the class of each, as a tensor, a list or :class:`~likewise.relations.Labels` (of which some may be
      unlabelled: those rows have no term): integers from 0 to n_classes - 1, or labels among ``classes``;
    - several classes an embedding: a boolean table (n, n_classes), each true one near, all others far;
    - ``Labels(..., levels=)`` with ``classes`` a list a level: the weighted sum of the levels, each against
      the vectors of its own classes alone;
    - ``Chunklets``: each chunklet as the class of its number, all other classes far; an item of none has no
      class, and no term;
    - ``Pairs``, ``Scores``, ``Triplets``, ``Quadruplets``, ``Mask``, ``Matches``, in which rows are
      embeddings and columns the numbers of classes: what isn't listed is unknown.

    Parameters
    ----------
    n_classes : int, above 0
    dimension : int, above 0
        Of the embeddings.
    centres : int, above 0
        Vectors a class; those of class c are rows ``c * centres`` to ``(c + 1) * centres`` of ``weight``.
    classes : sequence of n_classes labels, or a sequence of such sequences a level, optional
        What the classes are called, integers to 2^63 or strings, compared exactly; without it by number.

    Attributes
    ----------
    weight : nn.Parameter (n_classes * centres, dimension)
        The vectors, in float32 and kept so whatever the dtype of the embeddings; normal, of norm about
        one. Give it a larger learning rate than the network's. With several processes all must hold the
        same vectors: draw them from one seed, or let DistributedDataParallel hand them round.
    """

    columns_are_shared = True

    def __init__(
        self,
        n_classes: int,
        dimension: int,
        *,
        distance: Distance | str,
        centres: int,
        classes: Any = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance, reduction=reduction, miner=miner)
        self.n_classes, self.dimension = count("n_classes", n_classes), count("dimension", dimension)
        self.centres = count("centres", centres)
        self.classes = Classes(n_classes, classes)
        self.weight = nn.Parameter(torch.empty(n_classes * centres, dimension, dtype=torch.float32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew: normal, of norm about one."""
        nn.init.normal_(self.weight, std=self.dimension**-0.5)

    def extra_repr(self) -> str:
        """Sizes, for ``print``."""
        return f"n_classes={self.n_classes}, dimension={self.dimension}"

    def columns_for(self, rows: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """The vectors of some classes, by default of all, in the dtype of the rows, checked to fit them.

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
        weight = check_embeddings(f"{name}.weight", self.weight)
        if last is not None and last - first < self.n_classes:
            weight = weight[first * self.centres : last * self.centres]
        return weight.to(rows.dtype)

    def refuse_columns(self, **given: Any) -> None:
        """Refuse columns that aren't the learned vectors."""
        found = [name for name, value in given.items() if value is not None]
        if found:
            raise InputError(
                f"{type(self).__name__}: the columns are the loss's own learned vectors; leave out "
                f"{' and '.join(found)}"
            )

    def nothing(self, rows: Tensor, vectors: Tensor, values: Tensor) -> Tensor:
        """The value of a batch without an embedding of a known class: zero, with gradients, and a warning.

        values : (m,) zeros, one for each row of the table.
        """
        self.warn_of_nothing("no positive pair (no embedding of a known class)")
        values = values + (rows * 0.0).sum() + (vectors[:1] * 0.0).sum()
        return values if self.reduction == "none" else values.sum()

    def _at_levels(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """The weighted sum over the levels of a hierarchy, each against the vectors of its own classes."""
        if not isinstance(relation, Labels) or relation._levels is None:
            return self._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)
        levels = self.classes.at_levels(relation)
        others: list[Relation | None] = [column_relation] * len(levels)
        if isinstance(column_relation, Labels):
            others = [labels for _, labels in self.classes.at_levels(column_relation)]
        values = [
            weight * self._evaluate(rows, labels, columns, other, ids, column_ids, weights)
            for (weight, labels), other in zip(levels, others, strict=True)
        ]
        return self.add_levels(values)

    def add_levels(self, values: list[Tensor]) -> Tensor:
        """The values of all levels, weighted already, as one."""
        return torch.stack(values).sum(0)

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
        name = type(self).__name__
        relation, first, last = self.classes.part(relation, name)
        vectors = self.columns_for(rows, first, last)
        resolved = self.classes.cells(relation, first, last, rows.shape[0], rows.device, name)
        settled = Settled(several_centres(resolved, self.centres))
        return self._against(rows, settled, vectors, weights)

    def _against(self, rows: Tensor, relation: Settled, vectors: Tensor, weights: Tensor | None) -> Tensor:
        """The value over the table of rows against vectors."""
        return super()._evaluate(rows, relation, vectors, None, None, None, weights)


class ClassSoftmax(ClassLoss):
    """A softmax over the classes in which the logit of the own class may be another: ``-log p_y``."""

    rate: float
    """Logits of the other classes are ``-rate d``."""

    @abstractmethod
    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """The own class's logits from its distances (r, p), and their derivatives by them."""

    def function(self) -> TableFunction[Any]:
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
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or Cosine(), centres=1, **options)
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
        distance: Distance | str | None = None,
        **options: Unpack[MinedOptions],
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance or Cosine(), centres=1, **options)
        self.margin = positive("margin", margin, zero=True)
        self.rate = self.scale = positive("scale", scale)

    def own_logits(self, distances: Tensor) -> tuple[Tensor, Tensor | float]:
        """``-s (d + m)``."""
        return (distances + self.margin) * -self.scale, -self.scale
