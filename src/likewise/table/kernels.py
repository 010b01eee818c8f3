"""Distances of tiles and of listed cells, and the way back from slopes to gradients.

A kernel holds the features of rows and columns and, when asked, their gradients; nothing of the size
of the table. :class:`ProductKernel` serves the distances that a matrix product gives;
:class:`DirectKernel` any other, through autograd on each tile.

Products lose small distances: the columns' mean is taken off both sides when it is large, and cells
below ``SMALL`` of the norms they are made of are computed again by subtraction, and so are their
gradients. Listed cells are always taken by subtraction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from likewise.distances import Distance, Form
from likewise.relations import Cells

__all__ = ["DirectKernel", "Kernel", "ProductKernel"]

SMALL = 2.0**-7
"""A squared distance below this fraction of ``|u|^2 + |v|^2`` is computed again by subtraction: what
the product rounds away is then at most about 2^-24 * 2^7 = 2^-17 of the distance in float32."""

_GATHERED = 1 << 20
"""Most numbers that a gather of listed cells holds at once."""


class Kernel(ABC):
    """Distances and gradients over one table, tile by tile.

    ``anchors`` (r,) are the embeddings of the block's rows; a tile is the block against the columns
    first to last.
    """

    width: int  # numbers that one cell of a tile costs in memory

    @abstractmethod
    def begin_block(self, start: int, stop: int, anchors: Tensor | None) -> None:
        """Turn to the rows start to stop, whose embeddings are ``anchors`` (None: the same numbers)."""

    @abstractmethod
    def tile(self, first: int, last: int) -> Tensor:
        """Distances of the block against columns first to last, as the product gives them."""

    @abstractmethod
    def mend(self, tile: Tensor) -> None:
        """Finish the tile after hidden cells were filled with infinity: exact small cells, roots."""

    @abstractmethod
    def spread(self, slopes: Tensor, distances: Tensor) -> None:
        """Add to the gradients what slopes of the last tile give; both arrays may be overwritten."""

    @abstractmethod
    def listed(self, cells: Cells) -> Tensor:
        """Distances (r, p) of listed cells by subtraction; infinity where not valid."""

    @abstractmethod
    def spread_listed(self, slopes: Tensor, cells: Cells) -> None:
        """Add to the gradients what slopes (r, p) of listed cells give; they are zero where not valid."""

    @abstractmethod
    def gradients(self) -> list[Tensor | None]:
        """The gradients of row features, column features and parameters, as far as wanted."""


def _gather_rows(anchors: Tensor | None, start: int, count: int, cells: Cells) -> Tensor:
    """The embedding of each listed cell's row: (r, p)."""
    if cells.anchors is not None:
        return cells.anchors.expand_as(cells.columns)
    if anchors is None:
        anchors = torch.arange(start, start + count, device=cells.columns.device)
    return anchors[:, None].expand_as(cells.columns)


def _squares(x: Tensor) -> Tensor:
    """Squared norms of rows, without a second array of their size: (n, k) gives (n,)."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=1)
    return norms.square_()


def _chunks(width: int, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut vectors of one length into pieces whose gathers of ``width`` numbers a cell stay small."""
    step = max(1, _GATHERED // max(1, width))
    for start in range(0, parts[0].shape[0], step):
        yield tuple(part[start : start + step] for part in parts)


class ProductKernel(Kernel):
    """A distance of one of the four forms over features u (n, k) of rows and v (m, k) of columns.

    Where ``columns is None`` the columns are the rows and one gradient serves both.
    """

    width = 1

    def __init__(self, form: Form, rows: Tensor, columns: Tensor | None, *, want_gradient: bool) -> None:
        self._form = form
        self._u, self._v = rows, rows if columns is None else columns
        self._grad_u = torch.zeros_like(rows) if want_gradient else None
        self._shared = columns is None
        self._grad_v = self._grad_u
        if want_gradient and columns is not None:
            self._grad_v = torch.zeros_like(columns)
        self._squares = form is not Form.NEGATIVE_PRODUCT
        self._pu, self._pv = self._u, self._v  # what enters products: centred where that matters
        if self._squares:
            self._centre()
            self._v_squares = _squares(self._pv)
            self._u_squares = self._v_squares if self._shared else _squares(self._pu)
            self._largest = (
                float(self._v_squares.max() + self._u_squares.max())
                if self._v_squares.numel() and self._u_squares.numel()
                else 0.0
            )
        self._small: Tensor | None = None
        self._buffer: Tensor | None = None
        self._u_sum = torch.zeros_like(rows[:, 0]) if want_gradient and self._squares else None
        self._v_sum = self._u_sum
        if self._u_sum is not None and not self._shared:
            self._v_sum = torch.zeros_like(self._v[:, 0])

    def _centre(self) -> None:
        """Take the columns' mean off both sides where it is a large part of the norms."""
        if not self._v.shape[0]:
            return
        mean = self._v.mean(0)
        if float(mean.dot(mean)) * 4 > float(_squares(self._v).mean()):
            self._pv = self._v - mean
            self._pu = self._pv if self._shared else self._u - mean

    def begin_block(self, start: int, stop: int, anchors: Tensor | None) -> None:
        self._start, self._stop, self._anchors = start, stop, anchors
        self._rows = self._pu[start:stop] if anchors is None else self._pu[anchors]
        if self._squares:
            squares = self._u_squares[start:stop] if anchors is None else self._u_squares[anchors]
            self._row_squares = squares[:, None]

    def tile(self, first: int, last: int) -> Tensor:
        self._first, self._last = first, last
        shape = (self._rows.shape[0], last - first)
        if self._buffer is None or self._buffer.shape != shape:
            self._buffer = torch.empty(shape, dtype=self._u.dtype, device=self._u.device)
        columns = self._pv[first:last].T
        if not self._squares:
            return torch.mm(self._rows, columns, out=self._buffer).neg_()
        scale = -1.0 if self._form is Form.HALF_SQUARED else -2.0
        row_squares, column_squares = self._row_squares, self._v_squares[first:last]
        if self._form is Form.HALF_SQUARED:
            row_squares, column_squares = row_squares / 2, column_squares / 2
        torch.addmm(column_squares, self._rows, columns, alpha=scale, out=self._buffer)
        return self._buffer.add_(row_squares)

    def mend(self, tile: Tensor) -> None:
        self._small = None
        if self._squares and tile.numel():
            half = 0.5 if self._form is Form.HALF_SQUARED else 1.0
            if float(tile.amin()) <= SMALL * half * self._largest:
                bound = (self._row_squares + self._v_squares[self._first : self._last]) * (SMALL * half)
                self._recompute(tile, (tile <= bound).view(-1).nonzero().view(-1))
        if self._form is Form.EUCLIDEAN:
            # recomputed cells hold their squared distance, so that one root serves all
            tile.sqrt_()

    def _recompute(self, tile: Tensor, small: Tensor) -> None:
        """Compute the given cells of a tile again by subtraction."""
        if not small.numel():
            return
        flat = tile.view(-1)
        for (cells,) in _chunks(self._u.shape[1], small):
            row, column = self._numbers(cells)
            difference = self._u[row] - self._v[column]
            squared = (difference * difference).sum(1)
            flat[cells] = squared / 2 if self._form is Form.HALF_SQUARED else squared
        self._small = small

    def _numbers(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of row and column of cells, given as flat positions in the tile."""
        width = self._last - self._first
        row = torch.div(cells, width, rounding_mode="floor")
        column = cells - row * width + self._first
        row = row + self._start if self._anchors is None else self._anchors[row]
        return row, column

    def spread(self, slopes: Tensor, distances: Tensor) -> None:
        assert self._grad_u is not None and self._grad_v is not None
        if self._small is not None:
            self._spread_small(slopes, distances, self._small)
        if self._form is Form.EUCLIDEAN:
            slopes = slopes.div_(distances)
            if self._small is not None:
                slopes.view(-1).index_fill_(0, self._small, 0.0)
        factor = 2.0 if self._form is Form.SQUARED else 1.0
        columns = self._pv[self._first : self._last]
        if self._anchors is None:
            self._grad_u[self._start : self._stop].addmm_(slopes, columns, alpha=-factor)
        else:
            self._grad_u.index_add_(0, self._anchors, slopes @ columns, alpha=-factor)
        self._grad_v[self._first : self._last].addmm_(slopes.T, self._rows, alpha=-factor)
        if self._squares:
            assert self._u_sum is not None and self._v_sum is not None
            if self._anchors is None:
                self._u_sum[self._start : self._stop].add_(slopes.sum(1), alpha=factor)
            else:
                self._u_sum.index_add_(0, self._anchors, slopes.sum(1), alpha=factor)
            self._v_sum[self._first : self._last].add_(slopes.sum(0), alpha=factor)

    def _spread_small(self, slopes: Tensor, distances: Tensor, small: Tensor) -> None:
        """Spread the slopes of recomputed cells by subtraction, and take them out of the tile."""
        flat = slopes.view(-1)
        for (cells,) in _chunks(self._u.shape[1], small):
            row, column = self._numbers(cells)
            self._add_pairs(row, column, flat[cells], distances.view(-1)[cells])
        flat.index_fill_(0, small, 0.0)

    def _add_pairs(self, row: Tensor, column: Tensor, slope: Tensor, distance: Tensor) -> None:
        """Add the gradients of single cells: row, column, slope and distance (s,)."""
        assert self._grad_u is not None and self._grad_v is not None
        if not self._squares:
            slope = slope[:, None]
            self._grad_u.index_add_(0, row, self._v[column] * slope, alpha=-1)
            self._grad_v.index_add_(0, column, self._u[row] * slope, alpha=-1)
            return
        if self._form is Form.EUCLIDEAN:
            slope = torch.where(distance > 0, slope / distance, 0.0)  # the slope of a norm at zero is zero
        elif self._form is Form.SQUARED:
            slope = slope * 2
        pull = (self._u[row] - self._v[column]).mul_(slope[:, None])
        self._grad_u.index_add_(0, row, pull)
        self._grad_v.index_add_(0, column, pull, alpha=-1)

    def listed(self, cells: Cells) -> Tensor:
        rows = _gather_rows(self._anchors, self._start, self._rows.shape[0], cells).reshape(-1)
        columns = cells.columns.reshape(-1)
        parts = [
            self._form.pairs(self._u[row], self._v[column])
            for row, column in _chunks(self._u.shape[1], rows, columns)
        ]
        out = torch.cat(parts) if parts else self._u.new_zeros(0)
        return out.view(cells.columns.shape).masked_fill_(~cells.valid, torch.inf)

    def spread_listed(self, slopes: Tensor, cells: Cells) -> None:
        keep = (slopes != 0) & cells.valid
        rows = _gather_rows(self._anchors, self._start, self._rows.shape[0], cells)[keep]
        columns, slope = cells.columns[keep], slopes[keep]
        for row, column, part in _chunks(self._u.shape[1], rows, columns, slope):
            distance = part
            if self._form is Form.EUCLIDEAN:
                distance = self._form.pairs(self._u[row], self._v[column])
            self._add_pairs(row, column, part, distance)

    def gradients(self) -> list[Tensor | None]:
        if self._u_sum is not None and self._grad_u is not None and self._grad_v is not None:
            assert self._v_sum is not None
            self._grad_u.addcmul_(self._pu, self._u_sum[:, None])
            if not self._shared:
                self._grad_v.addcmul_(self._pv, self._v_sum[:, None])
            self._u_sum = self._v_sum = None
        return [self._grad_u, None if self._shared else self._grad_v]


class DirectKernel(Kernel):
    """Any distance, differentiated by autograd tile by tile; its parameters get gradients too."""

    def __init__(
        self,
        distance: Distance,
        rows: Tensor,
        columns: Tensor | None,
        parameters: list[Tensor],
        *,
        want_gradient: bool,
    ) -> None:
        self._distance = distance
        self._want_gradient = want_gradient
        self._u, self._v = rows.detach(), (rows if columns is None else columns).detach()
        self._shared = columns is None
        self._parameters = parameters
        self.width = distance.width(rows.shape[1])
        self._grad_u = torch.zeros_like(self._u) if want_gradient else None
        self._grad_v = self._grad_u
        if want_gradient and not self._shared:
            self._grad_v = torch.zeros_like(self._v)
        self._grad_parameters = [torch.zeros_like(p) for p in parameters]

    def begin_block(self, start: int, stop: int, anchors: Tensor | None) -> None:
        self._start, self._stop, self._anchors = start, stop, anchors
        self._numbers = torch.arange(start, stop, device=self._u.device) if anchors is None else anchors

    def tile(self, first: int, last: int) -> Tensor:
        self._first, self._last = first, last
        with torch.set_grad_enabled(self._want_gradient):
            self._tile_rows = self._u[self._numbers].requires_grad_(self._want_gradient)
            self._tile_columns = self._v[first:last].clone().requires_grad_(self._want_gradient)
            self._tile = self._distance.table(self._tile_rows, self._tile_columns)
        return self._tile.detach().clone()

    def mend(self, tile: Tensor) -> None:
        pass

    def spread(self, slopes: Tensor, distances: Tensor) -> None:  # noqa: ARG002
        assert self._grad_v is not None
        self._backward(self._tile, slopes, self._tile_rows, self._tile_columns, self._numbers)
        # the columns' part is a slice, not a scatter
        self._grad_v[self._first : self._last] += self._column_part

    def _backward(
        self, value: Tensor, slopes: Tensor, rows: Tensor, columns: Tensor, numbers: Tensor
    ) -> None:
        assert self._grad_u is not None
        wanted = [rows, columns, *(p for p in self._parameters if p.requires_grad)]
        found = torch.autograd.grad(value, wanted, slopes, allow_unused=True, materialize_grads=True)
        self._grad_u.index_add_(0, numbers, found[0])
        self._column_part = found[1]
        trained = [g for p, g in zip(self._parameters, self._grad_parameters, strict=True) if p.requires_grad]
        for total, part in zip(trained, found[2:], strict=True):
            total += part

    def listed(self, cells: Cells) -> Tensor:
        rows = _gather_rows(self._anchors, self._start, self._numbers.shape[0], cells)
        with torch.no_grad():
            out = self._distance(self._u[rows], self._v[cells.columns])
        return out.masked_fill(~cells.valid, torch.inf)

    def spread_listed(self, slopes: Tensor, cells: Cells) -> None:
        assert self._grad_v is not None
        keep = (slopes != 0) & cells.valid
        rows = _gather_rows(self._anchors, self._start, self._numbers.shape[0], cells)[keep]
        columns, slope = cells.columns[keep], slopes[keep]
        for row, column, part in _chunks(self.width, rows, columns, slope):
            with torch.enable_grad():
                u, v = self._u[row].requires_grad_(), self._v[column].requires_grad_()
                value = self._distance(u, v)
            self._backward(value, part, u, v, row)
            self._grad_v.index_add_(0, column, self._column_part)

    def gradients(self) -> list[Tensor | None]:
        shared = None if self._shared else self._grad_v
        return [self._grad_u, shared, *self._grad_parameters]
