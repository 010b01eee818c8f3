"""Class losses whose own logit reads lengths as well as an angle.

The other classes enter by their log-sum-exp, which the engine walks for; the own logits are plain PyTorch on
pairs of vectors, known before the walk, which notes the value's derivative by them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Unpack

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import UnsupportedError
from likewise.losses.class_cells import Settled
from likewise.losses.classes import ClassLoss, ClassOptions
from likewise.losses.composed import near_cells
from likewise.losses.log_sum import FarLogSum, RowTerms, one_plus
from likewise.losses.recorded import RowNotes
from likewise.table import Near, Part, Rows, TableRequest, table_value

__all__ = ["OwnLogit"]


class _Against(FarLogSum):
    """``log(1 + exp(far - own))`` of each near cell, with own logits known; notes its slope by them.

    own : (k,) the logits of all near cells, row by row. ends : (n + 1,) where each row's begin.
    """

    def __init__(self, rate: float, own: Tensor, ends: Tensor, *, always_active: bool) -> None:
        super().__init__(rate, self._terms)
        self._own, self._ends, self._always_active = own, ends.tolist(), always_active
        self.slopes = RowNotes()

    def _terms(self, near: Near, far: Tensor) -> RowTerms:
        own = torch.zeros_like(near.distances)
        own[near.valid] = self._own[self._ends[near.start] : self._ends[near.start + far.shape[0]]]
        gap = near.filled(far[:, None] - own, -torch.inf)
        values, share = one_plus(gap), gap.sigmoid()
        self.slopes.note(near.start, -share[near.valid])
        active = near.count if self._always_active else (values != 0).sum(1)
        part = Part(values.sum(1), near.count, active)
        return RowTerms(Rows(joint=part), share.sum(1), torch.zeros_like(near.distances))


class OwnLogit(ClassLoss):
    """Cross-entropy over the classes with an own logit made of the two vectors themselves."""

    rate: float
    """Logits of the other classes are ``-rate d``."""

    def __init__(
        self, n_classes: int, dimension: int, *, distance: Distance, **options: Unpack[ClassOptions]
    ) -> None:
        super().__init__(n_classes, dimension, distance=distance, centres=1, **options)

    @abstractmethod
    def own_logits(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """The logits (k,) of embeddings' own classes from the embeddings and their vectors (k, d)."""

    def observe(self, rows: Tensor) -> None:
        """Look at the embeddings of a batch (n, d) before its logits are made."""

    def added(self, rows: Tensor) -> Tensor | None:  # noqa: ARG002
        """What the term of each embedding (k, d) has on top: (k,), or None."""
        return None

    def function(self) -> FarLogSum:
        """Not there: the walk needs the own logits of one call.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(f"{type(self).__name__} needs its own logits first: call the loss itself")

    def _against(self, rows: Tensor, relation: Settled, vectors: Tensor, weights: Tensor | None) -> Tensor:
        """Make the own logits, walk, and give them the slopes that the walk noted."""
        resolved = relation.resolved
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        row, anchor, column = near_cells(resolved)
        if not row.numel():
            return self.nothing(rows, vectors, rows.new_zeros(resolved.n_rows))
        self.observe(rows)
        chosen = rows.index_select(0, anchor)
        own = self.own_logits(chosen, vectors.index_select(0, column))
        added = self.added(chosen)
        ends = torch.searchsorted(row, torch.arange(resolved.n_rows + 1, device=row.device))
        function = _Against(self.rate, own.detach(), ends, always_active=added is not None)
        request = TableRequest(function, self.distance, resolved, self.reduction)
        value, outcome = table_value(request, rows, vectors, weights)
        # the own logits' gradient goes by what the walk noted; their value is in the walk's
        more = (own - own.detach()) * function.slopes.all(rows)
        if added is not None:
            more = more + added
        if weights is not None:
            more = more * weights[row]
        if self.reduction == "none":
            return value.index_add(0, row, more)
        found: Tensor = value + more.sum() / outcome.divisors["joint"]
        return found
