"""Rows once more in 16 bits a number, which few queries read in half of the time that float32 takes.

They only find candidates. How far a key may be off is known: by Cauchy and Schwarz at most the query's norm
times the largest distance between a row and what is held of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.search.engine import Rows
from likewise.table import compiled
from likewise.table.shorts import GROUP, in_groups, short_keys

__all__ = ["ShortRows"]

_MOST = 32_767
_ROOM = 1.25  # so that rows which reach a little farther don't have all rows rounded anew
_LEAST_STEP = 1e-20
_AT_ONCE = 8_192


class ShortRows:
    """Rows (n, f) as whole multiples of a step for each column.

    Parameters
    ----------
    width : int
        f.

    >>> held = ShortRows(2)
    >>> held.follow(np.float32([[1, 2], [3, 4]]))
    >>> table = torch.empty(1, 2)
    >>> held.fill(table, torch.ones(1, 2), torch.zeros(2))
    >>> table.round(decimals=2).tolist(), bool((held.errors(torch.ones(1, 2)) < 1e-3).all())
    ([[-3.0, -7.0]], True)
    """

    def __init__(self, width: int) -> None:
        self._groups = Rows((width, GROUP), np.int16)
        self._step = np.zeros(width, dtype=np.float32)
        self._count, self._error = 0, 0.0

    @staticmethod
    def pay() -> bool:
        """Whether this is faster than a product, for which the kernel in C must be there."""
        return compiled.library() is not None

    def follow(self, rows: NDArray[np.float32]) -> None:
        """Take in what was appended to all rows (n, f) since the last time."""
        if len(rows) == self._count:
            return
        reach = np.abs(rows[self._count :]).max(axis=0)
        if (reach > self._step * _MOST).any():
            self._step = np.maximum(
                np.maximum(self._step, reach * np.float32(_ROOM / _MOST)), np.float32(_LEAST_STEP)
            )
            self._groups, self._count, self._error = Rows(self._groups.view.shape[1:], np.int16), 0, 0.0
        # The last group may have had room.
        begin = self._count // GROUP * GROUP
        made = np.empty((-(-(len(rows) - begin) // GROUP), *self._groups.view.shape[1:]), dtype=np.int16)
        for first in range(begin, len(rows), _AT_ONCE):
            some = rows[first : first + _AT_ONCE]
            whole = np.rint(some / self._step).astype(np.int16)
            off = some - whole.astype(np.float64) * self._step
            self._error = max(self._error, float(np.sqrt(np.einsum("ij,ij->i", off, off).max())))
            place = (first - begin) // GROUP
            groups = in_groups(torch.from_numpy(whole)).numpy()
            made[place : place + len(groups)] = groups
        kept = begin // GROUP
        if len(self._groups) > kept:
            self._groups.view[kept] = made[0]
            made = made[1:]
        self._groups.append(made)
        self._count = len(rows)

    def fill(self, table: Tensor, queries: Tensor, offsets: Tensor) -> None:
        """Write the offsets (n,) less the products of queries (q, f) into a table (q, at least n)."""
        scaled = queries * torch.from_numpy(self._step)
        short_keys(torch.from_numpy(self._groups.view), scaled.contiguous(), offsets, table)

    def errors(self, queries: Tensor) -> NDArray[np.float64]:
        """How far the keys of queries (q, f) may be from those of the rows themselves, beside rounding."""
        norms: NDArray[np.float64] = torch.linalg.vector_norm(queries.double(), dim=1).numpy()
        # A query times a step may be too small for a float32.
        lost = queries.shape[1] * _MOST * float(np.finfo(np.float32).tiny)
        return norms * (self._error * (1 + 1e-9)) + lost
