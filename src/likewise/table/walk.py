"""The one engine: walks a table of distances tile by tile and never holds it.

Rows are taken in groups, whose near cells are listed once, and within a group in blocks. Where whole
rows fit a tile, one visit does it all: the product is taken once, near cells are read off it, the rows
are observed and finished, and the same tile becomes slopes. Where they don't, near cells are gathered
by subtraction before the walk, all tiles are observed, and, when a gradient is wanted, visited again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations import Block, Resolved
from likewise.table.blocks import Plan, Visit, hide, near_cells, plan_for, visits
from likewise.table.distributed import Group, active_group
from likewise.table.kernels import Kernel
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows

__all__ = ["NearCells", "Reduction", "Walked", "walk"]

_GATHER = 128
"""How many columns of a product cost what it costs to gather one near cell and spread its slope."""

_LISTED = 4096
"""Rows whose cells are counted at once."""


@dataclass(frozen=True)
class Reduction:
    """How rows become one number: ``mean`` or ``active`` (over the terms, or those not zero), ``sum``."""

    name: str

    def divisor(self, terms: float, active: float) -> float:
        """What a sum is divided by; at least one."""
        return max(1.0, {"mean": terms, "active": active, "sum": 1.0}[self.name])

    def counts(self, part: Part) -> tuple[float, float]:
        """How many terms a part has, and, where that is asked for, how many active ones."""
        return float(part.terms.sum()), float(part.active.sum()) if self.name == "active" else 0.0


@dataclass
class Walked:
    """What a walk found.

    parts : each part's sum of terms, number of terms and of active ones, by row (n,), before weights.
    divisors : what each part's sum was divided by in ``value``.
    value : the reduced value. scale : what ``gradients`` still have to be multiplied with.
    terms : how many terms there were in all; zero means that nothing could be learned.
    """

    parts: dict[str, Part]
    divisors: dict[str, float] = field(default_factory=dict)
    value: float = 0.0
    scale: float = 1.0
    terms: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)

    def rows(self) -> Tensor:
        """Each row's sum of terms (n,), parts added."""
        values = [part.value for part in self.parts.values()]
        return values[0] if len(values) == 1 else torch.stack(values).sum(0)

    def row_scale(self) -> Tensor:
        """The derivative of ``value`` by each row's weight (n,)."""
        return torch.stack([part.value / self.divisors[name] for name, part in self.parts.items()]).sum(0)

    def reduce(self, reduction: Reduction, weights: Tensor | None) -> None:
        """Fill value, divisors and terms; sums are taken in float64."""
        for name, part in self.parts.items():
            value = part.value if weights is None else part.value * weights
            terms, active = reduction.counts(part)
            self.divisors[name] = reduction.divisor(terms, active)
            self.value += float(value.sum(dtype=torch.float64)) / self.divisors[name]
            self.terms += terms


@dataclass
class NearCells:
    """The near cells of a whole table in one list, row by row: what a walk takes from them, or adds.

    slopes : (k,) slopes that the walk adds to the weighted near slopes of the loss.
    distances : each block's near distances, filled by the walk.
    """

    slopes: Tensor | None = None
    distances: list[Tensor] = field(default_factory=list)
    _next: int = 0

    def begin(self, resolved: Resolved, group: Group | None) -> None:
        """Start at the first cell of this process's share of rows."""
        if group is None or self.slopes is None:
            return
        for first, last in group.share(resolved.n_rows)[: group.rank]:
            for start in range(first, last, _LISTED):
                self._next += int(resolved.block(start, min(start + _LISTED, last)).near.counts.sum())

    def joined(self, like: Tensor) -> Tensor:
        """The near distances of all blocks, of all processes (k,)."""
        own = torch.cat(self.distances) if self.distances else like.new_zeros(0)
        group = active_group()
        return own if group is None else group.gather(own, group.counts(own.shape[0], own.device))

    def take(self, distances: Tensor) -> Tensor | None:
        """Note the next distances (k,); the slopes to add for them."""
        self.distances.append(distances)
        start, self._next = self._next, self._next + distances.shape[0]
        return None if self.slopes is None else self.slopes[start : self._next]


@dataclass
class _Step:
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
    at_once: bool = False
    """Whether one block is the whole table, so that its divisors are those of the table."""

    def take(self, visit: Visit) -> Rows:
        """Visit a block."""
        weights = None if self.weights is None else self.weights[visit.start : visit.stop, None]
        if isinstance(self.loss, WholeRows):
            return _visit_whole_rows(self.loss, self.kernel, visit, weights, self.want_gradient)
        if self.plan.whole:
            return self._visit_once(self.loss, visit, weights)
        return self._visit_twice(self.loss, visit, weights)

    def _visit_once(self, loss: TableFunction[Any], visit: Visit, weights: Tensor | None) -> Rows:
        """Observe, finish and spread a block whose whole rows fit a tile."""
        kernel, n_columns = self.kernel, visit.block.n_columns
        distances = kernel.tile(0, n_columns)
        near, padded = near_cells(kernel, visit, distances)
        hide(distances, visit)
        kernel.mend(distances)
        slots = visit.listing.slots if visit.listing else None
        full = slots is None
        state = loss.begin(_near(kernel, visit, padded, full=full))
        tile = Tile(distances, kept=self.want_gradient)
        loss.observe(tile, state)
        found = loss.finish(state)
        more = None if self.near_cells is None else self.near_cells.take(near.distances)
        if not self.want_gradient:
            return found
        scale = self._scale_of(found) if loss.apart and self.at_once else self.near_scale
        slopes = _weighted(loss.slope(tile, state), weights)
        if scale is None:
            kernel.spread(slopes, distances, None, None)
            return found
        near_slopes = _scaled(loss.near_slope(state), weights, scale).reshape(-1)
        if slots is not None:
            near_slopes = near_slopes[slots]
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

    def _visit_twice(self, loss: TableFunction[Any], visit: Visit, weights: Tensor | None) -> Rows:
        """Observe all tiles of a block, finish, and visit the tiles again for their slopes."""
        kernel, block = self.kernel, visit.block
        near = kernel.listed(block.near)
        state = loss.begin(_near(kernel, visit, near))
        if block.far is not None:
            tiles = [(0, block.far.columns.shape[1])]
        else:
            starts = range(0, block.n_columns, self.plan.columns)
            tiles = [(first, min(first + self.plan.columns, block.n_columns)) for first in starts]
        kept = self.want_gradient and len(tiles) == 1
        at_once = self.want_gradient and not kept and loss.scaled and kernel.rows_only
        hidden = _Hidden(block, tiles)
        for first, last in tiles:
            tile = _tile(kernel, block, hidden, first, last, kept=kept or at_once)
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
                tile = _tile(kernel, block, hidden, first, last, kept=False)
            slopes = _weighted(loss.slope(tile, state), weights)
            if block.far is not None:
                kernel.spread_listed(slopes, block.far, tile.distances)
            else:
                kernel.spread(slopes, tile.distances, None, None)
        if self.near_scale is not None:
            near_slopes = _scaled(loss.near_slope(state), weights, self.near_scale)
            if more is not None:
                near_slopes = near_slopes.clone()
                near_slopes[block.near.valid] += more
            kernel.spread_listed(near_slopes, block.near, near)
        return found


def walk(
    loss: TableFunction[Any] | WholeRows,
    kernel: Kernel,
    resolved: Resolved,
    reduction: Reduction,
    *,
    weights: Tensor | None,
    want_gradient: bool,
    like: Tensor,
    near: NearCells | None = None,
) -> Walked:
    """Walk over the table of a loss.

    Parameters
    ----------
    loss : TableFunction or WholeRows
    kernel : Kernel
        Features and, when ``want_gradient``, their gradients.
    resolved : Resolved
        Who is near and far.
    reduction : Reduction
    weights : (n_rows,) or None
        Each row's value is multiplied with its weight; divisors are counts and know no weights.
    want_gradient : bool
    like : Tensor
        Gives dtype and device of what comes back.
    near : NearCells, optional
        Takes up the near distances, or brings slopes of its own for them.

    Returns
    -------
    Walked
    """
    apart = isinstance(loss, TableFunction) and loss.apart
    plan = plan_for(resolved, kernel.width, needs_whole=isinstance(loss, WholeRows))
    group = active_group()
    share = (0, resolved.n_rows) if group is None else group.share(resolved.n_rows)[group.rank]
    if near is not None:
        near.begin(resolved, group)
    step = _Step(loss, kernel, plan, weights, reduction, want_gradient, near)
    step.at_once = group is None and plan.whole and plan.rows >= resolved.n_rows
    if want_gradient and apart and not step.at_once:
        step.near_scale = _near_scale(resolved, plan, reduction)
    late = step.near_scale is None  # the near part's divisor is known when the walk is over
    if late and plan.whole and resolved.longest * _GATHER > resolved.n_columns:
        # cheaper than gathering the near cells once more: a walk of its own for the divisors
        before = _reduced(replace(step, want_gradient=False), resolved, weights, like, share, group)
        step.near_scale, late = before.divisors["far"] / before.divisors["near"], False
    out = _reduced(step, resolved, weights, like, share, group)
    out.scale = 1.0 / out.divisors["far" if apart else "joint"]
    if want_gradient:
        if late and isinstance(loss, TableFunction):
            scale = out.divisors["far"] / out.divisors["near"]
            _spread_near(loss, kernel, resolved, plan, weights, scale, like, share)
        out.gradients = kernel.gradients()
        if group is not None:
            out.gradients = [None if shares is None else group.add(shares) for shares in out.gradients]
    return out


def _reduced(
    step: _Step,
    resolved: Resolved,
    weights: Tensor | None,
    like: Tensor,
    share: tuple[int, int],
    group: Group | None,
) -> Walked:
    """Visit all blocks of a share, and reduce what all processes found."""
    found = [step.take(visit) for visit in visits(resolved, step.kernel, step.plan, like, share)]
    apart = isinstance(step.loss, TableFunction) and step.loss.apart
    out = Walked(_joined(found, ("near", "far") if apart else ("joint",), like))
    if group is not None:
        out.parts = {name: _gathered(part, group, resolved.n_rows) for name, part in out.parts.items()}
    out.reduce(step.reduction, weights)
    return out


def _near(kernel: Kernel, visit: Visit, distances: Tensor, *, full: bool = False) -> Near:
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


def _gathered(part: Part, group: Group, count: int) -> Part:
    """A part with the rows of all processes."""
    counts = [last - first for first, last in group.share(count)]
    stacked = torch.stack(
        [part.value, part.terms.to(part.value.dtype), part.active.to(part.value.dtype)], dim=1
    )
    return Part(*group.gather(stacked, counts).unbind(1))


def _near_scale(resolved: Resolved, plan: Plan, reduction: Reduction) -> float | None:
    """The divisor of the far part over that of the near part, where counts alone tell."""
    if reduction.name == "active":
        return None
    if reduction.name == "sum":
        return 1.0
    near = far = 0
    for first in range(0, resolved.n_rows, plan.group):
        group = resolved.block(first, min(first + plan.group, resolved.n_rows))
        near, far = near + int(group.near.counts.sum()), far + int(group.far_count().sum())
    return max(1, far) / max(1, near)


def _scaled(slopes: Tensor, weights: Tensor | None, scale: float) -> Tensor:
    """Near slopes, which a state may still hold, times weights and scale."""
    slopes = slopes if scale == 1.0 else slopes * scale
    return slopes if weights is None else slopes * weights


def _joined(found: list[Rows], names: tuple[str, ...], like: Tensor) -> dict[str, Part]:
    """The parts of all blocks, end to end."""
    parts = {}
    for name in names:
        blocks: list[Part] = [getattr(rows, name) for rows in found]
        if len(blocks) == 1:
            parts[name] = blocks[0]
        elif blocks:
            parts[name] = Part(
                torch.cat([part.value for part in blocks]),
                torch.cat([part.terms for part in blocks]),
                torch.cat([part.active for part in blocks]),
            )
        else:
            parts[name] = Part(like.new_zeros(0), like.new_zeros(0), like.new_zeros(0))
    return parts


def _weighted(slopes: Tensor, weights: Tensor | None) -> Tensor:
    return slopes if weights is None else slopes.mul_(weights)


class _Hidden:
    """The cells of a block that aren't far, in the order of its tiles."""

    def __init__(self, block: Block, tiles: list[tuple[int, int]]) -> None:
        self._block = block
        self._ends: list[int] | None = None
        if block.far is not None or block.hidden is None or len(tiles) < 2:
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


def _tile(kernel: Kernel, block: Block, hidden: _Hidden, first: int, last: int, *, kept: bool) -> Tile:
    """A tile with infinity where the column isn't far."""
    if block.far is not None:
        return Tile(kernel.listed(block.far), kept)
    distances = kernel.tile(first, last)
    hidden.fill(distances, first, last)
    kernel.mend(distances)
    return Tile(distances, kept)


def _spread_near(
    loss: TableFunction[Any],
    kernel: Kernel,
    resolved: Resolved,
    plan: Plan,
    weights: Tensor | None,
    scale: float,
    like: Tensor,
    share: tuple[int, int],
) -> None:
    """Spread the near slopes of a loss whose near part has a divisor of its own, known only now."""
    plan = Plan(plan.group, plan.group, plan.columns, whole=False)
    for visit in visits(resolved, kernel, plan, like, share):
        near = visit.near
        distances = kernel.listed(near)
        state = loss.begin(_near(kernel, visit, distances))
        row_weights = None if weights is None else weights[visit.start : visit.stop, None]
        kernel.spread_listed(_scaled(loss.near_slope(state), row_weights, scale), near, distances)


def _visit_whole_rows(
    loss: WholeRows, kernel: Kernel, visit: Visit, weights: Tensor | None, want_gradient: bool
) -> Rows:
    """Evaluate a plain function of whole rows, with autograd from distances to values."""
    block, n_columns = visit.block, visit.block.n_columns
    if block.near.anchors is not None or (block.far is not None and block.far.anchors is not None):
        raise InputError("a loss of whole rows can't compare pairs of two anchors: take Triplets, or a hinge")
    distances = kernel.tile(0, n_columns)
    kernel.mend(distances)
    near = torch.zeros_like(distances, dtype=torch.bool)
    near.view(-1)[block.near.flat(0, n_columns)] = True
    if block.far is not None:
        far = torch.zeros_like(near)
        far.view(-1)[block.far.flat(0, n_columns)] = True
    else:
        marks = torch.zeros_like(distances)
        block.hide(marks, 0, n_columns, 1.0)
        far = marks == 0
    with torch.set_grad_enabled(want_gradient):
        leaf = distances.clone().requires_grad_(want_gradient)
        part = loss.part(loss.rows(leaf, near, far), near, far)
    if want_gradient and part.value.requires_grad:
        factor = torch.ones_like(part.value) if weights is None else weights[:, 0].expand_as(part.value)
        (slopes,) = torch.autograd.grad(part.value, leaf, factor)
        kernel.spread(slopes.contiguous(), distances, None, None)
    return Rows(joint=Part(part.value.detach(), part.terms, part.active))
