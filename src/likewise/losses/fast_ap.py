"""Average precision from a soft histogram of each row's distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.bins import bin_counts, bin_steps

__all__ = ["FastAP"]


@dataclass
class _Histogram:
    """The near cells in units of a bin, and how many far ones lie below the end of each bin, softly."""

    near: Near
    position: Tensor  # (r, p)
    below: Tensor  # (r, bins + 1)
    by_below: Tensor | None = None  # (r, bins + 1) the derivative of the value by ``below``
    by_near: Tensor | None = None  # (r, p)


class FastAP(TableLoss[_Histogram]):
    r"""FastAP (Cakir et al. 2019): one minus average precision over a soft histogram of distances.

    Distances fall into bins whose centres lie at ``0, D, 2 D, ..., limit``; a distance is shared between its
    two neighbours by ``max(0, 1 - |d - c_j| / D)``. With ``h_j`` positives in bin j, ``H_j`` positives and
    ``A_j`` columns in all bins up to j, an anchor costs ``1 - 1/|P| sum_j h_j H_j / A_j``. For the far
    columns only the cumulated counts matter, and they are one clamp a bin.

    Defaults: cosine distance (so embeddings are normalised), 10 intervals over [0, 2], mean over the
    anchors that have a positive and a negative. The paper, its code, and pytorch-metric-learning's
    FastAPLoss bin the squared Euclidean distance of unit vectors over [0, 4], which is twice ours: the same
    histogram; the code also counts anchors without a negative, which are at zero.

    Parameters
    ----------
    bins : int, 1 or more
        Intervals between centres; there are ``bins + 1`` centres.
    limit : float, above 0
        The last centre, in units of the distance. What lies a whole bin beyond it counts nowhere.

    References
    ----------
    F. Cakir, K. He, X. Xia, B. Kulis, S. Sclaroff, "Deep metric learning to rank", 2019, equations 5 to 8
    (numbers from memory).

    >>> loss = FastAP(bins=2)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> loss(x, [0, 0, 1])  # anchor 0 has both in one bin: 1/2; anchor 1 its negative first: 1/2
    tensor(0.5000)
    """

    def __init__(
        self,
        *,
        bins: int = 10,
        limit: float = 2.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
            raise InputError(f"bins must be a whole number from 1; found {bins!r}")
        self.bins = bins
        self.limit = positive("limit", limit)

    def begin(self, near: Near) -> _Histogram:
        """No far column was seen yet."""
        # what is not valid lies beyond the last bin
        position = near.distances * (self.bins / self.limit)
        return _Histogram(near, position, near.count.new_zeros(near.count.shape[0], self.bins + 1))

    def observe(self, tile: Tile, state: _Histogram) -> None:
        """Add up how far each column lies below the end of each bin, at most one."""
        # beyond the last centre there is one more bin to fall off
        found = bin_counts(tile.distances, self.bins + 1, self.bins / self.limit)
        state.below += found[:, :-1].cumsum(1)

    def finish(self, state: _Histogram) -> Rows:
        """One minus the average precision of the histogram."""
        count, position = state.near.count, state.position
        inside = torch.zeros_like(state.below)
        for number in range(self.bins + 1):
            inside[:, number] = (1.0 - (position - number).abs_()).clamp_(min=0.0).sum(1)
        positives = inside.cumsum(1)
        everything = positives + state.below
        # an empty beginning of the histogram has no precision: nothing over nothing is nothing
        scale = torch.where(everything > 0, 1.0 / everything, 0.0)
        share = 1.0 / count.clamp(min=1)[:, None]
        has = (count > 0) & (state.near.far_count > 0)
        # one minus the sum of h H / A is the sum of h (A - H) / A and what lies outside of all bins: so
        # taken, a perfect row is exactly zero
        outside = (position - self.bins).clamp_(min=0.0, max=1.0) + (-position).clamp_(min=0.0, max=1.0)
        outside.masked_fill_(~state.near.valid, 0.0)
        lost = (inside * state.below * scale).sum(1) + outside.sum(1)
        value = torch.where(has, lost * share[:, 0], 0.0)
        share = share * has[:, None]
        state.by_below = inside * positives * scale.square() * share
        rising = (inside * state.below * scale.square()).flip(1).cumsum(1).flip(1)
        by_inside = (positives * scale + rising).mul_(-share)
        state.by_near = torch.zeros_like(position)
        for number in range(self.bins + 1):
            offset = position - number
            pulse = torch.where(offset.abs() < 1, -offset.sign(), 0.0)
            state.by_near += pulse.mul_(by_inside[:, number, None])
        state.by_near *= self.bins / self.limit
        return Rows(joint=Part(value, has, value != 0))

    def slope(self, tile: Tile, state: _Histogram) -> Tensor:
        """Minus the worth of the one bin end above each column, per unit of distance."""
        assert state.by_below is not None
        scale = self.bins / self.limit
        beyond = torch.zeros_like(state.by_below[:, :1])
        return bin_steps(tile.distances, torch.cat([state.by_below * -scale, beyond], 1), scale)

    def near_slope(self, state: _Histogram) -> Tensor:
        """What moving a positive farther costs."""
        assert state.by_near is not None
        return state.by_near
