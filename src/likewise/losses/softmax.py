"""Losses that are a softmax over a row of distances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.table import Near, Part, Rows, Tile

__all__ = ["SupCon"]


@dataclass
class _LogSum:
    """A running log-sum-exp of each row: ``maximum + log(total)``."""

    near: Near
    near_logits: Tensor  # (r, p); minus infinity where not valid
    maximum: Tensor  # (r,)
    total: Tensor  # (r,)
    exponentials: Tensor | None = None  # of the last tile less the maximum, where it comes back

    @property
    def log(self) -> Tensor:
        return self.maximum + self.total.log()


class SupCon(TableLoss[_LogSum]):
    r"""Supervised contrastive loss: the mean over an anchor's positives of their log-probability.

    With logits ``z = -d / t``, anchor i with positives P costs
    ``-1/|P| sum_{p in P} [z_p - log sum_{a != i} exp z_a]``; with the cosine distance this is the paper's
    ``s / t`` up to a constant that the softmax drops.

    Defaults: cosine distance (so embeddings are normalised), temperature 0.1, mean over the anchors that
    have a positive. The authors' code multiplies by ``t / base_temperature``; pytorch-metric-learning
    doesn't, and averages the terms not zero. Without columns of its own an anchor is left out of its
    denominator.

    Parameters
    ----------
    temperature : float, above 0
        t.

    References
    ----------
    P. Khosla et al., "Supervised contrastive learning", 2020, equation 2 (L_out).

    >>> loss = SupCon(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(float(loss(x, [0, 0, 1, 1])), 4)  # log(e + 1 + 1) - 1
    0.5514
    """

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        distance: Distance | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.temperature = positive("temperature", temperature)

    def begin(self, near: Near) -> _LogSum:
        """The positives are in the denominator too."""
        logits = near.distances / -self.temperature
        if logits.shape[1]:
            maximum = logits.amax(1)
        else:
            maximum = torch.full_like(near.count, -torch.inf)
        # a row without positives has no finite maximum yet; any finite number does until it has one
        shift = torch.where(maximum.isfinite(), maximum, 0.0)
        return _LogSum(near, logits, maximum, (logits - shift[:, None]).exp_().sum(1))

    def observe(self, tile: Tile, state: _LogSum) -> None:
        """Fold a tile into the log-sum-exp."""
        if not tile.distances.shape[1]:
            return
        logits = tile.distances / -self.temperature
        maximum = torch.maximum(state.maximum, logits.amax(1))
        shift = torch.where(maximum.isfinite(), maximum, 0.0)
        exponentials = logits.sub_(shift[:, None]).exp_()
        state.total = state.total * (state.maximum - shift).exp() + exponentials.sum(1)
        state.maximum = maximum
        state.exponentials = exponentials if tile.kept else None

    def finish(self, state: _LogSum) -> Rows:
        """Minus the mean log-probability of the positives."""
        count = state.near.count
        has = count > 0
        mean = state.near_logits.masked_fill(~state.near.valid, 0.0).sum(1) / count.clamp(min=1)
        value = torch.where(has, state.log - mean, 0.0)
        return Rows(joint=Part(value, has, has & (value != 0)))

    def slope(self, tile: Tile, state: _LogSum) -> Tensor:
        """Minus each far column's probability over the temperature."""
        # a row without a positive has no value and so no slope
        has = state.near.count > 0
        if state.exponentials is not None:
            factor = torch.where(has, state.total * -self.temperature, torch.inf)
            return state.exponentials.div_(factor[:, None])
        shift = torch.where(has, state.log, torch.inf)
        probability = (tile.distances / -self.temperature).sub_(shift[:, None]).exp_()
        return probability.div_(-self.temperature)

    def near_slope(self, state: _LogSum) -> Tensor:
        """``(1/|P| - probability) / t`` for each positive."""
        share = 1.0 / state.near.count.clamp(min=1)[:, None]
        probability = (state.near_logits - state.log[:, None]).exp()
        return ((share - probability) / self.temperature).masked_fill_(~state.near.valid, 0.0)
