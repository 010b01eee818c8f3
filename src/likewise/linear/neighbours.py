"""Softmax neighbours under a linear map, block by block: what NCA, MCML and MLKR are made of.

Row i picks neighbour j with ``p_ij = exp(-d_ij) / sum_{k != i} exp(-d_ik)``, d the squared distance of mapped
rows, p_ii = 0. Everything is float64. A block is some rows by all columns, so memory is linear in n. Columns
whose weight is below :data:`DROPPED` / n of the row's largest are left out: together they hold less than
``DROPPED`` of a row's probability.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["DROPPED", "Neighbours", "Products", "Pull", "neighbour_blocks", "squared_distances"]

_Array = NDArray[np.float64]

DROPPED = 1e-12

_CELLS = 2**19  # of a block: 4 MB
_DENSE = 0.2  # from this part of kept cells on, products with all cells are faster
_FINE = 1e5  # squared norms above which products lose digits that matter


class Neighbours:
    """The kept cells of a block of rows: a full table (b, n), or a list of (row, column).

    Functions of cells work on both: vectors of rows and of columns are spread over the cells by
    :meth:`of_rows` and :meth:`of_columns`, and summed over each row by :meth:`total`.

    Parameters
    ----------
    start, stop : int
        The rows.
    log_total : float64 array (b,)
        ``log sum_k exp(-d_ik)``.
    chance : float64 array
        p of each kept cell.
    local, columns : int arrays (c,), or None
        The list of cells, by row from 0 in this block, sorted by row; None where the table is full.
    """

    def __init__(
        self,
        start: int,
        stop: int,
        log_total: _Array,
        chance: _Array,
        local: NDArray[Any] | None,
        columns: NDArray[Any] | None,
    ) -> None:
        self.start, self.stop = start, stop
        self.log_total, self.chance = log_total, chance
        self._local, self._columns = local, columns

    def of_rows(self, vector: NDArray[Any]) -> NDArray[Any]:
        """A vector over the block's rows (b,), spread over the cells."""
        spread: NDArray[Any] = vector[:, None] if self._local is None else vector[self._local]
        return spread

    def of_columns(self, vector: NDArray[Any]) -> NDArray[Any]:
        """A vector over all rows (n,), spread over the cells by column."""
        spread: NDArray[Any] = vector[None, :] if self._columns is None else vector[self._columns]
        return spread

    def total(self, cells: _Array) -> _Array:
        """The sum over each row's cells, (b,)."""
        if self._local is None:
            return np.asarray(cells.sum(axis=1))
        return np.bincount(self._local, cells, self.stop - self.start).astype(np.float64, copy=False)

    def table(self, cells: _Array, n_columns: int) -> Any:
        """Cells as a table (b, n), full or sparse."""
        if self._local is None or self._columns is None:
            return cells
        begin = np.searchsorted(self._local, np.arange(self.stop - self.start + 1))
        shape = (self.stop - self.start, n_columns)
        return scipy.sparse.csr_array((cells, self._columns, begin), shape=shape)


class Pull:
    """The gradient by mapped rows y of ``sum_ij slopes_ij ||y_i - y_j||^2``, gathered over blocks."""

    def __init__(self, mapped: _Array) -> None:
        self._mapped = mapped
        self._weight = np.zeros(len(mapped))
        self._drawn = np.zeros_like(mapped)

    def add(self, start: int, table: Any) -> None:
        """Take the slopes of a block of rows by all columns: a table (b, n), full or sparse."""
        rows = slice(start, start + table.shape[0])
        self._weight[rows] += table @ np.ones(table.shape[1])
        self._weight += np.ones(table.shape[0]) @ table
        self._drawn[rows] += table @ self._mapped
        self._drawn += table.T @ self._mapped[rows]

    def gradient(self) -> _Array:
        """The gradient, (n, k)."""
        pulled: _Array = 2 * (self._weight[:, None] * self._mapped - self._drawn)
        return pulled


def neighbour_blocks(mapped: _Array) -> Iterator[Neighbours]:
    """Go over all rows of mapped rows (n, k) by blocks; rows should be centred.

    >>> [block] = neighbour_blocks(np.array([[0.0], [1.0], [9.0]]))
    >>> block.total(block.chance)
    array([1., 1., 1.])
    """
    n = len(mapped)
    products = Products(mapped)
    cutoff = np.log(n / DROPPED)
    for start, stop in products.blocks():
        cells = products.nearness(start, stop)
        cells[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        largest = cells.max(axis=1)
        kept = cells >= (largest - cutoff - 2 * products.rounding(start, stop))[:, None]
        if not products.coarse and np.count_nonzero(kept) > _DENSE * kept.size:
            cells -= largest[:, None]
            weights = np.exp(cells)
            sums = weights.sum(axis=1)
            weights /= sums[:, None]
            yield Neighbours(start, stop, np.log(sums) + largest, weights, None, None)
            continue
        flat = np.flatnonzero(kept)
        local, columns = np.divmod(flat, n)
        if products.coarse:
            values = -squared_distances(mapped, local + start, columns)
            largest = np.full(stop - start, -np.inf)
            np.maximum.at(largest, local, values)
        else:
            values = cells.ravel()[flat]
        weights = np.exp(values - largest[local])
        sums = np.bincount(local, weights=weights, minlength=stop - start)
        yield Neighbours(start, stop, np.log(sums) + largest, weights / sums[local], local, columns)


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
        self._left = np.concatenate([2 * mapped, -self._norms[:, None], -ones], axis=1)
        self._right = np.concatenate([mapped, ones, self._norms[:, None]], axis=1).T
        self._size = int(np.clip(_CELLS // n, 64, 256))
        self._table = np.empty((min(self._size, n), n))

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row and end of each block."""
        n = len(self._left)
        for start in range(0, n, self._size):
            yield start, min(n, start + self._size)

    def nearness(self, start: int, stop: int) -> _Array:
        """Minus the squared distances of some rows to all, (b, n); overwritten by the next call."""
        cells: _Array = np.matmul(self._left[start:stop], self._right, out=self._table[: stop - start])
        return cells

    def rounding(self, start: int, stop: int) -> _Array:
        """By how much a product may be off, a row (b,)."""
        largest = self._norms.max()
        return np.asarray(16 * np.finfo(np.float64).eps * (self._norms[start:stop] + largest))


def squared_distances(mapped: _Array, rows: NDArray[Any], columns: NDArray[Any]) -> _Array:
    """Squared distances of listed pairs of rows, by subtraction; both lists have one shape."""
    values = np.empty(rows.size)
    step = max(1, _CELLS // max(1, mapped.shape[1]))
    for start in range(0, rows.size, step):
        part = slice(start, start + step)
        differences = mapped[rows.ravel()[part]] - mapped[columns.ravel()[part]]
        values[part] = np.einsum("ij,ij->i", differences, differences)
    return values.reshape(rows.shape)
