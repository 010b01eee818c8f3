"""A walk over a table whose columns are its rows: each distance is measured once and serves both its rows.

Of such a table the part below the diagonal is the part above it, turned. So blocks of rows are open all at
once, a tile is observed by the block of its rows and, turned, by the block of its columns, and in the second
visit what both blocks make of it is one array of slopes. That takes two products where the walk of
:mod:`~likewise.table.walk` takes three in one visit or four in two; one and a half where half a table is
small enough to hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from likewise.relations import Cells
from likewise.relations.base import Resolved
from likewise.table.blocks import WHOLE_ROWS, Plan, Visit, visits
from likewise.table.product import ProductKernel
from likewise.table.protocol import Rows, TableFunction, Tile
from likewise.table.reduction import NearCells, Reduction, Walked
from likewise.table.step import Hidden, added, far_tile, near_of, scaled
from likewise.table.walk import joined

__all__ = ["HELD", "LISTED", "SIDE", "WIDE", "folded_walk", "folds"]

SIDE = 512
"""Rows and columns of a tile: 1 MB in float32."""

LISTED = 1 << 19
"""Most near cells in all, as the lists of all rows are held at once: some 20 MB."""

WIDE = 256
"""Numbers of a row from which on a product counts more than what a loss makes of a cell."""

HELD = 40 << 20
"""Most bytes of tiles that are held from one visit to the next."""


def folds(loss: TableFunction[Any], resolved: Resolved, kernel: ProductKernel) -> bool:
    """Whether a table can be walked here, and takes fewer products so."""
    classes = resolved.classes
    # a product more is cheap where rows are short; to see each tile twice isn't
    gains = loss.folds or loss.cellwise or kernel.features >= WIDE or resolved.n_rows > WHOLE_ROWS
    return (
        gains
        and loss.columns_together == 1
        and resolved.n_rows > 2 * SIDE
        and classes is not None
        and classes.sides.columns_are_rows
        and classes.rows is classes.columns
        and classes.sides.row_ids is classes.sides.column_ids
        and kernel.folds
        and resolved.n_rows * resolved.longest <= LISTED
    )


@dataclass
class _Open:
    """A block of rows between its first tile and its last."""

    visit: Visit
    near: Tensor
    state: Any
    hidden: Hidden
    weights: Tensor | None
    more: Tensor | None

    @property
    def start(self) -> int:
        return self.visit.start

    @property
    def stop(self) -> int:
        return self.visit.stop

    @property
    def cells(self) -> Cells:
        return self.visit.block.near


class _Tiles:
    """The tiles of the upper half, in turn: measured, or as they were held."""

    def __init__(self, kernel: ProductKernel, blocks: list[_Open], element: int) -> None:
        self._kernel, self._blocks = kernel, blocks
        size = blocks[-1].stop * (blocks[-1].stop + SIDE) // 2 * element
        self._held: dict[tuple[int, int], tuple[Tensor, Tensor | None]] | None = {} if size <= HELD else None

    def take(self, row: int, column: int) -> Tensor:
        """The distances of a block of rows against one of columns; the kernel is turned to them."""
        kernel, rows, columns = self._kernel, self._blocks[row], self._blocks[column]
        kernel.begin_block(rows.start, rows.stop, None)
        if self._held is not None and (row, column) in self._held:
            distances, small = self._held.pop((row, column))
            kernel.return_to(columns.start, columns.stop, small)
            return distances
        return far_tile(kernel, rows.hidden, columns.start, columns.stop, kept=False).distances

    def hold(self, row: int, column: int, distances: Tensor) -> None:
        """Hold the last tile for the next visit, if there is room."""
        if self._held is not None:
            self._held[row, column] = distances, self._kernel.let_go()


class _Turned:
    """A buffer for tiles turned round."""

    def __init__(self, like: Tensor) -> None:
        self._buffer = like.new_empty(SIDE * SIDE)

    def later(self, tile: Tensor, first: int) -> Callable[[], Tile]:
        """Gives distances (r, c) as a tile (c, r) of the columns from ``first`` on; good until the next."""

        def turn() -> Tile:
            rows, columns = tile.shape
            return Tile(self._buffer[: rows * columns].view(columns, rows).copy_(tile.T), first=first)

        return turn


def folded_walk(
    loss: TableFunction[Any],
    kernel: ProductKernel,
    resolved: Resolved,
    reduction: Reduction,
    *,
    weights: Tensor | None,
    want_gradient: bool,
    like: Tensor,
    near: NearCells | None = None,
) -> Walked:
    """Walk over a table that :func:`folds`; see :func:`likewise.table.walk.walk`, which gives the same."""
    if near is not None:
        near.begin(resolved, None)
    blocks = _opened(loss, kernel, resolved, weights, like, near)
    tiles, turned = _Tiles(kernel, blocks, like.element_size()), _Turned(like)
    upper = [(row, column) for row in range(len(blocks)) for column in range(row, len(blocks))]
    for row, column in upper if loss.observes else []:
        distances = tiles.take(row, column)
        tile = Tile(distances, first=blocks[column].start)
        if column > row:
            other = turned.later(distances, blocks[row].start)
            loss.observe_both(tile, other, blocks[row].state, blocks[column].state)
        else:
            loss.observe(tile, blocks[row].state)
        if want_gradient:
            tiles.hold(row, column, distances)
    found: list[Rows] = [loss.finish(block.state) for block in blocks]
    out = Walked(joined(found, ("near", "far") if loss.apart else ("joint",), like))
    out.reduce(reduction, weights)
    out.scale = 1.0 / out.divisors["far" if loss.apart else "joint"]
    if not want_gradient:
        return out
    for row, column in upper:
        distances = tiles.take(row, column)
        tile = Tile(distances, first=blocks[column].start)
        mine, theirs = ((block.state, block.weights) for block in (blocks[row], blocks[column]))
        if column > row:
            slopes = loss.slope_both(tile, turned.later(distances, blocks[row].start), mine, theirs)
        else:
            slopes = loss.slope(tile, mine[0])
            slopes = slopes if mine[1] is None else slopes.mul_(mine[1][:, None])
        kernel.spread(slopes, distances, None, None)
    near_scale = out.divisors["far"] / out.divisors["near"] if loss.apart else 1.0
    for block in blocks:
        kernel.begin_block(block.start, block.stop, None)
        by_row = None if block.weights is None else block.weights[:, None]
        near_slopes = scaled(loss.near_slope(block.state), by_row, near_scale)
        if block.more is not None:
            near_slopes = added(near_slopes, block.cells, block.more)
        kernel.spread_listed(near_slopes, block.cells, block.near)
    out.gradients = kernel.gradients()
    return out


def _opened(
    loss: TableFunction[Any],
    kernel: ProductKernel,
    resolved: Resolved,
    weights: Tensor | None,
    like: Tensor,
    near_cells: NearCells | None,
) -> list[_Open]:
    """All blocks of rows, before their first tile."""
    n = resolved.n_rows
    tiles = [(first, min(first + SIDE, n)) for first in range(0, n, SIDE)]
    blocks = []
    for visit in visits(resolved, kernel, Plan(SIDE, SIDE, SIDE, whole=False), like, (0, n)):
        near = kernel.listed(visit.block.near)
        state = loss.begin(near_of(kernel, visit, near))
        mine = None if weights is None else weights[visit.start : visit.stop].contiguous()
        more = None if near_cells is None else near_cells.take(near[visit.block.near.valid])
        blocks.append(_Open(visit, near, state, Hidden(visit.block, tiles), mine, more))
    return blocks
