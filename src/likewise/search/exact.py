"""Exact nearest neighbours, block by block: the ground that retrieval figures and the flat index stand on.

A matrix product finds the candidates; their distances are then taken again by subtraction in float64
and rounded to float32, so that small distances are right and equal ones are equal. A bound on the
product's rounding says when the candidates surely hold the true neighbours; a query for which it
can't say so gets every column within the bound.

Conventions: smaller is nearer; equal distances (as float32) are ordered by the lower gallery index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from likewise import distances as known
from likewise.distances import Bilinear, Distance, Form, ProductDistance
from likewise.errors import DataError, InputError

__all__ = ["NeighbourBlock", "Neighbours", "distance_from_name", "nearest", "nearest_blocks", "vectors"]

_NAMED: dict[str, type[Distance]] = {
    "cityblock": known.Cityblock,
    "cosine": known.Cosine,
    "euclidean": known.Euclidean,
    "hamming": known.Hamming,
    "squared_euclidean": known.SquaredEuclidean,
}
_SPARE = 8  # candidates taken beyond k, so that rounding and ties at the boundary rarely need a second look
_FEW = 64  # up to this k distances are taken by subtraction; beyond, the product is in float64
_CHUNK = 64  # columns whose smallest key stands for them while candidates are sought
_TILE = 2048  # columns of one product, so that a tile of 256 rows stays in cache
_BLOCK_BYTES = 64_000_000
_GATHER_ELEMENTS = 1_000_000


class Neighbours(NamedTuple):
    """Nearest columns of each query, nearest first; places beyond the gallery hold inf and -1."""

    distances: Tensor
    indices: Tensor


@dataclass(frozen=True)
class NeighbourBlock:
    """The neighbours of queries ``start`` to ``stop``, and ``keys`` (rows, m or more).

    Keys order the whole gallery as distances do, up to rounding, with inf for what a query may not find
    and for padding. They are valid until the next block is taken.
    """

    start: int
    stop: int
    distances: Tensor
    indices: Tensor
    keys: Tensor


def distance_from_name(distance: str | Distance) -> Distance:
    """A distance given as itself or as "euclidean", "squared_euclidean", "cosine", "cityblock", "hamming".

    >>> distance_from_name("cosine")
    Cosine()
    """
    if isinstance(distance, Distance):
        return distance
    if isinstance(distance, str) and distance.lower() in _NAMED:
        return _NAMED[distance.lower()]()
    raise InputError(f"distance must be a Distance or one of {', '.join(_NAMED)}; found {distance!r}")


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
    finite = torch.isfinite(tensor).all(1)
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
) -> Iterator[NeighbourBlock]:
    """As :func:`nearest`, a block of queries at a time, so that no (n, k) table is ever held."""
    measure = distance_from_name(distance)
    rows, columns = vectors(queries, "queries"), vectors(gallery, "gallery")
    dtype = torch.promote_types(rows.dtype, columns.dtype)
    rows, columns = rows.to(dtype), columns.to(dtype)
    if rows.shape[1] != columns.shape[1] and not isinstance(measure, Bilinear):
        raise DataError(
            f"queries and gallery must have the same dimension; found {rows.shape[1]} and {columns.shape[1]}"
        )
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k <= len(columns):
        raise InputError(f"k must be a whole number from 1 to the gallery's {len(columns)} rows; found {k!r}")
    k = int(k)
    barred = _barred(exclude, len(rows), len(columns), columns.device)
    keys = _keys(measure, rows, columns, k)
    padded = -(-len(columns) // _CHUNK) * _CHUNK
    size = max(1, min(block_rows, len(rows), _BLOCK_BYTES // (padded * keys.dtype.itemsize)))
    table = torch.full((size, padded), torch.inf, dtype=keys.dtype, device=columns.device)
    minima = torch.empty(size, padded // _CHUNK, dtype=keys.dtype, device=columns.device)
    for start in range(0, len(rows), size):
        stop = min(start + size, len(rows))
        filled = _Filled(table[: stop - start], minima[: stop - start], start, stop)
        _fill(filled, keys)
        if barred is not None:
            _bar(filled, barred[start:stop])
        found = _nearest_in(filled, keys, k)
        yield NeighbourBlock(start, stop, found.distances, found.indices, filled.table)


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


class _Keys(ABC):
    """What one block of the table is filled with: numbers that order a row's columns as distances do."""

    dtype: torch.dtype
    n_columns: int

    @abstractmethod
    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        """Write the keys of rows start to stop and columns first to last."""

    @abstractmethod
    def bound(self, start: int, stop: int, keys: Tensor) -> Tensor:
        """The largest key (rows,) that a column as near as one of the given key (rows,) can have."""

    @abstractmethod
    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:
        """The distances of chosen columns (rows, c), given their keys."""


class _ProductKeys(_Keys):
    """Keys ``|v|^2 / 2 - u.v`` or ``-u.v`` of centred features, in float32 or float64."""

    def __init__(self, distance: ProductDistance, rows: Tensor, columns: Tensor, *, few: bool) -> None:
        self.form = distance.form
        self.n_columns = len(columns)
        self.u = distance.features(rows)
        same = rows is columns and type(distance).column_features is ProductDistance.column_features
        self.v = self.u if same else distance.column_features(columns)
        self.few = few or self.u.dtype == torch.float64
        self.dtype = torch.float32 if few and self.u.dtype == torch.float32 else torch.float64
        self.centre = self._centre()
        self.keyed = (self.v - self.centre if bool(self.centre.any()) else self.v).to(self.dtype)
        squares = torch.linalg.vector_norm(self.keyed, dim=1, dtype=torch.float64).square()
        self.widest = float(squares.max())
        # Of unit vectors |v|^2 / 2 is the same but for rounding: it needn't be added to find candidates.
        self.uneven = float(squares.max() - squares.min()) / 2
        level = self.dtype == torch.float32 and self.uneven < 1e-6 * self.widest
        bare = self.form is Form.NEGATIVE_PRODUCT or level
        self.half_squares = None if bare else (squares / 2).to(self.dtype)

    def _centre(self) -> Tensor:
        """The mean of the columns, where it is so far off that subtracting it sharpens the product."""
        if self.form is Form.NEGATIVE_PRODUCT:
            return torch.zeros_like(self.v[0])
        mean = self.v.mean(0)
        total = torch.linalg.vector_norm(self.v).square() / len(self.v)
        return mean if float(mean.square().sum()) > 0.25 * float(total) else torch.zeros_like(mean)

    def _rows(self, start: int, stop: int) -> Tensor:
        return (self.u[start:stop] - self.centre).to(self.dtype)

    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        rows, columns = self._rows(start, stop), self.keyed[first:last].T
        if self.half_squares is None:
            torch.mm(-rows, columns, out=out)
        else:
            torch.addmm(self.half_squares[first:last], rows, columns, alpha=-1, out=out)

    def bound(self, start: int, stop: int, keys: Tensor) -> Tensor:
        # A sum of d products in any order is off by at most d eps/2 sum|u_j v_j| (Higham 2002, 3.5);
        # the second term is the rounding of centring, and of distances to float32.
        norm: Tensor = torch.linalg.vector_norm(self._rows(start, stop), dim=1, dtype=torch.float64)
        wide = self.widest**0.5
        product = torch.finfo(self.dtype).eps * (self.u.shape[1] + 2)
        slack = product * (norm * wide + self.widest / 2)
        slack += torch.finfo(self.u.dtype).eps * (norm + wide).square()
        if self.half_squares is None and self.form is not Form.NEGATIVE_PRODUCT:
            slack += self.uneven
        out: Tensor = keys + (2 * slack).to(keys.dtype)
        return out

    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:
        if self.few:
            return self._subtracted(start, stop, indices).to(self.u.dtype)
        if self.form is Form.NEGATIVE_PRODUCT:
            return keys.to(self.u.dtype)
        norms = torch.linalg.vector_norm(self._rows(start, stop), dim=1).square()[:, None]
        squared = (2 * keys + norms).clamp_(min=0)
        out: Tensor = squared.sqrt() if self.form is Form.EUCLIDEAN else squared
        if self.form is Form.HALF_SQUARED:
            out = out / 2
        out = out.to(self.u.dtype)
        for row in (squared < 1e-6 * (norms + self.widest)).any(1).nonzero().squeeze(1).tolist():
            small = (squared[row] < 1e-6 * (norms[row] + self.widest)).nonzero().squeeze(1)
            near = self._subtracted(start + row, start + row + 1, indices[row : row + 1, small])
            out[row, small] = near[0].to(self.u.dtype)
        return out

    def _subtracted(self, start: int, stop: int, indices: Tensor) -> Tensor:
        out = torch.empty(indices.shape, dtype=torch.float64, device=indices.device)
        step = max(1, _GATHER_ELEMENTS // self.v.shape[1])
        rows = max(1, step // indices.shape[1])
        for r in range(0, stop - start, rows):
            u = self.u[start + r : min(start + r + rows, stop), None].double()
            for c in range(0, indices.shape[1], step):
                v = self.v[indices[r : r + rows, c : c + step]].double()
                out[r : r + rows, c : c + step] = self.form.pairs(u, v)
        return out


class _TableKeys(_Keys):
    """The distances themselves, from :meth:`Distance.table`."""

    def __init__(self, distance: Distance, rows: Tensor, columns: Tensor) -> None:
        self.distance, self.rows, self.columns, self.n_columns = distance, rows, columns, len(columns)
        self.dtype = distance.table(rows[:1], columns[:1]).dtype

    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        step = max(1, _GATHER_ELEMENTS // ((stop - start) * self.columns.shape[1]))
        for c in range(first, last, step):
            end = min(c + step, last)
            out[:, c - first : end - first] = self.distance.table(self.rows[start:stop], self.columns[c:end])
        if bool(torch.isnan(out).any()):
            raise DataError(
                f"distance {type(self.distance).__name__} gave NaN for queries {start} to {stop - 1}"
            )

    def bound(self, start: int, stop: int, keys: Tensor) -> Tensor:  # noqa: ARG002
        return keys

    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:  # noqa: ARG002
        return keys


def _keys(distance: Distance, rows: Tensor, columns: Tensor, k: int) -> _Keys:
    if isinstance(distance, ProductDistance):
        return _ProductKeys(distance, rows, columns, few=k <= _FEW)
    return _TableKeys(distance, rows, columns)


@dataclass(frozen=True)
class _Filled:
    table: Tensor  # (rows, m padded to whole chunks with inf)
    minima: Tensor  # (rows, chunks)
    start: int
    stop: int


def _fill(filled: _Filled, keys: _Keys) -> None:
    n_columns, table, minima = keys.n_columns, filled.table, filled.minima
    for first in range(0, n_columns, _TILE):
        last = min(first + _TILE, n_columns)
        keys.tile(filled.start, filled.stop, first, last, table[:, first:last])
        padded = -(-last // _CHUNK) * _CHUNK
        tile = table[:, first:padded].view(len(table), -1, _CHUNK)
        torch.amin(tile, -1, out=minima[:, first // _CHUNK : padded // _CHUNK])


def _bar(filled: _Filled, bar: Tensor) -> None:
    named = (bar >= 0).nonzero().squeeze(1)
    filled.table[named, bar[named]] = torch.inf
    chunks = filled.table.view(*filled.minima.shape, _CHUNK)[named, bar[named] // _CHUNK]
    filled.minima[named, bar[named] // _CHUNK] = chunks.amin(-1)


def _nearest_in(filled: _Filled, keys: _Keys, k: int) -> Neighbours:
    table, start, stop = filled.table, filled.start, filled.stop
    wanted = min(k + _SPARE, keys.n_columns)
    values, indices = _candidates(filled, wanted)
    indices.clamp_(max=keys.n_columns - 1)  # padding, whose key is inf
    bound = keys.bound(start, stop, values[:, k - 1])
    found = _ordered(keys.distances(start, stop, values, indices), values, indices, k)
    if wanted < keys.n_columns:
        # Columns as near as the k-th may lie beyond the candidates.
        unsure = (values[:, -1] <= bound) & (values[:, -1] < torch.inf)
        for row in unsure.nonzero().squeeze(1).tolist():
            within = (table[row] <= bound[row]).nonzero().T  # (1, c)
            near = table[row][within]
            exact = keys.distances(start + row, start + row + 1, near, within)
            best = _ordered(exact, near, within, k)
            found.distances[row], found.indices[row] = best.distances[0], best.indices[0]
    return found


def _candidates(filled: _Filled, wanted: int) -> tuple[Tensor, Tensor]:
    """The ``wanted`` smallest keys of each row in order, and where: only the best chunks are read."""
    if filled.minima.shape[1] < 4 * wanted:
        values, indices = torch.topk(filled.table, wanted, largest=False)
        return values, indices
    chunks = torch.topk(filled.minima, wanted, largest=False, sorted=False).indices  # (rows, wanted)
    whole = chunks[:, :, None].expand(-1, -1, _CHUNK)
    read = filled.table.view(*filled.minima.shape, _CHUNK).gather(1, whole)
    values, places = torch.topk(read.flatten(1), wanted, largest=False)
    return values, chunks.gather(1, places // _CHUNK) * _CHUNK + places % _CHUNK


def _ordered(distances: Tensor, keys: Tensor, indices: Tensor, k: int) -> Neighbours:
    """The k nearest of the candidates, equal distances by the lower index; inf and -1 where a key is inf."""
    distances = distances.masked_fill(keys == torch.inf, torch.inf)
    indices, by_index = indices.sort(dim=1)
    distances, by_distance = distances.gather(1, by_index).sort(dim=1, stable=True)
    indices = indices.gather(1, by_distance)[:, :k]
    distances = distances[:, :k]
    return Neighbours(distances.contiguous(), indices.masked_fill(distances == torch.inf, -1))
