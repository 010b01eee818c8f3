"""The triplet network's loss: a softmax over the two distances of a triplet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.sigmoids import add_ratios

__all__ = ["TripletRatio"]


@dataclass
class _Ratios:
    """For each positive of each row: its distance, and the pull that the far columns give it."""

    near: Near
    positive: Tensor  # (r, p); minus infinity where not valid
    pull: Tensor  # (r, p)
    value: Tensor  # (r,)
    active: Tensor  # (r,)
    slopes: Tensor | None = None  # of the last tile, where it comes back


class TripletRatio(TableLoss[_Ratios]):
    r"""The ratio loss of triplet networks, over all triplets of a batch (Hoffer, Ailon 2015).

    With ``d+ = exp(d_p) / (exp(d_p) + exp(d_n))`` and ``d- = 1 - d+`` the paper's loss of a triplet is
    ``|(d+, d- - 1)|^2 = 2 (d+)^2``; the authors' code takes the mean of the two squares, ``(d+)^2``. There is
    no margin, and the loss is bounded: an embedding collapsed to one point gives exactly ``d+ = 1/2``, a loss
    of 1/2 (1/4 at the code's scale), which makes an alarm. Its slope fades for very hard triplets as for easy
    ones and is largest at ``d+ = 2/3``; larger norms lower the loss, so weight decay belongs to it.

    Each anchor takes all pairs of its positives and negatives; the paper draws random triplets (here: a
    ``Triplets`` relation).

    Defaults: Euclidean distance (not squared), embeddings as given, the paper's scale, mean over all
    triplets. Other libraries call only the margin form a triplet loss (here :class:`TripletMargin`).

    Parameters
    ----------
    scale : {"paper", "code"}
        ``2 (d+)^2`` or ``(d+)^2``.
    temperature : float, above 0
        Distances are divided by it; 1 is the paper.

    References
    ----------
    E. Hoffer, N. Ailon, "Deep metric learning using triplet network", 2015, section 2.1 (unnumbered, from
    memory).

    >>> loss = TripletRatio()
    >>> loss(torch.zeros(3, 2), [0, 0, 1])
    tensor(0.5000)
    """

    def __init__(
        self,
        *,
        scale: Literal["paper", "code"] = "paper",
        temperature: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        if scale not in ("paper", "code"):
            raise InputError(f'scale must be "paper" or "code"; found {scale!r}')
        self.scale = scale
        self.temperature = positive("temperature", temperature)
        self._factor = 2.0 if scale == "paper" else 1.0

    def begin(self, near: Near) -> _Ratios:
        """The positives' distances."""
        distances = near.distances.masked_fill(~near.valid, -torch.inf)
        zero = torch.zeros_like(near.count)
        return _Ratios(near, distances, torch.zeros_like(distances), zero, zero.clone())

    def observe(self, tile: Tile, state: _Ratios) -> None:
        """Add the terms of a tile."""
        active = state.active if self.reduction == "active" else None
        slopes = self._ratios(tile, state.positive, state.value, state.pull, active)
        state.slopes = slopes if tile.kept else None

    def _ratios(
        self, tile: Tile, positive: Tensor, value: Tensor, pull: Tensor, active: Tensor | None = None
    ) -> Tensor:
        rate = 1.0 / self.temperature
        return add_ratios(tile.distances, positive, rate, value=value, pull=pull, active=active)

    def finish(self, state: _Ratios) -> Rows:
        """The sum over the triplets of each anchor."""
        terms = state.near.count * state.near.far_count
        return Rows(joint=Part(state.value * self._factor, terms, state.active))

    def slope(self, tile: Tile, state: _Ratios) -> Tensor:
        """``-2 (d+)^2 (1 - d+)``, summed over the positives."""
        slopes = state.slopes
        if slopes is None:
            unused = torch.zeros_like(state.value), torch.zeros_like(state.pull)
            slopes = self._ratios(tile, state.positive, *unused)
        return slopes.mul_(2.0 * self._factor / self.temperature)

    def near_slope(self, state: _Ratios) -> Tensor:
        """``2 (d+)^2 (1 - d+)``, summed over the negatives."""
        return state.pull * (2.0 * self._factor / self.temperature)
