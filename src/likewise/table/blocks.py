"""A table's rows in blocks: how large tiles are, and what the walk knows of each block.

Rows are taken in groups, whose near cells are listed once, and within a group in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.relations import Block, Cells, Resolved
from likewise.table.kernels import Kernel

__all__ = [
    "FEWEST_ROWS",
    "GROUP",
    "ROWS",
    "TILE",
    "WHOLE_ROWS",
    "Listing",
    "Plan",
    "Visit",
    "plan_for",
    "visits",
]

TILE = 1 << 18
"""Numbers in a tile: 1 MB in float32, so that a tile and what a loss makes of it stay in cache."""

WHOLE_ROWS = 8192
"""Up to this many columns a tile holds whole rows, and one visit is enough."""

ROWS = 256
"""Rows in a tile of some of the columns."""

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


def plan_for(resolved: Resolved, width: int, *, needs_whole: bool) -> Plan:
    """How to cut a table; width is the kernel's, and a loss of whole rows needs them in one tile."""
    cells = max(64, TILE // width)
    group = max(1, min(resolved.n_rows, max(FEWEST_ROWS, GROUP // max(1, resolved.longest))))
    if resolved.far_is_listed and not needs_whole:
        return Plan(group, group, max(1, resolved.longest), whole=False)
    columns = max(1, resolved.n_columns)
    if needs_whole or columns <= WHOLE_ROWS // width:
        rows = max(FEWEST_ROWS // width, cells // columns, 1)
        return Plan(max(group, min(rows, resolved.n_rows)), rows, columns, whole=True)
    rows = ROWS if width == 1 else int(cells**0.5)
    return Plan(max(group, min(rows, resolved.n_rows)), rows, max(1, cells // rows), whole=False)


@dataclass(frozen=True)
class Listing:
    """The valid cells of a group in one list: padded position, row in the group, column; each row's end."""

    slots: Tensor
    row: Tensor
    column: Tensor
    ends: list[int]

    def of(self, start: int, stop: int) -> slice:
        """The part of the list that rows start to stop of the group own."""
        return slice(self.ends[start - 1] if start else 0, self.ends[stop - 1] if stop else 0)


def _list(cells: Cells) -> Listing:
    padded = max(1, cells.columns.shape[1])
    slots = cells.valid.reshape(-1).nonzero().view(-1)
    row = torch.div(slots, padded, rounding_mode="floor")
    ends = cells.valid.sum(1).cumsum(0).tolist()
    return Listing(slots, row, cells.columns.reshape(-1)[slots], ends)


@dataclass
class Visit:
    """A block of rows under the walk: which rows, their relation, and the lists of the group."""

    start: int
    stop: int
    block: Block
    near: Cells
    listing: Listing | None
    hidden: Listing | None
    offset: int  # the block's first row within the group
    count: Tensor
    far_count: Tensor

    def flat(self, listing: Listing, columns: int) -> tuple[slice, Tensor]:
        """The block's part of a list, and its positions in a tile of whole rows."""
        part = listing.of(self.offset, self.offset + self.stop - self.start)
        return part, (listing.row[part] - self.offset) * columns + listing.column[part]


def visits(
    resolved: Resolved, kernel: Kernel, plan: Plan, like: Tensor, share: tuple[int, int]
) -> Iterator[Visit]:
    """The blocks of a share of a table's rows in turn; the kernel is turned to each."""
    for first in range(share[0], share[1], plan.group):
        last = min(first + plan.group, share[1])
        group = resolved.block(first, last)
        count, far_count = group.near.valid.sum(1).to(like.dtype), group.far_count().to(like.dtype)
        listing = _list(group.near) if plan.whole else None
        hidden = _list(group.hidden) if plan.whole and group.hidden is not None else None
        for start in range(first, last, plan.rows):
            stop = min(start + plan.rows, last)
            part = slice(start - first, stop - first)
            block = group if stop - start == last - first else group.rows(part.start, part.stop)
            kernel.begin_block(
                start, stop, None if resolved.anchors is None else resolved.anchors[start:stop]
            )
            yield Visit(
                start,
                stop,
                block,
                block.near,
                listing,
                hidden,
                part.start,
                count[part],
                far_count[part],
            )
