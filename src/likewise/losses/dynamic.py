"""Dynamic soft margin: each triplet weighed by how hard it is among all seen so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Axiom, Distance, Euclidean
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table, near_cells
from likewise.table import Near, Part, Rows, TableFunction, Tile, rows_and_near

__all__ = ["DynamicSoftMargin", "NearestFar"]

_NONE = 1e30
"""The nearest far distance of a row that has none."""


@dataclass
class _Least:
    near: Near
    value: Tensor  # (r,)
    column: Tensor  # (r,) numbered over tiles in their order
    seen: int = 0


class NearestFar(TableFunction[_Least]):
    """The distance of each row's nearest far column; of equal ones the first."""

    def begin(self, near: Near) -> _Least:
        return _Least(
            near, torch.full_like(near.count, _NONE), torch.zeros_like(near.count, dtype=torch.int64)
        )

    def observe(self, tile: Tile, state: _Least) -> None:
        width = tile.distances.shape[1]
        if width:
            value, column = tile.distances.min(1)
            better = value < state.value
            state.value = torch.where(better, value, state.value)
            state.column = torch.where(better, column + state.seen, state.column)
        state.seen += width

    def finish(self, state: _Least) -> Rows:
        has = state.near.far_count > 0
        state.seen = 0  # the tiles come again, in the same order
        return Rows(joint=Part(state.value, has, has))

    def slope(self, tile: Tile, state: _Least) -> Tensor:
        width = tile.distances.shape[1]
        slopes = torch.zeros_like(tile.distances)
        here = (state.near.far_count > 0) & (state.column >= state.seen) & (state.column < state.seen + width)
        rows = here.nonzero().view(-1)
        slopes[rows, state.column[rows] - state.seen] = 1.0
        state.seen += width
        return slopes

    def near_slope(self, state: _Least) -> Tensor:
        return torch.zeros_like(state.near.distances)


class DynamicSoftMargin(ComposedLoss):
    r"""Dynamic soft margin (Zhang, Rusinkiewicz 2019): ``CDF(v) v`` of ``v = d_p - d_n``, CDF of a histogram.

    Each positive pair is compared with its hardest negative, the nearest far item of either end. The weight
    is the share of all triplets so far that were easier, and isn't differentiated: there is no margin to
    choose.

    Defaults: Euclidean distance, embeddings as given (the paper's are unit descriptors), v from -2 to 2 in 20
    bins, momentum 0.1, the mean over positive pairs. For :class:`~likewise.relations.Matches` that is the
    paper. For labels pytorch-metric-learning's DynamicSoftMarginLoss takes all triplets instead of the
    hardest, and its histogram reaches to 2 with ten bins whose last two overlap the end.

    The histogram is updated in training mode only, and belongs to the checkpoint.

    Parameters
    ----------
    bins : int, above 0
    reach : float, above 0
        v is held within ``[-reach, reach]`` for the histogram.
    momentum : float, above 0 and at most 1
        The weight of a new batch in the histogram.

    Attributes
    ----------
    histogram : (bins + 1,) float64, of sum one once something was seen

    References
    ----------
    L. Zhang, S. Rusinkiewicz, "Learning local descriptors with a CDF-based dynamic soft margin", 2019,
    equations 4 to 6 (numbers from memory).

    >>> loss = DynamicSoftMargin(bins=2, momentum=1.0)
    >>> x = torch.tensor([[0.0], [1.0], [1.0]])
    >>> loss(x, [0, 0, 1])  # both pairs have v = 1 - 0, three quarters up the histogram
    tensor(0.7500)
    """

    histogram: Tensor

    def __init__(
        self,
        *,
        bins: int = 20,
        reach: float = 2.0,
        momentum: float = 0.1,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        if Axiom.SYMMETRIC not in self.distance.axioms:
            raise InputError(f"distance must be symmetric; found {type(self.distance).__name__}")
        if not isinstance(bins, int) or bins < 1:
            raise InputError(f"bins must be a whole number above zero; found {bins!r}")
        if positive("momentum", momentum) > 1:
            raise InputError(f"momentum must be at most 1; found {momentum!r}")
        self.bins, self.reach, self.momentum = bins, positive("reach", reach), float(momentum)
        self.register_buffer("histogram", torch.zeros(bins + 1, dtype=torch.float64))

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # walks are loops: one graph break
    def compose(self, table: Table) -> Tensor:
        """The nearest far item of each row, and the near distances."""
        row, _, column = near_cells(table.resolved)
        nearest, near = rows_and_near(NearestFar(), self.distance, table.resolved, table.rows, table.columns)
        hardest = nearest[row]
        if table.columns is None and table.resolved.anchors is None:
            hardest = torch.minimum(hardest, nearest[column])
        counts = hardest.detach() < _NONE / 2
        gap = torch.where(counts, near - hardest, 0.0)
        self.warn_if_empty(int(counts.sum()))
        found = gap.detach()[counts]
        if self.training and found.numel():
            self._see(found)
        terms = torch.where(counts, gap * self._share(gap.detach()), 0.0)
        weighted = terms if table.weights is None else terms * table.weights[row]
        if self.reduction == "none":
            return weighted.new_zeros(table.resolved.n_rows).index_add(0, row, weighted)
        divisor = {"mean": int(counts.sum()), "active": int((terms.detach() != 0).sum()), "sum": 1}[
            self.reduction
        ]
        return weighted.sum() / max(1, divisor) + table.rows.sum() * 0.0

    def _place(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """The node below each v, and how far beyond it, from 0 to 1."""
        scaled = (gap.double().clamp(-self.reach, self.reach) + self.reach) * (self.bins / (2.0 * self.reach))
        below = scaled.floor().clamp_(max=self.bins - 1)
        return below.long(), scaled - below

    def _see(self, gap: Tensor) -> None:
        below, beyond = self._place(gap)
        found = torch.bincount(below, 1.0 - beyond, minlength=self.bins + 1)
        found += torch.bincount(below + 1, beyond, minlength=self.bins + 1)
        found = (found / found.sum()).to(self.histogram.device)
        old = self.momentum if bool(self.histogram.any()) else 1.0
        self.histogram = (1.0 - old) * self.histogram + old * found

    def _share(self, gap: Tensor) -> Tensor:
        """The share of triplets at or below each v, interpolated between nodes."""
        if not bool(self.histogram.any()):
            return torch.ones_like(gap)
        share = self.histogram.cumsum(0)
        below, beyond = self._place(gap)
        return torch.lerp(share[below], share[below + 1], beyond).to(gap.dtype)
