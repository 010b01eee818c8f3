"""Losses over a list of pairs with real numbers, and the regression of a similarity."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import (
    Cosine,
    Distance,
    ProductDistance,
)
from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import Loss, ReductionName, positive
from likewise.losses.composed import ComposedLoss, far_cells, near_cells
from likewise.relations import Pairs, Relation, Scores, Sides
from likewise.table import TableFunction, WholeRows, listed_distances

__all__ = [
    "ScoreRegression",
    "ScoredLoss",
    "ScoredPairs",
    "scored_pairs",
    "squared_error",
]


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs with scores: positions left and right (k,) and float64 scores (k,).

    asked : (k,) the row for which a pair's score holds, where both items are columns; else None.
    """

    left: Tensor
    right: Tensor
    score: Tensor
    asked: Tensor | None = None


def scored_pairs(relation: Relation, columns: Relation | None, sides: Sides) -> ScoredPairs:
    """List the pairs of any relation.

    ``Scores`` and ``Pairs`` give the pairs they list, each once, an alike pair scored 1 and an unlike one 0.
    Any other relation gives all its near cells scored 1 and all its far ones scored 0, which for labels is
    every cell of the table. Pairs of one item (equal ids) are left out.

    Raises
    ------
    InputError
        A position doesn't exist, or an item is paired with itself.
    """
    if not isinstance(relation, Scores | Pairs):
        resolved = relation.resolve(columns, sides)
        (_, left, right), (_, far_left, far_right) = near_cells(resolved), far_cells(resolved)
        score = torch.cat([torch.ones(len(left)), torch.zeros(len(far_left))]).double()
        return ScoredPairs(torch.cat([left, far_left]), torch.cat([right, far_right]), score.to(sides.device))
    left, right = relation.left.to(sides.device), relation.right.to(sides.device)
    score = relation.score if isinstance(relation, Scores) else relation.same.double()
    score = score.to(sides.device)
    for name, positions, count in (("left", left, sides.n_rows), ("right", right, sides.n_columns)):
        if positions.numel() and int(positions.max()) >= count:
            raise InputError(
                f"{name} must be below the number of items: expected under {count}, "
                f"found {int(positions.max())}"
            )
    if sides.columns_are_rows and bool((left == right).any()):
        number = int((left == right).nonzero()[0])
        raise InputError(
            f"an item can't be paired with itself: pair {number} is item {int(left[number])} twice"
        )
    if sides.row_ids is None:  # and so nobody else is one item
        return ScoredPairs(left, right, score)
    other = ~sides.same(left, right).reshape(-1).expand(left.shape[0])
    return ScoredPairs(left[other], right[other], score[other])


def _listed_distances(distance: Distance, rows: Tensor, columns: Tensor | None, pairs: ScoredPairs) -> Tensor:
    """Distances (k,) of listed pairs."""
    if isinstance(distance, ProductDistance):
        return listed_distances(distance, rows, columns, pairs.left, pairs.right)
    # index_select, as the backward of indexing adds up rows one by one
    left = rows.index_select(0, pairs.left)
    found: Tensor = distance(left, (rows if columns is None else columns).index_select(0, pairs.right))
    return found


class ScoredLoss(Loss):
    """A loss that reads a list of scored pairs, in plain PyTorch: its gradient is autograd's."""

    @abstractmethod
    def terms(self, distances: Tensor, score: Tensor) -> Tensor:
        """The terms of pairs: distances (k,) and scores (k,) in their dtype give (k,)."""

    def function(self) -> TableFunction[Any] | WholeRows:
        """Not there: this loss reads pairs, not a table.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(f"{type(self).__name__} reads pairs, not a table: call the loss itself")

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
        """List the pairs and reduce their terms."""
        pairs = self.pairs(relation, column_relation, ComposedLoss._sides(rows, columns, ids, column_ids))
        if weights is not None:
            weights = self._check_weights(weights, None, rows)[
                pairs.left if pairs.asked is None else pairs.asked
            ]
        if pairs.asked is None:
            distances = _listed_distances(self.distance, rows, columns, pairs)
        else:  # both items are columns, and the gradient of rows apart from them is zero
            distances = _listed_distances(self.distance, rows if columns is None else columns, None, pairs)
            distances = distances + rows[:0].sum()
        return self.reduce(self.terms(distances, pairs.score.to(distances.dtype)), weights, rows)

    def pairs(self, relation: Relation, columns: Relation | None, sides: Sides) -> ScoredPairs:
        """The pairs that a relation lists, as :func:`scored_pairs`."""
        return scored_pairs(relation, columns, sides)

    def reduce(self, terms: Tensor, weights: Tensor | None, rows: Tensor) -> Tensor:
        """Reduce terms (k,): divisors are counts and know no weights."""
        value = terms if weights is None else terms * weights
        if not terms.shape[0]:
            value = value + rows[:0].sum()  # terms of no rows keep a gradient, of zeros
        if self.reduction == "none":
            return value
        if self.reduction == "mean" and terms.shape[0]:
            return value.mean()
        count = int((terms != 0).sum()) if self.reduction == "active" else 1
        return value.sum() / max(1, count)


class ScoreRegression(ScoredLoss):
    r"""Regression of a similarity on real-valued scores of pairs.

    The similarity of a pair is ``s = offset - scale * d(x, z)``; its term is ``(s - score)^2``, or, with
    ``huber=h``, ``e^2`` for an error e within h and ``h (2 |e| - h)`` beyond. With the cosine distance s is
    the cosine; with ``distance=Bilinear(W), offset=0`` it is ``x' W z``.

    ``Scores`` gives the pairs. ``Pairs`` counts as scores 1 and 0, and so do the near and far cells of any
    other relation, which for labels are listed in full.

    Defaults: cosine distance, offset 1 and scale 1 (so s is the cosine), mean over the pairs.
    sentence-transformers' CosineSimilarityLoss is the same. ``reduction="none"`` gives a value a pair;
    ``weights`` are those of the pairs' left items.

    Parameters
    ----------
    offset : float
        The similarity at distance zero.
    scale : float, above 0
        How much similarity one unit of distance costs.
    huber : float above 0, optional
        The error beyond which a term grows linearly.

    References
    ----------
    The regression set-up of similarity learning: ``min_W sum_i loss(W; x_i, z_i, y_i) + reg(W)``; for the
    bilinear form G. Chechik et al., "Large scale online learning of image similarity through ranking", 2010.
    P. Huber, "Robust estimation of a location parameter", 1964.

    >>> from likewise.relations import Scores
    >>> loss = ScoreRegression()
    >>> loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), Scores([0], [1], [0.5]))  # (0 - 0.5)^2
    tensor(0.2500)
    """

    def __init__(
        self,
        *,
        offset: float = 1.0,
        scale: float = 1.0,
        huber: float | None = None,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction)
        if not (isinstance(offset, int | float) and abs(offset) < float("inf")):
            raise InputError(f"offset must be a finite number; found {offset!r}")
        self.offset = float(offset)
        self.scale = positive("scale", scale)
        self.huber = None if huber is None else positive("huber", huber)

    def terms(self, distances: Tensor, score: Tensor) -> Tensor:
        """The squared, or Huber's, error of each pair."""
        # target first: it needs no gradient
        target = self.offset - score
        return squared_error(target - (distances if self.scale == 1 else distances * self.scale), self.huber)


def squared_error(error: Tensor, huber: float | None) -> Tensor:
    """``e^2``, or linear beyond ``huber`` with the same value and slope there."""
    if huber is None:
        return error.square()
    within = error.clamp(-huber, huber)
    return within * (2 * error - within)
