"""Ranked list loss: far cells inside a boundary are pushed, near ones outside it pulled, by weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.exponentials import exponentials

__all__ = ["RankedList"]


@dataclass
class _Means:
    """The weighted mean of a row's gaps ``a - d_n``; the nearest far cell weighs one."""

    near: Near
    least: Tensor  # (r,) the nearest far distance
    total: Tensor  # (r,) the sum of the weights
    gaps: Tensor  # (r,) the sum of weights times gaps
    pull: Tensor  # (r,) the near cells' weighted mean
    near_slopes: Tensor  # (r, p)
    kept: tuple[Tensor, Tensor] | None = None  # weights and gaps of the last tile, where it comes back

    @property
    def push(self) -> Tensor:
        """The far cells' weighted mean."""
        # the nearest weighs one, so a total is at least that, or zero where nothing is within the boundary
        return self.gaps / self.total.clamp(min=0.5)


class RankedList(TableLoss[_Means]):
    r"""Ranked list loss (Wang et al. 2019): near cells within ``a - m``, far ones beyond a, by weight.

    An anchor costs ``(1 - l) sum_p w_p (d_p - (a - m)) / sum_p w_p + l sum_n w_n (a - d_n) / sum_n w_n`` over
    its near cells beyond ``a - m`` and its far cells within a, with ``w_p = exp(T_p (d_p - (a - m)))`` and
    ``w_n = exp(T_n (a - d_n))``: the worse, the more it counts.

    Defaults: Euclidean distance, a = 1.2, m = 0.4, ``T_n = 10``, ``T_p = 0``, l = 0.5, the mean over rows.
    The paper normalises embeddings. pytorch-metric-learning's RankedListLoss is the same on normalised
    embeddings but for 1e-5 added to every weight of the divisors; gradients flow through the weights there,
    and here by default.

    A listed quadruplet is a row of one near and one far distance, as a triplet is.

    Parameters
    ----------
    boundary : float, above 0
        a.
    margin : float, 0 or more
        m, of which ``boundary`` is at least as large.
    near_temperature, far_temperature : float, 0 or more
        T_p and T_n.
    balance : float from 0 to 1
        l.
    weights_learn : bool
        Whether gradients flow through the weights.

    References
    ----------
    X. Wang, Y. Hua, E. Kodirov, G. Hu, R. Garnier, N. M. Robertson, "Ranked list loss for deep metric
    learning", 2019, equations 5 to 9 (numbers from memory).

    >>> loss = RankedList(boundary=2.0, margin=1.5, far_temperature=0.0)
    >>> x = torch.tensor([[0.0], [1.0], [1.5]])
    >>> loss(x, [0, 0, 1])  # ((0.5 + 0.5) + (0.5 + 1.5) + (0 + 1)) / 2 / 3
    tensor(0.6667)
    """

    def __init__(
        self,
        *,
        boundary: float = 1.2,
        margin: float = 0.4,
        near_temperature: float = 0.0,
        far_temperature: float = 10.0,
        balance: float = 0.5,
        weights_learn: bool = True,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self.boundary = positive("boundary", boundary)
        self.margin = positive("margin", margin, zero=True)
        if self.margin > self.boundary:
            raise InputError(f"margin must be at most boundary ({boundary}); found {margin}")
        self.near_temperature = positive("near_temperature", near_temperature, zero=True)
        self.far_temperature = positive("far_temperature", far_temperature, zero=True)
        if positive("balance", balance, zero=True) > 1:
            raise InputError(f"balance must be from 0 to 1; found {balance}")
        self.balance = float(balance)
        self.weights_learn = bool(weights_learn)

    def begin(self, near: Near) -> _Means:
        """The near cells' mean."""
        gap = near.distances - (self.boundary - self.margin)
        some = near.valid & (gap > 0)
        gap = torch.where(some, gap, 0.0)
        nothing = torch.zeros_like(near.count)
        least = torch.full_like(nothing, torch.inf)
        if not gap.shape[1]:
            return _Means(near, least, nothing, nothing.clone(), nothing, gap)
        # from the largest exponent, so that no temperature overflows
        weights = torch.where(some, (self.near_temperature * (gap - gap.amax(1, keepdim=True))).exp_(), 0.0)
        weights /= weights.sum(1, keepdim=True).clamp(min=torch.finfo(gap.dtype).tiny)
        pull = (weights * gap).sum(1)
        if self.weights_learn:
            weights = weights * (1 + self.near_temperature * (gap - pull[:, None]))
        return _Means(near, least, nothing, nothing.clone(), pull, weights)

    def _weights(self, tile: Tile, least: Tensor, total: Tensor | None) -> Tensor:
        """``exp(T_n (least - d))`` within the boundary, else zero; their sums by row are added to total."""
        if not self.far_temperature:  # which times an infinite distance is no number
            weights = torch.lt(tile.distances, self.boundary, out=torch.empty_like(tile.distances))
            if total is not None:
                total += weights.sum(1)
            return weights
        shift = torch.where(least < torch.inf, least, 0.0) * self.far_temperature
        limit = torch.full_like(least, self.boundary)
        return exponentials(tile.distances, -self.far_temperature, shift, total=total, limit=limit)

    def _gaps(self, tile: Tile) -> Tensor:
        return (self.boundary - tile.distances).clamp_(min=0.0)

    def observe(self, tile: Tile, state: _Means) -> None:
        """Fold a tile into the sums."""
        if not tile.distances.shape[1]:
            return
        least = torch.minimum(state.least, tile.distances.amin(1))
        if bool(state.total.any()):
            # what was summed beside another cell before
            shrink = (self.far_temperature * (least - state.least)).exp_().nan_to_num_(0.0)
            state.total, state.gaps = state.total * shrink, state.gaps * shrink
        else:
            state.total, state.gaps = torch.zeros_like(least), torch.zeros_like(least)
        state.least = least
        weights, gaps = self._weights(tile, least, state.total), self._gaps(tile)
        state.gaps += torch.linalg.vecdot(weights, gaps)
        state.kept = (weights, gaps) if tile.kept else None

    def finish(self, state: _Means) -> Rows:
        """The two weighted means; every row that has a near or a far cell is a term."""
        value = (1.0 - self.balance) * state.pull + self.balance * state.push
        terms = (state.near.count > 0) | (state.near.far_count > 0)
        return Rows(joint=Part(value, terms, terms & (value != 0)))

    def slope(self, tile: Tile, state: _Means) -> Tensor:
        """Minus each far cell's weight, and what moving it does to the weights."""
        if state.kept is None:
            weights, gaps = self._weights(tile, state.least, None), self._gaps(tile)
        else:
            weights, gaps = state.kept
        factor = -self.balance / state.total.clamp(min=0.5)
        if not self.weights_learn:
            return weights * factor[:, None]
        by_gap = factor * self.far_temperature
        offset = torch.addcmul(factor, by_gap, state.push, value=-1.0)
        return gaps.mul_(by_gap[:, None]).add_(offset[:, None]).mul_(weights)

    def near_slope(self, state: _Means) -> Tensor:
        """The near cells' weights, and what moving one does to them."""
        return state.near_slopes * (1.0 - self.balance)
