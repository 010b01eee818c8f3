"""Losses that read the far columns through one number a row: ``log sum_n exp(-rate d_n)``.

Nearly every softmax is one of these: the far columns enter by their log-sum-exp alone, the near ones,
few and listed, in whatever way the loss says. So the loss is a function of a few numbers a row, and the
tiles are folded here once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from likewise.table import Near, Rows, TableFunction, Tile, softmax
from likewise.table.both import log_sum_slopes_both, log_sums_both
from likewise.table.exponentials import exponentials, log_sum_slopes, log_sums
from likewise.table.far_terms import LogSum

__all__ = ["FarLogSum", "FarSum", "RowTerms", "log_sum", "one_plus", "pair_softmax"]


@dataclass(frozen=True)
class RowTerms:
    """What a loss makes of a row's near distances and its far log-sum-exp.

    rows : values and counts. by_far : (r,) the derivative of the value by the far log-sum-exp, not below
    zero. by_near : (r, p) that by the near distances, zero where not valid.
    """

    rows: Rows
    by_far: Tensor
    by_near: Tensor


_LEAST = -3e38
"""Below any logit, and finite in float32 too."""

_RowOf = Callable[[Near, Tensor], RowTerms]


@dataclass
class FarSum:
    """The running log-sum-exp of a block's far logits: ``maximum + log(total)``."""

    near: Near
    maximum: Tensor  # (r,); of no meaning while nothing far was seen
    total: Tensor  # (r,) the sum of exp(logit - maximum)
    exponentials: Tensor | None = None  # of the last tile less the maximum, where it comes back
    terms: RowTerms | None = None
    empty: bool = True  # no tile was seen yet

    @cached_property
    def log(self) -> Tensor:
        """The log-sum-exp (r,) when all tiles are observed; minus infinity where nothing is far."""
        return self.maximum + self.total.log()


class FarLogSum(TableFunction[FarSum]):
    """The walk of a loss over its rows' far log-sum-exp.

    Parameters
    ----------
    rate : float
        Logits are ``-rate d``.
    row : callable
        ``row(near, far)`` gives the :class:`RowTerms` from the near cells and the far log-sum-exp (r,),
        which is minus infinity where nothing is far.
    apart : bool
        Whether the near and the far part are averaged apart; the near part must not read ``far`` then.
    """

    def __init__(self, rate: float, row: _RowOf, *, apart: bool = False) -> None:
        self.rate = rate
        self.apart = apart
        self._row = row

    scaled = True
    folds = True
    fused = True

    def fold(self, tile: Tile, state: FarSum) -> tuple[Tensor, Tensor | None]:
        """The exponentials, and how the running maximum has moved."""
        before = state.maximum
        self.observe(tile, state)
        assert state.exponentials is not None
        return state.exponentials, (before - state.maximum).exp_()

    def row_factor(self, state: FarSum) -> Tensor:
        """Minus the rate times the derivative by the log-sum-exp, over the sum of the exponentials."""
        assert state.terms is not None
        # a total is at least one, or zero where nothing is far, and then so are all exponentials
        return (state.terms.by_far / state.total.clamp(min=0.5)).mul_(-self.rate)

    def begin(self, near: Near) -> FarSum:
        """Nothing far was seen yet."""
        return FarSum(near, near.count, torch.zeros_like(near.count))

    def observe(self, tile: Tile, state: FarSum) -> None:
        """Fold a tile into the log-sum-exp."""
        if not tile.distances.shape[1]:
            return
        before = None if state.empty else (state.maximum, state.total)
        state.maximum, state.total, found = log_sums(tile.distances, self.rate, before)
        state.empty = False
        state.exponentials = found if tile.kept else None

    def far_terms(self, state: FarSum) -> LogSum:
        """The log-sum-exp, and its slopes when the rows are finished."""
        return LogSum(self.rate, None if state.terms is None else self._shift(state))

    def far_found(self, sums: tuple[Tensor, ...], state: FarSum) -> None:
        """Take the log-sum-exp from elsewhere."""
        state.maximum, state.total = sums
        state.empty = False

    def finish(self, state: FarSum) -> Rows:
        """What the loss makes of each row."""
        state.terms = self._row(state.near, state.log)
        return state.terms.rows

    def slope(self, tile: Tile, state: FarSum) -> Tensor:
        """Minus the rate times each far column's share, times the derivative by the log-sum-exp."""
        assert state.terms is not None
        if state.exponentials is not None:
            return log_sum_slopes(state.exponentials, self.rate, state.terms.by_far, state.total)
        return exponentials(tile.distances, -self.rate, self._shift(state), factor=-self.rate)

    def observe_both(self, tile: Tile, turned: Callable[[], Tile], rows: FarSum, columns: FarSum) -> None:
        """Fold a tile into both log-sum-exps, with one exponential a cell where that can be."""
        for state in (rows, columns):
            if state.empty:
                state.maximum = torch.full_like(state.total, _LEAST)
        sums = (rows.maximum, rows.total), (columns.maximum, columns.total)
        if log_sums_both(tile.distances, self.rate, *sums):
            rows.empty = columns.empty = False
        else:
            super().observe_both(tile, turned, rows, columns)

    def slope_both(
        self,
        tile: Tile,
        turned: Callable[[], Tile],
        rows: tuple[FarSum, Tensor | None],
        columns: tuple[FarSum, Tensor | None],
    ) -> Tensor:
        """The shares of both, from one exponential a cell where that can be."""
        mine, theirs = self._shift(rows[0]), self._shift(columns[0])
        found = log_sum_slopes_both(tile.distances, self.rate, (mine, rows[1]), (theirs, columns[1]))
        return super().slope_both(tile, turned, rows, columns) if found is None else found

    def _shift(self, state: FarSum) -> Tensor:
        """What is added to logits so that their exponentials are the derivatives by them."""
        assert state.terms is not None
        share = torch.where(state.total > 0, state.terms.by_far, 0.0)
        return torch.where(share > 0, share.log() - state.log, -torch.inf)

    def near_slope(self, state: FarSum) -> Tensor:
        """The derivatives by the near distances."""
        if state.terms is None:  # the near part alone is asked for
            state.terms = self._row(state.near, state.log)
        return state.terms.by_near


def log_sum(logits: Tensor) -> Tensor:
    """Log-sum-exp of rows (r, p) of logits, any of which may be minus infinity; p may be zero."""
    if not logits.shape[1]:
        return logits.new_full(logits.shape[:1], -torch.inf)
    return logits.logsumexp(1)


def one_plus(logits: Tensor) -> Tensor:
    """``log(1 + exp(logits))``, exact at both ends."""
    return softmax.log_one_plus(logits)


def pair_softmax(near: Near, far: Tensor, logits: Tensor, by_distance: Tensor | float) -> RowTerms:
    """Each near cell against the far columns: ``-log(exp z / (exp z + sum_n exp z_n))``, summed.

    Parameters
    ----------
    near : Near
    far : (r,)
        The far log-sum-exp.
    logits : (r, p)
        z of the near cells.
    by_distance : (r, p) or float
        The derivative of z by the near distances.
    """
    part, by_far, by_near = softmax.pair_softmax(near, far, logits, by_distance)
    return RowTerms(Rows(joint=part), by_far, by_near)
