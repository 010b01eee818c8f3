"""Numbers that order a row's columns as distances do: what exact search fills its table with.

Of a product distance the keys come from one matrix product, and a bound on its rounding says which columns
can't be told apart by them; of any other distance they are the distances themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from likewise.distances import Distance, Form, ProductDistance
from likewise.errors import DataError

__all__ = ["Keys", "ProductKeys", "TableKeys", "keys_of"]

_FEW = 64  # up to this k distances are taken by subtraction; beyond, the product is in float64
_GATHER_ELEMENTS = 200_000  # of either side at once: in cache


class Keys(ABC):
    """What one block of the table is filled with: numbers that order a row's columns as distances do."""

    dtype: torch.dtype
    device: torch.device
    n_rows: int
    n_columns: int
    few: bool  # whether so few columns are wanted that their distances are taken one by one

    @abstractmethod
    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        """Write the keys of rows start to stop and columns first to last."""

    @abstractmethod
    def slack(self, start: int, stop: int) -> Tensor:
        """By how much (rows,) keys of columns at equal distances can differ at most."""

    @abstractmethod
    def of_pairs(self, rows: Tensor, columns: Tensor, keys: Tensor) -> Tensor:
        """The distances of some pairs (p,), given their keys, as they are ordered by."""

    @abstractmethod
    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:
        """The distances of chosen columns (rows, c), given their keys."""


class ProductKeys(Keys):
    """Keys ``|v|^2 / 2 - u.v`` or ``-u.v`` of centred features, in float32 or float64."""

    def __init__(self, distance: ProductDistance, rows: Tensor, columns: Tensor, *, few: bool) -> None:
        self.form = distance.form
        self.n_rows, self.n_columns, self.device = len(rows), len(columns), columns.device
        self.u = distance.features(rows)
        same = rows is columns and type(distance).column_features is ProductDistance.column_features
        self.v = self.u if same else distance.column_features(columns)
        self.few = few
        self.dtype = torch.float32 if few and self.u.dtype == torch.float32 else torch.float64
        self.centre = self._centre()
        self.keyed = (self.v - self.centre if bool(self.centre.any()) else self.v).to(self.dtype)
        squares = _norms(self.keyed).square()
        self.widest = float(squares.max())
        # Of unit vectors |v|^2 / 2 is the same but for rounding: it needn't be added to find candidates.
        self.uneven = float(squares.max() - squares.min()) / 2
        level = self.dtype == torch.float32 and self.uneven < 1e-6 * self.widest
        bare = self.form is Form.NEGATIVE_PRODUCT or level
        self.half_squares = None if bare else (squares / 2).to(self.dtype)
        self.block: tuple[int, int, Tensor, Tensor] = (
            0,
            0,
            self.u[:0],
            self.u[:0],
        )  # the rows last asked for

    def _centre(self) -> Tensor:
        """The mean of the columns, where it is so far off that subtracting it sharpens the product."""
        if self.form is Form.NEGATIVE_PRODUCT:
            return torch.zeros_like(self.v[0])
        mean = self.v.mean(0)
        total = torch.linalg.vector_norm(self.v).square() / len(self.v)
        return mean if float(mean.square().sum()) > 0.25 * float(total) else torch.zeros_like(mean)

    def _rows(self, start: int, stop: int) -> Tensor:
        if self.block[:2] != (start, stop):
            rows = (self.u[start:stop] - self.centre).to(self.dtype)
            self.block = (start, stop, rows, -rows)
        return self.block[2]

    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        rows, columns = self._rows(start, stop), self.keyed[first:last].T
        if self.half_squares is None:
            torch.mm(self.block[3], columns, out=out)
        else:
            torch.addmm(self.half_squares[first:last], rows, columns, alpha=-1, out=out)

    def slack(self, start: int, stop: int) -> Tensor:
        # A sum of d products in any order is off by at most d eps/2 sum|u_j v_j| (Higham 2002, 3.5);
        # the second term is the rounding of centring, and of distances to float32.
        norm = _norms(self.keyed[start:stop] if self.u is self.v else self._rows(start, stop))
        wide = self.widest**0.5
        product = torch.finfo(self.dtype).eps * (self.u.shape[1] + 2)
        slack = product * (norm * wide + self.widest / 2)
        slack += torch.finfo(self.u.dtype).eps * (norm + wide).square()
        if self.half_squares is None and self.form is not Form.NEGATIVE_PRODUCT:
            slack += self.uneven
        # Rounded up, as the sum with a key is rounded too.
        out: Tensor = (2.0001 * slack).to(self.dtype)
        return out

    def of_pairs(self, rows: Tensor, columns: Tensor, keys: Tensor) -> Tensor:  # noqa: ARG002
        out = torch.empty(len(rows), dtype=self.u.dtype, device=rows.device)
        step = max(1, _GATHER_ELEMENTS // self.v.shape[1])
        for first in range(0, len(rows), step):
            u = self.u[rows[first : first + step]].double()
            v = self.v[columns[first : first + step]].double()
            out[first : first + step] = self.form.pairs(u, v)
        return out.double()

    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:
        if self.few or self.u.dtype == torch.float64:
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


def _norms(rows: Tensor) -> Tensor:
    """The norm of each row (n,) in float64, some rows at a time: no copy of all of them is made."""
    step = max(1, _GATHER_ELEMENTS // rows.shape[1])
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    return torch.cat([torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in parts])


class TableKeys(Keys):
    """The distances themselves, from :meth:`Distance.table`."""

    def __init__(self, distance: Distance, rows: Tensor, columns: Tensor, *, few: bool) -> None:
        self.distance, self.rows, self.columns = distance, rows, columns
        self.n_rows, self.n_columns, self.device = len(rows), len(columns), columns.device
        self.dtype = distance.table(rows[:1], columns[:1]).dtype
        self.few = few

    def tile(self, start: int, stop: int, first: int, last: int, out: Tensor) -> None:
        step = max(1, _GATHER_ELEMENTS // ((stop - start) * self.columns.shape[1]))
        for c in range(first, last, step):
            end = min(c + step, last)
            out[:, c - first : end - first] = self.distance.table(self.rows[start:stop], self.columns[c:end])
        if bool(torch.isnan(out).any()):
            raise DataError(
                f"distance {type(self.distance).__name__} gave NaN for queries {start} to {stop - 1}"
            )

    def slack(self, start: int, stop: int) -> Tensor:
        return torch.zeros(stop - start, dtype=self.dtype, device=self.columns.device)

    def of_pairs(self, rows: Tensor, columns: Tensor, keys: Tensor) -> Tensor:  # noqa: ARG002
        return keys.double()

    def distances(self, start: int, stop: int, keys: Tensor, indices: Tensor) -> Tensor:  # noqa: ARG002
        return keys


def keys_of(distance: Distance, rows: Tensor, columns: Tensor, k: int) -> Keys:
    """The keys for the ``k`` nearest columns of each row."""
    if isinstance(distance, ProductDistance):
        return ProductKeys(distance, rows, columns, few=k <= _FEW)
    return TableKeys(distance, rows, columns, few=k <= _FEW)
