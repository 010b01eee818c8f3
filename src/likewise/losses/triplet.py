"""Losses over all triplets of a batch, without a list of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.far_terms import Limits
from likewise.table.hinges import count_below

__all__ = ["TripletMargin"]


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
    fused = True
    limited = True

    def __init__(
        self,
        *,
        margin: float = 0.2,
        distance: Distance | str | None = None,
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
        # sum_k sum_{d_j < t_k} (t_k - d_j), taken about the row's mean threshold so that little cancels
        slopes = count_below(
            tile.distances, state.threshold,
            below=state.below, middle=state.middle, reach=state.reach, value=state.value,
        )  # fmt: skip
        state.slopes = slopes if tile.kept else None

    def far_terms(self, state: _Thresholds) -> Limits:
        """A hinge for each threshold of the row."""
        return Limits(state.threshold, state.middle, state.reach)

    def far_found(self, sums: tuple[Tensor, ...], state: _Thresholds) -> None:
        """Take the counts below the thresholds and the hinges from elsewhere."""
        state.below, state.value = sums

    def finish(self, state: _Thresholds) -> Rows:
        """The sum of the hinges of each anchor."""
        offset = state.near.filled(state.threshold - state.middle[:, None], 0.0)
        value = state.value + (offset * state.below).sum(1)
        return Rows(joint=Part(value, state.near.count * state.near.far_count, state.below.sum(1)))

    def slope(self, tile: Tile, state: _Thresholds) -> Tensor:
        """Minus the number of thresholds above each far distance."""
        return count_below(tile.distances, state.threshold) if state.slopes is None else state.slopes

    def near_slope(self, state: _Thresholds) -> Tensor:
        """The number of far columns below each threshold."""
        return state.below
