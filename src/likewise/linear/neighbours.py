"""Softmax neighbours under a linear map, block by block: what NCA, MCML and MLKR are made of.

Row i picks neighbour j with ``p_ij = exp(-d_ij) / sum_{k != i} exp(-d_ik)``, d the squared distance of mapped
rows, p_ii = 0. Everything is float64. A block is some rows by all columns, so memory is linear in n. Columns
whose weight is below :data:`DROPPED` / n of the row's largest are left out: together they hold less than
``DROPPED`` of a row's probability.

A pass over a block costs as much as a product with ten columns, so there are few: weights stay as they are,
not divided by their sums, and factors of rows go into the products. PyTorch makes products with full tables,
as it adds into what is there, and for narrow ones takes half of NumPy's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from likewise.linear.screening import Screen

__all__ = [
    "DROPPED",
    "Neighbours",
    "Products",
    "Pull",
    "class_parts",
    "class_ranges",
    "neighbour_blocks",
    "squared_distances",
]

_Array = NDArray[np.float64]

DROPPED = 1e-12

_CELLS = 2**19  # of a block: 4 MB
_PROBE = 64  # rows of a first look whether near cells are few
_PIECE = 2**15  # numbers of rows whose differences are taken at once: 256 kB
_DENSE = 0.08  # from this part of kept cells on, products with all cells are faster
_FINE = 1e5  # squared norms above which products lose digits that matter


@dataclass
class Neighbours:
    """The kept cells of a block of rows: a full table (b, n), or a list of cells by row.

    Functions of cells work on both: vectors of rows and of columns are spread over the cells by
    :meth:`of_rows` and :meth:`of_columns`, and summed over each row by :meth:`total`.

    Parameters
    ----------
    start, stop : int
        The rows.
    n_columns : int
        n.
    weights : float64 array
        ``exp(-d_ij)`` of each kept cell, divided by its row's largest. A block's user may overwrite them.
    sums : float64 array (b,)
        Of each row's weights: ``p = weights / sums``.
    log_total : float64 array (b,)
        ``log sum_k exp(-d_ik)``.
    begins, columns : int32 arrays (b + 1,) and (c,), or None
        The list: where each row's cells begin, and their columns; None where the table is full.
    """

    start: int
    stop: int
    n_columns: int
    weights: _Array
    sums: _Array
    log_total: _Array
    begins: NDArray[Any] | None = None
    columns: NDArray[Any] | None = None

    def of_rows(self, vector: NDArray[Any]) -> NDArray[Any]:
        """A vector over the block's rows (b,), spread over the cells."""
        if self.begins is None:
            return vector[:, None]
        return np.repeat(vector, np.diff(self.begins))

    def of_columns(self, vector: NDArray[Any]) -> NDArray[Any]:
        """A vector over all rows (n,), spread over the cells by column."""
        spread: NDArray[Any] = vector[None, :] if self.columns is None else vector[self.columns]
        return spread

    def total(self, cells: _Array) -> _Array:
        """The sum over each row's cells, (b,)."""
        if self.begins is None:
            return np.asarray(cells.sum(axis=1))
        return np.asarray(np.add.reduceat(cells, self.begins[:-1]))  # no row is without a cell

    def own_class(self, ranges: NDArray[np.int64]) -> _Array:
        """The sum of weights over the columns of each row's own class, (b,); rows are in order of class."""
        if self.begins is None:
            sums = np.empty(self.stop - self.start)
            for rows, columns in class_parts(ranges, self.start, self.stop):
                sums[rows] = self.weights[rows, columns].sum(axis=1)
            return sums
        return self.total(np.where(self._inside(ranges), self.weights, 0.0))

    def scale_own_class(self, ranges: NDArray[np.int64], factor: _Array) -> None:
        """Multiply the weights of each row's own class by the row's factor (b,)."""
        if self.begins is None:
            for rows, columns in class_parts(ranges, self.start, self.stop):
                self.weights[rows, columns] *= factor[rows, None]
        else:
            self.weights[:] = np.where(
                self._inside(ranges), self.of_rows(factor) * self.weights, self.weights
            )

    def table(self) -> Any:
        """The weights as a table (b, n), full or sparse."""
        if self.begins is None or self.columns is None:
            return self.weights
        shape = (self.stop - self.start, self.n_columns)
        return scipy.sparse.csr_array((self.weights, self.columns, self.begins), shape=shape)

    def _inside(self, ranges: NDArray[np.int64]) -> NDArray[np.bool_]:
        begin, end = (self.of_rows(side[self.start : self.stop]) for side in ranges.T)
        inside: NDArray[np.bool_] = (self.columns >= begin) & (self.columns < end)
        return inside


class Pull:
    """The gradient by mapped rows y of ``sum_ij slopes_ij ||y_i - y_j||^2``, gathered over blocks."""

    def __init__(self, mapped: _Array) -> None:
        # The column of ones sums the slopes along the way.
        self._mapped = np.concatenate([mapped, np.ones((len(mapped), 1))], axis=1)
        self._drawn = np.zeros_like(self._mapped)

    def add(self, start: int, table: Any, factor: _Array | None = None) -> None:
        """Take the slopes of a block of rows by all columns: a table (b, n), full or sparse.

        With ``factor`` (b,) the slopes of a row are its factor times its part of the table.
        """
        rows = slice(start, start + table.shape[0])
        each = 1.0 if factor is None else factor[:, None]
        back = self._mapped[rows] * each
        if isinstance(table, np.ndarray):
            full, drawn = torch.from_numpy(table), torch.from_numpy(self._drawn)
            out = (full @ torch.from_numpy(self._mapped)).numpy()
            drawn.addmm_(full.T, torch.from_numpy(back))
        else:
            out = table @ self._mapped
            if table.nnz < len(self._drawn):  # of many columns few are named
                columns, named = np.unique(table.indices, return_inverse=True)
                shape = (table.shape[0], len(columns))
                table = scipy.sparse.csr_array((table.data, named, table.indptr), shape=shape)
                self._drawn[columns] += table.T @ back
            else:
                self._drawn += table.T @ back
        self._drawn[rows] += out * each

    def gradient(self) -> _Array:
        """The gradient, (n, k)."""
        pulled: _Array = 2 * (self._drawn[:, -1:] * self._mapped[:, :-1] - self._drawn[:, :-1])
        return pulled


def class_ranges(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each row's class begins and ends, (n, 2), for codes in order.

    >>> class_ranges(np.array([0, 0, 1])).tolist()
    [[0, 2], [0, 2], [2, 3]]
    """
    sides: NDArray[np.int64] = np.stack(
        [np.searchsorted(codes, codes, "left"), np.searchsorted(codes, codes, "right")], axis=1
    )
    return sides


def class_parts(ranges: NDArray[np.int64], start: int, stop: int) -> Iterator[tuple[slice, slice]]:
    """The classes of a block of rows: their rows, counted from the block's first, and their columns."""
    begin = start
    while begin < stop:
        first, end = (int(side) for side in ranges[begin])
        yield slice(begin - start, min(end, stop) - start), slice(first, end)
        begin = end


def neighbour_blocks(mapped: _Array) -> Iterator[Neighbours]:
    """Go over all rows of mapped rows (n, k) by blocks; rows should be centred.

    A block holds until the next is asked for.

    >>> [block] = neighbour_blocks(np.array([[0.0], [1.0], [9.0]]))
    >>> block.weights.round(3)[:2]
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    n = len(mapped)
    cutoff = float(np.log(n / DROPPED))
    rows = np.arange(n)
    screen = Screen.of(mapped, np.stack([rows, rows + 1], axis=1))
    if screen is not None and screen.near(0, min(_PROBE, screen.end(0)), span=cutoff) is None:
        screen = None  # near cells are many: a few rows tell at an eighth of a block's cost
    products: Products | None = None
    start = 0
    while start < n:
        if screen is not None:
            stop = screen.end(start)
            near = screen.near(start, stop, span=cutoff)
            if near is None:  # of a descent's table: the other blocks have many near cells too
                screen = None
                continue
            local, columns = near
            values = -squared_distances(mapped, local + start, columns)
            block = _listed(start, stop, n, local, columns, values)
        else:
            products = products or Products(mapped)
            stop = products.end(start)
            block = _by_products(mapped, products, start, stop, cutoff)
        yield block
        start = stop


def _by_products(mapped: _Array, products: Products, start: int, stop: int, cutoff: float) -> Neighbours:
    n = len(mapped)
    cells = products.nearness(start, stop)
    cells[np.arange(stop - start), np.arange(start, stop)] = -np.inf
    largest = cells.max(axis=1)
    kept = cells >= (largest - cutoff - 2 * products.rounding(start, stop))[:, None]
    if not products.coarse and np.count_nonzero(kept) > _DENSE * kept.size:
        torch.from_numpy(cells).sub_(torch.from_numpy(largest)[:, None]).exp_()
        sums = cells.sum(axis=1)
        return Neighbours(start, stop, n, cells, sums, np.log(sums) + largest)
    flat = np.flatnonzero(kept)
    begins = np.searchsorted(flat, np.arange(stop - start + 1) * n)
    local = np.repeat(np.arange(stop - start), np.diff(begins))
    columns = flat - local * n
    if products.coarse:
        values = -squared_distances(mapped, local + start, columns)
    else:
        values = cells.ravel()[flat]
    return _listed(start, stop, n, local, columns, values)


def _listed(
    start: int, stop: int, n: int, local: NDArray[Any], columns: NDArray[Any], values: _Array
) -> Neighbours:
    """A block of listed cells, in order of row, and minus their squared distances."""
    begins = np.searchsorted(local, np.arange(stop - start + 1)).astype(np.int32)
    largest = np.maximum.reduceat(values, begins[:-1])
    weights = np.exp(values - largest[local])
    sums = np.add.reduceat(weights, begins[:-1])
    log_total = np.log(sums) + largest
    return Neighbours(start, stop, n, weights, sums, log_total, begins, columns.astype(np.int32))


class Products:
    """Squared distances of mapped rows (n, k) by products, a block of rows by all columns at a time.

    Where norms are so large that products lose digits that matter, ``coarse`` is true: then cells are good
    for choosing candidates, with room for :meth:`rounding`, and :func:`squared_distances` gives the rest.
    """

    def __init__(self, mapped: _Array) -> None:
        n = len(mapped)
        self._norms = np.einsum("ij,ij->i", mapped, mapped)
        self.coarse = bool(self._norms.max(initial=0.0) > _FINE)
        # One product gives minus the squared distances.
        ones = np.ones((n, 1))
        self._left = torch.from_numpy(np.concatenate([2 * mapped, -self._norms[:, None], -ones], axis=1))
        self._right = torch.from_numpy(np.concatenate([mapped, ones, self._norms[:, None]], axis=1)).T
        self._size = int(np.clip(_CELLS // n, 128, 256))
        self._table = torch.empty((min(self._size, n), n), dtype=torch.float64)

    def end(self, start: int) -> int:
        """Where the block that begins at a row ends."""
        return min(len(self._left), start + self._size)

    def nearness(self, start: int, stop: int) -> _Array:
        """Minus the squared distances of some rows to all, (b, n); overwritten by the next call."""
        table = self._table[: stop - start]
        cells: _Array = torch.matmul(self._left[start:stop], self._right, out=table).numpy()
        return cells

    def rounding(self, start: int, stop: int) -> _Array:
        """By how much a product may be off, a row (b,)."""
        largest = self._norms.max()
        return np.asarray(16 * np.finfo(np.float64).eps * (self._norms[start:stop] + largest))


def squared_distances(mapped: _Array, rows: NDArray[Any], columns: NDArray[Any]) -> _Array:
    """Squared distances of listed pairs of rows, by subtraction; both lists have one shape."""
    rows, columns, shape = rows.ravel(), columns.ravel(), rows.shape
    values = np.empty(rows.size)
    # Two pieces that stay in the processor's cache, and are not asked of the system again and again.
    step = max(1, min(rows.size, _PIECE // max(1, mapped.shape[1])))
    left, right = np.empty((2, step, mapped.shape[1]))
    for start in range(0, rows.size, step):
        stop = min(start + step, rows.size)
        one, other = left[: stop - start], right[: stop - start]
        np.take(mapped, rows[start:stop], axis=0, out=one, mode="clip")
        np.take(mapped, columns[start:stop], axis=0, out=other, mode="clip")
        one -= other
        np.einsum("ij,ij->i", one, one, out=values[start:stop])
    return values.reshape(shape)
