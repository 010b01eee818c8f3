"""The hardest quadruplet of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.mining.base import Miner, Nearest, extreme_near
from likewise.mining.choice import Comparisons, own_anchors
from likewise.relations import Resolved
from likewise.table.distributed import from_all
from likewise.table.visit import View, views

__all__ = ["HardQuadruplets"]


class HardQuadruplets(Miner):
    """The farthest positive pair of the batch and the nearest negative of each of its ends (PDDM).

    The pair (i, j) is compared with (i, k) and with (j, l): two rows. Where the columns are the rows, l is
    a far cell of row j; else the row to which column j is far and nearest. A listed triplet or quadruplet
    has one end.

    Parameters
    ----------
    per_anchor : bool
        False is the paper: one quadruplet a batch. True takes the farthest positive of every anchor, which
        gives a gradient less sparse; a departure.

    References
    ----------
    C. Huang, C. C. Loy, X. Tang, "Local similarity-aware deep feature embedding", 2016, section 3.

    >>> from likewise.losses import TripletMargin
    >>> loss = TripletMargin(margin=1.0, reduction="none", miner=HardQuadruplets())
    >>> loss(torch.tensor([[0.0], [2.0], [3.0], [0.5]]), [0, 0, 1, 1])  # (2, 3) beats (2, 1) and (3, 0)
    tensor([2.5000, 3.0000])
    """

    def __init__(self, *, per_anchor: bool = False) -> None:
        super().__init__()
        self.per_anchor = bool(per_anchor)

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """Two comparisons for each chosen pair. See :meth:`Miner.forward`."""
        chosen = _Ends()
        others = None if columns is None else _Columns(resolved, embeddings)
        for view in views(distance, embeddings, columns, resolved):
            nearest = Nearest.none(view.rough_near)
            for first, tile in view.tiles():
                nearest.fold(first, tile)
                if others is not None and resolved.anchors is None:
                    others.fold(view, first, tile)
            chosen.add(view, extreme_near(view, farthest=True), nearest)
        if others is not None:
            others.join()
        return chosen.comparisons(resolved, others, self.per_anchor, embeddings)


class _Columns:
    """The nearest row to which each column is far."""

    def __init__(self, resolved: Resolved, like: Tensor) -> None:
        count = resolved.n_columns
        self.distance = like.new_full((count,), torch.inf)
        self.row = torch.zeros(count, dtype=torch.int64, device=like.device)

    def fold(self, view: View, first: int, tile: Tensor) -> None:
        """Take in a tile; rows come in ascending order, so a tie keeps the lower row."""
        if view.block.far is None:
            distance, row = tile.min(0)
            part = slice(first, first + tile.shape[1])
            better = distance < self.distance[part]
            self.distance[part] = torch.where(better, distance, self.distance[part])
            self.row[part] = torch.where(better, row + view.start, self.row[part])
            return
        rows, slots = view.block.far.valid.nonzero(as_tuple=True)
        columns, distance = view.block.far.columns[rows, slots], tile[rows, slots]
        least = torch.full_like(self.distance, torch.inf).scatter_reduce_(0, columns, distance, "amin")
        winner = torch.full_like(self.row, view.stop - view.start)
        at_least = distance == least[columns]
        winner.scatter_reduce_(0, columns[at_least], rows[at_least], "amin")
        better = least < self.distance
        self.distance = torch.where(better, least, self.distance)
        self.row = torch.where(better, winner + view.start, self.row)

    def join(self) -> None:
        """Take in what other processes found; a tie keeps the lower row."""
        count = self.distance.shape[0]
        distance, row = (from_all(part).view(-1, count) for part in (self.distance, self.row))
        self.distance = distance.amin(0)
        self.row = torch.where(distance == self.distance, row, torch.iinfo(torch.int64).max).amin(0)


class _Ends:
    """For each row its farthest positive and its nearest negative."""

    def __init__(self) -> None:
        self._found: list[tuple[Tensor, ...]] = []

    def add(self, view: View, number: Tensor, nearest: Nearest) -> None:
        """Take a block."""
        rows = torch.arange(view.stop - view.start, device=number.device)
        near, far = view.block.near, view.block.far
        has = near.valid.any(1)
        column = near.columns[rows, number] if near.columns.shape[1] else torch.zeros_like(rows)
        if far is not None and not far.columns.shape[1]:
            negative, own = torch.zeros_like(rows), None
        else:
            negative, own = view.far_columns(rows, nearest.place)
        distance = torch.full_like(nearest.distance, -torch.inf)
        distance[has] = view.exact_near(rows[has], number[has])
        self._found.append(
            (distance, has, view.anchors, column, nearest.found, negative, own_anchors(view, rows, own))
        )

    def comparisons(
        self, table: Resolved, others: _Columns | None, per_anchor: bool, like: Tensor
    ) -> Resolved:
        """The chosen pairs against the negatives of their ends; like gives the distances' dtype."""
        kinds = (like.dtype, torch.bool, torch.int64, torch.int64, torch.bool, torch.int64, torch.int64)
        nothing = tuple(torch.zeros(0, dtype=kind, device=like.device) for kind in kinds)
        parts = tuple(from_all(torch.cat(part)) for part in zip(nothing, *self._found, strict=True))
        distance, has, anchor, near, found, negative, own = parts
        rows = has.nonzero().view(-1)
        if not per_anchor and rows.numel():
            rows = distance.argmax().view(1)
        one = rows[found[rows]]
        chosen: list[tuple[Tensor, ...]] = [(anchor[one], near[one], negative[one], own[one])]
        if table.anchors is None and rows.numel():
            end = near[rows]
            if others is None:
                two = rows[found[end]]
                end = near[two]
                chosen.append((anchor[two], end, negative[end], own[end]))
            else:
                two = rows[others.distance[end] < torch.inf]
                end = near[two]
                chosen.append((anchor[two], end, end, others.row[end]))
        return Comparisons(chosen, table.n_columns, like.device, of_all=True)
