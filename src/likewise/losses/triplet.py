"""Losses over all triplets of a batch, without a list of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile

__all__ = ["TripletMargin"]


_CELLS = 1 << 17
"""Cells compared at once, so that distances, counts and a scratch stay in cache over all thresholds."""


@dataclass
class _Thresholds:
    """For each positive of each row: the threshold ``d_p + m``, and what lies below it."""

    near: Near
    threshold: Tensor  # (r, p); minus infinity where not valid
    middle: Tensor  # (r,) the mean threshold
    reach: float  # no threshold lies farther from its row's mean
    below: Tensor  # (r, p) how many far columns lie below each threshold
    value: Tensor  # (r,) the hinges, taken from the mean threshold
    slopes: Tensor | None = None  # of the last tile, where it comes back


class TripletMargin(TableLoss[_Thresholds]):
    r"""All triplets with a margin: ``sum_p sum_n max(0, d_p - d_n + m)`` for each anchor.

    Every triplet (anchor, positive, negative) of the batch is counted, exactly, in the time of one
    comparison of each column with the row's thresholds ``d_p + m``.

    Defaults: Euclidean distance (not squared), embeddings as given, mean over the active triplets
    (``reduction="active"``), as "batch all" of Hermans et al. pytorch-metric-learning's
    TripletMarginLoss normalises embeddings and takes margin 0.05; PyTorch's takes one listed triplet a
    row (here: a ``Triplets`` relation), margin 1 and the mean over all.

    Parameters
    ----------
    margin : float, 0 or more
        m, in units of the distance.

    References
    ----------
    A. Hermans, L. Beyer, B. Leibe, "In defense of the triplet loss for person re-identification", 2017,
    section 2 ("batch all", and the mean over the terms not zero); K. Weinberger, L. Saul, 2009.

    >>> loss = TripletMargin(margin=1.0)
    >>> loss(torch.tensor([[0.0], [1.0], [1.5]]), [0, 0, 1])
    tensor(1.)
    """

    default_reduction = "active"

    def __init__(
        self,
        *,
        margin: float = 0.2,
        distance: Distance | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self.margin = positive("margin", margin, zero=True)

    def begin(self, near: Near) -> _Thresholds:
        """The thresholds."""
        known = near.filled(near.distances + self.margin, 0.0)
        middle = known.sum(1) / near.count.clamp(min=1)
        reach = near.filled(known - middle[:, None], 0.0).abs().sum()
        threshold = near.filled(known, -torch.inf)
        zero = torch.zeros_like(near.count)
        return _Thresholds(near, threshold, middle, float(reach) + 1.0, torch.zeros_like(threshold), zero)

    def observe(self, tile: Tile, state: _Thresholds) -> None:
        """Count the far columns below each threshold, and add up the hinges."""
        slopes = self._count(tile, state.threshold, state.below)
        # sum_k sum_{d_j < t_k} (t_k - d_j), taken about the row's mean threshold so that little cancels;
        # no active cell lies deeper than -reach, and the others have no slope
        gap = torch.sub(state.middle[:, None], tile.distances).clamp_(min=-state.reach)
        state.value -= gap.mul_(slopes).sum(1)
        state.slopes = slopes if tile.kept else None

    @staticmethod
    def _count(tile: Tile, threshold: Tensor, below: Tensor | None) -> Tensor:
        """Minus the number of thresholds above each distance; adds the counts by threshold to below."""
        slopes = torch.zeros_like(tile.distances)
        rows = max(1, _CELLS // max(1, slopes.shape[1]))
        for first in range(0, slopes.shape[0], rows):
            part = slice(first, first + rows)
            distances, total = tile.distances[part], slopes[part]
            scratch = torch.empty_like(distances)
            for number in range(threshold.shape[1]):
                # a comparison into floats: PyTorch adds up bools an order of magnitude slower
                torch.lt(distances, threshold[part, number, None], out=scratch)
                total.sub_(scratch)
                if below is not None:
                    below[part, number] += scratch.sum(1)
        return slopes

    def finish(self, state: _Thresholds) -> Rows:
        """The sum of the hinges of each anchor."""
        offset = state.near.filled(state.threshold - state.middle[:, None], 0.0)
        value = state.value + (offset * state.below).sum(1)
        return Rows(joint=Part(value, state.near.count * state.near.far_count, state.below.sum(1)))

    def slope(self, tile: Tile, state: _Thresholds) -> Tensor:
        """Minus the number of thresholds above each far distance."""
        return self._count(tile, state.threshold, None) if state.slopes is None else state.slopes

    def near_slope(self, state: _Thresholds) -> Tensor:
        """The number of far columns below each threshold."""
        return state.below
