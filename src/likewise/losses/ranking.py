"""Losses that count, softly, which columns come before each positive: surrogates of average precision.

A positive at distance d_p has ``R = sum_n sigmoid((d_p - d_n) / t)`` negatives before it. The sums need no
table of pairs: each positive is one pass over a tile, or over its bins.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile
from likewise.table.sigmoids import add_ranks, rank_slopes

__all__ = ["PNP", "Ranking", "Ranks", "SmoothAP"]


@dataclass
class Ranks:
    """For each positive of each row: how many negatives come before it, softly."""

    near: Near
    threshold: Tensor  # (r, q) the positives' distances; minus infinity where not valid
    valid: Tensor  # (r, q)
    before: Tensor  # (r, q) the sum of the sigmoids
    steep: Tensor  # (r, q) the sum of their derivatives, times the temperature
    by_before: Tensor | None = None  # (r, q) the derivative of the value by ``before``
    by_near: Tensor | None = None  # (r, p)


class Ranking(TableLoss[Ranks]):
    """The walk of a loss that reads, of each positive, how many negatives come before it."""

    def __init__(
        self,
        *,
        temperature: float,
        count_self: bool,
        distance: Distance | str | None,
        reduction: ReductionName | None,
        miner: Miner | None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.temperature = positive("temperature", temperature)
        self.count_self = bool(count_self)

    def begin(self, near: Near) -> Ranks:
        """No negative was seen yet."""
        threshold, valid = near.distances.masked_fill(~near.valid, -torch.inf), near.valid
        if self.count_self:
            own = near.count[:, None] > 0
            threshold = torch.cat([threshold, torch.zeros_like(near.count)[:, None]], dim=1)
            valid = torch.cat([valid, own], dim=1)
        zero = torch.zeros_like(threshold)
        return Ranks(near, threshold, valid, zero, zero.clone())

    def observe(self, tile: Tile, state: Ranks) -> None:
        """Count a tile."""
        rate = 1.0 / self.temperature
        add_ranks(tile.distances, state.threshold, rate, before=state.before, steep=state.steep)

    def finish(self, state: Ranks) -> Rows:
        """The value of each row that has a positive and a negative."""
        has = (state.near.count > 0) & (state.near.far_count > 0)
        valid = state.valid & has[:, None]
        share = (
            valid.to(state.before.dtype) / (state.near.count + float(self.count_self)).clamp(min=1)[:, None]
        )
        value, by_before, by_threshold = self.row(state, share)
        state.by_before = by_before.masked_fill_(~valid, 0.0)
        slopes = (state.by_before * state.steep).div_(self.temperature)
        if by_threshold is not None:
            slopes += by_threshold.masked_fill_(~valid, 0.0)
        state.by_near = slopes[:, : state.near.distances.shape[1]]
        value = torch.where(has, value, 0.0)
        return Rows(joint=Part(value, has, value != 0))

    @abstractmethod
    def row(self, state: Ranks, share: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Say what the counts are worth.

        share : (r, q) one over the number of positives, zero where not valid.

        Returns the values (r,), their derivatives by the counts (r, q) and, where the value reads the
        positives' distances too, by those (r, q).
        """

    def positives_before(self, state: Ranks) -> tuple[Tensor, Tensor]:
        """How many other positives come before each, softly, and the derivatives of that, times t: (r, q)."""
        before, steep = torch.zeros_like(state.before), torch.zeros_like(state.before)
        rate = 1.0 / self.temperature
        add_ranks(self._positives(state), self._limits(state), rate, before=before, steep=steep)
        # each has come before itself by a half
        return before.sub_(0.5).masked_fill_(~state.valid, 0.0), steep

    def by_positives(self, state: Ranks, by_count: Tensor, steep: Tensor) -> Tensor:
        """The derivatives by the positives' distances (r, q), from those by :meth:`positives_before`.

        What moving a positive does to its own count and what it does to the others'; of itself nothing stays.
        """
        rate = 1.0 / self.temperature
        by_count = by_count.masked_fill(~state.valid, 0.0)
        others = rank_slopes(self._positives(state), self._limits(state), rate, by_count)
        return (by_count * steep).sub_(others).div_(self.temperature)

    def _positives(self, state: Ranks) -> Tensor:
        """The positives' distances as cells: infinite where there is none."""
        return state.threshold.masked_fill(~state.valid, torch.inf)

    def _limits(self, state: Ranks) -> Tensor:
        """The same as limits."""
        return state.threshold.masked_fill(~state.valid, -torch.inf)

    def slope(self, tile: Tile, state: Ranks) -> Tensor:
        """Minus each sigmoid's derivative, weighted and summed over the positives."""
        assert state.by_before is not None
        rate = 1.0 / self.temperature
        return rank_slopes(tile.distances, state.threshold, rate, state.by_before * -rate)

    def near_slope(self, state: Ranks) -> Tensor:
        """What moving a positive farther costs."""
        assert state.by_near is not None
        return state.by_near


class PNP(Ranking):
    r"""Penalising negatives before positives (Li et al. 2022): what average precision lacks, and no more.

    With ``R_p = sum_n sigmoid((d_p - d_n) / t)`` negatives before positive p, an anchor costs the mean over
    its positives of ``f(R_p)``, where f is, by variant,

    - ``"linear"`` (O): ``R``
    - ``"log"`` (D_s): ``log(1 + R)``
    - ``"power"`` (D_q): ``1 - (1 + R)^-a``
    - ``"entropy"`` (I_u): ``(1 + R) log(1 + R)``
    - ``"bounded"`` (I_b): ``(b R - log(1 + b R)) / b^2``

    Defaults: cosine distance (so embeddings are normalised), temperature 0.01, variant O, mean over the
    anchors that have a positive and a negative. The authors' code, and pytorch-metric-learning's PNPLoss
    after it, count the anchor as a positive of its own (``count_self=True``); the formula doesn't.

    Time: one sigmoid for each positive and column of a row; of float32 and many positives hardly more than
    one for each column, by bins (:mod:`~likewise.table.sigmoids`).

    Parameters
    ----------
    variant : {"linear", "log", "power", "entropy", "bounded"}
    temperature : float, above 0
        t, in units of the distance.
    exponent : float, above 0
        a of "power".
    bound : float, above 0
        b of "bounded".
    count_self : bool
        Whether the anchor is one more positive, at distance zero.

    References
    ----------
    Z. Li et al., "Rethinking the optimization of average precision: only penalizing negative instances
    before positive ones is enough", 2022, section 3 (from memory; the authors' code as in
    pytorch-metric-learning).

    >>> loss = PNP(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> value = loss(x, [0, 0, 1])  # anchor 0 has both others at 1, anchor 1 at 1 and 2
    >>> round(float(value), 4)  # the mean of sigmoid(0) and sigmoid(-1)
    0.3845
    """

    def __init__(
        self,
        *,
        variant: Literal["linear", "log", "power", "entropy", "bounded"] = "linear",
        temperature: float = 0.01,
        exponent: float = 1.0,
        bound: float = 2.0,
        count_self: bool = False,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            temperature=temperature,
            count_self=count_self,
            distance=distance,
            reduction=reduction,
            miner=miner,
        )
        if variant not in ("linear", "log", "power", "entropy", "bounded"):
            raise InputError(f"variant must be linear, log, power, entropy or bounded; found {variant!r}")
        self.variant = variant
        self.exponent = positive("exponent", exponent)
        self.bound = positive("bound", bound)

    def _penalty(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """F and its derivative."""
        one = torch.ones_like(before)
        if self.variant == "linear":
            return before, one
        if self.variant == "log":
            return before.log1p(), one / (1.0 + before)
        if self.variant == "power":
            # 1 - exp(-a log(1 + R)), which keeps small R exact
            logarithm = before.log1p()
            slope = (logarithm * -(self.exponent + 1.0)).exp_() * self.exponent
            return -torch.expm1(logarithm * -self.exponent), slope
        if self.variant == "entropy":
            logarithm = before.log1p()
            return (1.0 + before) * logarithm, logarithm + 1.0
        scaled = before * self.bound
        return (scaled - scaled.log1p()) / self.bound**2, before / (1.0 + scaled)

    def row(self, state: Ranks, share: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The mean penalty of each anchor's positives."""
        penalty, slope = self._penalty(state.before)
        return (penalty * share).sum(1), slope * share, None


class SmoothAP(Ranking):
    r"""Smooth-AP (Brown et al. 2020): one minus average precision, its steps softened to sigmoids.

    With ``P_i = 1 + sum_{j in P, j != i} sigmoid((d_i - d_j) / t)``, the soft rank of positive i among the
    positives, and ``R_i = sum_{n in N} sigmoid((d_i - d_n) / t)`` negatives before it, an anchor costs
    ``1 - 1/|P| sum_{i in P} P_i / (P_i + R_i)``. Classes may be of any size.

    Defaults: cosine distance (so embeddings are normalised), temperature 0.01, mean over the anchors that
    have a positive and a negative. The authors' code, and pytorch-metric-learning's SmoothAPLoss after it,
    count the anchor as a positive of its own (``count_self=True``) and want classes of one size; the latter
    is right only where there are as many classes as items a class.

    Time: one sigmoid for each positive and column of a row; of float32 and many positives hardly more than
    one for each column, by bins (:mod:`~likewise.table.sigmoids`).

    Parameters
    ----------
    temperature : float, above 0
        t, in units of the distance.
    count_self : bool
        Whether the anchor is one more positive, at distance zero.

    References
    ----------
    A. Brown, W. Xie, V. Kalogeiton, A. Zisserman, "Smooth-AP: smoothing the path towards large-scale image
    retrieval", 2020, equations 6 to 8 (numbers from memory).

    >>> loss = SmoothAP(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> value = loss(x, [0, 0, 1])  # anchor 0 sees d = 1, 2; anchor 1 sees 1, 1
    >>> round(float(value), 4)  # 1 - (1 / (1 + sigmoid(-1)) + 1 / (1 + sigmoid(0))) / 2
    0.2726
    """

    def __init__(
        self,
        *,
        temperature: float = 0.01,
        count_self: bool = False,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            temperature=temperature,
            count_self=count_self,
            distance=distance,
            reduction=reduction,
            miner=miner,
        )

    def row(self, state: Ranks, share: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """One minus the soft average precision."""
        rank, steep = self.positives_before(state)
        rank = rank.add_(1.0)
        whole = rank + state.before
        value = (share * state.before / whole).sum(1)
        by_rank = -share * state.before / whole.square()
        return value, share * rank / whole.square(), self.by_positives(state, by_rank, steep)
