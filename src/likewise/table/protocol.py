"""What a loss says to the engine: the protocol of tiles.

A loss over a table is written for a block of rows. The near cells of each row are few and listed;
everything else comes as tiles, in which a cell that isn't far holds infinity.

1. ``begin(near)`` makes the block's state from the near distances (a hinge knows its thresholds now).
2. ``observe(tile, state)`` folds a tile into the state, in any order of tiles.
3. ``finish(state)`` gives each row's value and how many terms it has, and how many of those are active.
4. ``slope(tile, state)`` gives the derivative of the row's value by each distance of the tile, zero
   where the distance is infinite; ``near_slope(state)`` the same for the near cells.

A loss that averages alike and unlike pairs apart gives two parts, each with divisors of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from likewise.relations import Cells
from likewise.table.far_terms import FarTerms

__all__ = ["Near", "Part", "Rows", "TableFunction", "Tile", "WholeRows"]

_State = TypeVar("_State")


@dataclass(frozen=True)
class Near:
    """The near cells of a block, and how many there are of each kind.

    distances : (r, p), infinite where not valid; read, never written to. valid : (r, p) bool.
    count, far_count : (r,) how many near and far cells each row has, in the distances' dtype.
    full : whether all are known to be valid.
    cells, start, anchors : the cells themselves, the number of the first row of the table, and the
        embeddings (r,) that the rows are, or None where row i is embedding i: for a loss that knows something
        of single items or pairs.
    """

    distances: Tensor
    valid: Tensor
    count: Tensor
    far_count: Tensor
    full: bool = False
    cells: Cells | None = None
    start: int = 0
    anchors: Tensor | None = None

    def embeddings(self) -> Tensor:
        """Each row's embedding (r,)."""
        if self.anchors is not None:
            return self.anchors
        return torch.arange(self.start, self.start + self.count.shape[0], device=self.count.device)

    def measured_from(self) -> Tensor:
        """The embedding (r, p) that each near distance is measured from."""
        assert self.cells is not None
        own = self.embeddings()[:, None] if self.cells.anchors is None else self.cells.anchors
        return own.expand_as(self.cells.columns)

    def filled(self, values: Tensor, fill: float) -> Tensor:
        """Values (r, p) with ``fill``, in place, where not valid."""
        return values if self.full else values.masked_fill_(~self.valid, fill)


@dataclass(frozen=True)
class Tile:
    """Some rows by some columns: distances (r, c), infinite where the column isn't far.

    distances are read, never written to. ``kept`` says that this very tile comes back in ``slope``, next
    and alone, so that ``observe`` may leave an array of its size in the state to save work there. ``first``
    is the number of its first column, and ``cells`` are the cells themselves where far cells are listed and
    a tile is no run of columns.
    """

    distances: Tensor
    kept: bool = False
    first: int = 0
    cells: Cells | None = None


@dataclass(frozen=True)
class Part:
    """A sum over terms: value (r,), and how many terms and how many active ones stand in it (r,)."""

    value: Tensor
    terms: Tensor
    active: Tensor


@dataclass(frozen=True)
class Rows:
    """What ``finish`` gives: one part, or one over the near and one over the far cells.

    With two, the slope of a near cell belongs to ``near`` alone and that of a far cell to ``far``.
    """

    joint: Part | None = None
    near: Part | None = None
    far: Part | None = None


class TableFunction(ABC, Generic[_State]):
    """The mathematics of a loss over tiles; see the module."""

    apart: bool = False
    """Whether ``finish`` gives two parts, near and far, whose terms are the near and the far cells: of
    those the walk knows the number beforehand."""

    columns_together: int = 1
    """How many neighbouring columns belong together: no tile ends between them."""

    observes: bool = True
    """Whether tiles have to be observed before their slopes are known."""

    scaled: bool = False
    """Whether a tile's slopes are known as it is observed but for a factor a row: see :meth:`fold`."""

    def fold(self, tile: Tile, state: _State) -> tuple[Tensor, Tensor | None]:
        """Observe a tile and give its slopes (r, c) but for a factor a row, where ``scaled``.

        Then one visit is enough wherever rows alone get a gradient. With the slopes comes what those of the
        tiles before have to be multiplied with by now (r,), or None.
        """
        self.observe(tile, state)
        return self.slope(tile, state), None

    def row_factor(self, state: _State) -> Tensor | None:  # noqa: ARG002
        """What all slopes that :meth:`fold` gave have to be multiplied with in the end (r,), or None."""
        return None

    fused: bool = False
    """Whether :meth:`far_terms` says what a far cell makes, so that no tile has to be held."""

    limited: bool = False
    """Whether it does so by limits, of which a row has as many as near cells."""

    def far_terms(self, state: _State) -> FarTerms:
        """What the loss makes of a far cell: after ``begin``, and again after ``finish`` for its slopes."""
        raise NotImplementedError(f"{type(self).__name__} reads tiles")

    def far_found(self, sums: tuple[Tensor, ...], state: _State) -> None:
        """Take what all far cells of the rows add up to, in place of ``observe``: see :mod:`far_terms`."""
        raise NotImplementedError(f"{type(self).__name__} reads tiles")

    cellwise: bool = False
    """Whether the slope of a far cell depends on its distance alone."""

    folds: bool = False
    """Whether a tile seen both ways costs hardly more than seen once, in :meth:`observe_both`."""

    def observe_both(self, tile: Tile, turned: Callable[[], Tile], rows: _State, columns: _State) -> None:
        """Fold a tile into the state of its rows and, turned round, into that of its columns' rows.

        Where a table's columns are its rows each tile is measured once and serves both.
        """
        self.observe(tile, rows)
        self.observe(turned(), columns)

    def slope_both(
        self,
        tile: Tile,
        turned: Callable[[], Tile],
        rows: tuple[_State, Tensor | None],
        columns: tuple[_State, Tensor | None],
    ) -> Tensor:
        """The derivative of both blocks' values by the distances of a tile: (r, c), a new array.

        rows, columns : the states, and weights (r,) and (c,) of their rows' values or None.
        """
        (mine, weights), (theirs, other_weights) = rows, columns
        slopes = self.slope(tile, mine)
        if self.cellwise:
            if weights is None or other_weights is None:
                return slopes.mul_(2.0)
            return slopes.mul_(weights[:, None] + other_weights)
        other = self.slope(turned(), theirs)
        if weights is not None and other_weights is not None:
            slopes.mul_(weights[:, None])
            other.mul_(other_weights[:, None])
        return slopes.add_(other.T)

    @abstractmethod
    def begin(self, near: Near) -> _State:
        """The state of a block of rows before its first tile."""

    @abstractmethod
    def observe(self, tile: Tile, state: _State) -> None:
        """Fold a tile into the state."""

    @abstractmethod
    def finish(self, state: _State) -> Rows:
        """Each row's value, when all tiles are observed."""

    @abstractmethod
    def slope(self, tile: Tile, state: _State) -> Tensor:
        """The derivative of each row's value by the distances of a tile: (r, c), a new array."""

    @abstractmethod
    def near_slope(self, state: _State) -> Tensor:
        """The derivative of each row's value by its near distances: (r, p)."""


class WholeRows(ABC):
    """A loss written as a plain function of whole rows, differentiated by autograd on the block.

    It costs a few arrays of a block of rows against all columns, instead of a tile. Of listed quadruplets a
    row is their two cells alone, near and then far, as each is measured from an anchor of its own.
    """

    @abstractmethod
    def rows(self, distances: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """Each row's value (r,) from distances (r, m) and the bool masks near and far (r, m)."""

    def part(self, value: Tensor, near: Tensor, far: Tensor) -> Part:
        """Rows count as terms when they have a near and a far cell, as active when not zero."""
        terms = near.any(1) & far.any(1)
        return Part(torch.where(terms, value, 0.0), terms, terms & (value != 0))
