"""Negatives drawn by their distance, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.mining.base import Miner
from likewise.mining.choice import Comparisons, comparison
from likewise.relations import Resolved
from likewise.table.visit import View, views

__all__ = ["DistanceWeighted"]

_AWAY = 1e30
"""Taken off a logarithm it leaves no weight; unlike infinity it can be multiplied by zero."""


class DistanceWeighted(Miner):
    r"""For each (anchor, positive) a negative drawn evenly over distances (Wu et al. 2017).

    On the unit sphere of D dimensions distances of random points have the density
    ``q(d) ~ d^(D-2) (1 - d^2/4)^((D-3)/2)``; a negative at d is drawn with a probability in proportion to
    ``1 / q(max(d, cutoff))``, and not at all from ``limit`` on. Distances are taken between embeddings at
    unit length, whatever the loss's distance. An anchor without a negative below the limit drops out, as in
    pytorch-metric-learning's DistanceWeightedMiner.

    Draws depend on the seed, the step (counted in a buffer, so a checkpoint holds it), the row's number in
    the global batch and the positive's column, and on nothing else: neither on tiles nor on processes.

    Parameters
    ----------
    cutoff : float, above 0
        Nearer negatives are drawn as if they were at this distance.
    limit : float, from cutoff to 2
        Negatives from here on aren't drawn; the paper's margin loss has no slope there.
    seed : int

    References
    ----------
    C.-Y. Wu, R. Manmatha, A. Smola, P. Krähenbühl, "Sampling matters in deep embedding learning", 2017,
    section 4, equation 4 (number from memory).

    >>> from likewise.losses import TripletMargin
    >>> x = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [-1.0, 0.0, 0.0]])
    >>> loss = TripletMargin(reduction="none", miner=DistanceWeighted())
    >>> loss(x, [0, 0, 1, 2]).shape  # the last is too far off to be drawn
    torch.Size([2])
    """

    step: Tensor

    def __init__(self, *, cutoff: float = 0.5, limit: float = 1.4, seed: int = 0) -> None:
        super().__init__()
        if not (isinstance(limit, int | float) and 0 < limit <= 2):
            raise InputError(f"limit must be above 0 and at most 2; found {limit!r}")
        if not (isinstance(cutoff, int | float) and 0 < cutoff <= limit):
            raise InputError(f"cutoff must be above 0 and at most the limit {limit}; found {cutoff!r}")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(f"seed must be a whole number; found {seed!r}")
        self.cutoff, self.limit, self.seed = float(cutoff), float(limit), seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,  # noqa: ARG002
    ) -> Resolved:
        """A triplet for each near cell. See :meth:`Miner.forward`."""
        chosen = []
        dimension, step = embeddings.shape[1], int(self.step)
        for view in views(Cosine(), embeddings, columns, resolved):
            near = view.block.near
            if not near.columns.shape[1]:
                continue
            # where one tile is the whole block its weights are taken once
            kept_weights = list(self._weights(view, dimension)) if view.one_tile else None
            total = _nothing_yet(view)
            for _, weights in kept_weights or self._weights(view, dimension):
                total.fold(weights)
            numbers = torch.arange(view.start, view.stop, device=near.columns.device)[:, None]
            drawn = _uniform(self.seed, step, numbers, near.columns)
            places, kept = _draw(kept_weights or self._weights(view, dimension), total, drawn)
            rows, slots = (kept & near.valid).nonzero(as_tuple=True)
            chosen.append(comparison(view, rows, near.columns[rows, slots], places[rows, slots]))
        self.step += 1
        return Comparisons(chosen, resolved.n_columns, embeddings.device)

    def _weights(self, view: View, dimension: int) -> Iterator[tuple[int, Tensor]]:
        """``-log q`` tile by tile, minus infinity where nothing is drawn, with the first place of each."""
        for first, tile in view.tiles():
            squared = tile * 2.0  # the cosine distance is half the squared one
            away = torch.ge(squared, self.limit**2, out=torch.empty_like(squared))
            squared.clamp_(min=self.cutoff**2, max=self.limit**2)
            # at the far end of the sphere the density may be zero; such columns can't be told apart
            rest = torch.add(torch.ones((), dtype=tile.dtype, device=tile.device), squared, alpha=-0.25)
            rest = rest.clamp_(min=1e-12).log_()
            weights = squared.log_().mul_((2.0 - dimension) / 2.0).sub_(rest, alpha=(dimension - 3.0) / 2.0)
            yield first, weights.sub_(away.mul_(_AWAY))


def _draw(pieces: Iterable[tuple[int, Tensor]], total: _RowSum, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """The place at which the summed weights pass each number (r, k) in [0, 1) of their total."""
    places = torch.full_like(drawn, -1, dtype=torch.int64)
    wanted = drawn * total.total[:, None]
    before = torch.zeros_like(total.total)
    last = torch.full_like(places[:, :1], -1)
    for first, weights in pieces:
        exponentials = (weights - total.shift(weights)).exp_()
        sums = exponentials.cumsum(1, dtype=torch.float64).add_(before[:, None])
        # the last column with a weight: the first at which the sums reach their end
        final = torch.searchsorted(sums, sums[:, -1:].contiguous())
        last = torch.where(sums[:, -1:] > before[:, None], final + first, last)
        place = torch.searchsorted(sums, wanted, right=True)
        here = (places < 0) & (place < sums.shape[1])
        places = torch.where(here, place + first, places)
        before = sums[:, -1]
    # what rounding left over belongs to the last column
    return torch.where(places < 0, last.clamp(min=0), places), (last >= 0).expand_as(places)


@dataclass
class _RowSum:
    """The running sum of exponentials of each row: ``total exp(maximum)``."""

    maximum: Tensor  # (r,)
    total: Tensor  # (r,) in float64

    def shift(self, like: Tensor) -> Tensor:
        """What to take off exponents: (r, 1)."""
        return torch.where(self.maximum > -_AWAY / 2, self.maximum, 0.0)[:, None].to(like.dtype)

    def fold(self, exponents: Tensor) -> None:
        """Take in a tile."""
        old, self.maximum = self.maximum, torch.maximum(self.maximum, exponents.amax(1))
        shift = self.shift(exponents)
        self.total = self.total * (old - shift[:, 0]).double().exp()
        self.total += (exponents - shift).exp_().sum(1, dtype=torch.float64)


def _nothing_yet(view: View) -> _RowSum:
    zero = view.rough_near.new_zeros(view.stop - view.start)
    return _RowSum(zero - torch.inf, zero.double())


def _signed(value: int) -> int:
    """An integer modulo 2^64 as int64 holds it."""
    return (value + 2**63) % 2**64 - 2**63


def _uniform(seed: int, step: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Numbers in [0, 1) in float64 that depend on nothing but their four coordinates (SplitMix64)."""
    state = _mixed(torch.full_like(rows, _signed(seed)))
    for coordinate in (torch.full_like(rows, step), rows, columns):
        state = _mixed(state ^ coordinate)
    return ((state >> 11) & (2**53 - 1)).double() * 2.0**-53


def _mixed(state: Tensor) -> Tensor:
    """One step of SplitMix64; int64 wraps around."""
    state = state + _signed(0x9E3779B97F4A7C15)
    state = (state ^ ((state >> 30) & (2**34 - 1))) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ ((state >> 27) & (2**37 - 1))) * _signed(0x94D049BB133111EB)
    return state ^ ((state >> 31) & (2**33 - 1))
