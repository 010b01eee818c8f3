"""Near columns of a block of rows, chosen by float32 products; what rounding could hide is chosen too.

A float32 product takes half of a float64 one's time, and is off by at most what :meth:`Screen.near` allows
for. Where few columns are near, which is what a learned metric comes to in many dimensions, their distances
are then cheap to take exactly, by subtraction. Tiles stay in the processor's cache and are read once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.table.chunks import CHUNK, chunk_minima

__all__ = ["Screen"]

_Array = NDArray[np.float64]

_FEWEST_ROWS = 1024  # fewer make no tile worth its overhead
_LARGEST = 1e30  # squared norms beyond may leave float32's range
_ROWS, _COLUMNS = 512, 1024  # of a tile: 2 MB
_FEW = 0.02  # a larger part of near cells is cheaper by products in float64


class Screen:
    """Chooses near columns for rows among themselves; :meth:`of` says whether that may be worth it.

    Parameters
    ----------
    mapped : float64 array (n, k)
    hidden : int array (n, 2)
        The columns, from and to, that are never near a row; ranges of rows in order don't overlap unless
        they are equal.
    """

    def __init__(self, mapped: _Array, hidden: NDArray[np.int64]) -> None:
        n, k = mapped.shape
        self._norms = np.einsum("ij,ij->i", mapped, mapped)
        self._hidden = hidden
        # Columns to fill the last chunk are infinitely far.
        padded = -(-n // CHUNK) * CHUNK
        left, right = np.empty((n, k + 2), np.float32), np.zeros((padded, k + 2), np.float32)
        left[:, :k], left[:, k], left[:, k + 1] = -2 * mapped, self._norms, 1
        right[:n, :k], right[:n, k], right[:n, k + 1] = mapped, 1, self._norms
        right[n:, k], right[n:, k + 1] = 1, np.inf
        self._left, self._right = torch.from_numpy(left), torch.from_numpy(right).T
        self._tile = torch.empty(min(n, _ROWS) * min(padded, _COLUMNS))
        # Factors are off by a part of 2^-24 each, their products by 2 of them and their own, and a sum of
        # m terms in any order by m - 1 of the terms' absolute sum: here at most twice the two norms.
        self._part = 2 * (k + 6) * 2.0**-24

    @classmethod
    def of(cls, mapped: _Array, hidden: NDArray[np.int64]) -> Screen | None:
        """None for few rows, large norms, or a PyTorch that was told to round products coarsely."""
        largest = float(np.abs(mapped).max(initial=0.0))
        if len(mapped) < _FEWEST_ROWS or not largest**2 * mapped.shape[1] < _LARGEST:
            return None
        return cls(mapped, hidden) if torch.get_float32_matmul_precision() == "highest" else None

    def end(self, start: int) -> int:
        """Where the block that begins at a row ends."""
        return min(len(self._left), start + _ROWS)

    def near(
        self, start: int, stop: int, *, reach: _Array | None = None, span: float = 0.0
    ) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """All columns within ``reach`` (b,) of the block's rows, or within the least plus ``span``.

        Some others come too. Rows are counted from the block's first; cells are in order of row and column.
        None where there are so many that products in float64 are the better way.
        """
        room = self._part * (self._norms[start:stop] + self._norms.max())
        least = np.full(stop - start, np.inf) if reach is None else reach - span
        most = 4 * _FEW * (stop - start) * len(self._norms)
        found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        count = 0
        for first in range(0, self._right.shape[1], _COLUMNS):
            last = min(first + _COLUMNS, self._right.shape[1])
            tile = self._tile[: (stop - start) * (last - first)].view(stop - start, last - first)
            torch.matmul(self._left[start:stop], self._right[:, first:last], out=tile)
            self._hide(tile.numpy(), start, stop, first, last)
            minima = torch.empty(stop - start, (last - first) // CHUNK)
            chunk_minima(tile, minima)
            if reach is None:  # the least so far: its cells are sifted again when all columns were seen
                least = np.minimum(least, minima.amin(1).numpy())
            bound = least + span + (1 if reach is not None else 2) * room
            row, chunk = np.divmod(np.flatnonzero(minima.numpy() <= bound[:, None]), minima.shape[1])
            cells = tile.numpy().reshape(stop - start, -1, CHUNK)[row, chunk]
            flat = np.flatnonzero(cells <= bound[row, None])
            hit, place = np.divmod(flat, CHUNK)
            found.append((row[hit], first + chunk[hit] * CHUNK + place, cells.ravel()[flat]))
            count += len(hit)
            if count > most:
                return None
        local, columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
        if reach is None:
            kept = values <= (least + span + 2 * room)[local]
            local, columns = local[kept], columns[kept]
        if len(local) > most / 4:
            return None
        order = np.argsort(local, kind="stable")
        return local[order], columns[order]

    def _hide(self, tile: NDArray[Any], start: int, stop: int, first: int, last: int) -> None:
        begin, end = np.clip(self._hidden[start:stop].T, first, last) - first
        rows = np.flatnonzero(begin < end)
        single = rows[end[rows] - begin[rows] == 1]
        tile[single, begin[single]] = np.inf
        if len(single) < len(rows):
            changes = np.flatnonzero(np.diff(begin[rows]) | np.diff(end[rows])) + 1
            for part in np.split(rows, changes):
                tile[part[0] : part[-1] + 1, begin[part[0]] : end[part[0]]] = np.inf
