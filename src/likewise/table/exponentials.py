"""Exponentials of a tile with their sums by row: what every log-sum-exp takes.

In PyTorch three passes, which slow down several times over cells that are out; in C one
(:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["exponentials", "log_sum_slopes", "log_sums"]

_LOWEST = -3e38
"""A finite maximum for a row that has no finite cell, in float32 too."""


def exponentials(
    tile: Tensor, rate: float, shift: Tensor, *, total: Tensor | None = None, limit: Tensor | None = None,
    factor: float = 1.0,
) -> Tensor:  # fmt: skip
    """``factor exp(rate * tile + shift)``, zero where a cell is infinite or isn't below its limit.

    Parameters
    ----------
    tile : (r, c)
    rate : float
    shift : (r,)
    total : (r,), optional
        The sums by row are added, without the factor.
    limit : (r,), optional
    factor : float

    Returns
    -------
    Tensor
        (r, c), a new array. In float32 what is below exp(-87) is zero in C and may be denormal in PyTorch.
    """
    if tile.dtype == torch.float32 and tile.numel() >= _FEWEST:
        shift = shift.contiguous()
        sums = torch.zeros_like(shift) if total is None else total
        bound = shift if limit is None else limit.contiguous()
        library = compiled.library() if compiled.takes(tile, shift, sums, bound) else None
        if library is not None:
            out = torch.empty_like(tile)
            library.exponentials(
                compiled.at(tile), *compiled.shape(tile), ctypes.c_float(rate), compiled.at(shift),
                compiled.at(None if limit is None else bound), ctypes.c_float(factor), compiled.at(out),
                compiled.at(sums), compiled.threads(),
            )  # fmt: skip
            return out
    out = torch.add(shift[:, None], tile, alpha=rate).exp_()
    if limit is not None:
        # a comparison into floats: PyTorch is an order of magnitude slower with bools
        out.mul_(torch.lt(tile, limit[:, None], out=torch.empty_like(out)))
    if total is not None:
        total += out.sum(1)
    return out if factor == 1.0 else out.mul_(factor)


def log_sums(
    tile: Tensor, rate: float, before: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The running ``log sum exp(-rate * tile)`` of each row, as a maximum and a sum.

    Parameters
    ----------
    tile : (r, c), c not zero
        Infinite where a cell is out.
    rate : float, above 0
    before : (r,) and (r,), or None
        Maximum and sum of the tiles before.

    Returns
    -------
    maximum : (r,), finite
    total : (r,)
        The sum of ``exp(-rate * cell - maximum)`` over these tiles.
    exponentials : (r, c)
        Those of this tile.
    """
    if tile.dtype == torch.float32 and compiled.takes(tile) and compiled.library() is not None:
        out = torch.empty_like(tile)
        maximum, total = tile.new_empty(tile.shape[0]), tile.new_empty(tile.shape[0])
        old = (None, None) if before is None else (before[0].contiguous(), before[1].contiguous())
        compiled.function("log_sums", "piiffpppppi")(
            tile.data_ptr(), *tile.shape, rate, _LOWEST,
            *(None if part is None else part.data_ptr() for part in old),
            out.data_ptr(), maximum.data_ptr(), total.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return maximum, total, out
    maximum = (tile.amin(1) * -rate).clamp_(min=_LOWEST)
    if before is not None:
        maximum = torch.maximum(before[0], maximum)
    total = torch.zeros_like(maximum) if before is None else before[1] * (before[0] - maximum).exp_()
    found = exponentials(tile, -rate, -maximum, total=total)
    return maximum, total, found


def log_sum_slopes(exponentials: Tensor, rate: float, by_log: Tensor, total: Tensor) -> Tensor:
    """The slopes by a tile's cells: its exponentials (r, c) times ``-rate * by_log / total``, in place.

    by_log : (r,)
        The derivative by the log-sum-exp. total : (r,), at least one, or zero where all cells are out.
    """
    by_log = by_log.contiguous()
    single = exponentials.dtype == torch.float32
    if single and compiled.takes(exponentials, by_log, total) and compiled.library() is not None:
        compiled.function("log_sum_slopes", "piifppi")(
            exponentials.data_ptr(), *exponentials.shape, rate, by_log.data_ptr(), total.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        return exponentials
    return exponentials.mul_((by_log / total.clamp(min=0.5)).mul_(-rate)[:, None])


_FEWEST = 1 << 12
"""Cells of a tile from which on a call of C is worth its overhead."""
