"""Neighbourhood components analysis: the chance that a random neighbour is of one's own kind."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Distance, SquaredEuclidean
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.losses.log_sum import FarLogSum, RowTerms, log_sum, one_plus
from likewise.table import Near, Part, Rows

__all__ = ["NCA"]


class NCA(Loss):
    r"""Neighbourhood components analysis (Goldberger, Roweis, Hinton, Salakhutdinov 2004).

    Item i picks a neighbour j with ``p_ij = exp(-d_ij / t) / sum_{k != i} exp(-d_ik / t)``; of its own
    class it is with ``p_i = sum_{j in C_i} p_ij``. The cost is ``1 - p_i``, the expected error of the
    leave-one-out nearest neighbour: the paper maximises ``sum_i p_i``, which is the same but for a
    constant.

    Defaults: squared Euclidean distance, embeddings as given, mean over the items that have a near
    column (a row without one has no term). The sum over unknown cells is left out of both sums.

    Parameters
    ----------
    logarithm : bool
        False is the paper's main objective. True takes ``-log p_i``, its alternative (a Kullback-Leibler
        divergence), and the usual choice for networks: pytorch-metric-learning's NCALoss, which
        normalises embeddings, averages the terms not zero, and drops rows whose p_i underflows to zero.
        scikit-learn and metric-learn maximise ``sum_i p_i``.
    temperature : float, above 0
        t; the paper has 1, as the scale is learned. pytorch-metric-learning's softmax_scale is 1 / t.

    References
    ----------
    J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, "Neighbourhood components analysis", 2004,
    equations 1 to 3, and 6 for the logarithm (equation numbers from memory).

    >>> loss = NCA()
    >>> x = torch.tensor([[0.0], [0.0], [99.0], [99.0]])
    >>> loss(x, [0, 0, 1, 1]).item()
    0.0
    >>> loss(x, [0, 1, 0, 1]).item()
    1.0
    """

    def __init__(
        self,
        *,
        logarithm: bool = False,
        temperature: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or SquaredEuclidean(), reduction=reduction, miner=miner)
        self.logarithm = bool(logarithm)
        self.temperature = positive("temperature", temperature)

    def function(self) -> FarLogSum:
        """A function of the two log-sum-exps of each row."""
        return FarLogSum(1.0 / self.temperature, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        logits = near.distances / -self.temperature
        total = log_sum(logits)
        has = near.count > 0
        gap = torch.where(has, far - total, -torch.inf)  # log of the odds of an error
        value, share = gap.sigmoid(), gap.sigmoid()
        by_gap = share * (-gap).sigmoid()
        if self.logarithm:
            value, by_gap = one_plus(gap), share
        own = (logits - torch.where(has, total, 0.0)[:, None]).exp_()
        by_near = near.filled(own * (by_gap / self.temperature)[:, None], 0.0)
        return RowTerms(Rows(joint=Part(value, has, has & (value != 0))), by_gap, by_near)
