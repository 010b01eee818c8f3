"""Threshold-consistent margin: hard pairs pulled to one threshold that serves all classes."""

from __future__ import annotations

from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.pair import Contrastive, PairSums
from likewise.table import Part, Rows, Tile

__all__ = ["ThresholdConsistentMargin"]


class ThresholdConsistentMargin(Contrastive):
    r"""Threshold-consistent margin (Zhang et al. 2024), a term to add to any other loss.

    Alike pairs of cosine below ``near_cosine`` cost what they lack, unlike ones above ``far_cosine`` what
    they have too much; each sum is divided by the number of its pairs that cost something. It is a
    contrastive loss without squares, over cosine distances. Add it to a base loss by ``Weighted([base,
    ThresholdConsistentMargin()])``.

    Defaults: cosine distance (so embeddings are normalised), cosines 0.9 and 0.5, both weights 1, the mean
    over active pairs. pytorch-metric-learning's ThresholdConsistentMarginLoss is the same but for pairs
    exactly at a cosine, which it counts.

    Parameters
    ----------
    near_cosine, far_cosine : float from -1 to 1
        The paper's margins of alike and unlike pairs.
    near_weight, far_weight : float, 0 or more
        The paper's lambda plus and lambda minus.

    References
    ----------
    Q. Zhang et al., "Threshold-consistent margin loss for open-world deep metric learning", 2024, equation 5
    (number from memory).

    >>> import torch
    >>> loss = ThresholdConsistentMargin()
    >>> x = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> round(float(loss(x, [0, 0, 1])), 4)  # 0.9 - 0.6, and 0.8 - 0.5 twice and 0.96 - 0.5 twice
    0.68
    """

    default_reduction = "active"
    fused = False  # its far slopes have a weight

    def __init__(
        self,
        *,
        near_cosine: float = 0.9,
        far_cosine: float = 0.5,
        near_weight: float = 1.0,
        far_weight: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(
            margin=1.0 - far_cosine,
            near_margin=1.0 - near_cosine,
            squared=False,
            distance=distance or Cosine(),
            reduction=reduction,
            miner=miner,
        )
        self.near_weight = positive("near_weight", near_weight, zero=True)
        self.far_weight = positive("far_weight", far_weight, zero=True)

    def finish(self, state: PairSums) -> Rows:
        """The two sums, weighted."""
        found = super().finish(state)
        assert found.near is not None and found.far is not None
        near, far = found.near, found.far
        return Rows(
            near=Part(near.value * self.near_weight, near.terms, near.active),
            far=Part(far.value * self.far_weight, far.terms, far.active),
        )

    def slope(self, tile: Tile, state: PairSums) -> Tensor:
        """As a contrastive loss, weighted."""
        return super().slope(tile, state).mul_(self.far_weight)

    def near_slope(self, state: PairSums) -> Tensor:
        """As a contrastive loss, weighted."""
        return super().near_slope(state) * self.near_weight
