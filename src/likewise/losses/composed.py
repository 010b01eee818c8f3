"""The base of losses that aren't one walk: several walks, or plain PyTorch on a few listed cells."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import InputError, UnsupportedError
from likewise.losses.base import Loss, ReductionName, _check_ids
from likewise.relations import Relation, Resolved, Sides
from likewise.table import TableFunction, TableRequest, WholeRows, table_value
from likewise.table.near_listing import near_listing

__all__ = ["ComposedLoss", "Table", "far_cells", "near_cells", "near_with_far"]


@dataclass(frozen=True)
class Table:
    """What a composed loss reads: rows (n, d), columns (m, d) or None, who is near and far, weights."""

    rows: Tensor
    columns: Tensor | None
    resolved: Resolved
    weights: Tensor | None = None

    @property
    def other(self) -> Tensor:
        """The columns, which may be the rows."""
        return self.rows if self.columns is None else self.columns

    def detached(self) -> Table:
        """The same without gradients."""
        columns = None if self.columns is None else self.columns.detach()
        weights = None if self.weights is None else self.weights.detach()
        return Table(self.rows.detach(), columns, self.resolved, weights)

    def value(
        self,
        function: TableFunction[Any] | WholeRows,
        distance: Distance,
        reduction: ReductionName,
        resolved: Resolved | None = None,
    ) -> tuple[Tensor, float]:
        """Walk a function over the table: its value, and how many terms there were."""
        request = TableRequest(function, distance, resolved or self.resolved, reduction)
        value, outcome = table_value(request, self.rows, self.columns, self.weights)
        return value, outcome.terms


class ComposedLoss(Loss):
    """A loss that composes its value from the resolved table by itself."""

    @abstractmethod
    def compose(self, table: Table) -> Tensor:
        """The value of the loss over a table."""

    def function(self) -> TableFunction[Any] | WholeRows:
        """Not there: this loss isn't one function over tiles.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(f"{type(self).__name__} isn't a single walk: call the loss itself")

    def resolve(self, relation: Relation, columns: Relation | None, sides: Sides) -> Resolved:
        """Who is near and far."""
        return relation.resolve(columns, sides)

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
        """Resolve the relation, mine, and compose."""
        sides = self._sides(rows, columns, ids, column_ids)
        resolved = self.resolve(relation, column_relation, sides)
        if self.miner is not None:
            resolved = self.miner(rows.detach(), resolved, columns=columns, distance=self.distance)
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        return self.compose(Table(rows, columns, resolved, weights))

    @staticmethod
    def _sides(rows: Tensor, columns: Tensor | None, ids: Any, column_ids: Any) -> Sides:
        n_columns = rows.shape[0] if columns is None else columns.shape[0]
        row_ids = _check_ids("ids", ids, rows.shape[0], rows.device)
        other_ids = _check_ids("column_ids", column_ids, n_columns, rows.device)
        if columns is None and row_ids is not None and other_ids is None:
            other_ids = row_ids
        if (row_ids is None) != (other_ids is None):
            raise InputError("ids and column_ids must be given together")
        return Sides(rows.shape[0], n_columns, columns is None, rows.device, row_ids, other_ids)

    def warn_if_empty(self, terms: float) -> None:
        """Say once a call that there was nothing to learn from."""
        if terms == 0:
            self.warn_of_nothing()


_BLOCK = 1 << 20
"""Cells looked at together where a relation is listed."""


def _listed(resolved: Resolved, *, near: bool) -> tuple[Tensor, Tensor, Tensor]:
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    step = max(1, _BLOCK // max(1, resolved.n_columns))
    for start in range(0, resolved.n_rows, step):
        stop = min(start + step, resolved.n_rows)
        block = resolved.block(start, stop)
        cells = block.near if near else block.far
        if cells is None:
            marks = torch.ones(stop - start, resolved.n_columns, device=block.near.columns.device)
            block.hide(marks, 0, resolved.n_columns, 0.0)
            number, column = marks.nonzero(as_tuple=True)
            own = None
        else:
            listing = cells.listing
            number, column = listing.row, listing.column
            own = None
            if cells.anchors is not None:
                anchors = cells.anchors.expand_as(cells.columns).reshape(-1)
                own = anchors if listing.slots is None else anchors[listing.slots]
        row = number + start if start else number
        if own is None:
            own = row if resolved.anchors is None else resolved.anchors[row]
        found.append((row, own, column))
    if not found:
        empty = torch.zeros(0, dtype=torch.int64)
        return empty, empty, empty
    if len(found) == 1:
        return found[0]
    row, own, column = (torch.cat(parts) for parts in zip(*found, strict=True))
    return row, own, column


def near_cells(resolved: Resolved) -> tuple[Tensor, Tensor, Tensor]:
    """All near cells of a table: the row of the table, the embedding it is measured from, the column."""
    small = near_listing(resolved)
    if small is not None:
        row, column = small
        return row, row, column
    return _listed(resolved, near=True)


def far_cells(resolved: Resolved) -> tuple[Tensor, Tensor, Tensor]:
    """All far cells, as for :func:`near_cells`; up to all cells of the table."""
    return _listed(resolved, near=False)


def near_with_far(near_row: Tensor, far_row: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Each near cell with each far cell of its row: places in the lists of all near and of all far cells."""
    # both lists are row by row, so the far cells of a row are a run
    ends = torch.searchsorted(far_row, torch.arange(n_rows + 1, device=far_row.device))
    begin, count = ends[:-1][near_row], ends.diff()[near_row]
    cell = torch.repeat_interleave(count)
    place = torch.arange(cell.shape[0], device=cell.device) - (count.cumsum(0) - count)[cell]
    return cell, begin[cell] + place
