"""Ranked list loss: far cells inside a boundary are pushed, near ones outside it pulled, by weight."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Distance, Euclidean
from likewise.errors import InputError
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.table import Part, WholeRows

__all__ = ["RankedList"]


class _Lists(WholeRows):
    def __init__(self, loss: RankedList) -> None:
        self._loss = loss

    def rows(self, distances: Tensor, near: Tensor, far: Tensor) -> Tensor:
        loss = self._loss
        pull = self._mean(distances - (loss.boundary - loss.margin), near, loss.near_temperature)
        push = self._mean(loss.boundary - distances, far, loss.far_temperature)
        return (1.0 - loss.balance) * pull + loss.balance * push

    def _mean(self, gap: Tensor, cells: Tensor, temperature: float) -> Tensor:
        """The weighted mean of the gaps above zero, zero in rows that have none."""
        some = cells & (gap.detach() > 0)
        gap = torch.where(some, gap, 0.0)
        weighing = gap if self._loss.weights_learn else gap.detach()
        # from the largest exponent, so that no temperature overflows
        largest = torch.where(some, gap.detach(), -torch.inf).amax(1, keepdim=True).clamp(min=0.0)
        weights = torch.where(some, (temperature * (weighing - largest)).exp(), 0.0)
        return (weights * gap).sum(1) / weights.sum(1).clamp(min=torch.finfo(gap.dtype).tiny)

    def part(self, value: Tensor, near: Tensor, far: Tensor) -> Part:
        """Every row that has a near or a far cell is a term."""
        terms = near.any(1) | far.any(1)
        return Part(torch.where(terms, value, 0.0), terms, terms & (value != 0))


class RankedList(Loss):
    r"""Ranked list loss (Wang et al. 2019): near cells within ``a - m``, far ones beyond a, by weight.

    An anchor costs ``(1 - l) sum_p w_p (d_p - (a - m)) / sum_p w_p + l sum_n w_n (a - d_n) / sum_n w_n`` over
    its near cells beyond ``a - m`` and its far cells within a, with ``w_p = exp(T_p (d_p - (a - m)))`` and
    ``w_n = exp(T_n (a - d_n))``: the worse, the more it counts.

    Defaults: Euclidean distance, a = 1.2, m = 0.4, ``T_n = 10``, ``T_p = 0``, l = 0.5, the mean over rows.
    The paper normalises embeddings. pytorch-metric-learning's RankedListLoss is the same on normalised
    embeddings but for 1e-5 added to every weight of the divisors; gradients flow through the weights there,
    and here by default.

    It reads whole rows and is differentiated by autograd: memory is a few blocks of rows against all columns.
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

    def function(self) -> _Lists:
        """The two weighted means of each row."""
        return _Lists(self)
