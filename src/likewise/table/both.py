"""A tile's exponentials for its rows and for its columns at once, in C: where a table is walked folded."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["log_sum_slopes_both", "log_sums_both"]


def _there(tile: Tensor, *others: Tensor) -> bool:
    return tile.dtype is torch.float32 and compiled.takes(tile, *others) and compiled.library() is not None


def log_sums_both(
    tile: Tensor, rate: float, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> bool:
    """Fold ``-rate * tile`` (r, c) into running log-sum-exps, in place; whether it could be done here.

    rows, columns : maximum and total, (r,) each and (c,) each. Maxima begin below any logit, totals at zero.
    """
    if not _there(tile, *rows, *columns):
        return False
    return bool(
        compiled.function("log_sums_both", "piifppppi", "i")(
            tile.data_ptr(),
            *tile.shape,
            rate,
            rows[0].data_ptr(),
            rows[1].data_ptr(),
            columns[0].data_ptr(),
            columns[1].data_ptr(),
            torch.get_num_threads(),
        )
    )


def log_sum_slopes_both(
    tile: Tensor,
    rate: float,
    rows: tuple[Tensor, Tensor | None],
    columns: tuple[Tensor, Tensor | None],
) -> Tensor | None:
    """``-rate [w_i exp(-rate d + s_i) + w_j exp(-rate d + s_j)]`` of a tile's cells, if it can be done here.

    rows, columns : shifts s, which may be minus infinity, and weights w or None; (r,) each and (c,) each.
    """
    parts = [part for pair in (rows, columns) for part in pair if part is not None]
    if not _there(tile, *parts):
        return None
    out = torch.empty_like(tile)
    where = [None if part is None else part.data_ptr() for part in (*rows, *columns)]
    compiled.function("log_sum_slopes_both", "piiffpppppi")(
        tile.data_ptr(), *tile.shape, rate, -rate, *where, out.data_ptr(), torch.get_num_threads()
    )
    return out
