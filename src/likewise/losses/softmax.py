"""Losses that are a softmax over a row of distances."""

from __future__ import annotations

from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.losses.log_sum import FarLogSum, RowTerms
from likewise.table import Near, Rows
from likewise.table.softmax import mean_softmax

__all__ = ["SupCon"]


class SupCon(Loss):
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

    >>> import torch
    >>> loss = SupCon(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(float(loss(x, [0, 0, 1, 1])), 4)  # log(e + 1 + 1) - 1
    0.5514
    """

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.temperature = positive("temperature", temperature)

    def function(self) -> FarLogSum:
        """A walk over the far log-sum-exp."""
        return FarLogSum(1.0 / self.temperature, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        """Minus the mean log-probability of the positives, which are in the denominator too."""
        part, by_far, by_near = mean_softmax(near, far, 1.0 / self.temperature)
        return RowTerms(Rows(joint=part), by_far, by_near)
