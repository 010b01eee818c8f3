"""Signal-to-noise ratio as a distance, and the contrastive loss over it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from likewise.distances import Axiom, Distance
from likewise.losses.base import Miner, ReductionName
from likewise.losses.centred import less_mean
from likewise.losses.pair import Contrastive

__all__ = ["SignalToNoise", "SignalToNoiseRatio"]


class SignalToNoiseRatio(Distance):
    """``var(x - y) / var(x)``, over the coordinates: noise over the anchor's signal; not symmetric.

    An anchor whose coordinates are all equal has no signal: its distances are 0 to what differs from it by a
    constant, and are taken over the smallest positive number otherwise.

    >>> SignalToNoiseRatio()(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0]))
    tensor(1.)
    """

    axioms: ClassVar[frozenset[Axiom]] = frozenset({Axiom.NON_NEGATIVE, Axiom.ZERO_ON_SELF})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row; see :class:`~likewise.distances.Distance`."""
        noise = x - y
        noise, signal = (less_mean(part, -1).square().sum(-1) for part in (noise, x))
        return noise / signal.clamp(min=torch.finfo(x.dtype).tiny)


class SignalToNoise(Contrastive):
    r"""Signal-to-noise contrastive loss (Yuan et al. 2019): ``max(0, d - m+)`` and ``max(0, m- - d)``.

    d is the ratio of the variance of the difference to that of the anchor, which is the inverse of a
    signal-to-noise ratio. Alike and unlike pairs are averaged apart, each over its pairs not zero. The paper
    adds a penalty that keeps each embedding's mean at zero (:class:`~likewise.losses.regularizers.ZeroMean`).

    Defaults: that distance, embeddings as given, margins 0.01 and 0.2, the mean over active pairs;
    pytorch-metric-learning's SignalToNoiseRatioContrastiveLoss has margins 0 and 1, and normalises
    embeddings. The distance isn't a product's: it is slower than others by a factor of the dimension.

    Parameters
    ----------
    near_margin, margin : float
        m+ (0 or more) and m- (above 0).

    References
    ----------
    T. Yuan, W. Deng, J. Tang, Y. Tang, B. Chen, "Signal-to-noise ratio: a robust distance metric for deep
    metric learning", 2019, equations 6 and 11 (numbers from memory).

    >>> loss = SignalToNoise(near_margin=0.0)
    >>> loss(torch.tensor([[1.0, -1.0], [2.0, -2.0], [4.0, -4.0]]), [0, 0, 1])  # 1 and 1/4; none within 0.2
    tensor(0.6250)
    """

    default_reduction = "active"

    def __init__(
        self,
        *,
        near_margin: float = 0.01,
        margin: float = 0.2,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            margin=margin,
            near_margin=near_margin,
            squared=False,
            distance=distance or SignalToNoiseRatio(),
            reduction=reduction,
            miner=miner,
        )
