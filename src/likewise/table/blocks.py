"""A table's rows in blocks: how large tiles are, and what the walk knows of each block.

Rows are taken in groups, whose near cells are listed once, and within a group in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from likewise.relations import Block, Cells, Resolved
from likewise.table.kernels import InTile, Kernel

__all__ = [
    "FEWEST_ROWS",
    "GROUP",
    "ROWS",
    "TILE",
    "WHOLE_ROWS",
    "Plan",
    "Visit",
    "hide",
    "near_cells",
    "plan_for",
    "visits",
]

TILE = 1 << 18
"""Numbers in a tile: 1 MB in float32, so that a tile and what a loss makes of it stay in cache."""

WHOLE_ROWS = 8192
"""Up to this many columns a tile holds whole rows, and one visit is enough."""

ROWS = 256
"""Rows in a tile of some of the columns; twice as many where that takes all, as columns are read but once."""

FEWEST_ROWS = 64
"""Rows in a tile of whole rows, at least: thinner products are slow."""

GROUP = 1 << 17
"""Listed cells in a group of rows."""


@dataclass(frozen=True)
class Plan:
    """Rows a group, rows a block, columns a tile, and whether a tile holds whole rows."""

    group: int
    rows: int
    columns: int
    whole: bool


def plan_for(resolved: Resolved, width: int, *, needs_whole: bool, together: int = 1) -> Plan:
    """How to cut a table; width is the kernel's, and a loss of whole rows needs them in one tile.

    No tile of some of the columns ends within ``together`` neighbouring ones.
    """
    cells = max(64, TILE // width)
    group = max(1, min(resolved.n_rows, max(FEWEST_ROWS, GROUP // max(1, resolved.longest))))
    if resolved.far_is_listed and not needs_whole:
        return Plan(group, group, max(1, resolved.longest), whole=False)
    columns = max(1, resolved.n_columns)
    if needs_whole or columns <= WHOLE_ROWS // width:
        rows = max(FEWEST_ROWS // width, cells // columns, 1)
        return Plan(max(group, min(rows, resolved.n_rows)), rows, columns, whole=True)
    rows = ROWS if width == 1 else int(cells**0.5)
    if rows < resolved.n_rows <= 2 * rows:
        rows = resolved.n_rows
    wide = max(8, cells // rows // 8 * 8)  # of eight columns a miner's flags fill a byte
    if together > 1:
        wide = max(1, wide // together) * together
    return Plan(max(group, min(rows, resolved.n_rows)), rows, wide, whole=False)


@dataclass
class Visit:
    """A block of rows under the walk: which rows, their relation, and the lists of the group."""

    start: int
    stop: int
    block: Block
    near: Cells
    listing: _Part | None
    hidden: _Part | None
    count: Tensor
    far_count: Tensor


@dataclass(frozen=True)
class _Part:
    """The part of a group's list that one block owns: rows of the block, columns, padded places, places
    in a tile of whole rows.
    """

    row: Tensor
    column: Tensor
    slots: Tensor | None
    flat: Tensor


def _parts(cells: Cells, steps: list[int], n_columns: int) -> list[_Part]:
    """The list of a group, cut for blocks that begin at these rows of it; the last one is the end."""
    listing = cells.listing
    if len(steps) == 2:
        flat = listing.row * n_columns + listing.column if listing.flat is None else listing.flat
        return [_Part(listing.row, listing.column, listing.slots, flat)]
    ends = [0, *cells.counts.cumsum(0).tolist()]
    padded = cells.columns.shape[1]
    parts = []
    for start, stop in pairwise(steps):
        part = slice(ends[start], ends[stop])
        row, column = listing.row[part] - start, listing.column[part]
        slots = None if listing.slots is None else listing.slots[part] - start * padded
        parts.append(_Part(row, column, slots, row * n_columns + column))
    return parts


def visits(
    resolved: Resolved, kernel: Kernel, plan: Plan, like: Tensor, share: tuple[int, int]
) -> Iterator[Visit]:
    """The blocks of a share of a table's rows in turn; the kernel is turned to each."""
    for first in range(share[0], share[1], plan.group):
        last = min(first + plan.group, share[1])
        group = resolved.block(first, last)
        count, far_count = group.near.counts.to(like.dtype), group.far_count().to(like.dtype)
        steps = [*range(0, last - first, plan.rows), last - first]
        nothing: list[_Part | None] = [None] * (len(steps) - 1)
        listings, hidden = nothing, nothing
        if plan.whole:
            listings = [*_parts(group.near, steps, resolved.n_columns)]
            if group.hidden is not None:
                hidden = [*_parts(group.hidden, steps, resolved.n_columns)]
        for number, (begin, end) in enumerate(pairwise(steps)):
            alone = len(steps) == 2
            block = group if alone else group.rows(begin, end)
            start, stop = first + begin, first + end
            kernel.begin_block(
                start, stop, None if resolved.anchors is None else resolved.anchors[start:stop]
            )
            yield Visit(
                start,
                stop,
                block,
                block.near,
                listings[number],
                hidden[number],
                count if alone else count[begin:end],
                far_count if alone else far_count[begin:end],
            )


def near_cells(kernel: Kernel, visit: Visit, tile: Tensor) -> tuple[InTile, Tensor]:
    """The near cells of a block, read off its tile of whole rows and not hidden yet; and padded (r, p)."""
    cells = visit.listing
    assert cells is not None
    if kernel.anchors is not None:
        anchors = kernel.anchors[cells.row]
    else:
        anchors = cells.row + visit.start if visit.start else cells.row
    near = kernel.near_in_tile(tile, cells.flat, anchors, cells.column)
    shape = visit.near.columns.shape
    if cells.slots is None:
        return near, near.distances.view(shape)
    padded = tile.new_full(shape, torch.inf)
    padded.view(-1).index_copy_(0, cells.slots, near.distances)
    return near, padded


def hide(tile: Tensor, visit: Visit) -> None:
    """Fill the cells of whole rows that aren't far with infinity."""
    block = visit.block
    if visit.hidden is None:
        block.hide(tile, 0, block.n_columns, torch.inf)
        return
    tile.view(-1).index_fill_(0, visit.hidden.flat, torch.inf)
    if block.mask is not None:
        tile.masked_fill_(block.mask, torch.inf)
