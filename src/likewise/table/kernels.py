"""Distances of tiles and of listed cells, and the way back from slopes to gradients.

A kernel holds the features of rows and columns and, when asked, their gradients; nothing of the size
of the table. :class:`~likewise.table.product.ProductKernel` serves the distances that a matrix product
gives; :class:`DirectKernel` any other, through autograd on each tile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import UnsupportedError
from likewise.relations import Cells

__all__ = ["DirectKernel", "InTile", "Kernel", "chunks", "embeddings_of"]

_GATHERED = 1 << 20
"""Most numbers that a gather of listed cells holds at once: 4 MB in float32."""


@dataclass
class InTile:
    """Near cells that lie in a tile of whole rows.

    flat : (k,) positions in the tile. row, column : (k,) embeddings. distances : (k,).
    small : (s,) which of them were too small for the product and stand by subtraction; None if none.
    """

    flat: Tensor
    row: Tensor
    column: Tensor
    distances: Tensor
    small: Tensor | None = None


class Kernel(ABC):
    """Distances and gradients over one table, tile by tile."""

    width: int  # numbers that one cell of a tile costs in memory
    anchors: Tensor | None = None  # the embeddings of the block's rows, where they aren't its numbers

    @abstractmethod
    def begin_block(self, start: int, stop: int, anchors: Tensor | None) -> None:
        """Turn to the rows start to stop, whose embeddings are ``anchors`` (None: the same numbers)."""

    @abstractmethod
    def tile(self, first: int, last: int) -> Tensor:
        """What the product gives for the block against columns first to last; to be mended."""

    @abstractmethod
    def near_in_tile(self, tile: Tensor, flat: Tensor, row: Tensor, column: Tensor) -> InTile:
        """Read near cells off an unmended tile, exactly; the caller then hides them."""

    @abstractmethod
    def mend(self, tile: Tensor) -> None:
        """Finish a tile after hidden cells were filled with infinity: exact small cells, roots."""

    @abstractmethod
    def spread(
        self, slopes: Tensor, distances: Tensor, near: InTile | None, near_slopes: Tensor | None
    ) -> None:
        """Add to the gradients what slopes of the last tile give; ``slopes`` is overwritten.

        ``near_slopes`` (k,) are those of the near cells in the tile, where ``slopes`` holds zero.
        """

    @abstractmethod
    def spread_near(self, near: InTile, slopes: Tensor) -> None:
        """Add to the gradients what slopes (k,) of near cells give, when their tile is gone."""

    @abstractmethod
    def rounding(self, distances: Tensor) -> Tensor:
        """How far these distances of a tile may be from the same by subtraction."""

    rows_only: bool = False  # whether only rows get a gradient, each one's from the block that holds it

    def rescale(self, factor: Tensor) -> None:  # noqa: ARG002
        """Multiply the gradients of the block's rows by factor (r,), where ``rows_only``."""
        raise UnsupportedError("gradients of single rows can't be scaled where columns have one")

    @abstractmethod
    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Distances (s,) of single cells, given by embeddings, by subtraction."""

    @abstractmethod
    def listed(self, cells: Cells) -> Tensor:
        """Distances (r, p) of listed cells, as exact as a mended tile's; infinity where not valid."""

    @abstractmethod
    def spread_listed(self, slopes: Tensor, cells: Cells, distances: Tensor) -> None:
        """Add to the gradients what slopes (r, p) of listed cells give, whose distances :meth:`listed` gave.

        Slopes are zero where not valid.
        """

    @abstractmethod
    def gradients(self) -> list[Tensor | None]:
        """The gradients of row features, column features and parameters, as far as wanted."""


def embeddings_of(cells: Cells, anchors: Tensor | None, start: int) -> Tensor:
    """The embedding of each listed cell's row: (r, p)."""
    if cells.anchors is not None:
        return cells.anchors.expand_as(cells.columns)
    if anchors is None:
        anchors = torch.arange(start, start + cells.columns.shape[0], device=cells.columns.device)
    return anchors[:, None].expand_as(cells.columns)


def chunks(width: int, *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut vectors of one length into pieces whose gathers of ``width`` numbers a cell stay small."""
    step = max(1, _GATHERED // max(1, width))
    for start in range(0, parts[0].shape[0], step):
        yield tuple(part[start : start + step] for part in parts)


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
        self._start, self.anchors = start, anchors
        self._numbers = torch.arange(start, stop, device=self._u.device) if anchors is None else anchors

    def tile(self, first: int, last: int) -> Tensor:
        self._first, self._last = first, last
        with torch.set_grad_enabled(self._want_gradient):
            self._tile_rows = self._u[self._numbers].requires_grad_(self._want_gradient)
            self._tile_columns = self._v[first:last].clone().requires_grad_(self._want_gradient)
            self._tile = self._distance.table(self._tile_rows, self._tile_columns)
        return self._tile.detach().clone()

    def near_in_tile(self, tile: Tensor, flat: Tensor, row: Tensor, column: Tensor) -> InTile:
        return InTile(flat, row, column, tile.view(-1)[flat])

    def mend(self, tile: Tensor) -> None:
        """Nothing is lost without a product."""

    def spread(
        self, slopes: Tensor, distances: Tensor, near: InTile | None, near_slopes: Tensor | None
    ) -> None:
        assert self._grad_v is not None
        del distances  # autograd has them
        if near is not None and near_slopes is not None:
            slopes.view(-1).index_copy_(0, near.flat, near_slopes)
        found = self._backward(self._tile, slopes, self._tile_rows, self._tile_columns, self._numbers)
        self._grad_v[self._first : self._last] += found

    def _backward(
        self, value: Tensor, slopes: Tensor, rows: Tensor, columns: Tensor, numbers: Tensor
    ) -> Tensor:
        """Add the gradients of rows and parameters, and return that of the columns."""
        assert self._grad_u is not None
        wanted = [rows, columns, *(p for p in self._parameters if p.requires_grad)]
        found = torch.autograd.grad(value, wanted, slopes, allow_unused=True, materialize_grads=True)
        self._grad_u.index_add_(0, numbers, found[0])
        trained = [g for p, g in zip(self._parameters, self._grad_parameters, strict=True) if p.requires_grad]
        for total, part in zip(trained, found[2:], strict=True):
            total += part
        return found[1]

    def rounding(self, distances: Tensor) -> Tensor:
        return distances.abs() * (8 * torch.finfo(distances.dtype).eps)

    def listed(self, cells: Cells) -> Tensor:
        rows = embeddings_of(cells, self.anchors, self._start)
        return self.exact(rows, cells.columns).masked_fill(~cells.valid, torch.inf)

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        with torch.no_grad():
            return self._distance(self._u[rows], self._v[columns])

    def spread_listed(self, slopes: Tensor, cells: Cells, distances: Tensor) -> None:
        del distances  # autograd takes them again
        keep = (slopes != 0) & cells.valid
        rows = embeddings_of(cells, self.anchors, self._start)[keep]
        self._spread_cells(rows, cells.columns[keep], slopes[keep])

    def spread_near(self, near: InTile, slopes: Tensor) -> None:
        self._spread_cells(near.row, near.column, slopes)

    def _spread_cells(self, rows: Tensor, columns: Tensor, slopes: Tensor) -> None:
        assert self._grad_v is not None
        for row, column, part in chunks(self.width, rows, columns, slopes):
            with torch.enable_grad():
                u, v = self._u[row].requires_grad_(), self._v[column].requires_grad_()
                value = self._distance(u, v)
            self._grad_v.index_add_(0, column, self._backward(value, part, u, v, row))

    def gradients(self) -> list[Tensor | None]:
        return [self._grad_u, None if self._shared else self._grad_v, *self._grad_parameters]
