"""The one engine: walks a table of distances tile by tile and never holds it.

Rows are taken in groups, whose near cells are listed once, and within a group in blocks. Where whole
rows fit a tile, one visit does it all: the product is taken once, near cells are read off it, the rows
are observed and finished, and the same tile becomes slopes. Where they don't, near cells are gathered
by subtraction before the walk, all tiles are observed, and, when a gradient is wanted, visited again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.relations import Resolved
from likewise.table.blocks import Plan, plan_for, visits
from likewise.table.distributed import Group, active_group
from likewise.table.kernels import Kernel
from likewise.table.protocol import Part, Rows, TableFunction, WholeRows
from likewise.table.reduction import NearCells, Reduction, Walked
from likewise.table.step import Step, near_of, scaled

__all__ = ["joined", "walk"]


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
    together = loss.columns_together if isinstance(loss, TableFunction) else 1
    plan = plan_for(resolved, kernel.width, needs_whole=isinstance(loss, WholeRows), together=together)
    group = active_group()
    share = (0, resolved.n_rows) if group is None else group.share(resolved.n_rows)[group.rank]
    if near is not None:
        near.begin(resolved, group)
    step = Step(loss, kernel, plan, weights, reduction, want_gradient, near)
    step.at_once = group is None and plan.whole and plan.rows >= resolved.n_rows
    if want_gradient and apart and not step.at_once:
        step.near_scale = _near_scale(resolved, plan, reduction)
    late = step.near_scale is None  # the near part's divisor is known when the walk is over
    out = _reduced(step, resolved, weights, like, share, group)
    out.scale = 1.0 / out.divisors["far" if apart else "joint"]
    if want_gradient:
        if late and isinstance(loss, TableFunction):
            scale = out.divisors["far"] / out.divisors["near"]
            for cells, slopes in step.waiting:
                kernel.spread_near(cells, slopes * scale)
            if not plan.whole:
                _spread_near(loss, kernel, resolved, plan, weights, scale, like, share)
        out.gradients = kernel.gradients()
        if group is not None:
            out.gradients = [None if shares is None else group.add(shares) for shares in out.gradients]
    return out


def _reduced(
    step: Step,
    resolved: Resolved,
    weights: Tensor | None,
    like: Tensor,
    share: tuple[int, int],
    group: Group | None,
) -> Walked:
    """Visit all blocks of a share, and reduce what all processes found."""
    found = [step.take(visit) for visit in visits(resolved, step.kernel, step.plan, like, share)]
    apart = isinstance(step.loss, TableFunction) and step.loss.apart
    out = Walked(joined(found, ("near", "far") if apart else ("joint",), like))
    if group is not None:
        out.parts = {name: _gathered(part, group, resolved.n_rows) for name, part in out.parts.items()}
    out.reduce(step.reduction, weights)
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
        near, far = near + int(group.near.counts.sum()), far + int(group.far_count().sum())
    return max(1, far) / max(1, near)


def joined(found: list[Rows], names: tuple[str, ...], like: Tensor) -> dict[str, Part]:
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
        state = loss.begin(near_of(kernel, visit, distances))
        row_weights = None if weights is None else weights[visit.start : visit.stop, None]
        kernel.spread_listed(scaled(loss.near_slope(state), row_weights, scale), near, distances)
