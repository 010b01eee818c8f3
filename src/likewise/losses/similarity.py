"""Losses that weigh each pair by how hard it is beside the others of its anchor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.losses.base import Miner, ReductionName, TableLoss, positive
from likewise.losses.log_sum import log_sum, one_plus
from likewise.table import Near, Part, Rows, Tile
from likewise.table.exponentials import exponentials

__all__ = ["Circle", "MultiSimilarity"]

_TINY = 1e-18
"""Stands for a weight of zero."""

_SHALLOW = 40.0
"""How far exponents may lie below a bound of them without their sum losing digits."""


@dataclass
class _Folded:
    """The running log-sum-exp of a block's far exponents: ``maximum + log(total)``."""

    near: Near
    maximum: Tensor  # (r,)
    total: Tensor  # (r,)
    nearest: Tensor  # (r,) the smallest far distance so far
    exponentials: Tensor | None = None  # of the last tile less the maximum, where it comes back
    weights: Tensor | None = None  # of that tile
    by_far: Tensor | None = None  # (r,) the derivative of the value by the log-sum-exp
    by_near: Tensor | None = None  # (r, p)

    @property
    def log(self) -> Tensor:
        return self.maximum + self.total.log()

    def shift(self, maximum: Tensor) -> Tensor:
        """Take exponents up to ``maximum`` (r,) into account, and return what to take off them: (r,)."""
        maximum = torch.maximum(self.maximum, maximum)
        # where nothing counts there is no finite maximum: any finite number does
        shift = torch.where(maximum.isfinite(), maximum, 0.0)
        self.total = self.total * (self.maximum - shift).exp()
        self.maximum = maximum
        return shift


def _nothing(near: Near) -> _Folded:
    zero = torch.zeros_like(near.count)
    return _Folded(near, zero - torch.inf, zero, zero + torch.inf)


class MultiSimilarity(TableLoss[_Folded]):
    r"""Multi-similarity loss (Wang et al. 2019): pairs weighted by themselves and by their neighbours.

    An anchor with positives P and negatives N costs
    ``1/a log(1 + sum_P exp(a (d_p - t))) + 1/b log(1 + sum_N exp(b (t - d_n)))``. With the cosine distance
    ``t = 1 - lambda``, so that these are the paper's ``-a (s_p - lambda)`` and ``b (s_n - lambda)``.

    With ``mining=e`` an anchor keeps only the negatives nearer than its farthest positive plus e, and the
    positives farther than its nearest negative less e; an anchor that keeps nothing costs nothing.

    Defaults: cosine distance (so embeddings are normalised), the paper's a = 2 and b = 50 and its mining
    with e = 0.1; mean over all anchors of the batch, those at zero included. The paper's text has
    lambda = 1; the authors' code has b = 40 and lambda = 0.5, which everybody took over, as we do.
    pytorch-metric-learning's MultiSimilarityLoss doesn't mine (``mining=None``), its MultiSimilarityMiner
    does, and both together give ours on batches in which every anchor has a positive and a negative.

    Parameters
    ----------
    near_scale, far_scale : float, above 0
        a and b.
    threshold : float
        t, in units of the distance: pairs are pulled or pushed most beyond it.
    mining : float, 0 or more, or None
        e; None keeps all pairs. An anchor then counts when it has a positive or a negative, with mining
        when it has both.

    References
    ----------
    X. Wang, X. Han, W. Huang, D. Dong, M. Scott, "Multi-similarity loss with general pair weighting for
    deep metric learning", 2019, equations 11 and 12 (mining), 15 (loss; numbers from memory).

    >>> loss = MultiSimilarity(near_scale=1.0, far_scale=1.0, threshold=1.0, mining=None)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> round(float(loss(x, [0, 0])), 4)  # log(1 + exp(1 - 1))
    0.6931
    """

    def __init__(
        self,
        *,
        near_scale: float = 2.0,
        far_scale: float = 50.0,
        threshold: float = 0.5,
        mining: float | None = 0.1,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.near_scale = positive("near_scale", near_scale)
        self.far_scale = positive("far_scale", far_scale)
        self.threshold = float(threshold)
        self.mining = None if mining is None else positive("mining", mining, zero=True)

    def begin(self, near: Near) -> _Folded:
        """Nothing far was seen yet."""
        return _nothing(near)

    def _limit(self, near: Near) -> Tensor | None:
        """Negatives from this distance on are mined away: (r, 1); minus infinity without a positive."""
        if self.mining is None:
            return None
        if not near.distances.shape[1]:
            return torch.full_like(near.count, -torch.inf)[:, None]
        return near.distances.masked_fill(~near.valid, -torch.inf).amax(1, keepdim=True) + self.mining

    def _exponentials(self, tile: Tile, near: Near, shift: Tensor, total: Tensor | None = None) -> Tensor:
        """``exp(b (t - d) - shift)``, zero where mined away; their sums are added to total."""
        limit = self._limit(near)
        by_row = None if limit is None else limit[:, 0]
        shift = self.threshold * self.far_scale - shift
        return exponentials(tile.distances, -self.far_scale, shift, total=total, limit=by_row)

    def observe(self, tile: Tile, state: _Folded) -> None:
        """Fold the negatives of a tile."""
        if not tile.distances.shape[1]:
            return
        nearest = tile.distances.amin(1)
        state.nearest = torch.minimum(state.nearest, nearest)
        # of an anchor that keeps none of these the sum is zero whatever is taken off, and is not used
        shift = state.shift((self.threshold - nearest) * self.far_scale)
        found = self._exponentials(tile, state.near, shift, state.total)
        state.exponentials = found if tile.kept else None

    def finish(self, state: _Folded) -> Rows:
        """Both logarithms of each anchor."""
        near = state.near
        kept, counts = near.valid, (near.count > 0) | (near.far_count > 0)
        usable = counts
        limit = self._limit(near)
        if limit is not None and self.mining is not None:
            kept = kept & (near.distances > (state.nearest - self.mining)[:, None])
            counts = (near.count > 0) & (near.far_count > 0)
            usable = counts & (state.nearest < limit[:, 0]) & kept.any(1)
        logits = (near.distances - self.threshold).mul_(self.near_scale).masked_fill_(~kept, -torch.inf)
        near_log, far_log = one_plus(log_sum(logits)), one_plus(state.log)
        value = torch.where(usable, near_log / self.near_scale + far_log / self.far_scale, 0.0)
        state.by_near = (logits - near_log[:, None]).exp_().masked_fill_(~usable[:, None], 0.0)
        state.by_far = torch.where(usable, (state.log - far_log).exp(), 0.0)
        return Rows(joint=Part(value, counts, value != 0))

    def slope(self, tile: Tile, state: _Folded) -> Tensor:
        """Minus each negative's share."""
        assert state.by_far is not None
        if state.exponentials is not None:
            factor = torch.where(state.by_far > 0, -state.by_far / state.total, 0.0)
            return state.exponentials.mul_(factor[:, None])
        shift = torch.where(state.by_far > 0, state.log - state.by_far.log(), torch.inf)
        return self._exponentials(tile, state.near, shift).neg_()

    def near_slope(self, state: _Folded) -> Tensor:
        """Each positive's share."""
        assert state.by_near is not None
        return state.by_near


class Circle(TableLoss[_Folded]):
    r"""Circle loss (Sun et al. 2020): each pair at its own pace, faster the farther it is off.

    An anchor costs ``log(1 + sum_N exp(g w_n (1 - m - d_n)) sum_P exp(g w_p (d_p - m)))`` with the weights
    ``w_p = max(0, d_p + m)`` and ``w_n = max(0, 1 + m - d_n)``, which are held constant in the gradient.
    With the cosine distance ``d = 1 - s`` these are the paper's ``O_p = 1 + m``, ``O_n = -m``,
    ``Delta_p = 1 - m``, ``Delta_n = m``.

    Defaults: cosine distance (so embeddings are normalised), m = 0.4 and g = 80 (the paper's for
    fine-grained retrieval; 0.25 and 256 for faces, 0.25 and 128 for persons), mean over the anchors that
    have a positive and a negative. pytorch-metric-learning's CircleLoss is the same, averaged over the
    anchors not zero (``reduction="active"``).

    Parameters
    ----------
    margin : float, above 0
        m, the relaxation; meant for distances from 0 to 2.
    scale : float, above 0
        g.
    detached_weights : bool
        As in the paper. False lets the gradient go through the weights too.

    References
    ----------
    Y. Sun et al., "Circle loss: a unified perspective of pair similarity optimization", 2020, equations
    4 to 6 and 8 (numbers from memory).

    >>> loss = Circle(margin=0.5, scale=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> round(float(loss(x, [0, 0, 1])), 4)  # log(1 + exp(0.5 (1 - 0.5 - 1)) exp(0.5 (0 - 0.5)))
    0.4741
    """

    def __init__(
        self,
        *,
        margin: float = 0.4,
        scale: float = 80.0,
        detached_weights: bool = True,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.margin = positive("margin", margin)
        self.scale = positive("scale", scale)
        self.detached_weights = bool(detached_weights)

    def begin(self, near: Near) -> _Folded:
        """Nothing far was seen yet."""
        return _nothing(near)

    def _far_weights(self, tile: Tile) -> Tensor:
        # not quite zero, so that times the minus infinity of a hidden cell it is minus infinity
        return torch.sub(1.0 + self.margin, tile.distances).clamp_(min=_TINY)

    def _exponentials(
        self, tile: Tile, weights: Tensor, shift: Tensor, total: Tensor | None = None
    ) -> Tensor:
        """``exp(g w (1 - m - d) - shift)``; their sums are added to total."""
        gap = torch.sub(1.0 - self.margin, tile.distances)
        return exponentials(gap.mul_(weights), self.scale, -shift, total=total)

    def observe(self, tile: Tile, state: _Folded) -> None:
        """Fold the negatives of a tile."""
        if not tile.distances.shape[1]:
            return
        weights = self._far_weights(tile)
        if self.scale * self.margin**2 < _SHALLOW:
            # exponents are largest for the nearest column, or zero for one beyond reach: whichever it is,
            # the nearest column's is not far below
            gap = 1.0 - tile.distances.amin(1)
            largest = (gap + self.margin).clamp_(min=0.0) * (gap - self.margin).clamp_(min=0.0) * self.scale
            largest = torch.where(gap.isfinite(), largest, -torch.inf)
        else:
            gap = torch.sub(1.0 - self.margin, tile.distances)
            largest = gap.mul_(weights).amax(1) * self.scale
        found = self._exponentials(tile, weights, state.shift(largest), state.total)
        if tile.kept:
            state.exponentials, state.weights = found, weights

    def finish(self, state: _Folded) -> Rows:
        """The softplus of both log-sums together."""
        near = state.near
        has = (near.count > 0) & (near.far_count > 0)
        distances = near.distances.masked_fill(~near.valid, 0.0)
        weights = (distances + self.margin).clamp_(min=0.0)
        logits = (
            (distances - self.margin).mul_(weights).mul_(self.scale).masked_fill_(~near.valid, -torch.inf)
        )
        near_log = log_sum(logits)
        both = torch.where(has, near_log + state.log, -torch.inf)
        value, share = one_plus(both), both.sigmoid()
        state.by_far = share
        slope = weights if self.detached_weights else distances * 2.0 * weights.sign()
        shift = torch.where(has, near_log, torch.inf)[:, None]
        state.by_near = (logits - shift).exp_().mul_(slope).mul_((share * self.scale)[:, None])
        return Rows(joint=Part(value, has, value != 0))

    def slope(self, tile: Tile, state: _Folded) -> Tensor:
        """Minus each negative's share times its weight and the scale."""
        assert state.by_far is not None
        if state.exponentials is not None and state.weights is not None:
            shares, weights = state.exponentials, state.weights
            factor = torch.where(state.by_far > 0, state.by_far * -self.scale / state.total, 0.0)
        else:
            shift = torch.where(state.by_far > 0, state.log, torch.inf)
            weights = self._far_weights(tile)
            shares = self._exponentials(tile, weights, shift)
            factor = state.by_far * -self.scale
        if not self.detached_weights:
            # 2 (w - m) where the weight isn't zero
            weights = (weights - self.margin).mul_(2.0).mul_(weights.sub_(_TINY).sign_())
        return shares.mul_(weights).mul_(factor[:, None])

    def near_slope(self, state: _Folded) -> Tensor:
        """Each positive's share times its weight and the scale."""
        assert state.by_near is not None
        return state.by_near
