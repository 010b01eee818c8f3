"""Class losses whose own logit reads lengths as well as an angle.

The other classes enter by their log-sum-exp, which the engine walks for. The own logits are made in the walk,
from its near distances and a number of each embedding and vector known before, as their lengths; the walk
notes the value's derivatives by those numbers, which then take them back to embeddings and vectors.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import UnsupportedError
from likewise.losses.class_cells import Settled
from likewise.losses.classes import ClassLoss, ClassOptions
from likewise.losses.composed import near_cells
from likewise.losses.log_sum import FarLogSum, RowTerms, pair_softmax
from likewise.losses.recorded import RowNotes
from likewise.table import Near, Part, Rows, TableRequest, table_value

__all__ = ["OwnLogit", "OwnTerms"]


@dataclass(frozen=True)
class OwnTerms:
    """Own logits (r, p), and their derivatives by distance and by the numbers of embedding and vector."""

    logits: Tensor
    by_distance: Tensor
    by_row: Tensor | None = None
    by_vector: Tensor | None = None


class _Against(FarLogSum):
    """``log(1 + exp(far - own))`` of each near cell; notes its slopes by the numbers own logits read.

    ends : (n + 1,) where the cells of each row begin. of_rows, of_vectors : (k,) the numbers of all near
    cells.
    """

    def __init__(
        self,
        loss: OwnLogit,
        ends: list[int],
        of_rows: Tensor,
        of_vectors: Tensor | None,
        *,
        always_active: bool,
    ) -> None:
        super().__init__(loss.rate, self._terms)
        self._loss, self._ends, self._of_rows, self._of_vectors = loss, ends, of_rows, of_vectors
        self._always_active = always_active
        self.by_row, self.by_vector = RowNotes(), RowNotes()

    def _padded(self, near: Near, numbers: Tensor) -> Tensor:
        """The numbers of a block's cells as (r, p)."""
        mine = numbers[self._ends[near.start] : self._ends[near.start + near.count.shape[0]]]
        if near.full:
            return mine.view(near.distances.shape)
        out = torch.ones_like(near.distances)
        out[near.valid] = mine
        return out

    def _terms(self, near: Near, far: Tensor) -> RowTerms:
        distances = near.distances if near.full else near.distances.masked_fill(~near.valid, 1.0)
        of_vectors = None if self._of_vectors is None else self._padded(near, self._of_vectors)
        own = self._loss.own_logits(distances, self._padded(near, self._of_rows), of_vectors)
        found = pair_softmax(near, far, own.logits, 1.0)
        for slopes, notes in ((own.by_row, self.by_row), (own.by_vector, self.by_vector)):
            if slopes is not None:
                by_number = found.by_near * slopes
                notes.note(near.start, by_number.view(-1) if near.full else by_number[near.valid])
        part = found.rows.joint
        assert part is not None
        if self._always_active:
            part = Part(part.value, part.terms, near.count)
        return RowTerms(Rows(joint=part), found.by_far, found.by_near * own.by_distance)


class OwnLogit(ClassLoss):
    """Cross-entropy over the classes with an own logit that reads more than a distance."""

    rate: float
    """Logits of the other classes are ``-rate d``."""

    def __init__(
        self, n_classes: int, dimension: int, *, distance: Distance, **options: Unpack[ClassOptions]
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance, centres=1, **options)

    @abstractmethod
    def own_logits(self, distances: Tensor, of_rows: Tensor, of_vectors: Tensor | None) -> OwnTerms:
        """The logits of embeddings' own classes from distances (r, p) and the two numbers (r, p)."""

    @abstractmethod
    def row_numbers(self, rows: Tensor) -> Tensor:
        """What own logits read of each embedding (n, d) besides: (n,), differentiable where it should be."""

    def vector_numbers(self, vectors: Tensor, own: Tensor) -> Tensor | None:  # noqa: ARG002
        """What they read of the own vectors, rows own (k,) of all: (k,), or None."""
        return None

    def added(self, of_rows: Tensor) -> Tensor | None:  # noqa: ARG002
        """What the term of each embedding has on top, from its number (k,): (k,), or None."""
        return None

    def function(self) -> FarLogSum:
        """Not there: the walk needs the numbers of one call.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(f"{type(self).__name__} needs its embeddings first: call the loss itself")

    def _against(self, rows: Tensor, relation: Settled, vectors: Tensor, weights: Tensor | None) -> Tensor:
        """Take the numbers, walk, and give them the slopes that the walk noted."""
        resolved = relation.resolved
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        row, anchor, column = near_cells(resolved)
        if not row.numel():
            return self.nothing(rows, vectors, rows.new_zeros(resolved.n_rows))
        of_rows, ends = self.row_numbers(rows), [*range(resolved.n_rows + 1)]
        if resolved.longest > 1 or anchor is not row or len(row) < len(rows):
            of_rows = of_rows.index_select(0, anchor)
            ends = torch.searchsorted(row, torch.arange(resolved.n_rows + 1, device=row.device)).tolist()
        of_vectors = self.vector_numbers(vectors, column)
        added = self.added(of_rows)
        function = _Against(
            self,
            ends,
            of_rows.detach(),
            None if of_vectors is None else of_vectors.detach(),
            always_active=added is not None,
        )
        request = TableRequest(function, self.distance, resolved, self.reduction)
        value, outcome = table_value(request, rows, vectors, weights)
        # the numbers' gradients go by what the walk noted; their value is in the walk's
        more = added
        for numbers, notes in ((of_rows, function.by_row), (of_vectors, function.by_vector)):
            if numbers is not None and numbers.requires_grad:
                turn = (numbers - numbers.detach()) * notes.all(rows)
                more = turn if more is None else more + turn
        if more is None:
            return value
        if weights is not None:
            more = more * weights[row]
        if self.reduction == "none":
            return value.index_add(0, row, more)
        found: Tensor = value + more.sum() / outcome.divisors["joint"]
        return found
