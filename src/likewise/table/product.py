"""The kernel of distances that a matrix product gives, exact where a product alone isn't.

Products lose small distances. The columns' mean is taken off both sides when it is large, and cells
below ``SMALL`` of the norms they are made of are computed again by subtraction, and so are their
gradients. Listed cells are taken by subtraction, or, where they are a good part of a table, off its tiles.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from likewise.distances import Form, ProductDistance
from likewise.relations import Cells
from likewise.table.kernels import InTile, Kernel, embeddings_of
from likewise.table.pairs import add_pair_gradients, gathered_cost, pair_distances
from likewise.table.side import Side

__all__ = ["SMALL", "ProductKernel", "features_of"]

SMALL = 2.0**-7
"""A squared distance below this fraction of ``|u|^2 + |v|^2`` is computed again by subtraction: what
the product rounds away is then at most about 2^-24 * 2^7 = 2^-17 of the distance in float32."""

_TILE = 1 << 18
"""Numbers in a tile of whole rows that listed cells are taken off."""


def features_of(
    distance: ProductDistance, rows: Tensor, columns: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """What a :class:`ProductKernel` takes for rows and columns, by ordinary PyTorch.

    Columns stay None where they are the rows and have their features. Rows to be brought to unit length
    are left as they are: the kernel does that, without a copy for autograd.
    """
    if distance.unit:
        return rows, columns
    turned = type(distance).column_features is not ProductDistance.column_features
    if columns is not None or turned:
        columns = distance.column_features(rows if columns is None else columns)
    return distance.features(rows), columns


class ProductKernel(Kernel):
    """A distance of one of the four forms over features u (n, k) of rows and v (m, k) of columns.

    Where ``columns is None`` the columns are the rows and one gradient serves both. With ``unit`` the
    features are brought to unit length here. Without ``want_columns`` the columns get no gradient.
    """

    width = 1

    def __init__(
        self,
        form: Form,
        rows: Tensor,
        columns: Tensor | None,
        *,
        unit: bool,
        want_gradient: bool,
        want_columns: bool = True,
    ) -> None:
        self._form = form
        self._shared = columns is None
        self._squared = form is not Form.NEGATIVE_PRODUCT
        self._v = Side(rows if columns is None else columns, unit=unit)
        self._u = self._v if self._shared else Side(rows, unit=unit)
        self._half = 0.5 if form is Form.HALF_SQUARED else 1.0
        self._centre()
        self._bound = 0.0
        if self._squared and self._v.given.shape[0] and self._u.given.shape[0]:
            self._bound = (self._v.largest() + self._u.largest()) * SMALL * self._half
        # of unit rows the product alone tells the distance
        self._plain = self._squared and self._u.unit and self._v.unit
        self._grad_u = torch.zeros_like(rows) if want_gradient else None
        self._grad_v = self._grad_u
        if columns is not None and want_gradient:
            self._grad_v = torch.zeros_like(columns) if want_columns else None
        self._u_sum = self._sums(self._u, self._grad_u)
        self._v_sum = self._u_sum if self._shared else self._sums(self._v, self._grad_v)
        self._small: Tensor | None = None
        self._without_small: set[tuple[int, int]] = set()
        self._buffer: Tensor | None = None

    def _sums(self, side: Side, gradient: Tensor | None) -> Tensor | None:
        """Where the slopes of each row add up, if its gradient needs them."""
        if gradient is None or not self._squared or (side.scale is not None and side.mean is None):
            return None
        return torch.zeros_like(side.norms)

    def _centre(self) -> None:
        """Take the columns' mean off both sides where it is a large part of the norms."""
        v = self._v
        if self._squared and v.given.shape[0] > 1:
            mean = v.given.mean(0) if v.scale is None else v.given.T.mv(v.scale[:, 0]) / v.given.shape[0]
            if float(mean.dot(mean)) * 4 > (1.0 if v.unit else float(v.squares.mean())):
                v.centre(mean)
                if not self._shared:
                    self._u.centre(mean)
        self._v.keep()
        if not self._shared:
            self._u.keep()

    def begin_block(self, start: int, stop: int, anchors: Tensor | None) -> None:
        self._start, self._stop, self.anchors = start, stop, anchors
        self._turned: Tensor | None = None

    @property
    def _rows(self) -> Tensor:
        """The block's rows as they enter products; where its cells are listed none are wanted."""
        if self._turned is None:
            part = slice(self._start, self._stop)
            self._turned = (
                self._u.slice(part.start, part.stop)
                if self.anchors is None
                else self._u.products(self.anchors)
            )
            if self._squared and not self._plain:
                squares = self._u.squares[part if self.anchors is None else self.anchors]
                self._row_squares = squares[:, None] * self._half
        return self._turned

    def tile(self, first: int, last: int) -> Tensor:
        self._first, self._last = first, last
        shape = (self._rows.shape[0], last - first)
        if self._buffer is None or self._buffer.shape != shape:
            self._buffer = torch.empty(shape, dtype=self._rows.dtype, device=self._rows.device)
        self._columns = self._v.slice(first, last)
        if not self._squared:
            return torch.mm(self._rows, self._columns.T, out=self._buffer).neg_()
        if self._plain:
            one = self._buffer.new_full((1,), 2 * self._half)
            return torch.addmm(one, self._rows, self._columns.T, alpha=-2.0 * self._half, out=self._buffer)
        squares = self._v.squares[first:last]
        if self._half != 1.0:
            squares = squares * self._half
        torch.addmm(squares, self._rows, self._columns.T, alpha=-2.0 * self._half, out=self._buffer)
        return self._buffer.add_(self._row_squares)

    def near_in_tile(self, tile: Tensor, flat: Tensor, row: Tensor, column: Tensor) -> InTile:
        distances, small = tile.view(-1)[flat], None
        if self._squared and flat.numel() and float(distances.amin()) <= self._bound:
            bound = (self._u.squares[row] + self._v.squares[column]) * (SMALL * self._half)
            small = (distances <= bound).nonzero().view(-1)
            if small.numel():
                distances[small] = self._by_subtraction(row[small], column[small])
            else:
                small = None
        if self._form is Form.EUCLIDEAN:
            distances.sqrt_()
        return InTile(flat, row, column, distances, small)

    def _by_subtraction(self, row: Tensor, column: Tensor) -> Tensor:
        """Squared distances (halved in that form) of single cells."""
        form = Form.SQUARED if self._form is Form.EUCLIDEAN else self._form
        return pair_distances(form, self._u, self._v, row, column)

    def mend(self, tile: Tensor) -> None:
        self._small = None
        here = self._start, self._first
        if self._squared and tile.numel() and here not in self._without_small:
            self._mend_small(tile)
            if self._small is None and self.anchors is None:
                self._without_small.add(here)  # a second visit needn't look
        if self._form is Form.EUCLIDEAN:
            tile.sqrt_()

    def _mend_small(self, tile: Tensor) -> None:
        """Compute small cells again by subtraction."""
        if float(tile.amin()) <= self._bound:
            if self._plain:
                within = tile <= self._bound
            else:
                bound = self._row_squares + self._v.squares[self._first : self._last] * self._half
                within = tile <= bound.mul_(SMALL)
            small = within.view(-1).nonzero().view(-1)
            if small.numel():
                self._small = small
                tile.view(-1)[small] = self._by_subtraction(*self._numbers(small))

    @property
    def form(self) -> Form:
        """How a cell reads its features."""
        return self._form

    @property
    def sides(self) -> tuple[Side, Side]:
        """Rows and columns as they enter products; one and the same where columns are rows."""
        return self._u, self._v

    @property
    def wants_columns(self) -> bool:
        """Whether columns that aren't the rows get a gradient."""
        return not self._shared and self._grad_v is not None

    def add_far(self, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor] | None) -> None:
        """Add gradients (n, k) as they enter products, with what slopes add up to (n,), taken elsewhere."""
        sides = (rows, self._grad_u, self._u_sum), (columns, self._grad_v, self._v_sum)
        for found, gradient, sums in sides:
            if found is not None and gradient is not None:
                gradient += found[0]
                if sums is not None:
                    sums += found[1]

    @property
    def folds(self) -> bool:
        """Whether a tile turned round is that of its columns' rows, and has one gradient with it."""
        return self._shared and self._v.given.device.type == "cpu"

    @property
    def features(self) -> int:
        """Numbers of a row as it enters products."""
        return self._v.given.shape[1]

    def let_go(self) -> Tensor | None:
        """Leave the last tile to whoever has it; gives the cells that :meth:`return_to` needs."""
        self._buffer = None
        return self._small

    def return_to(self, first: int, last: int, small: Tensor | None) -> None:
        """Turn to a tile of this block that was left, to spread its slopes."""
        self._first, self._last, self._small = first, last, small
        self._columns = self._v.slice(first, last)

    def _numbers(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings of row and column of cells, given as flat positions in the tile."""
        width = self._last - self._first
        row = torch.div(cells, width, rounding_mode="floor")
        column = cells - row * width + self._first
        row = row + self._start if self.anchors is None else self.anchors[row]
        return row, column

    def spread(
        self, slopes: Tensor, distances: Tensor, near: InTile | None, near_slopes: Tensor | None
    ) -> None:
        assert self._grad_u is not None
        flat = slopes.view(-1)
        if self._small is not None:
            row, column = self._numbers(self._small)
            self._add_pairs(row, column, flat[self._small], distances.view(-1)[self._small])
        if self._form is Form.EUCLIDEAN:
            slopes.div_(distances)
        if self._small is not None:
            flat.index_fill_(0, self._small, 0.0)
        if near is not None and near_slopes is not None:
            if near.small is not None:
                some = near.small
                self._add_pairs(near.row[some], near.column[some], near_slopes[some], near.distances[some])
            if self._form is Form.EUCLIDEAN:
                near_slopes = near_slopes / near.distances
            if near.small is not None:
                near_slopes = near_slopes.index_fill(0, near.small, 0.0)
            flat.index_copy_(0, near.flat, near_slopes)
        self._spread_products(slopes)

    def _spread_products(self, slopes: Tensor) -> None:
        """Add to the gradients what slopes of the last tile's half squares, squares or products give."""
        assert self._grad_u is not None
        factor = 2.0 if self._form is Form.SQUARED else 1.0
        if self._shared and self.anchors is None and slopes.shape[0] == slopes.shape[1] == len(self._grad_u):
            slopes = slopes + slopes.T  # the whole table: rows and columns are one, and so are their products
            self._grad_u.addmm_(slopes, self._columns, alpha=-factor)
            if self._u_sum is not None:
                self._u_sum.add_(slopes.sum(1), alpha=factor)
            return
        if self._grad_v is not None:
            self._grad_v[self._first : self._last].addmm_(slopes.T, self._rows, alpha=-factor)
        if self.anchors is None:
            self._grad_u[self._start : self._stop].addmm_(slopes, self._columns, alpha=-factor)
        else:
            self._grad_u.index_add_(0, self.anchors, slopes @ self._columns, alpha=-factor)
        if self._v_sum is not None:
            self._v_sum[self._first : self._last].add_(slopes.sum(0), alpha=factor)
        if self._u_sum is not None:
            if self.anchors is None:
                self._u_sum[self._start : self._stop].add_(slopes.sum(1), alpha=factor)
            else:
                self._u_sum.index_add_(0, self.anchors, slopes.sum(1), alpha=factor)

    def _add_pairs(self, row: Tensor, column: Tensor, slope: Tensor, distance: Tensor) -> None:
        """Add the gradients of single cells: row, column, slope and distance (s,)."""
        assert self._grad_u is not None
        add_pair_gradients(
            self._form, self._u, self._v, row, column, slope, distance, self._grad_u, self._grad_v
        )

    @property
    def rows_only(self) -> bool:  # type: ignore[override]
        return self._grad_u is not None and self._grad_v is None and self.anchors is None

    def rescale(self, factor: Tensor) -> None:
        assert self._grad_u is not None
        self._grad_u[self._start : self._stop].mul_(factor[:, None])
        if self._u_sum is not None:
            self._u_sum[self._start : self._stop].mul_(factor)

    def rounding(self, distances: Tensor) -> Tensor:
        eps = torch.finfo(distances.dtype).eps * (4 + self._u.given.shape[1] ** 0.5)
        error = eps * (self._u.largest() + self._v.largest()) * self._half
        if self._form is Form.EUCLIDEAN:  # d - sqrt(d^2 - e), about e / (2 d), and sqrt(e) at most
            return (2 * distances.clamp(min=max(error**0.5, 1e-30))).reciprocal_().mul_(error)
        return torch.full_like(distances, error)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        return pair_distances(self._form, self._u, self._v, rows, columns)

    def spread_near(self, near: InTile, slopes: Tensor) -> None:
        self._add_pairs(near.row, near.column, slopes, near.distances)

    def listed(self, cells: Cells) -> Tensor:
        rows = embeddings_of(cells, self.anchors, self._start).reshape(-1)
        columns = cells.columns.reshape(-1)
        if self._is_dense(rows):
            out = self._v.norms.new_empty(rows.shape)
            for flat, some in self._blocks(rows, columns):
                tile = self.tile(0, self._v.given.shape[0])
                out[some] = self.near_in_tile(tile, flat, rows[some], columns[some]).distances
        else:
            out = self.exact(rows, columns)
        return out.view(cells.columns.shape).masked_fill_(~cells.valid, torch.inf)

    def spread_listed(self, slopes: Tensor, cells: Cells, distances: Tensor) -> None:
        keep = ((slopes != 0) & cells.valid).view(-1).nonzero().view(-1)
        rows = embeddings_of(cells, self.anchors, self._start).reshape(-1)[keep]
        columns = cells.columns.reshape(-1)[keep]
        slope, distance = slopes.reshape(-1)[keep], distances.reshape(-1)[keep]
        if not self._is_dense(rows):
            self._add_pairs(rows, columns, slope, distance)
            return
        if self._squared:
            squares = distance.square() if self._form is Form.EUCLIDEAN else distance
            bound = (self._u.squares[rows] + self._v.squares[columns]) * (SMALL * self._half)
            small = (squares <= bound).nonzero().view(-1)
            if small.numel():
                self._add_pairs(rows[small], columns[small], slope[small], distance[small])
            if self._form is Form.EUCLIDEAN:
                slope = slope / distance
            slope = slope.index_fill(0, small, 0.0)
        width = self._v.given.shape[0]
        for flat, some in self._blocks(rows, columns):
            tile = slope.new_zeros(self._rows.shape[0] * width).index_add_(0, flat, slope[some])
            self._first, self._last, self._columns = 0, width, self._v.slice(0, width)
            self._spread_products(tile.view(-1, width))

    def _is_dense(self, rows: Tensor) -> bool:
        """Whether taking listed cells off tiles of their rows is cheaper than gathering them."""
        cost = gathered_cost(self._u, self._v)
        if not rows.numel() or rows.numel() * cost < self._v.given.shape[0]:
            return False
        span = int(rows.max()) - int(rows.min()) + 1
        return rows.numel() * cost > span * self._v.given.shape[0]

    def _blocks(self, rows: Tensor, columns: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Turn to each block of whole rows with some cells: their places in the tile, and which they are."""
        now = self._start, self._stop, self.anchors
        width = self._v.given.shape[0]
        height = max(1, _TILE // width)
        order = rows.argsort()
        first, last = int(rows[order[0]]), int(rows[order[-1]]) + 1
        starts = torch.arange(first, last, height, device=rows.device)
        ends = [*torch.searchsorted(rows[order], starts).tolist(), rows.shape[0]]
        for number, start in enumerate(starts.tolist()):
            some = order[ends[number] : ends[number + 1]]
            if some.numel():
                self.begin_block(start, min(start + height, last), None)
                yield (rows[some] - start) * width + columns[some], some
        self.begin_block(*now)

    def gradients(self) -> list[Tensor | None]:
        assert self._grad_u is not None
        self._u.back(self._grad_u, self._u_sum)
        if not self._shared and self._grad_v is not None:
            self._v.back(self._grad_v, self._v_sum)
        return [self._grad_u, None if self._shared else self._grad_v]
