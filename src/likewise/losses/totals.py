"""Losses of the batch's alike and unlike distances as two crowds: their means, or their histograms."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.losses.crowds import Crowds, crowd_value
from likewise.table.bins import bin_counts, bin_steps

__all__ = ["Histogram", "IntraPair"]


class _Deviations(Crowds):
    """``max(0, d - a)^2`` of near and ``max(0, b - d)^2`` of far cells, a and b of the crowds' means."""

    steps = 2

    def __init__(self, loss: IntraPair) -> None:
        self._loss = loss
        self._mean = loss.reduction != "sum"
        self._bounds, self._rates, self._one = [0.0, 0.0], [0.0, 0.0], 0.0
        if isinstance(loss.distance, Cosine):  # the bounds are of 1 - d
            self._rates, self._one = [1.0 - loss.near_slack, 1.0 + loss.far_slack], 1.0
        else:
            self._rates = [1.0 + loss.near_slack, 1.0 - loss.far_slack]
        self.counts, self._hinges, self._squares = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]

    def _gap(self, distances: Tensor, *, near: bool) -> Tensor:
        """The hinges; of an infinite distance zero."""
        if near:
            return (distances - self._bounds[0]).clamp_(min=0.0).masked_fill_(distances == torch.inf, 0.0)
        return (self._bounds[1] - distances).clamp_(min=0.0)

    def numbers(self, step: int, distances: Tensor, *, near: bool) -> Tensor:
        """How many there are and their sum; then the sums of the hinges and of their squares."""
        if step == 0:
            outside = distances == torch.inf
            count = distances.numel() - torch.count_nonzero(outside)
            return torch.stack([count.double(), distances.masked_fill(outside, 0.0).sum(dtype=torch.float64)])
        gap = self._gap(distances, near=near)
        return torch.stack([gap.sum(dtype=torch.float64), gap.square_().sum(dtype=torch.float64)])

    def settle(self, step: int, near: Tensor, far: Tensor) -> None:
        """The bounds, and what there is beyond them."""
        for which, part in enumerate((near, far)):
            first, second = part.tolist()
            if step == 0:
                self.counts[which] = first
                mean = second / max(1.0, first)
                self._bounds[which] = self._one + self._rates[which] * (mean - self._one)
            else:
                self._hinges[which], self._squares[which] = first, second

    def _share(self, which: int) -> float:
        return 1.0 / max(1.0, self.counts[which]) if self._mean else 1.0

    def slopes(self, distances: Tensor, *, near: bool) -> Tensor:
        """Those of the hinge itself, and what the mean owes to every cell."""
        which, sign = (0, 1.0) if near else (1, -1.0)
        share = self._share(which)
        owed = -2.0 * sign * self._rates[which] * self._hinges[which] * share / max(1.0, self.counts[which])
        slopes = self._gap(distances, near=near).mul_(2.0 * sign * share).add_(owed)
        return slopes.masked_fill_(distances == torch.inf, 0.0)

    def value(self) -> float:
        """The squares of both."""
        return sum(self._squares[which] * self._share(which) for which in (0, 1))


class IntraPair(ComposedLoss):
    r"""Intra-pair variance loss (Yu et al. 2020): each pair held near the mean of its kind, from one side.

    With cosines s and their means over all alike and over all unlike pairs, an alike pair costs ``max(0, (1 -
    e) mean+ - s)^2`` and an unlike one ``max(0, s - (1 + e) mean-)^2``. For another distance, which has no
    such sign, ``max(0, d - (1 + e) mean+)^2`` and ``max(0, (1 - e) mean- - d)^2``. Means are of the batch and
    learn too. A term to add to another loss, by :class:`~likewise.losses.Weighted`.

    Defaults: cosine distance (so embeddings are normalised), e = 0.01 for both, alike and unlike pairs
    averaged apart; the same as pytorch-metric-learning's IntraPairVarianceLoss.

    A table of more than one tile is walked three times: for the means, for the sums of the hinges, by which
    the means owe something to every pair, and for the slopes. As the means are the batch's, "none" and
    ``weights`` are refused.

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
        """The crowds' means, what deviates from them, and slopes."""
        _refuse_weights(self, table)
        crowds = _Deviations(self)
        value = crowd_value(crowds, table, self.distance)
        self.warn_if_empty(sum(crowds.counts))
        return value


class _Overlap(Crowds):
    """Two histograms, whose nodes ascend with the distance: how likely unlike is more alike than alike."""

    steps = 1

    def __init__(self, bins: int) -> None:
        self._bins, self._scale = bins, bins / 2.0
        self._worth: list[Tensor] = []
        self._value = 0.0
        self.counts = 0.0, 0.0

    def numbers(self, step: int, distances: Tensor, *, near: bool) -> Tensor:  # noqa: ARG002
        """What each gives to the two nodes that it lies between."""
        return bin_counts(distances.reshape(1, -1), self._bins, self._scale)[0]

    def settle(self, step: int, near: Tensor, far: Tensor) -> None:  # noqa: ARG002
        """The value, and what each node is worth."""
        self.counts = float(near.sum()), float(far.sum())
        near, far = near / max(1.0, self.counts[0]), far / max(1.0, self.counts[1])
        at_or_beyond = near.flip(0).cumsum(0).flip(0)  # "more alike" is at or below
        self._value = float((far * at_or_beyond).sum())
        self._worth = [far.cumsum(0) / max(1.0, self.counts[0]), at_or_beyond / max(1.0, self.counts[1])]

    def slopes(self, distances: Tensor, *, near: bool) -> Tensor:
        """The difference of the two nodes' worth, over the width of a bin."""
        steps = self._worth[0 if near else 1].diff()[None] * self._scale
        return bin_steps(distances.reshape(1, -1), steps, self._scale).view(distances.shape)

    def value(self) -> float:
        """The sum over both histograms."""
        return self._value


class Histogram(ComposedLoss):
    r"""Histogram loss (Ustinova, Lempitsky 2016): how likely an unlike pair is more alike than an alike one.

    ``sum_r h-_r sum_{q <= r} h+_q`` over the histograms of the cosines of all alike and of all unlike pairs,
    each pair giving to the two nodes it lies between, linearly. There is no parameter but the number of bins.

    Defaults: the cosine distance (embeddings are normalised; another has no bounds for the bins), 100 bins of
    width 0.02 over cosines from -1 to 1. pytorch-metric-learning's HistogramLoss is the same.

    The loss is one number for the batch: mean, active and sum are the same; "none" and ``weights`` are
    refused. A table of more than one tile is walked twice: for the histograms, and for what nodes are worth.

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
        """The histograms, and slopes."""
        _refuse_weights(self, table)
        crowds = _Overlap(self.bins)
        value = crowd_value(crowds, table, self.distance)
        self.warn_if_empty(min(crowds.counts))
        return value


def _refuse_none(reduction: ReductionName | None) -> None:
    if reduction == "none":
        raise InputError(
            'reduction must be "mean", "active" or "sum", as the loss is the batch\'s; found "none"'
        )


def _refuse_weights(loss: ComposedLoss, table: Table) -> None:
    if table.weights is not None:
        raise InputError(f"{type(loss).__name__} takes no weights: it belongs to the batch")
