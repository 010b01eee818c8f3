"""Tuplet margin: a positive pair against all negatives at once, with slack for the hardest positives."""

from __future__ import annotations

import math

from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import InputError
from likewise.losses.angular_margins import arc_logits
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.losses.log_sum import FarLogSum, RowTerms, pair_softmax
from likewise.table import Near

__all__ = ["Tuplet"]


class Tuplet(Loss):
    r"""Tuplet margin loss (Yu, Tao 2019): ``log(1 + sum_n exp(s (cos theta_n - cos(theta_p - b))))``.

    Each positive pair costs one term against all negatives of its anchor. The slack b takes b off the angle
    of the positive, so that a positive that is hard beyond it isn't pulled with all force.

    Defaults: the cosine distance (embeddings are normalised; no other has angles), s = 64, b = 5.73 degrees
    (0.1), the mean over the positive pairs. pytorch-metric-learning's TupletMarginLoss is the same. At an
    angle of zero the slope of a positive is that of its cosine.

    Parameters
    ----------
    slack : float, from 0 to 180
        b, in degrees.
    scale : float, above 0
        s.

    References
    ----------
    B. Yu, D. Tao, "Deep metric learning with tuplet margin loss", 2019, equation 5 (number from memory).

    >>> import torch
    >>> loss = Tuplet(slack=0.0, scale=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(float(loss(x, [0, 0, 1])), 4)  # log(1 + exp(0 - 1))
    0.3133
    """

    def __init__(
        self,
        *,
        slack: float = 5.73,
        scale: float = 64.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")
        if positive("slack", slack, zero=True) > 180:
            raise InputError(f"slack must be degrees, at most 180; found {slack!r}")
        self.slack = float(slack)
        self.scale = positive("scale", scale)

    def function(self) -> FarLogSum:
        """The far log-sum-exp against each positive."""
        return FarLogSum(self.scale, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        inside = near.distances.clamp(max=2.0)  # what isn't valid lies at infinity
        logits, slopes = arc_logits(inside, -math.radians(self.slack), self.scale, "cosine")
        return pair_softmax(near, far, logits, slopes)
