"""The walk as one differentiable operation.

Gradients are taken in the walk itself, when an input needs one and the reduction is a scalar, and are
scaled once, in place, in backward. ``reduction="none"`` walks again in backward, as only then the
rows' weights are known, unless the table is so small that it was kept; so does a second backward through the
same graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.errors import UnsupportedError
from likewise.relations import Resolved
from likewise.table.chosen import Chosen, chosen_walk
from likewise.table.distributed import active_group
from likewise.table.folded import folded_walk, folds
from likewise.table.fused import fused_walk
from likewise.table.fused import takes as takes_fused
from likewise.table.halves import Dtypes, given, half_of
from likewise.table.kernels import DirectKernel, Kernel
from likewise.table.product import ProductKernel, features_of
from likewise.table.protocol import TableFunction, WholeRows
from likewise.table.reduction import NearCells, Reduction, Walked
from likewise.table.small import fits, small_rows, small_walk, takes
from likewise.table.walk import walk

__all__ = ["Outcome", "TableRequest", "in_one_tile", "rows_and_near", "run_walk", "table_value"]


@dataclass(frozen=True)
class TableRequest:
    """What to walk: the loss's mathematics, the distance, who is near and far, and the reduction.

    near : whether the near distances are wanted beside the rows' values.
    given : in which dtypes rows and columns were given.
    """

    loss: TableFunction[Any] | WholeRows
    distance: Distance
    resolved: Resolved
    reduction: str
    near: bool = False
    given: Dtypes = field(default_factory=given)


@dataclass
class Outcome:
    """What a walk tells besides its value: how many terms there were, and what sums were divided by."""

    terms: float = 0.0
    divisors: dict[str, float] = field(default_factory=dict)


def table_value(
    request: TableRequest, rows: Tensor, columns: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, Outcome]:
    """Walk the table of rows (n, d) against columns (m, d), or against the rows themselves.

    Returns
    -------
    value : scalar, or (n_rows,) for ``reduction="none"``; differentiable in rows, columns, weights and
        the distance's parameters.
    outcome : Outcome
    """
    outcome = Outcome()
    (value,) = _walked(request, outcome, rows, columns, weights)
    return value, outcome


def in_one_tile(distance: Distance, resolved: Resolved, rows: Tensor, columns: Tensor | None) -> bool:
    """Whether one process walks this table as a single tile, so that a loss sees all of it at once."""
    return isinstance(distance, ProductDistance) and active_group() is None and fits(resolved, rows, columns)


def rows_and_near(
    loss: TableFunction[Any],
    distance: Distance,
    resolved: Resolved,
    rows: Tensor,
    columns: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Each row's value (n_rows,) and all near distances, row by row (k,), from one walk.

    For a loss that makes more of them in plain PyTorch; both are differentiable, by one more walk.
    """
    request = TableRequest(loss, distance, resolved, "none", near=True)
    values, near = _walked(request, Outcome(), rows, columns, None)
    return values, near


def _walked(
    request: TableRequest, outcome: Outcome, rows: Tensor, columns: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, ...]:
    parameters: list[Tensor] = []
    if isinstance(request.distance, ProductDistance):
        rows, columns = features_of(request.distance, rows, columns)
    else:
        parameters = list(request.distance.parameters())
    made = _Table.apply(request, outcome, rows, columns, weights, *parameters)  # type: ignore[no-untyped-call]
    return made if isinstance(made, tuple) else (made,)


def run_walk(
    request: TableRequest,
    rows: Tensor,
    columns: Tensor | None,
    weights: Tensor | None,
    parameters: list[Tensor],
    reduction: str,
    want_gradient: bool,
    want_columns: bool = True,
    near: NearCells | None = None,
    keep: bool = False,
) -> Walked:
    """Walk the table of features (n, k) against (m, k) or themselves, outside of autograd.

    With ``keep`` a small table stays for the gradients, which are asked for later.
    """
    kernel: Kernel
    rows, columns = rows.detach(), None if columns is None else columns.detach()
    if isinstance(request.distance, ProductDistance):
        unit, form = request.distance.unit, request.distance.form
        chosen = request.resolved.chosen
        if (
            isinstance(chosen, Chosen)
            and isinstance(request.loss, TableFunction)
            and near is None
            and active_group() is None
            and chosen.of(form, rows, columns, unit=unit)
        ):
            return chosen_walk(
                request.loss, chosen, Reduction(reduction), weights=weights, want_gradient=want_gradient,
                want_columns=want_columns,
            )  # fmt: skip
        fused = takes_fused(request.loss, request.resolved, rows) and active_group() is None
        small = not fused and takes(request.loss, request.resolved, rows, columns) and active_group() is None
        if small and isinstance(request.loss, TableFunction):
            return small_walk(
                request.loss, form, rows, columns, request.resolved, Reduction(reduction),
                unit=unit, weights=weights, want_gradient=want_gradient, want_columns=want_columns, near=near,
                keep=keep,
            )  # fmt: skip
        if (
            isinstance(request.loss, WholeRows)
            and active_group() is None
            and fits(request.resolved, rows, columns)
        ):
            return small_rows(
                request.loss, form, rows, columns, request.resolved, Reduction(reduction), unit=unit,
                weights=weights, want_gradient=want_gradient, want_columns=want_columns,
            )  # fmt: skip
        kernel = ProductKernel(
            request.distance.form,
            rows,
            columns,
            unit=unit,
            want_gradient=want_gradient,
            want_columns=want_columns,
        )
        if fused and isinstance(request.loss, TableFunction):
            return fused_walk(
                request.loss, kernel, request.resolved, Reduction(reduction), weights=weights,
                want_gradient=want_gradient, like=rows, near=near, half=half_of(request.given, rows, columns),
            )  # fmt: skip
        if (
            isinstance(request.loss, TableFunction)
            and active_group() is None
            and folds(request.loss, request.resolved, kernel)
        ):
            return folded_walk(
                request.loss, kernel, request.resolved, Reduction(reduction), weights=weights,
                want_gradient=want_gradient, like=rows, near=near,
            )  # fmt: skip
    else:
        kernel = DirectKernel(request.distance, rows, columns, parameters, want_gradient=want_gradient)
    return walk(
        request.loss,
        kernel,
        request.resolved,
        Reduction(reduction),
        weights=weights,
        want_gradient=want_gradient,
        like=rows,
        near=near,
    )


_SUM = {"joint": 1.0, "near": 1.0, "far": 1.0}
"""What sums are divided by: see :class:`~likewise.table.reduction.Walked`."""


class _Table(torch.autograd.Function):
    """The operation behind :func:`table_value`."""

    @staticmethod
    def forward(
        ctx: Any,
        request: TableRequest,
        outcome: Outcome,
        rows: Tensor,
        columns: Tensor | None,
        weights: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor | tuple[Tensor, Tensor]:
        scalar = request.reduction != "none"
        needs = ctx.needs_input_grad
        wanted = needs[2] or needs[3] or any(needs[5:])
        want_gradient = scalar and wanted
        reduction = request.reduction if scalar else "sum"
        plain_weights = None if weights is None else weights.detach()
        near = NearCells() if request.near else None
        found = run_walk(
            request, rows, columns, plain_weights, list(parameters), reduction, want_gradient, needs[3], near,
            keep=wanted and not scalar,
        )  # fmt: skip
        outcome.terms, outcome.divisors = found.terms, found.divisors
        ctx.request, ctx.found = request, found
        ctx.save_for_backward(rows, columns, weights, *parameters)
        if scalar:
            return rows.new_full((), found.value)
        values = found.rows() if plain_weights is None else found.rows() * plain_weights
        return values if near is None else (values, near.joined(rows))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "a loss over a table can't be differentiated twice: call backward without create_graph=True"
            )
        rows, columns, weights, *parameters = ctx.saved_tensors
        request: TableRequest = ctx.request
        needs = ctx.needs_input_grad
        slope, found = upstream[0], ctx.found
        scalar = request.reduction != "none"
        weight_gradient = None
        if weights is not None and needs[4]:
            weight_gradient = found.row_scale() * slope if scalar else found.rows() * slope
        gradients: list[Tensor | None] = [None] * (2 + len(parameters))
        if needs[2] or needs[3] or any(needs[5:]):
            scale: Tensor | float
            if scalar:
                if not found.gradients:  # they went out with an earlier backward through the same graph
                    plain = None if weights is None else weights.detach()
                    found = run_walk(
                        request, rows, columns, plain, parameters, request.reduction, True, needs[3]
                    )
                # a number where that needs no waiting: most often one, and then nothing is left to do
                scale = (float(slope) if slope.device.type == "cpu" else slope) * found.scale
            else:
                plain = slope if weights is None else slope * weights.detach()
                seen, found.seen = found.seen, None
                if seen is not None:
                    more = upstream[1] if request.near else None
                    found.gradients = seen.gradients(_SUM, plain, more, columns=needs[3])
                else:
                    near = NearCells(upstream[1]) if request.near else None
                    found = run_walk(request, rows, columns, plain, parameters, "sum", True, needs[3], near)
                scale = 1.0
            gradients = found.gradients
            if not (isinstance(scale, float) and scale == 1.0):
                gradients = [None if g is None else g.mul_(scale) for g in gradients]
            found.gradients = []
        gradients += [None] * (2 + len(parameters) - len(gradients))
        wanted = [
            g if need else None for g, need in zip(gradients, (needs[2], needs[3], *needs[5:]), strict=True)
        ]
        return None, None, wanted[0], wanted[1], weight_gradient, *wanted[2:]
