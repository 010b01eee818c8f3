"""Exact nearest neighbours, block by block: the ground that retrieval figures and the flat index stand on.

A matrix product finds the candidates; their distances are then taken again by subtraction in float64
and rounded to float32, so that small distances are right and equal ones are equal. A bound on the
product's rounding says when the candidates surely hold the true neighbours; a query for which it
can't say so gets every column within the bound.

Conventions: smaller is nearer; equal distances (as float32) are ordered by the lower gallery index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise.distances import Bilinear, Distance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.search.candidates import Filled, fill, nearest_in
from likewise.search.keys import Keys, keys_of
from likewise.search.symmetric import Symmetric, symmetric
from likewise.table.chunks import CHUNK
from likewise.table.hinges import ranks_below

__all__ = ["NeighbourBlock", "Neighbours", "nearest", "nearest_blocks", "vectors"]

_BLOCK_BYTES = 64_000_000
_WALKED = 1024  # rows of a block whose table isn't held
_MOST_ALONE = 16  # rows of a block that are asked one by one


class Neighbours(NamedTuple):
    """Nearest columns of each query, nearest first; places beyond the gallery hold inf and -1."""

    distances: Tensor
    indices: Tensor


class NeighbourBlock(NamedTuple):
    """The neighbours of queries ``start`` to ``stop``, and the ``ranks`` (rows, p) of their members.

    A rank is from 1, and 0 for none.
    """

    start: int
    stop: int
    distances: Tensor
    indices: Tensor
    ranks: Tensor


def vectors(values: Any, name: str = "embeddings") -> Tensor:
    """Rows of finite numbers from an array or tensor: float32, or float64 where that was given.

    Raises
    ------
    DataError
        Not of shape (n, d) with n, d >= 1, not numbers, or NaN or infinite somewhere.
    """
    try:
        tensor = (
            values.detach() if isinstance(values, Tensor) else torch.as_tensor(np.ascontiguousarray(values))
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an array of numbers of shape (n, d); found {error}") from error
    if tensor.ndim != 2 or 0 in tensor.shape or tensor.is_complex():
        raise DataError(
            f"{name} must be numbers of shape (n, d) with n, d >= 1; found {tensor.dtype} of shape "
            f"{tuple(tensor.shape)}"
        )
    if tensor.dtype in (torch.int32, torch.int64):
        tensor = tensor.double()
    elif tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    # NaN and infinities show in the extremes of a row; isfinite would make a copy of all of them.
    finite = torch.isfinite(tensor.amax(1)) & torch.isfinite(tensor.amin(1))
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise DataError(
            f"{name} must be finite; found NaN or infinity in {int((~finite).sum())} of {len(finite)} rows, "
            f"the first of them row {row}"
        )
    return tensor


@torch.no_grad()
def nearest(
    queries: Any,
    gallery: Any,
    k: int,
    *,
    distance: str | Distance = "euclidean",
    exclude: Any = None,
    block_rows: int = 256,
) -> Neighbours:
    """The k nearest gallery rows of each query, exactly.

    Parameters
    ----------
    queries : array or Tensor (n, d)
    gallery : array or Tensor (m, d)
    k : int
        1 to m.
    distance : str or Distance
    exclude : integers (n,), optional
        For each query a gallery row that it may not find (itself, say); -1 for none.
    block_rows : int
        Queries taken at once; memory grows with it, up to about 64 MB a block.

    Returns
    -------
    Neighbours
        distances (n, k) and indices (n, k), nearest first, equal distances by the lower index. Where
        a query has fewer than k columns left, inf and -1.

    >>> nearest([[0.0], [5.0]], [[1.0], [4.0], [-1.0]], 2).indices
    tensor([[0, 2],
            [1, 0]])
    """
    parts = [
        (block.distances, block.indices)
        for block in nearest_blocks(
            queries, gallery, k, distance=distance, exclude=exclude, block_rows=block_rows
        )
    ]
    return Neighbours(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def nearest_blocks(
    queries: Any,
    gallery: Any,
    k: int,
    *,
    distance: str | Distance = "euclidean",
    exclude: Any = None,
    block_rows: int = 256,
    distances: bool = True,
    members: Tensor | None = None,
) -> Iterator[NeighbourBlock]:
    """As :func:`nearest`, a block of queries at a time, so that no (n, k) table is ever held.

    With ``distances=False`` only the order is wanted: the distances of a block are empty, (rows, 0).
    ``members`` int64 (n, p) are columns whose ranks are wanted, -1 for none: among the k nearest they are
    exact, farther down columns whose distances agree to about six digits may count as nearer or farther.
    Where queries are the gallery, and no query may find itself, only half of the products are taken.
    Members must then be of both sides: j of i where i is of j.
    """
    measure = distance_from_name(distance)
    rows = vectors(queries, "queries")
    columns = rows if gallery is queries else vectors(gallery, "gallery")
    dtype = torch.promote_types(rows.dtype, columns.dtype)
    rows, columns = (rows, rows) if columns is rows else (rows.to(dtype), columns.to(dtype))
    if rows.shape[1] != columns.shape[1] and not isinstance(measure, Bilinear):
        raise DataError(
            f"queries and gallery must have the same dimension; found {rows.shape[1]} and {columns.shape[1]}"
        )
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k <= len(columns):
        raise InputError(f"k must be a whole number from 1 to the gallery's {len(columns)} rows; found {k!r}")
    k = int(k)
    barred = _barred(exclude, len(rows), len(columns), columns.device)
    keys = keys_of(measure, rows, columns, k)
    wanted = _Wanted(keys, k, barred, members, distances)
    size = max(1, min(block_rows, len(rows), _BLOCK_BYTES // (wanted.padded * keys.dtype.itemsize)))
    walk = symmetric(keys, k, barred, members)
    if walk is not None:
        yield from wanted.of_walk(walk, max(size, min(_WALKED, len(rows))))
    else:
        yield from wanted.by_rows(size)


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of a table: k columns of each row, or of some rows, and ranks of members."""

    keys: Keys
    k: int
    barred: Tensor | None
    members: Tensor | None
    distances: bool

    @property
    def padded(self) -> int:
        return -(-self.keys.n_columns // CHUNK) * CHUNK

    def by_rows(self, size: int) -> Iterator[NeighbourBlock]:
        """A block of whole rows at a time."""
        keys = self.keys
        table, minima = self._room(size)
        for start in range(0, keys.n_rows, size):
            stop = min(start + size, keys.n_rows)
            yield self._block(Filled(table[: stop - start], minima[: stop - start], start, stop))

    def of_walk(self, walk: Symmetric, size: int) -> Iterator[NeighbourBlock]:
        """The same from a walk over half of the table, and by whole rows where it isn't sure."""
        for start in range(0, self.keys.n_rows, size):
            stop = min(start + size, self.keys.n_rows)
            nearest_of_walk = walk.nearest(start, stop, self.k, distances=self.distances)
            block = NeighbourBlock(start, stop, *nearest_of_walk, walk.ranks(start, stop))
            unsure = walk.unsure[start:stop].nonzero().squeeze(1).tolist()
            parts = [(row, row + 1) for row in unsure]
            if len(parts) > _MOST_ALONE:
                parts = [(unsure[0], unsure[-1] + 1)]
            for first, last in parts:
                table, minima = self._room(last - first)
                again = self._block(Filled(table, minima, start + first, start + last))
                for out, found_again in zip(block[2:], again[2:], strict=True):
                    out[first:last] = found_again
            yield block

    def _room(self, size: int) -> tuple[Tensor, Tensor]:
        """Whole rows with their padding, and the minima of their chunks."""
        dtype, device = self.keys.dtype, self.keys.device
        table = torch.full((size, self.padded), torch.inf, dtype=dtype, device=device)
        return table, torch.empty(size, self.padded // CHUNK, dtype=dtype, device=device)

    def _block(self, filled: Filled) -> NeighbourBlock:
        start, stop = filled.start, filled.stop
        fill(filled, self.keys)
        if self.barred is not None:
            filled.bar(self.barred[start:stop])
        distances, indices = nearest_in(filled, self.keys, self.k, distances=self.distances)
        members = indices[:, :0] if self.members is None else self.members[start:stop]
        return NeighbourBlock(start, stop, distances, indices, _ranks(filled.table, indices, members))


def _ranks(table: Tensor, indices: Tensor, members: Tensor) -> Tensor:
    """Ranks of members: those among the neighbours found, and the rest by counting keys."""
    there = members >= 0
    found = (members[:, :, None] == indices[:, None, :]) & there[:, :, None]  # (rows, p, k)
    ranks = torch.where(found.any(2), found.byte().argmax(2) + 1, 0)
    missing = there & (ranks == 0)
    rows = missing.any(1)
    # A copy of some rows costs about what counting in the others does.
    some = rows.nonzero().squeeze(1) if 4 * int(rows.sum()) < len(rows) else torch.arange(len(rows))
    if bool(rows.any()):
        keys = table if len(some) == len(rows) else table[some]
        below = ranks_below(keys, members[some].masked_fill(~missing[some], -1))
        ranks[some] = torch.where(missing[some], below + 1, ranks[some])
    return ranks


def _barred(exclude: Any, n_rows: int, n_columns: int, device: torch.device) -> Tensor | None:
    if exclude is None:
        return None
    bar = torch.as_tensor(exclude)
    if bar.shape != (n_rows,) or bar.is_floating_point() or bar.dtype == torch.bool:
        raise InputError(
            f"exclude must hold one gallery row, a whole number, for each of the {n_rows} queries; found "
            f"{bar.dtype} of shape {tuple(bar.shape)}"
        )
    low, high = int(bar.min()), int(bar.max())
    if low < -1 or high >= n_columns:
        raise InputError(f"exclude must hold gallery rows below {n_columns} or -1; found {low} to {high}")
    return bar.to(device=device, dtype=torch.int64)
