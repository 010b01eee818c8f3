"""What miners share: the signature, and searching a table block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likewise.distances import Distance
from likewise.relations import Resolved
from likewise.table.visit import View

__all__ = ["Miner", "Nearest", "extreme_near", "farthest_far", "nearest_beyond", "nearest_far"]

_AWAY = 1e30
"""Added to a distance it takes the cell out of a search; unlike infinity it can be multiplied by zero."""


class Miner(nn.Module, ABC):
    """Chooses among near and far cells."""

    @abstractmethod
    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """Choose.

        Parameters
        ----------
        embeddings : (n, d)
        resolved : Resolved
            Who is near and far in the table.
        columns : (m, d), optional
            The columns, where they aren't the rows.
        distance : Distance
            By which to choose; a loss hands over its own.

        Returns
        -------
        Resolved
            A smaller relation over the same table.
        """


@dataclass
class Nearest:
    """The nearest far cell of each row so far: distance and place, (r,), or (r, k) for several searches."""

    distance: Tensor
    place: Tensor

    @classmethod
    def none(cls, like: Tensor) -> Nearest:
        return cls(
            like.new_full(like.shape[:1], torch.inf),
            torch.zeros(like.shape[0], dtype=torch.int64, device=like.device),
        )

    def fold(self, first: int, tile: Tensor) -> None:
        """Take in a tile; tiles come in ascending order, so a tie keeps the lower place."""
        distance, place = tile.min(1)
        better = distance < self.distance
        self.distance = torch.where(better, distance, self.distance)
        self.place = torch.where(better, place + first, self.place)

    @property
    def found(self) -> Tensor:
        return self.distance < _AWAY / 2


def nearest_far(view: View) -> Nearest:
    """The nearest far cell of each row."""
    found = Nearest.none(view.near)
    for first, tile in view.tiles():
        found.fold(first, tile)
    return found


def nearest_beyond(view: View, thresholds: Tensor) -> Nearest:
    """For each threshold (r, k), a distance by subtraction: the nearest far cell strictly beyond it.

    A tile's distances come from a product, which may put a cell at the very threshold just beyond it. So
    what is found is taken again by subtraction, and what fails is searched beyond.
    """
    limits = thresholds.clone()
    while True:
        found = _beyond(view, limits)
        if not bool(found.found.any()):
            return found
        exact = view.far_distances(found.place)
        failed = found.found & (exact <= thresholds)
        if not bool(failed.any()):
            return found
        limits = torch.where(failed, found.distance, limits)


def _beyond(view: View, limits: Tensor) -> Nearest:
    found = [Nearest.none(view.near) for _ in range(limits.shape[1])]
    for first, tile in view.tiles():
        scratch, within = torch.empty_like(tile), torch.empty_like(tile)
        for number, nearest in enumerate(found):
            # comparisons into floats: PyTorch is an order of magnitude slower with bools
            torch.le(tile, limits[:, number, None], out=within)
            nearest.fold(first, torch.add(tile, within, alpha=_AWAY, out=scratch))
    if not found:
        return Nearest(limits, torch.zeros_like(limits, dtype=torch.int64))
    return Nearest(
        torch.stack([nearest.distance for nearest in found], dim=1),
        torch.stack([nearest.place for nearest in found], dim=1),
    )


def farthest_far(view: View) -> Nearest:
    """The farthest far cell of each row, its distance negated."""
    found = Nearest.none(view.near)
    for first, tile in view.tiles():
        found.fold(first, torch.where(tile.isinf(), torch.inf, -tile))
    return found


def extreme_near(view: View, *, farthest: bool) -> tuple[Tensor, Tensor]:
    """The distance and the list number of each row's farthest or nearest near cell: (r,), (r,)."""
    if not view.near.shape[1]:
        nothing = Nearest.none(view.near)
        return nothing.distance, nothing.place
    if farthest:
        distance, number = view.near.masked_fill(~view.block.near.valid, -torch.inf).max(1)
    else:
        distance, number = view.near.min(1)
    return distance, number
