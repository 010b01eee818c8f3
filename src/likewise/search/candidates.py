"""From a block of keys to the nearest columns in their exact order.

The smallest key of every 64 columns stands for them: the k-th smallest of those bounds the k-th smallest
key, so only chunks up to that bound, and the product's rounding, are read again. Keys that lie farther apart
than the rounding are in order; the rest are put in order by their distances, taken by subtraction in float64
and rounded to float32, and equal ones by the lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.search.keys import Keys
from likewise.table.chunks import CHUNK, cells_up_to, chunk_minima

__all__ = ["Filled", "fill", "in_order", "nearest_in"]

_SPARE = 8  # chunks looked at beyond k, so that rounding and ties at the boundary rarely need all of them
_TILE = 65536  # columns of one product


@dataclass(frozen=True)
class Filled:
    """The keys of rows ``start`` to ``stop``, and the smallest of each chunk."""

    table: Tensor  # (rows, m padded to whole chunks with inf)
    minima: Tensor  # (rows, chunks)
    start: int
    stop: int

    def bar(self, columns: Tensor) -> None:
        """Make one column of each row, or none where it is -1, unfindable."""
        named = (columns >= 0).nonzero().squeeze(1)
        self.table[named, columns[named]] = torch.inf
        chunks = self.table.view(*self.minima.shape, CHUNK)[named, columns[named] // CHUNK]
        self.minima[named, columns[named] // CHUNK] = chunks.amin(-1)


def fill(filled: Filled, keys: Keys) -> None:
    """Write the keys, tile by tile, and the minima while a tile is in cache."""
    n_columns, table, minima = keys.n_columns, filled.table, filled.minima
    for first in range(0, n_columns, _TILE):
        last = min(first + _TILE, n_columns)
        keys.tile(filled.start, filled.stop, first, last, table[:, first:last])
        padded = -(-last // CHUNK) * CHUNK
        chunk_minima(table[:, first:padded], minima[:, first // CHUNK : padded // CHUNK])


def nearest_in(filled: Filled, keys: Keys, k: int, *, distances: bool) -> tuple[Tensor, Tensor]:
    """Distances (rows, k), or (rows, 0) where they aren't wanted, and indices (rows, k), nearest first."""
    if not keys.few:
        return _by_distance(filled, keys, k)
    slack = keys.slack(filled.start, filled.stop)
    values, indices = in_order(filled.start, keys, *_up_to_kth(filled, slack, k), slack)
    if indices.shape[1] < k:
        gap = torch.full((len(indices), k - indices.shape[1]), -1, device=indices.device)
        values, indices = torch.cat([values, gap.to(values.dtype)], 1), torch.cat([indices, gap], 1)
    values, indices = values[:, :k], indices[:, :k].contiguous()
    if not distances:
        return values[:, :0], indices
    found = keys.distances(filled.start, filled.stop, values, indices.clamp(min=0))
    return found.masked_fill(indices < 0, torch.inf), indices


def _up_to_kth(filled: Filled, slack: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All keys up to the k-th smallest and the slack, and their columns, as :func:`_within`."""
    n_chunks = filled.minima.shape[1]
    chunks = min(k + _SPARE, n_chunks)
    if 4 * chunks <= n_chunks:
        least, places = torch.topk(filled.minima, chunks, largest=False)
        bound = least[:, k - 1] + slack
        if not bool((least[:, -1] <= bound).any()):
            step = torch.arange(len(places), device=places.device)[:, None] * n_chunks
            whole = filled.table.reshape(-1, CHUNK).index_select(0, (places + step).flatten())
            return _within(whole.view(len(places), -1), bound, places)
        # Somewhere more chunks than were taken can't be told from the k-th: all columns are read.
    kth = torch.topk(filled.table, min(k, filled.table.shape[1]), largest=False).values[:, -1]
    return _within(filled.table, kth + slack, None)


def _by_distance(filled: Filled, keys: Keys, k: int) -> tuple[Tensor, Tensor]:
    """The same for many columns: all candidates are put in order by their distances."""
    table, start, stop = filled.table, filled.start, filled.stop
    wanted = min(k + _SPARE, keys.n_columns)
    values, indices = torch.topk(table, wanted, largest=False)
    indices.clamp_(max=keys.n_columns - 1)  # padding, whose key is inf
    bound = values[:, k - 1] + keys.slack(start, stop)
    distances, found = _ordered(keys.distances(start, stop, values, indices), values, indices, k)
    if wanted < keys.n_columns:
        # Columns as near as the k-th may lie beyond the candidates.
        unsure = (values[:, -1] <= bound) & (values[:, -1] < torch.inf)
        for row in unsure.nonzero().squeeze(1).tolist():
            within = (table[row] <= bound[row]).nonzero().T  # (1, c)
            near = table[row][within]
            exact = keys.distances(start + row, start + row + 1, near, within)
            one_distances, one_found = _ordered(exact, near, within, k)
            distances[row], found[row] = one_distances[0], one_found[0]
    return distances, found


def _ordered(distances: Tensor, keys: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of the candidates, equal distances by the lower index; inf and -1 where a key is inf."""
    distances = distances.masked_fill(keys == torch.inf, torch.inf)
    indices, by_index = indices.sort(dim=1)
    distances, by_distance = distances.gather(1, by_index).sort(dim=1, stable=True)
    indices, distances = indices.gather(1, by_distance)[:, :k], distances[:, :k].contiguous()
    return distances, indices.masked_fill(distances == torch.inf, -1)


def _within(read: Tensor, bound: Tensor, chunks: Tensor | None) -> tuple[Tensor, Tensor]:
    """The keys up to the bound of each row in ascending order, and their columns, (rows, W).

    Beyond a row's own number stand inf and -1. ``chunks`` (rows, c) says which chunks were read; all
    columns in order were when it isn't given.
    """
    values, places = cells_up_to(read, bound)
    if chunks is None:
        indices = places
    else:
        inside = places.clamp(min=0)
        indices = chunks.gather(1, inside // CHUNK) * CHUNK + inside % CHUNK
        indices.masked_fill_(places < 0, -1)
    values, order = values.sort(1)
    return values, indices.gather(1, order)


def in_order(start: int, keys: Keys, values: Tensor, indices: Tensor, slack: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and indices of rows from ``start`` in order of exact distances, equal ones by the lower index."""
    close = (values[:, 1:] - values[:, :-1] <= slack[:, None]) & (indices[:, 1:] >= 0)
    rows = close.any(1).nonzero().squeeze(1)
    if len(rows) == 0:
        return values, indices
    some, near = indices[rows], close[rows]
    none = torch.zeros(len(rows), 1, dtype=torch.bool, device=near.device)
    group = torch.cat([none, ~near], 1).cumsum(1)
    unsure = torch.cat([near, none], 1) | torch.cat([none, near], 1)
    row, place = unsure.nonzero(as_tuple=True)
    exact = torch.zeros(some.shape, dtype=torch.float64, device=values.device)
    exact[row, place] = keys.of_pairs(start + rows[row], some[row, place], values[rows[row], place])
    # Sorted by index, then stably by distance, then stably by group.
    by_index = torch.where(some < 0, keys.n_columns, some).argsort(1)
    order = by_index.gather(1, exact.gather(1, by_index).argsort(dim=1, stable=True))
    order = order.gather(1, group.gather(1, order).argsort(dim=1, stable=True))
    indices[rows], values[rows] = some.gather(1, order), values[rows].gather(1, order)
    return values, indices
