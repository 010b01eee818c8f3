"""Sigmoids of every cell of a tile against some limits of its row: soft ranks and ratio losses.

``s = sigmoid((limit - cell) * rate)``. Each sum has a form in PyTorch, several passes over the tile for each
limit, and for float32 one in C (:mod:`~likewise.table.compiled`). There a row with many limits is read by
bins: the cells of a bin enter by the sums of their powers, and a limit takes a series a bin in place of a
sigmoid a cell, exact to less than floats tell apart. What a sigmoid lacks of zero or one farther than 40 from
the limit counts as nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["add_ranks", "add_ratios", "rank_slopes"]


def add_ranks(tile: Tensor, limits: Tensor, rate: float, *, before: Tensor, steep: Tensor) -> None:
    """Add to each limit the sigmoids of its row's cells, and their slopes ``s (1 - s)``.

    Parameters
    ----------
    tile : (r, c), infinite where a cell is out
    limits : (r, p), minus infinity where there is none
    rate : float, above 0
    before, steep : (r, p), added to
    """
    library = _library(tile, limits, before, steep)
    if library is not None:
        library.sigmoid_ranks(
            *_given(tile, limits, rate), compiled.at(before), compiled.at(steep), compiled.threads()
        )
        return
    scratch = torch.empty_like(tile)
    for number, sigmoid in _sigmoids(tile, limits, rate):
        before[:, number] += sigmoid.sum(1)
        steep[:, number] += torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1.0, out=scratch).sum(1)


def rank_slopes(tile: Tensor, limits: Tensor, rate: float, factor: Tensor) -> Tensor:
    """``sum_k factor_k s_k (1 - s_k)`` of each cell: (r, c), a new array; factor is (r, p)."""
    library = _library(tile, limits, factor)
    if library is not None:
        out = torch.empty_like(tile)
        arrays = compiled.at(factor), compiled.at(out)
        library.sigmoid_slopes(*_given(tile, limits, rate), *arrays, compiled.threads())
        return out
    out, scratch = torch.zeros_like(tile), torch.empty_like(tile)
    for number, sigmoid in _sigmoids(tile, limits, rate):
        slope = torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1.0, out=scratch)
        out.addcmul_(slope, factor[:, number, None])
    return out


def add_ratios(
    tile: Tensor, limits: Tensor, rate: float, *, value: Tensor, pull: Tensor, active: Tensor | None = None
) -> Tensor:
    """Add up ``s^2``, and give minus half its slope by the cell, ``-s^2 (1 - s)``, summed over the limits.

    Parameters
    ----------
    tile, limits, rate
        As in :func:`add_ranks`.
    value : (r,), added to
    pull : (r, p), added to
        ``s^2 (1 - s)``, summed over the cells.
    active : (r,), optional, added to
        How many ``s^2`` aren't zero.

    Returns
    -------
    Tensor
        (r, c), a new array.
    """
    library = None if active is not None else _library(tile, limits, value, pull)
    if library is not None:
        out = torch.empty_like(tile)
        arrays = compiled.at(value), compiled.at(pull), compiled.at(out)
        library.sigmoid_ratios(*_given(tile, limits, rate), *arrays, compiled.threads())
        return out
    out, square = torch.zeros_like(tile), torch.empty_like(tile)
    for number, sigmoid in _sigmoids(tile, limits, rate):
        value += torch.mul(sigmoid, sigmoid, out=square).sum(1)
        if active is not None:
            active += square.sign().sum(1)
        sigmoid.sub_(1.0).mul_(square)
        pull[:, number] -= sigmoid.sum(1)
        out.add_(sigmoid)
    return out


def _sigmoids(tile: Tensor, limits: Tensor, rate: float) -> Iterator[tuple[int, Tensor]]:
    """Each limit's number and sigmoids (r, c), in one array that the next overwrites."""
    out = torch.empty_like(tile)
    for number in range(limits.shape[1]):
        yield number, torch.sub(limits[:, number, None], tile, out=out).mul_(rate).sigmoid_()


def _library(tile: Tensor, *others: Tensor) -> ctypes.CDLL | None:
    if tile.dtype != torch.float32 or not compiled.takes(tile, *others):
        return None
    return compiled.library()


def _given(tile: Tensor, limits: Tensor, rate: float) -> tuple[object, ...]:
    searches = compiled.whole(limits.shape[1])
    return compiled.at(tile), *compiled.shape(tile), compiled.at(limits), searches, ctypes.c_float(rate)
