"""Looking at a table of distances block by block, without slopes: what a miner does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.relations import Block, Cells, Resolved
from likewise.table.kernels import DirectKernel, Kernel
from likewise.table.product import ProductKernel, features_of

__all__ = ["View", "views"]

_TILE = 1 << 17
"""Numbers in a tile: 0.5 MB in float32, so that a tile and what is made of it stay in cache."""

_WHOLE_ROWS = 8192
"""Up to this many columns a tile holds whole rows."""

_ROWS = 256
"""Rows in a tile of some of the columns."""


@dataclass(frozen=True)
class View:
    """Some rows of a table.

    start, stop : the rows. anchors : (r,) their embeddings.
    near : (r, p) the distances of the block's near cells, infinite where not valid.
    columns : columns in a tile.
    """

    start: int
    stop: int
    block: Block
    anchors: Tensor
    near: Tensor
    columns: int
    _kernel: Kernel

    def tiles(self) -> Iterator[tuple[int, Tensor]]:
        """The far distances, tile by tile, infinite where not far: first place and (r, c).

        A place is a column, or, where far cells are listed, a number in their list. A tile is overwritten
        by the next.
        """
        if self.block.far is not None:
            if self.block.far.columns.shape[1]:
                yield 0, self._kernel.listed(self.block.far)
            return
        for first in range(0, self.block.n_columns, self.columns):
            last = min(first + self.columns, self.block.n_columns)
            tile = self._kernel.tile(first, last)
            self.block.hide(tile, first, last, torch.inf)
            self._kernel.mend(tile)
            yield first, tile

    @property
    def one_tile(self) -> bool:
        """Whether one tile holds all far cells of these rows."""
        return self.block.far is not None or self.columns >= self.block.n_columns

    def far_columns(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor | None]:
        """The columns of far cells, given by row of the block and place, and their own anchors if any."""
        far = self.block.far
        if far is None:
            return places, None
        own = None if far.anchors is None else far.anchors.expand_as(far.columns)[rows, places]
        return far.columns[rows, places], own

    def far_distances(self, places: Tensor) -> Tensor:
        """Distances (r, k) of far cells given by place, by subtraction and not by a product."""
        rows = torch.arange(places.shape[0], device=places.device)[:, None].expand_as(places)
        columns, own = self.far_columns(rows, places)
        return self._kernel.listed(Cells(columns, torch.ones_like(columns, dtype=torch.bool), own))


def _kernel(distance: Distance, rows: Tensor, columns: Tensor | None) -> Kernel:
    if not isinstance(distance, ProductDistance):
        return DirectKernel(distance, rows, columns, [], want_gradient=False)
    rows, columns = features_of(distance, rows, columns)
    return ProductKernel(distance.form, rows, columns, unit=distance.unit, want_gradient=False)


def views(distance: Distance, rows: Tensor, columns: Tensor | None, resolved: Resolved) -> Iterator[View]:
    """Look at the table of rows (n, d) against columns (m, d), or against the rows themselves.

    Nothing of the size of the table is held, and no gradient is recorded.
    """
    with torch.no_grad():
        kernel = _kernel(distance, rows.detach(), None if columns is None else columns.detach())
    cells = max(64, _TILE // kernel.width)
    width = max(1, resolved.longest if resolved.far_is_listed else resolved.n_columns)
    whole = resolved.far_is_listed or width * kernel.width <= _WHOLE_ROWS
    count = max(1, cells // width) if whole else _ROWS
    count = max(1, min(count, 2 * cells // max(1, resolved.longest), max(1, resolved.n_rows)))
    width = width if whole else max(8, cells // count // 8 * 8)
    for start in range(0, resolved.n_rows, count):
        stop = min(start + count, resolved.n_rows)
        with torch.no_grad():
            anchors = None if resolved.anchors is None else resolved.anchors[start:stop]
            kernel.begin_block(start, stop, anchors)
            block = resolved.block(start, stop)
            if anchors is None:
                anchors = torch.arange(start, stop, device=rows.device)
            near = kernel.listed(block.near)
        yield View(start, stop, block, anchors, near, width, kernel)
