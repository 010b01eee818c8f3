"""Comparing every cell of a tile with some limits of its row: what hinges and semi-hard miners do.

Each has a form in PyTorch, which takes a few passes over the tile for each limit, and one in C
(:mod:`~likewise.table.compiled`), which takes one pass over what lies in the first cache.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["AWAY", "count_below", "nearest_above"]

AWAY = 1e30
"""Added to a distance it takes the cell out of a search; unlike infinity it can be multiplied by zero."""

_CELLS = 1 << 17
"""Cells compared at once, so that distances, counts and a scratch stay in cache over all limits."""


def count_below(
    tile: Tensor, limits: Tensor, *, below: Tensor | None = None, middle: Tensor | None = None,
    reach: float = 0.0, value: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Minus the number of a row's limits above each cell: the slopes of ``sum_k max(0, limit_k - cell)``.

    Parameters
    ----------
    tile : (r, c), infinite where a cell is out
    limits : (r, p), minus infinity where there is none
    below : (r, p), optional
        The number of cells below each limit is added.
    middle, value : (r,), optional
        To ``value`` is added ``sum_c max(middle - cell, -reach) * (limits above the cell)``.
    reach : float
        No limit lies farther from its row's middle.

    Returns
    -------
    Tensor
        (r, c), a new array.
    """
    out = torch.empty_like(tile)
    given = [part for part in (limits, below, middle, value) if part is not None]
    library = compiled.library() if limits.shape[1] and compiled.takes(tile, out, *given) else None
    if library is not None:
        name, real = _variant(tile)
        getattr(library, f"count_below_{name}")(
            *_given(tile, limits), compiled.at(middle), real(reach),
            compiled.at(out), compiled.at(below), compiled.at(value), compiled.threads(),
        )  # fmt: skip
        return out
    rows = max(1, _CELLS // max(1, tile.shape[1]))
    for first in range(0, tile.shape[0], rows):
        part = slice(first, first + rows)
        cells, total = tile[part], out[part].zero_()
        scratch = torch.empty_like(cells)
        for number in range(limits.shape[1]):
            # a comparison into floats: PyTorch adds up bools an order of magnitude slower
            torch.lt(cells, limits[part, number, None], out=scratch)
            total.sub_(scratch)
            if below is not None:
                below[part, number] += scratch.sum(1)
    if value is not None and middle is not None:
        # cells with no limit above them have no slope, and may lie anywhere
        value -= torch.sub(middle[:, None], tile).clamp_(min=-reach).mul_(out).sum(1)
    return out


def nearest_above(tile: Tensor, limits: Tensor, *, first: int, distance: Tensor, place: Tensor) -> None:
    """For each limit of a row the least cell above it, where less than what was found before.

    Parameters
    ----------
    tile : (r, c), infinite where a cell is out
    limits : (r, k)
    first : int
        The place of the tile's first column. Tiles come in ascending order, so a tie keeps the lower place.
    distance, place : (r, k), place of int64
        What was found so far, infinity at first; overwritten.
    """
    searches = limits.shape[1]
    library = None
    if searches and tile.shape[1] and place.is_contiguous() and compiled.takes(tile, limits, distance):
        library = compiled.library()
    if library is not None:
        name, _ = _variant(tile)
        getattr(library, f"nearest_above_{name}")(
            *_given(tile, limits), compiled.whole(first), compiled.at(distance), compiled.at(place),
            compiled.threads(),
        )  # fmt: skip
        return
    scratch, within = torch.empty_like(tile), torch.empty_like(tile)
    for number in range(searches if tile.shape[1] else 0):
        torch.le(tile, limits[:, number, None], out=within)
        least, at = torch.add(tile, within, alpha=AWAY, out=scratch).min(1)
        better = (least < distance[:, number]) & (least < AWAY / 2)
        distance[:, number] = torch.where(better, least, distance[:, number])
        place[:, number] = torch.where(better, at + first, place[:, number])


def _variant(tile: Tensor) -> tuple[str, type[ctypes.c_float] | type[ctypes.c_double]]:
    return ("float", ctypes.c_float) if tile.dtype == torch.float32 else ("double", ctypes.c_double)


def _given(tile: Tensor, limits: Tensor) -> tuple[object, ...]:
    return compiled.at(tile), *compiled.shape(tile), compiled.at(limits), compiled.whole(limits.shape[1])
