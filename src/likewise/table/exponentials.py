"""Exponentials of a tile with their sums by row: what every log-sum-exp takes.

In PyTorch three passes, which slow down several times over cells that are out; in C one
(:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["exponentials"]


def exponentials(tile: Tensor, rate: float, shift: Tensor, *, total: Tensor | None = None) -> Tensor:
    """``exp(rate * tile + shift)``, zero where that is minus infinity.

    Parameters
    ----------
    tile : (r, c)
    rate : float
    shift : (r,)
    total : (r,), optional
        The sums by row are added.

    Returns
    -------
    Tensor
        (r, c), a new array. In float32 what is below exp(-87) is zero in C and may be denormal in PyTorch.
    """
    if tile.dtype == torch.float32 and tile.numel() >= _FEWEST:
        shift = shift.contiguous()
        sums = torch.zeros_like(shift) if total is None else total
        library = compiled.library() if compiled.takes(tile, shift, sums) else None
        if library is not None:
            out = torch.empty_like(tile)
            library.exponentials(
                compiled.at(tile), *compiled.shape(tile), ctypes.c_float(rate), compiled.at(shift),
                compiled.at(out), compiled.at(sums), compiled.threads(),
            )  # fmt: skip
            return out
    out = torch.add(shift[:, None], tile, alpha=rate).exp_()
    if total is not None:
        total += out.sum(1)
    return out


_FEWEST = 1 << 12
"""Cells of a tile from which on a call of C is worth its overhead."""
