"""The one engine: walks a table of distances tile by tile and never holds it.

For each block of rows: the near cells are gathered, all tiles observed, the rows finished; then, when
a gradient is wanted, all tiles are visited again for their slopes (the product is taken again), or,
when whole rows fit a tile, the one tile that is still there is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations import Block, Resolved
from likewise.table.kernels import Kernel
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows

__all__ = ["Reduction", "Walked", "walk"]

TILE = 1 << 18
"""Numbers in a tile: 1 MB in float32, so that a tile and what a loss makes of it stay in cache."""

WHOLE_ROWS = 8192
"""Up to this many columns a tile holds whole rows, and one visit is enough."""


@dataclass
class Reduction:
    """How rows become one number: ``mean`` or ``active`` (over the terms, or those not zero), ``sum``."""

    name: str

    def divisor(self, terms: float, active: float) -> float:
        """What a sum is divided by; at least one."""
        return max(1.0, {"mean": terms, "active": active, "sum": 1.0}[self.name])


@dataclass
class _Total:
    """Running sums of one part, kept in float64."""

    value: float = 0.0
    terms: float = 0.0
    active: float = 0.0

    def add(self, part: Part, weights: Tensor | None) -> None:
        value = part.value if weights is None else part.value * weights
        self.value += float(value.sum(dtype=torch.float64))
        self.terms += float(part.terms.sum())
        self.active += float(part.active.sum())


@dataclass
class Walked:
    """What a walk found.

    parts : each part's sum of terms by row (n,), before weights.
    divisors : what each part's sum was divided by in ``value``.
    value : the reduced value. scale : what ``gradients`` still have to be multiplied with.
    terms : how many terms there were in all; zero means that nothing could be learned.
    """

    parts: dict[str, Tensor]
    divisors: dict[str, float] = field(default_factory=dict)
    value: float = 0.0
    scale: float = 1.0
    terms: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)

    def rows(self) -> Tensor:
        """Each row's sum of terms (n,), parts added."""
        return torch.stack(list(self.parts.values())).sum(0)

    def row_scale(self) -> Tensor:
        """The derivative of ``value`` by each row's weight (n,)."""
        return torch.stack([part / self.divisors[name] for name, part in self.parts.items()]).sum(0)


ROWS = 256
"""Rows in a tile of some of the columns."""


def _blocks(resolved: Resolved, width: int, whole: bool) -> tuple[int, int]:
    """Rows a block and columns a tile."""
    cells = max(64, TILE // width)
    columns = max(1, resolved.longest if resolved.far_is_listed and not whole else resolved.n_columns)
    if whole or resolved.far_is_listed or columns <= WHOLE_ROWS // width:
        rows = cells // columns
    else:
        rows, columns = ROWS, max(1, cells // ROWS)
        if width > 1:
            rows = columns = int(cells**0.5)
    listed = max(1, resolved.longest)
    return max(1, min(rows, max(8, 2 * cells // listed), resolved.n_rows)), columns


def _tiles(block: Block, resolved: Resolved, columns: int) -> list[tuple[int, int]]:
    if block.far is not None:
        return [(0, block.far.columns.shape[1])]
    return [
        (first, min(first + columns, resolved.n_columns)) for first in range(0, resolved.n_columns, columns)
    ]


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
    if isinstance(loss, WholeRows):
        return _walk_whole(loss, kernel, resolved, reduction, weights, want_gradient, like)
    names = ("near", "far") if loss.apart else ("joint",)
    out = Walked({name: like.new_zeros(resolved.n_rows) for name in names})
    totals = {name: _Total() for name in names}
    rows, columns = _blocks(resolved, kernel.width, whole=False)
    for start in range(0, resolved.n_rows, rows):
        stop = min(start + rows, resolved.n_rows)
        anchors = None if resolved.anchors is None else resolved.anchors[start:stop]
        row_weights = None if weights is None else weights[start:stop]
        block = resolved.block(start, stop)
        kernel.begin_block(start, stop, anchors)
        state = loss.begin(_near(kernel, block, like))
        tiles = _tiles(block, resolved, columns)
        for first, last in tiles:
            tile = _tile(kernel, block, first, last, kept=len(tiles) == 1)
            loss.observe(tile, state)
        _collect(loss.finish(state), out, totals, slice(start, stop), row_weights)
        if not want_gradient:
            continue
        for first, last in tiles:
            if len(tiles) > 1:
                tile = _tile(kernel, block, first, last, kept=False)
            slopes = _weighted(loss.slope(tile, state), row_weights)
            if block.far is not None:
                kernel.spread_listed(slopes, block.far)
            else:
                kernel.spread(slopes, tile.distances)
        if not loss.apart:
            kernel.spread_listed(_weighted(loss.near_slope(state), row_weights), block.near)
    main = "far" if loss.apart else "joint"
    out.divisors = {name: reduction.divisor(total.terms, total.active) for name, total in totals.items()}
    out.value = sum(total.value / out.divisors[name] for name, total in totals.items())
    out.scale = 1.0 / out.divisors[main]
    out.terms = sum(total.terms for total in totals.values())
    if want_gradient:
        if loss.apart:
            _spread_near(
                loss, kernel, resolved, weights, rows, out.divisors["far"] / out.divisors["near"], like
            )
        out.gradients = kernel.gradients()
    return out


def _near(kernel: Kernel, block: Block, like: Tensor) -> Near:
    """The near cells of a block."""
    near = block.near
    count, far_count = near.valid.sum(1).to(like.dtype), block.far_count().to(like.dtype)
    return Near(kernel.listed(near), near.valid, count, far_count)


def _tile(kernel: Kernel, block: Block, first: int, last: int, *, kept: bool) -> Tile:
    """A tile with infinity where the column isn't far."""
    if block.far is not None:
        return Tile(kernel.listed(block.far), kept)
    distances = kernel.tile(first, last)
    block.hide(distances, first, last, torch.inf)
    kernel.mend(distances)
    return Tile(distances, kept)


def _weighted(slopes: Tensor, weights: Tensor | None) -> Tensor:
    return slopes if weights is None else slopes * weights[:, None]


def _collect(
    found: Rows, out: Walked, totals: dict[str, _Total], rows: slice, weights: Tensor | None
) -> None:
    for name, part in (("joint", found.joint), ("near", found.near), ("far", found.far)):
        if part is not None:
            out.parts[name][rows] = part.value
            totals[name].add(part, weights)


def _spread_near(
    loss: TableFunction[Any],
    kernel: Kernel,
    resolved: Resolved,
    weights: Tensor | None,
    rows: int,
    scale: float,
    like: Tensor,
) -> None:
    """Spread the near slopes of a loss whose near part has a divisor of its own, known only now."""
    for start in range(0, resolved.n_rows, rows):
        stop = min(start + rows, resolved.n_rows)
        anchors = None if resolved.anchors is None else resolved.anchors[start:stop]
        block = resolved.block(start, stop)
        kernel.begin_block(start, stop, anchors)
        state = loss.begin(_near(kernel, block, like))
        slopes = _weighted(loss.near_slope(state), None if weights is None else weights[start:stop])
        kernel.spread_listed(slopes * scale, block.near)


def _walk_whole(
    loss: WholeRows,
    kernel: Kernel,
    resolved: Resolved,
    reduction: Reduction,
    weights: Tensor | None,
    want_gradient: bool,
    like: Tensor,
) -> Walked:
    """Walk in blocks of whole rows, with autograd from distances to values."""
    out = Walked({"joint": like.new_zeros(resolved.n_rows)})
    total = _Total()
    rows, _ = _blocks(resolved, kernel.width, whole=True)
    for start in range(0, resolved.n_rows, rows):
        stop = min(start + rows, resolved.n_rows)
        kernel.begin_block(start, stop, None if resolved.anchors is None else resolved.anchors[start:stop])
        block = resolved.block(start, stop)
        distances = kernel.tile(0, resolved.n_columns)
        kernel.mend(distances)
        if block.near.anchors is not None or (block.far is not None and block.far.anchors is not None):
            raise InputError(
                "a loss of whole rows can't compare two pairs of different anchors; take Triplets or a hinge"
            )
        near, far = (
            torch.zeros_like(distances, dtype=torch.bool),
            torch.zeros_like(distances, dtype=torch.bool),
        )
        near.view(-1)[block.near.flat(0, resolved.n_columns)] = True
        if block.far is not None:
            far.view(-1)[block.far.flat(0, resolved.n_columns)] = True
        else:
            marks = torch.zeros_like(distances)
            block.hide(marks, 0, resolved.n_columns, 1.0)
            far = marks == 0
        with torch.set_grad_enabled(want_gradient):
            leaf = distances.clone().requires_grad_(want_gradient)
            part = loss.part(loss.rows(leaf, near, far), near, far)
        row_weights = None if weights is None else weights[start:stop]
        if want_gradient and part.value.requires_grad:
            factor = torch.ones_like(part.value) if row_weights is None else row_weights.expand_as(part.value)
            (slopes,) = torch.autograd.grad(part.value, leaf, factor.to(part.value.dtype))
            kernel.spread(slopes, distances)
        value = Part(part.value.detach(), part.terms, part.active)
        out.parts["joint"][start:stop] = value.value
        total.add(value, row_weights)
    divisor = reduction.divisor(total.terms, total.active)
    out.divisors = {"joint": divisor}
    out.value, out.scale, out.terms = total.value / divisor, 1.0 / divisor, total.terms
    if want_gradient:
        out.gradients = kernel.gradients()
    return out
