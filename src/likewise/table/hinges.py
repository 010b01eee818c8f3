"""Comparing every cell of a tile with some limits of its row: what hinges and semi-hard miners do.

Each has a form in PyTorch, which takes a few passes over the tile for each limit, and one in C
(:mod:`~likewise.table.compiled`), which takes one pass over what lies in the first cache.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["AWAY", "count_below", "nearest_above", "ranks_below"]

AWAY = 1e30
"""Added to a distance it takes the cell out of a search; unlike infinity it can be multiplied by zero."""

_TILE = 512
"""Columns of a table that are counted at once, for all members while they are in cache."""

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
        real = ctypes.c_float if tile.dtype == torch.float32 else ctypes.c_double
        getattr(library, f"count_below_{compiled.name_of(tile)}")(
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
        getattr(library, f"nearest_above_{compiled.name_of(tile)}")(
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


def ranks_below(table: Tensor, places: Tensor) -> Tensor:
    """How many cells of a row come before some of its cells: less than it, or equal and at a lower place.

    Parameters
    ----------
    table : (r, c)
    places : (r, p) int64, -1 for none
        Of finite cells: what is out has no rank.

    Returns
    -------
    Tensor
        (r, p) int64, zero for none.
    """
    own = table.gather(1, places.clamp(min=0))
    total = torch.zeros_like(places)
    library = compiled.library() if compiled.takes(table, own) else None
    if library is not None:
        rows, columns = compiled.shape(table)
        places = places.contiguous()
        getattr(library, f"ranks_below_{compiled.name_of(table)}")(
            compiled.at(table), rows, columns, columns, compiled.at(own), compiled.at(places),
            compiled.whole(places.shape[1]), compiled.at(total), compiled.threads(),
        )  # fmt: skip
        return total
    above = torch.nextafter(own, torch.full_like(own, torch.inf))  # "< above" is "<= own"
    below = torch.zeros_like(own)  # a float32 counts exactly up to 2^24, beyond any tile
    there = places >= 0
    wanted = there.any(0).nonzero().squeeze(1).tolist()
    for first in range(0, table.shape[1], _TILE):
        last = min(first + _TILE, table.shape[1])
        tile = table[:, first:last]
        # cells before the place count when equal, those after it don't
        threshold = torch.where(places >= last, above, own)
        mark = torch.empty_like(tile)
        for number in wanted:
            torch.lt(tile, threshold[:, number, None], out=mark)
            torch.sum(mark, 1, out=below[:, number])
        total += below.long()
        row, number = ((places >= first) & (places < last)).nonzero(as_tuple=True)
        at = torch.arange(first, last, device=table.device)
        equal = (tile[row] == own[row, number][:, None]) & (at < places[row, number][:, None])
        total[row, number] += equal.sum(1)
    return total.masked_fill_(~there, 0)


def _given(tile: Tensor, limits: Tensor) -> tuple[object, ...]:
    return compiled.at(tile), *compiled.shape(tile), compiled.at(limits), compiled.whole(limits.shape[1])
