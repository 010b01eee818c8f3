"""What the walk does with one block: near and far cells to a loss, and its slopes back to the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.relations import Block, Cells
from likewise.table.blocks import Plan, Visit, hide, near_cells
from likewise.table.kernels import InTile, Kernel, embeddings_of
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows
from likewise.table.reduction import NearCells, Reduction

__all__ = ["Hidden", "Step", "added", "far_tile", "near_of", "scaled"]


@dataclass
class Step:
    """What is done with each block."""

    loss: TableFunction[Any] | WholeRows
    kernel: Kernel
    plan: Plan
    weights: Tensor | None
    reduction: Reduction
    want_gradient: bool
    near_cells: NearCells | None = None
    near_scale: float | None = 1.0
    """Of a loss in two parts, what a near slope counts beside a far one; unknown before the walk where
    divisors count active terms, and then the near slopes wait."""
    waiting: list[tuple[InTile, Tensor]] = field(default_factory=list)
    """Near cells read off tiles and their slopes, which wait for their scale."""
    at_once: bool = False
    """Whether one block is the whole table, so that its divisors are those of the table."""

    def take(self, visit: Visit) -> Rows:
        """Visit a block."""
        weights = None if self.weights is None else self.weights[visit.start : visit.stop, None]
        if isinstance(self.loss, WholeRows):
            return _visit_whole_rows(self.loss, self.kernel, visit, weights, self.want_gradient)
        if self.plan.whole:
            return self._visit_once(self.loss, visit, weights)
        if visit.block.far is not None:
            return self._visit_listed(self.loss, visit, visit.block.far, weights)
        return self._visit_tiles(self.loss, visit, weights)

    def _visit_once(self, loss: TableFunction[Any], visit: Visit, weights: Tensor | None) -> Rows:
        """Observe, finish and spread a block whose whole rows fit a tile."""
        kernel, n_columns = self.kernel, visit.block.n_columns
        distances = kernel.tile(0, n_columns)
        near, padded = near_cells(kernel, visit, distances)
        hide(distances, visit)
        kernel.mend(distances)
        slots = visit.listing.slots if visit.listing else None
        full = slots is None
        state = loss.begin(near_of(kernel, visit, padded, full=full))
        tile = Tile(distances, kept=self.want_gradient)
        loss.observe(tile, state)
        found = loss.finish(state)
        more = None if self.near_cells is None else self.near_cells.take(near.distances)
        if not self.want_gradient:
            return found
        scale = self._scale_of(found) if loss.apart and self.at_once else self.near_scale
        slopes = _weighted(loss.slope(tile, state), weights)
        near_slopes = scaled(loss.near_slope(state), weights, 1.0 if scale is None else scale).reshape(-1)
        if slots is not None:
            near_slopes = near_slopes[slots]
        if scale is None:
            kernel.spread(slopes, distances, None, None)
            self.waiting.append((near, near_slopes))
            return found
        if more is not None:
            near_slopes = near_slopes + more
        kernel.spread(slopes, distances, near, near_slopes)
        return found

    def _scale_of(self, found: Rows) -> float:
        """The divisor of the far part over that of the near part, where one block is all."""
        divisors = []
        for part in (found.far, found.near):
            assert part is not None
            divisors.append(self.reduction.divisor(*self.reduction.counts(part)))
        return divisors[0] / divisors[1]

    def _visit_tiles(self, loss: TableFunction[Any], visit: Visit, weights: Tensor | None) -> Rows:
        """Observe all tiles of a block, finish, and visit the tiles again for their slopes."""
        kernel, block = self.kernel, visit.block
        near = kernel.listed(block.near)
        state = loss.begin(near_of(kernel, visit, near))
        starts = range(0, block.n_columns, self.plan.columns)
        tiles = [(first, min(first + self.plan.columns, block.n_columns)) for first in starts]
        kept = self.want_gradient and len(tiles) == 1
        at_once = self.want_gradient and not kept and loss.scaled and kernel.rows_only
        hidden = Hidden(block, tiles)
        for first, last in tiles if loss.observes or kept else []:
            tile = far_tile(kernel, hidden, first, last, kept=kept or at_once)
            if at_once:
                slopes, rescaled = loss.fold(tile, state)
                if rescaled is not None and first:
                    kernel.rescale(rescaled)
                kernel.spread(slopes, tile.distances, None, None)
            else:
                loss.observe(tile, state)
        found = loss.finish(state)
        more = None if self.near_cells is None else self.near_cells.take(near[block.near.valid])
        if not self.want_gradient:
            return found
        if at_once:
            for factor in (loss.row_factor(state), None if weights is None else weights[:, 0]):
                if factor is not None:
                    kernel.rescale(factor)
            tiles = []
        for first, last in tiles:
            if not kept:
                tile = far_tile(kernel, hidden, first, last, kept=False)
            slopes = _weighted(loss.slope(tile, state), weights)
            kernel.spread(slopes, tile.distances, None, None)
        if self.near_scale is not None:
            near_slopes = scaled(loss.near_slope(state), weights, self.near_scale)
            if more is not None:
                near_slopes = added(near_slopes, block.near, more)
            kernel.spread_listed(near_slopes, block.near, near)
        return found

    def _visit_listed(
        self, loss: TableFunction[Any], visit: Visit, far: Cells, weights: Tensor | None
    ) -> Rows:
        """Observe, finish and spread a block whose far cells are listed; they go with the near ones."""
        kernel, near = self.kernel, visit.block.near
        both = _side_by_side(kernel, visit, near, far)
        distances = kernel.listed(both)
        count = near.columns.shape[1]
        state = loss.begin(near_of(kernel, visit, distances[:, :count].contiguous()))
        tile = Tile(distances[:, count:].contiguous(), kept=self.want_gradient, cells=far)
        loss.observe(tile, state)
        found = loss.finish(state)
        more = None
        if self.near_cells is not None:
            more = self.near_cells.take(distances[:, :count][near.valid])
        if not self.want_gradient:
            return found
        slopes = _weighted(loss.slope(tile, state), weights)
        if self.near_scale is None:
            kernel.spread_listed(slopes, far, tile.distances)
            return found
        near_slopes = scaled(loss.near_slope(state), weights, self.near_scale)
        if more is not None:
            near_slopes = added(near_slopes, near, more)
        kernel.spread_listed(torch.cat([near_slopes, slopes], dim=1), both, distances)
        return found


def near_of(kernel: Kernel, visit: Visit, distances: Tensor, *, full: bool = False) -> Near:
    """What a loss is told of the near cells of a block."""
    return Near(
        distances,
        visit.near.valid,
        visit.count,
        visit.far_count,
        full,
        visit.near,
        visit.start,
        kernel.anchors,
    )


def scaled(slopes: Tensor, weights: Tensor | None, scale: float) -> Tensor:
    """Near slopes, which a state may still hold, times weights and scale."""
    slopes = slopes if scale == 1.0 else slopes * scale
    return slopes if weights is None else slopes * weights


def _weighted(slopes: Tensor, weights: Tensor | None) -> Tensor:
    return slopes if weights is None else slopes.mul_(weights)


def added(slopes: Tensor, cells: Cells, more: Tensor) -> Tensor:
    """Near slopes (r, p) with some more (k,) for the valid cells."""
    slopes = slopes.clone()
    slopes[cells.valid] += more
    return slopes


def _side_by_side(kernel: Kernel, visit: Visit, near: Cells, far: Cells) -> Cells:
    """Near and far cells in one list."""
    anchors = None
    if near.anchors is not None or far.anchors is not None:
        anchors = torch.cat(
            [embeddings_of(cells, kernel.anchors, visit.start) for cells in (near, far)], dim=1
        )
    columns, valid = torch.cat([near.columns, far.columns], dim=1), torch.cat([near.valid, far.valid], dim=1)
    return Cells(columns, valid, anchors)


class Hidden:
    """The cells of a block that aren't far, in the order of its tiles."""

    def __init__(self, block: Block, tiles: list[tuple[int, int]]) -> None:
        self._block = block
        self._ends: list[int] | None = None
        if block.hidden is None or len(tiles) < 2:
            return
        listing, width = block.hidden.listing, tiles[0][1]
        place = torch.div(listing.column, width, rounding_mode="floor")
        place, order = torch.sort(place, stable=True)
        # every tile but the last is as wide as the first
        wide = torch.where(place == len(tiles) - 1, tiles[-1][1] - tiles[-1][0], width)
        self._flat = listing.row[order] * wide + listing.column[order] - place * width
        self._ends = [0, *torch.bincount(place, minlength=len(tiles)).cumsum(0).tolist()]
        self._width = width

    def fill(self, tile: Tensor, first: int, last: int) -> None:
        """Fill those of a tile with infinity."""
        if self._ends is None:
            self._block.hide(tile, first, last, torch.inf)
            return
        number = first // self._width
        tile.view(-1).index_fill_(0, self._flat[self._ends[number] : self._ends[number + 1]], torch.inf)
        if self._block.mask is not None:
            tile.masked_fill_(self._block.mask[:, first:last], torch.inf)


def far_tile(kernel: Kernel, hidden: Hidden, first: int, last: int, *, kept: bool) -> Tile:
    """A tile with infinity where the column isn't far."""
    distances = kernel.tile(first, last)
    hidden.fill(distances, first, last)
    kernel.mend(distances)
    return Tile(distances, kept, first)


def _visit_whole_rows(
    loss: WholeRows, kernel: Kernel, visit: Visit, weights: Tensor | None, want_gradient: bool
) -> Rows:
    """Evaluate a plain function of whole rows, with autograd from distances to values."""
    block, n_columns = visit.block, visit.block.n_columns
    if block.near.anchors is not None or (block.far is not None and block.far.anchors is not None):
        return _visit_own_anchors(loss, kernel, visit, weights, want_gradient)
    distances = kernel.tile(0, n_columns)
    kernel.mend(distances)
    near = torch.zeros_like(distances, dtype=torch.bool)
    near.view(-1)[block.near.flat(0, n_columns)] = True
    if block.far is not None:
        far = torch.zeros_like(near)
        far.view(-1)[block.far.flat(0, n_columns)] = True
    else:
        far = torch.ones_like(near)
        block.hide(far, 0, n_columns, False)
    with torch.set_grad_enabled(want_gradient):
        leaf = distances.detach().requires_grad_(want_gradient)  # which can't be overwritten
        part = loss.part(loss.rows(leaf, near, far), near, far)
    if want_gradient and part.value.requires_grad:
        factor = torch.ones_like(part.value) if weights is None else weights[:, 0].expand_as(part.value)
        (slopes,) = torch.autograd.grad(part.value, leaf, factor)
        kernel.spread(slopes.contiguous(), distances, None, None)
    return Rows(joint=Part(part.value.detach(), part.terms, part.active))


def _visit_own_anchors(
    loss: WholeRows, kernel: Kernel, visit: Visit, weights: Tensor | None, want_gradient: bool
) -> Rows:
    """The same where listed cells have anchors of their own: the row is those cells, near and then far."""
    near_listed, far_listed = visit.block.near, visit.block.far
    assert far_listed is not None
    both = _side_by_side(kernel, visit, near_listed, far_listed)
    distances = kernel.listed(both)
    near = torch.cat([near_listed.valid, torch.zeros_like(far_listed.valid)], dim=1)
    far = both.valid & ~near
    with torch.set_grad_enabled(want_gradient):
        leaf = torch.where(both.valid, distances, 0.0).requires_grad_(want_gradient)
        part = loss.part(loss.rows(leaf, near, far), near, far)
    if want_gradient and part.value.requires_grad:
        factor = torch.ones_like(part.value) if weights is None else weights[:, 0].expand_as(part.value)
        (slopes,) = torch.autograd.grad(part.value, leaf, factor)
        kernel.spread_listed(torch.where(both.valid, slopes, 0.0), both, distances)
    return Rows(joint=Part(part.value.detach(), part.terms, part.active))
