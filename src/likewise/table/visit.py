"""Looking at a table of distances block by block, without slopes: what a miner does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.relations import Block, Resolved
from likewise.table.blocks import hide, near_cells, plan_for, visits
from likewise.table.distributed import own_rows
from likewise.table.kernels import DirectKernel, Kernel
from likewise.table.product import ProductKernel, features_of

__all__ = ["View", "views"]


@dataclass(frozen=True)
class View:
    """Some rows of a table.

    start, stop : the rows. anchors : (r,) their embeddings.
    columns : columns in a tile.
    whole : the one tile that holds all columns, with the near distances (r, p) read off it, if one does.
    """

    start: int
    stop: int
    block: Block
    anchors: Tensor
    columns: int
    _kernel: Kernel
    _whole: tuple[Tensor, Tensor] | None

    @cached_property
    def near(self) -> Tensor:
        """The distances (r, p) of the block's near cells, infinite where not valid."""
        return self._kernel.listed(self.block.near)

    @property
    def rough_near(self) -> Tensor:
        """The same as tiles hold them: up to :meth:`rounding` from :attr:`near`, and cheaper."""
        return self.near if self._whole is None else self._whole[1]

    def rounding(self, distances: Tensor) -> Tensor:
        """How far these distances of a tile may be from the same by subtraction."""
        return self._kernel.rounding(distances)

    def tiles(self) -> Iterator[tuple[int, Tensor]]:
        """The far distances, tile by tile, infinite where not far: first place and (r, c).

        A place is a column, or, where far cells are listed, a number in their list. A tile is overwritten
        by the next.
        """
        if self.block.far is not None:
            if self.block.far.columns.shape[1]:
                yield 0, self._kernel.listed(self.block.far)
            return
        if self._whole is not None:
            yield 0, self._whole[0]
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

    def exact_far(self, rows: Tensor, places: Tensor) -> Tensor:
        """Distances (s,) by subtraction of far cells, given by row of the block and place."""
        return self._exact(rows, *self.far_columns(rows, places))

    def exact_near(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """Distances (s,) by subtraction of near cells, given by row of the block and number in its list."""
        near = self.block.near
        own = None if near.anchors is None else near.anchors.expand_as(near.columns)[rows, numbers]
        return self._exact(rows, near.columns[rows, numbers], own)

    def _exact(self, rows: Tensor, columns: Tensor, own: Tensor | None) -> Tensor:
        return self._kernel.exact(self.anchors[rows] if own is None else own, columns)


def _kernel(distance: Distance, rows: Tensor, columns: Tensor | None) -> Kernel:
    if not isinstance(distance, ProductDistance):
        return DirectKernel(distance, rows, columns, [], want_gradient=False)
    rows, columns = features_of(distance, rows, columns)
    return ProductKernel(distance.form, rows, columns, unit=distance.unit, want_gradient=False)


def views(distance: Distance, rows: Tensor, columns: Tensor | None, resolved: Resolved) -> Iterator[View]:
    """Look at the table of rows (n, d) against columns (m, d), or against the rows themselves.

    Nothing of the size of the table is held, and no gradient is recorded. A view is good until the next.
    Where processes share a batch each looks at its own share of the rows.
    """
    with torch.no_grad():
        kernel = _kernel(distance, rows.detach(), None if columns is None else columns.detach())
    plan = plan_for(resolved, kernel.width, needs_whole=False)
    every = torch.arange(resolved.n_rows, device=rows.device)
    steps = visits(resolved, kernel, plan, rows, own_rows(resolved.n_rows))
    while True:
        with torch.no_grad():
            visit = next(steps, None)
            if visit is None:
                return
            whole = None
            if plan.whole:
                tile = kernel.tile(0, resolved.n_columns)
                near = near_cells(kernel, visit, tile)[1]
                hide(tile, visit)
                kernel.mend(tile)
                whole = tile, near
        anchors = every[visit.start : visit.stop] if kernel.anchors is None else kernel.anchors
        yield View(visit.start, visit.stop, visit.block, anchors, plan.columns, kernel, whole)
