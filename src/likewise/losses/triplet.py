"""Losses over all triplets of a batch, without a list of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile

__all__ = ["TripletMargin"]


@dataclass
class _Thresholds:
    """For each positive of each row: the threshold ``d_p + m``, and what lies below it."""

    near: Near
    threshold: Tensor  # (r, p); minus infinity where not valid
    below: Tensor  # (r, p) how many far columns lie below
    value: Tensor  # (r,)
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
        threshold = (near.distances + self.margin).masked_fill_(~near.valid, -torch.inf)
        return _Thresholds(near, threshold, torch.zeros_like(threshold), torch.zeros_like(near.count))

    def observe(self, tile: Tile, state: _Thresholds) -> None:
        """Add the hinges of a tile, one positive at a time."""
        slopes = torch.zeros_like(tile.distances)
        scratch = torch.empty_like(tile.distances)
        for number in range(state.threshold.shape[1]):
            threshold = state.threshold[:, number, None]
            state.value += torch.sub(threshold, tile.distances, out=scratch).clamp_(min=0.0).sum(1)
            state.below[:, number] += scratch.sign_().sum(1)
            slopes.sub_(scratch)
        state.slopes = slopes if tile.kept else None

    def finish(self, state: _Thresholds) -> Rows:
        """The sum of the hinges of each anchor."""
        terms = state.near.count * state.near.far_count
        return Rows(joint=Part(state.value, terms, state.below.sum(1)))

    def slope(self, tile: Tile, state: _Thresholds) -> Tensor:
        """Minus the number of thresholds above each far distance."""
        if state.slopes is not None:
            return state.slopes
        slopes, below = torch.zeros_like(tile.distances), torch.empty_like(tile.distances)
        for number in range(state.threshold.shape[1]):
            # a comparison into floats: PyTorch adds up bools an order of magnitude slower
            slopes.sub_(torch.lt(tile.distances, state.threshold[:, number, None], out=below))
        return slopes

    def near_slope(self, state: _Thresholds) -> Tensor:
        """The number of far columns below each threshold."""
        return state.below
