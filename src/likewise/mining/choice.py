"""What miners give back: a table with some of its cells, or a list of comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.mining.base import Nearest
from likewise.relations import Block, Cells, Resolved
from likewise.table.chosen import Chosen
from likewise.table.distributed import from_all
from likewise.table.visit import View

__all__ = ["Comparisons", "RowChoices", "comparison", "of_cells", "of_rows", "own_anchors"]


@dataclass(frozen=True)
class _Chosen:
    """Cells chosen for each row of a table: columns (n, k), valid (n, k), anchors of their own or None."""

    columns: Tensor
    valid: Tensor
    anchors: Tensor | None = None

    def cells(self, start: int, stop: int) -> Cells:
        anchors = None if self.anchors is None else self.anchors[start:stop]
        return Cells(self.columns[start:stop], self.valid[start:stop], anchors)


class _Narrowed(Resolved):
    """The rows of a table with some of their cells.

    ``rows`` (n,) says which rows stay; of those, ``near`` and ``far`` replace what the table says.
    """

    def __init__(self, table: Resolved, rows: Tensor, near: _Chosen | None, far: _Chosen | None) -> None:
        self._table, self._rows, self._near, self._far = table, rows, near, far
        self.n_rows, self.n_columns, self.anchors = table.n_rows, table.n_columns, table.anchors
        self.far_is_listed = far is not None or table.far_is_listed
        self.longest = table.longest

    def block(self, start: int, stop: int) -> Block:
        given = self._table.block(start, stop)
        rows = self._rows[start:stop, None]
        near = given.near if self._near is None else self._near.cells(start, stop)
        far = given.far if self._far is None else self._far.cells(start, stop)
        near = Cells(near.columns, near.valid & rows, near.anchors)
        if far is not None:
            return Block(self.n_columns, near, far=Cells(far.columns, far.valid & rows, far.anchors))
        hidden = given.near if given.hidden is None and given.mask is None else given.hidden
        mask = given.mask
        if not bool(rows.all()):
            dropped = (~rows).expand(-1, self.n_columns)
            mask = dropped.clone() if mask is None else mask | dropped
        return Block(self.n_columns, near, hidden=hidden, mask=mask)


class Comparisons(Resolved):
    """One near cell against one far cell in each row."""

    far_is_listed = True
    longest = 1

    def __init__(
        self,
        found: list[tuple[Tensor, ...]],
        n_columns: int,
        device: torch.device,
        *,
        of_all: bool = False,
    ) -> None:
        """Take anchor, near column, far column and the far cell's anchor, each (k,), in pieces.

        Where processes share a batch each gives what it found in its share of the rows, or, with
        ``of_all``, what all found.
        """
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        parts = [torch.cat(part) for part in zip(*found, strict=True)] if found else [empty] * 4
        self.anchors, self._near, self._far, self._own = parts if of_all else map(from_all, parts)
        self.n_rows, self.n_columns = self._near.shape[0], n_columns
        self._differ = not torch.equal(self.anchors, self._own)

    def block(self, start: int, stop: int) -> Block:
        near, far, own = (part[start:stop, None] for part in (self._near, self._far, self._own))
        valid = torch.ones_like(near, dtype=torch.bool)
        return Block(self.n_columns, Cells(near, valid), far=Cells(far, valid, own if self._differ else None))


def of_rows(chosen: Chosen, table: Resolved) -> Resolved:
    """A table narrowed to what was chosen for each of its rows."""
    assert chosen.kept is not None
    kept = chosen.kept[:, None]
    near = None if chosen.slots is None else _Chosen(chosen.near_columns, kept)
    found = _Narrowed(table, chosen.kept, near, _Chosen(chosen.far[:, None], kept))
    found.chosen = chosen
    return found


def of_cells(chosen: Chosen, rows: Tensor, near: Tensor, table: Resolved) -> Resolved:
    """A comparison for each near cell that was chosen, of the rows and columns (k,)."""
    rows = rows if table.anchors is None else table.anchors[rows]
    found = Comparisons([(rows, near, chosen.far, rows)], table.n_columns, rows.device, of_all=True)
    found.chosen = chosen
    return found


def own_anchors(view: View, rows: Tensor, anchors: Tensor | None) -> Tensor:
    """The embeddings that far cells are measured from: their own, or those of their rows."""
    return view.anchors[rows] if anchors is None else anchors


def comparison(view: View, rows: Tensor, near: Tensor, places: Tensor) -> tuple[Tensor, ...]:
    """Anchor, near column, far column and its anchor, of comparisons by row, near column and far place."""
    columns, own = view.far_columns(rows, places)
    return view.anchors[rows], near, columns, own_anchors(view, rows, own)


class RowChoices:
    """One chosen near and one chosen far cell for each row looked at, piece by piece."""

    def __init__(self, device: torch.device, *, near: bool = True, far: bool = True) -> None:
        self._device, self._chooses_near, self._chooses_far = device, near, far
        self.kept: list[Tensor] = []
        self.near: list[Tensor] = []
        self.far: list[Tensor] = []
        self.own: list[Tensor] = []

    def add(self, view: View, near: Tensor | None, nearest: Nearest | None) -> None:
        """Take a block's choice: near cells by list number (r,), far cells by place."""
        rows = torch.arange(view.stop - view.start, device=view.anchors.device)
        kept = view.block.near.valid.any(1)
        kept = kept & (view.block.far_count() > 0 if nearest is None else nearest.found)
        self.kept.append(kept)
        if near is not None:
            columns = view.block.near.columns
            self.near.append(columns[rows, near] if columns.shape[1] else torch.zeros_like(rows))
        if nearest is not None:
            listed = view.block.far is not None and not view.block.far.columns.shape[1]
            places = torch.zeros_like(rows) if listed else nearest.place
            found, own = (places, None) if listed else view.far_columns(rows, places)
            self.far.append(found)
            self.own.append(own_anchors(view, rows, own))

    def narrowed(self, table: Resolved) -> Resolved:
        """The table with the choice alone; where no near (far) cell was chosen, all stay."""
        if not table.n_rows:
            return table
        device = self._device
        kept = from_all(torch.cat([*self.kept, torch.zeros(0, dtype=torch.bool, device=device)]))
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        near, far = (
            _Chosen(from_all(torch.cat([*part, nothing]))[:, None], kept[:, None]) if chosen else None
            for part, chosen in ((self.near, self._chooses_near), (self.far, self._chooses_far))
        )
        if far is not None:
            own = from_all(torch.cat([*self.own, nothing]))
            plain = torch.arange(table.n_rows, device=own.device) if table.anchors is None else table.anchors
            if not torch.equal(own, plain):
                far = _Chosen(far.columns, far.valid, own[:, None])
        return _Narrowed(table, kept, near, far)
