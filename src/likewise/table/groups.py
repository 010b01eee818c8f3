"""Columns that belong together: a loss that reads one distance for each group of neighbouring columns.

A class with several learned centres is as far as its centres make it: as the nearest of them, or as a soft
choice among them. The walk cuts tiles only between groups, a pool makes one distance of each group, and the
loss proper sees groups for columns. Nothing of rows by columns is held. In PyTorch a pool takes ten passes
and more over a tile; in C one each way (:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from likewise.table import compiled
from likewise.table.protocol import Near, Rows, TableFunction, Tile

__all__ = ["Grouped", "NearestOf", "Pool", "SoftNearest"]

_LARGEST = 512
"""Columns of a group that C can pool."""

_BEYOND = 1e6
"""Stands for an infinite distance where infinity would make a NaN; no finite distance comes near it."""


class Pool(ABC):
    """One distance of several. Infinite distances are left out; of none but such it is infinite."""

    @abstractmethod
    def value(self, distances: Tensor) -> Tensor:
        """Distances (r, g) of groups from those of their columns (r, g, k)."""

    @abstractmethod
    def slope(self, distances: Tensor, pooled: Tensor, slopes: Tensor) -> Tensor:
        """Slopes (r, g, k) by the columns' distances, from slopes (r, g) by those of groups."""


def _in_c(distances: Tensor, *others: Tensor) -> bool:
    """Whether C can pool distances (r, g, k)."""
    return (
        distances.dtype is torch.float32
        and 0 < distances.shape[2] <= _LARGEST
        and compiled.takes(distances, *others)
        and compiled.library() is not None
    )


class NearestOf(Pool):
    """The least distance; of equal ones the first gets the slope."""

    def value(self, distances: Tensor) -> Tensor:
        """The least of each group."""
        if _in_c(distances):
            out = distances.new_empty(distances.shape[:2])
            compiled.function("nearest_of", "piiipi")(
                distances.data_ptr(), *distances.shape, out.data_ptr(), torch.get_num_threads()
            )
            return out
        return distances.amin(2)

    def slope(self, distances: Tensor, pooled: Tensor, slopes: Tensor) -> Tensor:
        """The group's slope, for its nearest column."""
        if _in_c(distances, pooled, slopes):
            out = torch.empty_like(distances)
            compiled.function("nearest_slopes", "piiipppi")(
                distances.data_ptr(), *distances.shape, pooled.data_ptr(), slopes.data_ptr(), out.data_ptr(),
                torch.get_num_threads(),
            )  # fmt: skip
            return out
        return torch.zeros_like(distances).scatter_(2, distances.argmin(2, keepdim=True), slopes[:, :, None])


class SoftNearest(Pool):
    """``sum_k s_k d_k`` with the shares ``s = softmax(-d / g)``.

    Parameters
    ----------
    temperature : float, above 0
        g.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def value(self, distances: Tensor) -> Tensor:
        """The weighted mean of each group."""
        if _in_c(distances):
            out = distances.new_empty(distances.shape[:2])
            compiled.function("soft_nearest", "piiifpi")(
                distances.data_ptr(), *distances.shape, self.temperature, out.data_ptr(),
                torch.get_num_threads(),
            )  # fmt: skip
            return out
        finite = distances.clamp(max=_BEYOND)
        pooled = self._shares(finite).mul_(finite).sum(2)
        return torch.where(distances.amin(2) < torch.inf, pooled, torch.inf)

    def slope(self, distances: Tensor, pooled: Tensor, slopes: Tensor) -> Tensor:
        """``s_k (1 - (d_k - d) / g)`` times the group's slope."""
        if _in_c(distances, pooled, slopes):
            out = torch.empty_like(distances)
            compiled.function("soft_nearest_slopes", "piiifpppi")(
                distances.data_ptr(), *distances.shape, self.temperature, pooled.data_ptr(),
                slopes.data_ptr(), out.data_ptr(), torch.get_num_threads(),
            )  # fmt: skip
            return out
        finite = distances.clamp(max=_BEYOND)
        shares = self._shares(finite).mul_(slopes[:, :, None])
        gap = finite.sub_(pooled.clamp(max=_BEYOND)[:, :, None]).div_(-self.temperature).add_(1.0)
        return shares.mul_(gap)

    def _shares(self, finite: Tensor) -> Tensor:
        return (finite / -self.temperature).softmax(2)


@dataclass
class _Pooled:
    state: Any  # of the loss over groups
    near: Near
    groups: Near
    tile: Tile | None = None  # the last tile's groups, where it comes back


class Grouped(TableFunction[_Pooled]):
    """A loss over groups of ``size`` neighbouring columns, each at the distance that a pool makes.

    Near cells too must come in whole groups: ``size`` neighbouring columns in a row's list.

    Parameters
    ----------
    loss : TableFunction
        Of one part. Sees groups for columns; its near cells are not listed by embedding or column.
    size : int, above 0
    pool : Pool
    """

    def __init__(self, loss: TableFunction[Any], size: int, pool: Pool) -> None:
        self._loss, self._pool = loss, pool
        self.columns_together = size

    def _split(self, distances: Tensor) -> Tensor:
        """Distances (r, g, k) of groups from those of a tile or a list (r, c)."""
        return distances.reshape(distances.shape[0], -1, self.columns_together)

    def begin(self, near: Near) -> _Pooled:
        """Pool the near cells."""
        pooled = self._pool.value(self._split(near.distances))
        valid = pooled < torch.inf
        groups = replace(
            near,
            distances=pooled,
            valid=valid,
            count=valid.sum(1).to(near.count.dtype),
            far_count=near.far_count / self.columns_together,
            cells=None,
        )
        return _Pooled(self._loss.begin(groups), near, groups)

    def _pooled(self, tile: Tile) -> Tile:
        return replace(tile, distances=self._pool.value(self._split(tile.distances)))

    def observe(self, tile: Tile, state: _Pooled) -> None:
        """Pool a tile and fold it."""
        pooled = self._pooled(tile)
        self._loss.observe(pooled, state.state)
        state.tile = pooled if tile.kept else None

    def finish(self, state: _Pooled) -> Rows:
        """As the loss over groups."""
        return self._loss.finish(state.state)

    def slope(self, tile: Tile, state: _Pooled) -> Tensor:
        """The slopes by groups, spread over their columns."""
        pooled = self._pooled(tile) if state.tile is None else state.tile
        slopes = self._loss.slope(pooled, state.state)
        return self._pool.slope(self._split(tile.distances), pooled.distances, slopes).flatten(1)

    def near_slope(self, state: _Pooled) -> Tensor:
        """The slopes by near groups, spread over their columns."""
        slopes = self._loss.near_slope(state.state)
        near = state.near.distances
        spread = self._pool.slope(self._split(near), state.groups.distances, slopes)
        return state.near.filled(spread.reshape(near.shape), 0.0)
