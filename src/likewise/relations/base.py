"""What a relation is, and what it becomes once the rows and columns of a table are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likewise.errors import InputError

__all__ = [
    "Block",
    "Cells",
    "Classes",
    "Listing",
    "Relation",
    "Resolved",
    "Sides",
    "cells_from_mask",
    "check_count",
]


@dataclass(frozen=True)
class Listing:
    """The valid cells of some rows in one list, row by row.

    row, column : (k,) int64. slots : (k,) places in the padded lists, or None where all are valid.
    flat : (k,) places in a tile of these rows and all columns, where known.
    """

    row: Tensor
    column: Tensor
    slots: Tensor | None
    flat: Tensor | None = None


@dataclass(frozen=True)
class Cells:
    """Some cells of a block of rows: for each row a padded list of columns.

    columns : (r, p) int64, valid : (r, p) bool; where not valid the column means nothing.
    anchors : (r, p) int64 embeddings to measure from, or None: the row's own.
    known : the same cells as one list, where whoever made them has it.
    """

    columns: Tensor
    valid: Tensor
    anchors: Tensor | None = None
    known: Listing | None = None

    @cached_property
    def counts(self) -> Tensor:
        """How many valid cells each row has: (r,) int64."""
        return self.valid.sum(1)

    @cached_property
    def listing(self) -> Listing:
        """The valid cells as one list."""
        if self.known is not None:
            return self.known
        slots = self.valid.reshape(-1).nonzero().view(-1)
        row = torch.repeat_interleave(self.counts, output_size=slots.numel())
        return Listing(row, self.columns.reshape(-1)[slots], slots)

    def rows(self, start: int, stop: int) -> Cells:
        """The cells of rows start to stop of the block."""
        anchors = None if self.anchors is None else self.anchors[start:stop]
        return Cells(self.columns[start:stop], self.valid[start:stop], anchors)

    def flat(self, first: int, last: int) -> Tensor:
        """Positions of the valid cells within the tile of columns first to last, row by row."""
        width = last - first
        rows = torch.arange(self.columns.shape[0], device=self.columns.device)[:, None] * width
        inside = self.valid & (self.columns >= first) & (self.columns < last)
        return (rows + self.columns - first)[inside]


@dataclass(frozen=True)
class Sides:
    """The rows and columns of one table: how many, who is the same item, and where they live.

    ``row_ids`` and ``column_ids`` are int64 and present together, or both absent: then, when
    ``columns_are_rows``, position is the id, and otherwise nobody is the same item.
    """

    n_rows: int
    n_columns: int
    columns_are_rows: bool
    device: torch.device
    row_ids: Tensor | None = None
    column_ids: Tensor | None = None

    def same(self, row_numbers: Tensor, columns: Tensor) -> Tensor:
        """Whether row and column are one item; shapes broadcast."""
        if self.row_ids is not None and self.column_ids is not None:
            return self.row_ids[row_numbers] == self.column_ids[columns]
        if self.columns_are_rows:
            return row_numbers == columns
        return torch.zeros((1, 1), dtype=torch.bool, device=columns.device)


@dataclass(frozen=True)
class Block:
    """The relation of a block of rows of a table with ``n_columns`` columns.

    near : the near cells.
    far : the far cells, or None where every cell is far that isn't hidden.
    hidden, mask : the cells that aren't far where ``far`` is None, as a list, as a bool array (r, m), or
        both; near cells are among them.
    """

    n_columns: int
    near: Cells
    far: Cells | None = None
    hidden: Cells | None = None
    mask: Tensor | None = None

    def far_count(self) -> Tensor:
        """How many far cells each row has: (r,) int64."""
        if self.far is not None:
            return self.far.counts
        if self.mask is None:
            cells = self.near if self.hidden is None else self.hidden
            return self.n_columns - cells.counts
        hidden = self.mask
        if self.hidden is not None:
            hidden = hidden.clone()
            hidden.view(-1).index_fill_(0, self.hidden.flat(0, self.n_columns), True)
        return self.n_columns - hidden.sum(1)

    def hide(self, tile: Tensor, first: int, last: int, value: float) -> None:
        """Put value, in place, into the cells of columns first to last that aren't far.

        tile : (rows of the block, last - first), contiguous; with listed far cells, those themselves.
        """
        if self.far is not None:
            tile.masked_fill_(~self.far.valid, value)
            return
        if self.hidden is not None:
            tile.view(-1).index_fill_(0, self.hidden.flat(first, last), value)
        if self.mask is not None:
            tile.masked_fill_(self.mask[:, first:last], value)

    def rows(self, start: int, stop: int) -> Block:
        """Rows start to stop of this block."""
        near, far, hidden = (
            None if cells is None else cells.rows(start, stop) for cells in (self.near, self.far, self.hidden)
        )
        assert near is not None
        return Block(self.n_columns, near, far, hidden, None if self.mask is None else self.mask[start:stop])


@dataclass(frozen=True)
class Classes:
    """One class an item: cells of one class are near, others far, and those of one item neither.

    rows (n,), columns (m,) : the classes, int64.
    """

    rows: Tensor
    columns: Tensor
    sides: Sides


class Resolved(ABC):
    """A relation over one table.

    ``n_rows`` counts the table's rows; ``anchors`` (n_rows,) gives the embedding of each row, or is
    None where row i is embedding i. ``far_is_listed`` tells whether the blocks list their far cells.
    ``longest`` is at least the number of listed cells in any row. ``classes`` says it all where every item
    has one class: a small table needs nothing else. ``chosen`` is what a miner knows besides, who has
    measured the table: see :mod:`likewise.table.chosen`.
    """

    n_rows: int
    n_columns: int
    longest: int
    classes: Classes | None = None
    chosen: object = None
    anchors: Tensor | None = None
    far_is_listed: bool = False

    @abstractmethod
    def block(self, start: int, stop: int) -> Block:
        """The relation of rows start to stop."""

    @property
    def far_has_anchors(self) -> bool:
        """Whether far cells are measured from anchors of their own, as those of quadruplets."""
        if not self.far_is_listed or not self.n_rows:
            return False
        far = self.block(0, 1).far
        return far is not None and far.anchors is not None


class Relation(ABC):
    """Who should be near whom. It holds positions, never data, and has no length and no shape."""

    @abstractmethod
    def resolve(self, columns: Relation | None, sides: Sides) -> Resolved:
        """Say which cells of a table are near and far.

        Parameters
        ----------
        columns : Relation or None
            The relation of the columns, where they aren't the rows.
        sides : Sides
            The table.

        Raises
        ------
        InputError
            The relation speaks of another number of rows, or needs something that isn't given.
        """


def check_count(what: str, found: int, expected: int) -> None:
    """Refuse a relation that speaks of another number of items."""
    if found != expected:
        raise InputError(
            f"{what} must speak of as many items as there are embeddings: expected {expected}, found {found}"
        )


def cells_from_mask(mask: Tensor) -> Cells:
    """The true cells of a mask (r, m) as padded lists, columns ascending."""
    flat = mask.reshape(-1).nonzero().view(-1)
    row = torch.div(flat, max(1, mask.shape[1]), rounding_mode="floor")
    column = flat - row * mask.shape[1]
    counts = mask.sum(1)
    longest = int(counts.max()) if mask.shape[0] else 0
    shape = (mask.shape[0], longest)
    if flat.shape[0] == mask.shape[0] * longest:
        every = torch.ones(shape, dtype=torch.bool, device=mask.device)
        return Cells(column.view(shape), every, known=Listing(row, column, None, flat))
    valid = torch.arange(longest, device=mask.device) < counts[:, None]
    slots = valid.view(-1).nonzero().view(-1)
    columns = torch.zeros(shape, dtype=torch.int64, device=mask.device)
    columns.view(-1).index_copy_(0, slots, column)
    return Cells(columns, valid, known=Listing(row, column, slots, flat))
