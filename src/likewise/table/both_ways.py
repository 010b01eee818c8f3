"""Both directions of a table in one visit: far log-sum-exps of its rows and of its columns.

A softmax over rows and one over columns read the same distances. One walk folds every tile into the states of
its rows and into those of its columns, whose states are held for the whole table: two numbers a column. A
second one, where a gradient is wanted, spreads the slopes of both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.errors import UnsupportedError
from likewise.relations import Resolved
from likewise.table.distributed import active_group
from likewise.table.product import features_of
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile
from likewise.table.reduction import NearCells
from likewise.table.value import TableRequest, run_walk

__all__ = ["far_log_sums"]

_LOWEST = -3e38
"""A finite maximum for what has nothing far, in float32 too."""


def far_log_sums(
    distance: Distance, resolved: Resolved, rate: float, rows: Tensor, columns: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """``log sum exp(-rate d)`` over the far cells of each row (n,) and each column (m,), and near distances.

    Minus infinity where nothing is far. Near distances (k,) come row by row. All are differentiable, by one
    more walk.
    """
    parameters: list[Tensor] = []
    if isinstance(distance, ProductDistance):
        rows, columns = features_of(distance, rows, columns)
    else:
        parameters = list(distance.parameters())
    request = TableRequest(_Sums(rate, resolved.n_columns, rows), distance, resolved, "none", near=True)
    found: tuple[Tensor, Tensor, Tensor] = _BothWays.apply(  # type: ignore[no-untyped-call]
        request, rate, rows, columns, *parameters
    )
    return found


class _Sums(TableFunction[Any]):
    """The running log-sum-exps: of a block's rows in its state, of all columns in the function itself."""

    def __init__(self, rate: float, n_columns: int, like: Tensor) -> None:
        self._rate = rate
        self.maximum = torch.full((n_columns,), _LOWEST, dtype=like.dtype, device=like.device)
        self.total = torch.zeros_like(self.maximum)

    def begin(self, near: Near) -> list[Tensor]:
        return [torch.full_like(near.count, _LOWEST), torch.zeros_like(near.count), near.count]

    def observe(self, tile: Tile, state: list[Tensor]) -> None:
        if not tile.distances.numel():
            return
        logits = tile.distances * -self._rate
        state[:2] = _folded(
            state[0], state[1], logits.amax(1), lambda top: (logits - top[:, None]).exp_().sum(1)
        )
        if tile.cells is None:
            part = slice(tile.first, tile.first + logits.shape[1])
            self.maximum[part], self.total[part] = _folded(
                self.maximum[part],
                self.total[part],
                logits.amax(0),
                lambda top: logits.sub_(top).exp_().sum(0),
            )
            return
        column, found = tile.cells.columns[tile.cells.valid], logits[tile.cells.valid]
        top = self.maximum.scatter_reduce(0, column, found, "amax")
        self.total.mul_((self.maximum - top).exp_()).index_add_(0, column, (found - top[column]).exp_())
        self.maximum = top

    def finish(self, state: list[Tensor]) -> Rows:
        return Rows(joint=Part(state[0] + state[1].log(), state[2], state[2]))

    def joined(self) -> Tensor:
        """The log-sum-exps of columns (m,), the rows of other processes included."""
        maximum, total, group = self.maximum, self.total, active_group()
        if group is not None:
            count = maximum.shape[0]
            pairs = group.gather(torch.stack([maximum, total], 1), [count] * group.size).view(-1, count, 2)
            maximum = pairs[:, :, 0].amax(0)
            total = (pairs[:, :, 1] * (pairs[:, :, 0] - maximum).exp_()).sum(0)
        return maximum + total.log()

    def slope(self, tile: Tile, state: list[Tensor]) -> Tensor:  # noqa: ARG002
        raise UnsupportedError("the sums of both directions are differentiated by a walk of their own")

    def near_slope(self, state: list[Tensor]) -> Tensor:
        return self.slope(Tile(state[0]), state)


def _folded(maximum: Tensor, total: Tensor, largest: Tensor, sums: Any) -> tuple[Tensor, Tensor]:
    """A running log-sum-exp with some more logits: their maxima, and their sums below any maximum."""
    top = torch.maximum(maximum, largest.clamp(min=_LOWEST))
    return top, total * (maximum - top).exp_() + sums(top)


class _Slopes(TableFunction[Near]):
    """The slopes of both sums, each times what is asked of it; near cells bring slopes of their own."""

    observes = False

    def __init__(self, rate: float, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> None:
        """Take the sums of rows and of columns, each with the slope of the value by them."""
        self._rate = rate
        # where nothing is far all cells are infinitely far, and any finite sum makes their share zero
        self._rows, self._columns = (
            (torch.where(log.isfinite(), log, 0.0), slope) for log, slope in (rows, columns)
        )

    def begin(self, near: Near) -> Near:
        return near

    def observe(self, tile: Tile, state: Near) -> None:
        """Nothing is left to learn."""

    def finish(self, state: Near) -> Rows:
        zero = torch.zeros_like(state.count)
        return Rows(joint=Part(zero, zero, zero))

    def slope(self, tile: Tile, state: Near) -> Tensor:
        logits = tile.distances * -self._rate
        part = slice(state.start, state.start + logits.shape[0])
        log, slope = self._rows[0][part, None], self._rows[1][part, None]
        shares = (logits - log).exp_().mul_(slope)
        if tile.cells is None:
            some: Any = slice(tile.first, tile.first + logits.shape[1])
        else:
            some = tile.cells.columns
        return shares.add_(logits.sub_(self._columns[0][some]).exp_().mul_(self._columns[1][some])).mul_(
            -self._rate
        )

    def near_slope(self, state: Near) -> Tensor:
        return torch.zeros_like(state.distances)


class _BothWays(torch.autograd.Function):
    """The operation behind :func:`far_log_sums`."""

    @staticmethod
    def forward(
        ctx: Any,
        request: TableRequest,
        rate: float,
        rows: Tensor,
        columns: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums, near = request.loss, NearCells()
        assert isinstance(sums, _Sums)
        found = run_walk(
            request, rows, columns, None, list(parameters), "sum", want_gradient=False, near=near
        )
        by_row, by_column = found.rows(), sums.joined()
        ctx.request, ctx.rate = request, rate
        ctx.save_for_backward(rows, columns, by_row, by_column, *parameters)
        return by_row, by_column, near.joined(rows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "a loss over a table can't be differentiated twice: call backward without create_graph=True"
            )
        rows, columns, by_row, by_column, *parameters = ctx.saved_tensors
        slopes = _Slopes(ctx.rate, (by_row, upstream[0]), (by_column, upstream[1]))
        request, needs = replace(ctx.request, loss=slopes), ctx.needs_input_grad
        found = run_walk(
            request,
            rows,
            columns,
            None,
            parameters,
            "sum",
            want_gradient=True,
            want_columns=needs[3],
            near=NearCells(upstream[2]),
        )
        given = [*found.gradients, *[None] * (2 + len(parameters) - len(found.gradients))]
        wanted = [g if need else None for g, need in zip(given, needs[2:], strict=True)]
        return None, None, *wanted
