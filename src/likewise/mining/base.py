"""What miners share: the signature, and searching a table block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likewise.distances import Distance
from likewise.relations import Resolved
from likewise.table.hinges import AWAY, nearest_above
from likewise.table.visit import View

__all__ = ["Miner", "Nearest", "extreme_near", "farthest_far", "nearest_beyond", "nearest_far"]


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
        return self.distance < AWAY / 2


def nearest_far(view: View) -> Nearest:
    """The nearest far cell of each row."""
    found = Nearest.none(view.rough_near)
    for first, tile in view.tiles():
        found.fold(first, tile)
    return found


def nearest_beyond(view: View, numbers: Tensor) -> Nearest:
    """For each of some near cells, by number in the row's list (r, k): the nearest far cell beyond it.

    A tile's distances come from a product, which may put a cell just beyond a threshold that it only
    reaches, or the other way round. So the search begins a little before the threshold, and what is found
    that near to it is compared again by subtraction.
    """
    if not view.rough_near.shape[1]:
        return Nearest(view.rough_near.new_full(numbers.shape, torch.inf), torch.zeros_like(numbers))
    thresholds = view.rough_near.gather(1, numbers)
    band = 2 * view.rounding(thresholds)
    limits = torch.where(thresholds.isfinite(), thresholds - band, thresholds)
    found = _beyond(view, limits)
    rows, some = (found.found & (found.distance <= thresholds + band)).nonzero(as_tuple=True)
    while rows.numel():
        far = view.exact_far(rows, found.place[rows, some])
        failed = far <= view.exact_near(rows, numbers[rows, some])
        rows, some = rows[failed], some[failed]
        if not rows.numel():
            break
        limits = found.distance[rows, some]
        again = _beyond(view, limits[:, None], rows)
        found.distance[rows, some], found.place[rows, some] = again.distance[:, 0], again.place[:, 0]
        doubtful = again.found[:, 0] & (again.distance[:, 0] <= (thresholds + band)[rows, some])
        rows, some = rows[doubtful], some[doubtful]
    return found


def _beyond(view: View, limits: Tensor, rows: Tensor | None = None) -> Nearest:
    """The least far cell above each limit (r, k) of the block's rows, or of some (r,) of them."""
    found = Nearest(torch.full_like(limits, torch.inf), torch.zeros_like(limits, dtype=torch.int64))
    for first, tile in view.tiles():
        part = tile if rows is None else tile[rows]
        nearest_above(part, limits, first=first, distance=found.distance, place=found.place)
    return found


def farthest_far(view: View) -> Nearest:
    """The farthest far cell of each row, its distance negated."""
    found = Nearest.none(view.rough_near)
    for first, tile in view.tiles():
        found.fold(first, torch.where(tile.isinf(), torch.inf, -tile))
    return found


def extreme_near(view: View, *, farthest: bool) -> Tensor:
    """The list number of each row's farthest or nearest near cell: (r,); of equal ones the first."""
    near = view.rough_near
    if not near.shape[1]:
        return torch.zeros(near.shape[0], dtype=torch.int64, device=near.device)
    if farthest:
        near = -near.masked_fill(~view.block.near.valid, -torch.inf)
    least, number = near.min(1)
    doubtful = (near <= (least + 2 * view.rounding(least.abs()))[:, None]) & near.isfinite()
    doubtful &= (doubtful.sum(1) > 1)[:, None]
    rows, numbers = doubtful.nonzero(as_tuple=True)
    if rows.numel():  # too near to each other for a product to tell
        exact = view.exact_near(rows, numbers)
        near = torch.full_like(near, torch.inf)
        near[rows, numbers] = -exact if farthest else exact
        number = torch.where(doubtful.any(1), near.argmin(1), number)
    return number
