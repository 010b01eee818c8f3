"""Losses of the batch's alike and unlike distances as two crowds: their means, or their histograms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.losses.recorded import shared_sum
from likewise.table import Near, Part, Rows, TableFunction, Tile

__all__ = ["Histogram", "IntraPair"]


@dataclass
class _Sums:
    near: Near
    value: Tensor  # (r,)
    slopes: Tensor | None = None  # of the last tile, where it comes back


class _Cells(TableFunction[_Sums]):
    """A function of each cell alone, one for near and one for far cells, added up in two parts."""

    apart = True

    @abstractmethod
    def near_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes of near distances (r, p), some of which may be infinite."""

    @abstractmethod
    def far_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """The same of a tile (r, c); zero where a distance is infinite."""

    def begin(self, near: Near) -> _Sums:
        return _Sums(near, torch.zeros_like(near.count))

    def observe(self, tile: Tile, state: _Sums) -> None:
        values, slopes = self.far_terms(tile.distances)
        state.value += values.sum(1)
        state.slopes = slopes if tile.kept else None

    def finish(self, state: _Sums) -> Rows:
        near = state.near
        values = near.filled(self.near_terms(near.distances)[0], 0.0).sum(1)
        return Rows(
            near=Part(values, near.count, near.count), far=Part(state.value, near.far_count, near.far_count)
        )

    def slope(self, tile: Tile, state: _Sums) -> Tensor:
        return self.far_terms(tile.distances)[1] if state.slopes is None else state.slopes

    def near_slope(self, state: _Sums) -> Tensor:
        return state.near.filled(self.near_terms(state.near.distances)[1], 0.0)


def _there(distances: Tensor) -> Tensor:
    """One where a distance is finite and zero elsewhere, in its dtype."""
    return torch.lt(distances, torch.inf, out=torch.empty_like(distances))


class _Noting(_Cells):
    """Notes numbers of near and of far cells; has no value."""

    def __init__(self, width: int, like: Tensor) -> None:
        self.near, self.far = (torch.zeros(width, dtype=torch.float64, device=like.device) for _ in range(2))

    @abstractmethod
    def numbers(self, distances: Tensor) -> Tensor:
        """What finite distances (k,) add up to: (width,)."""

    def observe(self, tile: Tile, state: _Sums) -> None:  # noqa: ARG002
        self.far += self.numbers(tile.distances[tile.distances < torch.inf])

    def finish(self, state: _Sums) -> Rows:
        self.near += self.numbers(state.near.distances[state.near.valid])
        zero = state.value
        return Rows(near=Part(zero, state.near.count, zero), far=Part(zero, state.near.far_count, zero))

    def near_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(distances), torch.zeros_like(distances)

    far_terms = near_terms


class _Means(_Noting):
    """The number of cells and the sum of their distances."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(2, like)

    def numbers(self, distances: Tensor) -> Tensor:
        total = distances.sum(dtype=torch.float64)
        return torch.stack([total.new_tensor(float(distances.numel())), total])

    def found(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Count and mean of near and of far distances, of all processes."""
        counts = [shared_sum(part).tolist() for part in (self.near, self.far)]
        near, far = ((count, total / max(1.0, count)) for count, total in counts)
        return near, far


class _Deviations(_Cells):
    """``max(0, d - a)^2`` of near and ``max(0, b - d)^2`` of far cells; notes the sum of the hinges."""

    def __init__(self, near_bound: float, far_bound: float, like: Tensor) -> None:
        self._near_bound, self._far_bound = near_bound, far_bound
        self.near, self.far = (torch.zeros(1, dtype=torch.float64, device=like.device) for _ in range(2))

    def near_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        gap = (distances - self._near_bound).clamp_(min=0.0)
        return gap.square(), 2.0 * gap

    def far_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        gap = (self._far_bound - distances).clamp_(min=0.0)
        return gap.square(), gap.mul_(-2.0)

    def hinges(self, distances: Tensor, *, near: bool) -> Tensor:
        """The sum of the hinges of some distances."""
        gap = distances - self._near_bound if near else self._far_bound - distances
        return gap.clamp_(min=0.0).sum(dtype=torch.float64)


class _Hinges(_Noting):
    """The sums of the hinges of :class:`_Deviations`, whose derivatives by the means they are."""

    def __init__(self, deviations: _Deviations, like: Tensor) -> None:
        super().__init__(1, like)
        self._deviations = deviations
        self._is_near = False

    def numbers(self, distances: Tensor) -> Tensor:
        return self._deviations.hinges(distances, near=self._is_near)[None]

    def finish(self, state: _Sums) -> Rows:
        self._is_near = True
        found = super().finish(state)
        self._is_near = False
        return found


class _Linear(_Cells):
    """``a d`` of near and ``b d`` of far cells."""

    def __init__(self, near: float, far: float) -> None:
        self._near, self._far = near, far

    def near_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        return distances * self._near, torch.full_like(distances, self._near)

    def far_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        there = _there(distances)
        return torch.where(there > 0, distances, 0.0).mul_(self._far), there.mul_(self._far)


class IntraPair(ComposedLoss):
    r"""Intra-pair variance loss (Yu et al. 2020): each pair held near the mean of its kind, from one side.

    With cosines s and their means over all alike and over all unlike pairs, an alike pair costs ``max(0, (1 -
    e) mean+ - s)^2`` and an unlike one ``max(0, s - (1 + e) mean-)^2``. For another distance, which has no
    such sign, ``max(0, d - (1 + e) mean+)^2`` and ``max(0, (1 - e) mean- - d)^2``. Means are of the batch and
    learn too. A term to add to another loss, by :class:`~likewise.losses.Weighted`.

    Defaults: cosine distance (so embeddings are normalised), e = 0.01 for both, alike and unlike pairs
    averaged apart; the same as pytorch-metric-learning's IntraPairVarianceLoss.

    It takes three walks: for the means, for the terms, and for what the means owe to every pair. As the means
    are the batch's, "none" and ``weights`` are refused.

    Parameters
    ----------
    near_slack, far_slack : float, 0 or more
        e.

    References
    ----------
    B. Yu et al., "Tuplet margin loss" (2019), section 3.3: intra-pair variance loss, equations 9 and 10 (from
    memory).

    >>> loss = IntraPair(near_slack=0.0, far_slack=0.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> round(float(loss(x, [0, 0, 1, 1])), 4)  # cosines 1 and 0.8 about 0.9, and 0 and 0.6 about 0.3
    0.05
    """

    def __init__(
        self,
        *,
        near_slack: float = 0.01,
        far_slack: float = 0.01,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        _refuse_none(reduction)
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.near_slack = positive("near_slack", near_slack, zero=True)
        self.far_slack = positive("far_slack", far_slack, zero=True)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # walks are loops: one graph break
    def compose(self, table: Table) -> Tensor:
        """The three walks."""
        _refuse_weights(self, table)
        means, plain = _Means(table.rows), table.detached()
        plain.value(means, self.distance, "sum")
        (near_count, near_mean), (far_count, far_mean) = means.found()
        self.warn_if_empty(near_count + far_count)
        near_rate, far_rate, one = 1.0 + self.near_slack, 1.0 - self.far_slack, 0.0
        if isinstance(self.distance, Cosine):  # of 1 - d
            near_rate, far_rate, one = 1.0 - self.near_slack, 1.0 + self.far_slack, 1.0
        near_bound = one + near_rate * (near_mean - one)
        far_bound = one + far_rate * (far_mean - one)
        function = _Deviations(near_bound, far_bound, table.rows)
        value, _ = table.value(function, self.distance, "sum" if self.reduction == "sum" else "mean")
        if not value.requires_grad:
            return value
        hinges = _Hinges(function, table.rows)
        plain.value(hinges, self.distance, "sum")
        by_near, by_far = float(shared_sum(hinges.near)), float(shared_sum(hinges.far))
        if self.reduction != "sum":
            by_near, by_far = by_near / max(1.0, near_count), by_far / max(1.0, far_count)
        linear = _Linear(
            -2.0 * near_rate * by_near / max(1.0, near_count), 2.0 * far_rate * by_far / max(1.0, far_count)
        )
        owed, _ = table.value(linear, self.distance, "sum")
        return value + (owed - owed.detach())


class _Bins(_Noting):
    """The histogram of cosines: each gives to the two nodes that it lies between."""

    def __init__(self, bins: int, like: Tensor) -> None:
        super().__init__(bins + 1, like)
        self._bins = bins

    def place(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """The node below each distance and how far beyond it, from 0 to 1; nodes ascend with the distance."""
        scaled = distances.clamp(max=2.0) * (self._bins / 2.0)
        below = scaled.floor().clamp_(max=self._bins - 1)
        return below.long(), scaled - below

    def numbers(self, distances: Tensor) -> Tensor:
        below, beyond = self.place(distances.double())
        found = torch.bincount(below, 1.0 - beyond, minlength=self._bins + 1)
        return found + torch.bincount(below + 1, beyond, minlength=self._bins + 1)


class _ByNode(_Cells):
    """What each cell's share of two nodes is worth, from the worth of each node."""

    def __init__(self, bins: _Bins, near: Tensor, far: Tensor, rate: float) -> None:
        self._bins, self._near, self._far, self._rate = bins, near, far, rate

    def _terms(self, distances: Tensor, worth: Tensor) -> tuple[Tensor, Tensor]:
        worth = worth.to(distances.dtype)
        there = _there(distances)
        below, beyond = self._bins.place(distances)
        low, high = worth[below], worth[below + 1]
        slopes = (high - low).mul_(there)
        return torch.addcmul(low * there, slopes, beyond), slopes * self._rate

    def near_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        return self._terms(distances, self._near)

    def far_terms(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        return self._terms(distances, self._far)


class Histogram(ComposedLoss):
    r"""Histogram loss (Ustinova, Lempitsky 2016): how likely an unlike pair is more alike than an alike one.

    ``sum_r h-_r sum_{q <= r} h+_q`` over the histograms of the cosines of all alike and of all unlike pairs,
    each pair giving to the two nodes it lies between, linearly. There is no parameter but the number of bins.

    Defaults: the cosine distance (embeddings are normalised; another has no bounds for the bins), 100 bins of
    width 0.02 over cosines from -1 to 1. pytorch-metric-learning's HistogramLoss is the same.

    The loss is one number for the batch: mean, active and sum are the same; "none" and ``weights`` are
    refused. It walks twice: for the histograms, and for what each node is worth.

    Parameters
    ----------
    bins : int, 2 or more

    References
    ----------
    E. Ustinova, V. Lempitsky, "Learning deep embeddings with histogram loss", 2016, equations 2 to 5 (numbers
    from memory).

    >>> loss = Histogram(bins=2)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> loss(x, [0, 0, 1])  # alike at 1, unlike at -1
    tensor(0.)
    """

    def __init__(
        self,
        *,
        bins: int = 100,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        _refuse_none(reduction)
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")
        if not isinstance(bins, int) or bins < 2:
            raise InputError(f"bins must be a whole number from 2; found {bins!r}")
        self.bins = bins

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # walks are loops: one graph break
    def compose(self, table: Table) -> Tensor:
        """The two walks."""
        _refuse_weights(self, table)
        bins = _Bins(self.bins, table.rows)
        table.detached().value(bins, self.distance, "sum")
        near, far = shared_sum(bins.near), shared_sum(bins.far)
        counts = float(near.sum()), float(far.sum())
        self.warn_if_empty(min(counts))
        near, far = near / max(1.0, counts[0]), far / max(1.0, counts[1])
        # nodes ascend with the distance: "more alike" is at or below
        at_or_beyond = near.flip(0).cumsum(0).flip(0)
        worth_far, worth_near = at_or_beyond / max(1.0, counts[1]), far.cumsum(0) / max(1.0, counts[0])
        function = _ByNode(bins, worth_near, worth_far, self.bins / 2.0)
        value, _ = table.value(function, self.distance, "sum")
        total = (far * at_or_beyond).sum().to(table.rows.dtype)
        return total + (value - value.detach())


def _refuse_none(reduction: ReductionName | None) -> None:
    if reduction == "none":
        raise InputError(
            'reduction must be "mean", "active" or "sum", as the loss is the batch\'s; found "none"'
        )


def _refuse_weights(loss: ComposedLoss, table: Table) -> None:
    if table.weights is not None:
        raise InputError(f"{type(loss).__name__} takes no weights: it belongs to the batch")
