"""The one engine: walks a table of distances tile by tile and never holds it.

Rows are taken in groups, whose near cells are listed once, and within a group in blocks. Where whole
rows fit a tile, one visit does it all: the product is taken once, near cells are read off it, the rows
are observed and finished, and the same tile becomes slopes. Where they don't, near cells are gathered
by subtraction before the walk, all tiles are observed, and, when a gradient is wanted, visited again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations import Block, Resolved
from likewise.table.blocks import Plan, Visit, plan_for, visits
from likewise.table.distributed import Group, active_group
from likewise.table.kernels import Kernel
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows

__all__ = ["Reduction", "Walked", "walk"]


@dataclass(frozen=True)
class Reduction:
    """How rows become one number: ``mean`` or ``active`` (over the terms, or those not zero), ``sum``."""

    name: str

    def divisor(self, terms: float, active: float) -> float:
        """What a sum is divided by; at least one."""
        return max(1.0, {"mean": terms, "active": active, "sum": 1.0}[self.name])


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
            terms, active = float(part.terms.sum()), float(part.active.sum())
            self.divisors[name] = reduction.divisor(terms, active)
            self.value += float(value.sum(dtype=torch.float64)) / self.divisors[name]
            self.terms += terms


def walk(
    loss: TableFunction[Any] | WholeRows,
    kernel: Kernel,
    resolved: Resolved,
    reduction: Reduction,
    *,
    weights: Tensor | None,
    want_gradient: bool,
    like: Tensor,
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

    Returns
    -------
    Walked
    """
    apart = isinstance(loss, TableFunction) and loss.apart
    plan = plan_for(resolved, kernel.width, needs_whole=isinstance(loss, WholeRows))
    # of a loss in two parts, what a near slope counts beside a far one; unknown before the walk where
    # divisors count active terms, and then the near slopes wait for its end
    near_scale = _near_scale(resolved, plan, reduction) if apart else 1.0
    group = active_group()
    share = (0, resolved.n_rows) if group is None else group.share(resolved.n_rows)[group.rank]
    found: list[Rows] = []
    for visit in visits(resolved, kernel, plan, like, share):
        row_weights = None if weights is None else weights[visit.start : visit.stop, None]
        if isinstance(loss, WholeRows):
            found.append(_visit_whole_rows(loss, kernel, visit, row_weights, want_gradient))
        elif plan.whole:
            found.append(_visit_once(loss, kernel, visit, row_weights, near_scale, want_gradient))
        else:
            found.append(_visit_twice(loss, kernel, visit, plan, row_weights, near_scale, want_gradient))
    out = Walked(_joined(found, ("near", "far") if apart else ("joint",), like))
    if group is not None:
        out.parts = {name: _gathered(part, group, resolved.n_rows) for name, part in out.parts.items()}
    out.reduce(reduction, weights)
    out.scale = 1.0 / out.divisors["far" if apart else "joint"]
    if want_gradient:
        if isinstance(loss, TableFunction) and near_scale is None:
            _spread_near(
                loss, kernel, resolved, plan, weights, out.divisors["far"] / out.divisors["near"], like, share
            )
        out.gradients = kernel.gradients()
        if group is not None:
            out.gradients = [None if shares is None else group.add(shares) for shares in out.gradients]
    return out


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
        near, far = near + int(group.near.valid.sum()), far + int(group.far_count().sum())
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


def _visit_once(
    loss: TableFunction[Any],
    kernel: Kernel,
    visit: Visit,
    weights: Tensor | None,
    near_scale: float | None,
    want_gradient: bool,
) -> Rows:
    """Observe, finish and spread a block whose whole rows fit a tile."""
    n_columns = visit.block.n_columns
    distances = kernel.tile(0, n_columns)
    assert visit.listing is not None
    part, flat = visit.flat(visit.listing, n_columns)
    row, slots = (
        visit.listing.row[part],
        visit.listing.slots[part] - visit.offset * visit.near.columns.shape[1],
    )
    anchors = row - visit.offset
    anchors = anchors + visit.start if kernel.anchors is None else kernel.anchors[anchors]
    near = kernel.near_in_tile(distances, flat, anchors, visit.listing.column[part])
    _hide(distances, visit, n_columns)
    kernel.mend(distances)
    padded = distances.new_full(visit.near.columns.shape, torch.inf)
    padded.view(-1).index_copy_(0, slots, near.distances)
    state = loss.begin(Near(padded, visit.near.valid, visit.count, visit.far_count))
    tile = Tile(distances, kept=want_gradient)
    loss.observe(tile, state)
    found = loss.finish(state)
    if want_gradient:
        slopes = _weighted(loss.slope(tile, state), weights)
        if near_scale is None:
            kernel.spread(slopes, distances, None, None)
        else:
            near_slopes = _scaled(loss.near_slope(state), weights, near_scale).reshape(-1)[slots]
            kernel.spread(slopes, distances, near, near_slopes)
    return found


def _hide(distances: Tensor, visit: Visit, n_columns: int) -> None:
    """Fill the cells of whole rows that aren't far with infinity."""
    if visit.hidden is None:
        visit.block.hide(distances, 0, n_columns, torch.inf)
        return
    distances.view(-1).index_fill_(0, visit.flat(visit.hidden, n_columns)[1], torch.inf)
    if visit.block.mask is not None:
        distances.masked_fill_(visit.block.mask, torch.inf)


def _visit_twice(
    loss: TableFunction[Any],
    kernel: Kernel,
    visit: Visit,
    plan: Plan,
    weights: Tensor | None,
    near_scale: float | None,
    want_gradient: bool,
) -> Rows:
    """Observe all tiles of a block, finish, and visit the tiles again for their slopes."""
    block = visit.block
    state = loss.begin(Near(kernel.listed(block.near), block.near.valid, visit.count, visit.far_count))
    if block.far is not None:
        tiles = [(0, block.far.columns.shape[1])]
    else:
        starts = range(0, block.n_columns, plan.columns)
        tiles = [(first, min(first + plan.columns, block.n_columns)) for first in starts]
    kept = want_gradient and len(tiles) == 1
    for first, last in tiles:
        tile = _tile(kernel, block, first, last, kept=kept)
        loss.observe(tile, state)
    found = loss.finish(state)
    if want_gradient:
        for first, last in tiles:
            if not kept:
                tile = _tile(kernel, block, first, last, kept=False)
            slopes = _weighted(loss.slope(tile, state), weights)
            if block.far is not None:
                kernel.spread_listed(slopes, block.far)
            else:
                kernel.spread(slopes, tile.distances, None, None)
        if near_scale is not None:
            kernel.spread_listed(_scaled(loss.near_slope(state), weights, near_scale), block.near)
    return found


def _tile(kernel: Kernel, block: Block, first: int, last: int, *, kept: bool) -> Tile:
    """A tile with infinity where the column isn't far."""
    if block.far is not None:
        return Tile(kernel.listed(block.far), kept)
    distances = kernel.tile(first, last)
    block.hide(distances, first, last, torch.inf)
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
        state = loss.begin(Near(kernel.listed(near), near.valid, visit.count, visit.far_count))
        row_weights = None if weights is None else weights[visit.start : visit.stop, None]
        kernel.spread_listed(_scaled(loss.near_slope(state), row_weights, scale), near)


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
