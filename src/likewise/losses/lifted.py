"""Lifted structure: each positive pair against all negatives of its two ends, or each anchor's sets."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Axiom, Distance, Euclidean, ProductDistance
from likewise.losses.base import Loss, Miner, ReductionName
from likewise.losses.composed import ComposedLoss, Table, near_cells
from likewise.losses.directions import Transposed, TransposedProduct
from likewise.losses.log_sum import FarLogSum, RowTerms, log_sum
from likewise.relations import Block, Cells, Resolved
from likewise.table import Near, Part, Rows, TableRequest, rows_and_near, table_value

__all__ = ["GeneralizedLiftedStructure", "LiftedStructure", "far_alone"]

_NOTHING = -1e30
"""Stands for the logarithm of an empty sum, where infinity would make NaN of a gradient."""


class GeneralizedLiftedStructure(Loss):
    r"""Lifted structure over sets (Hermans et al. 2017): an anchor's positives against its negatives.

    An anchor costs ``max(0, log sum_p exp d_p + log sum_n exp(m - d_n))``.

    Defaults: Euclidean distance (not squared), embeddings as given, margin 1, mean over the anchors that
    have a positive and a negative. pytorch-metric-learning's GeneralizedLiftedStructureLoss normalises
    embeddings, calls ours ``neg_margin - pos_margin``, and averages over all anchors, of which those
    without a positive or a negative cost what is left of the formula.

    Parameters
    ----------
    margin : float
        m, in units of the distance.

    References
    ----------
    A. Hermans, L. Beyer, B. Leibe, "In defense of the triplet loss for person re-identification", 2017,
    equation 8 (number from memory).

    >>> loss = GeneralizedLiftedStructure(margin=1.0)
    >>> loss(torch.tensor([[0.0], [1.0], [1.5]]), [0, 0, 1])  # 1 + (1 - 1.5), 1 + (1 - 0.5)
    tensor(1.)
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self.margin = float(margin)

    def function(self) -> FarLogSum:
        """The near against the far log-sum-exp of each row."""
        return FarLogSum(1.0, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        has = (near.count > 0) & (near.far_count > 0)
        logits = near.distances.masked_fill(~near.valid, -torch.inf)
        alike = log_sum(logits)
        value = torch.where(has, alike + far + self.margin, 0.0).clamp_(min=0.0)
        active = value.sign()
        shift = torch.where(active > 0, alike, torch.inf)
        return RowTerms(Rows(joint=Part(value, has, active)), active, (logits - shift[:, None]).exp_())


def far_alone(near: Near, far: Tensor) -> RowTerms:
    """The far log-sum-exp itself."""
    has = near.far_count > 0
    value = torch.where(has, far, _NOTHING)
    return RowTerms(Rows(joint=Part(value, has, has)), has.to(far.dtype), torch.zeros_like(near.distances))


class _Turned(Resolved):
    """The far cells of a table, with columns as rows; nothing is near."""

    def __init__(self, table: Resolved) -> None:
        self._table = table
        self.n_rows, self.n_columns = table.n_columns, table.n_rows
        self.longest = self.n_columns  # blocks hold a mask

    def block(self, start: int, stop: int) -> Block:
        mask: Tensor | None = None
        step = max(1, (1 << 20) // max(1, stop - start))
        for first in range(0, self.n_columns, step):
            last = min(first + step, self.n_columns)
            block = self._table.block(first, last)
            near = block.near
            if mask is None:
                mask = torch.ones(stop - start, self.n_columns, dtype=torch.bool, device=near.columns.device)
            marks = torch.zeros(last - first, stop - start, device=mask.device)
            if block.far is not None:
                marks.view(-1)[block.far.flat(start, stop)] = 1.0
            else:
                marks += 1.0
                block.hide(marks, start, stop, 0.0)
            mask[:, first:last] = marks.T == 0
        if mask is None:
            mask = torch.ones(stop - start, 0, dtype=torch.bool)
        nothing = torch.zeros(stop - start, 0, dtype=torch.int64, device=mask.device)
        return Block(self.n_columns, Cells(nothing, nothing.bool()), mask=mask)


class LiftedStructure(ComposedLoss):
    r"""Lifted structure (Oh Song et al. 2016): each positive pair against all negatives of both its ends.

    A positive pair (i, j) costs ``max(0, J)^2 / 2`` with
    ``J = log(sum_{k in N_i} exp(m - d_ik) + sum_{l in N_j} exp(m - d_jl)) + d_ij``, the paper's smooth bound.
    Where the columns are the rows, the negatives of j are the far cells of row j; else those of column j.
    A listed triplet or quadruplet is compared within itself.

    Defaults: Euclidean distance (not squared), embeddings as given, margin 1, mean over the positive pairs
    in both directions, which is the paper's ``1 / (2 |P|) sum max(0, J)^2`` over pairs in one.
    pytorch-metric-learning's LiftedStructureLoss is the same on normalised embeddings, with
    ``neg_margin - pos_margin`` for our margin; in it a pair without any negative costs ``d^2 / 2``, here
    it doesn't count.

    The far sums and the near distances come from one walk; the backward pass walks again, as only then the
    slopes of the rows are known. Memory grows with the number of positive pairs, not of cells.

    Parameters
    ----------
    margin : float
        m, in units of the distance.

    References
    ----------
    H. Oh Song, Y. Xiang, S. Jegelka, S. Savarese, "Deep metric learning via lifted structured feature
    embedding", 2016, equation 4.

    >>> loss = LiftedStructure(margin=1.0)
    >>> value = loss(torch.tensor([[0.0], [1.0], [1.5]]), [0, 0, 1])
    >>> round(float(value), 4)  # (log(exp(1 - 1.5) + exp(1 - 0.5)) + 1)^2 / 2
    1.644
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        self.margin = float(margin)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # walks are loops: one graph break
    def compose(self, table: Table) -> Tensor:
        """Both ends' log-sums, the near distances, and what they make together."""
        resolved = table.resolved
        row, _, column = near_cells(resolved)
        function = FarLogSum(1.0, far_alone)
        rows, near = rows_and_near(function, self.distance, resolved, table.rows, table.columns)
        both = rows[row]
        if resolved.anchors is None:
            ends = rows if table.columns is None else self._columns(function, table)
            both = torch.logaddexp(both, ends[column])
        counts = both.detach() > _NOTHING / 2
        terms = torch.where(counts, both + near + self.margin, 0.0).clamp(min=0.0).square() / 2
        self.warn_if_empty(int(counts.sum()))
        values = torch.zeros_like(rows).index_add(0, row, terms)
        if table.weights is not None:
            values = values * table.weights
        if self.reduction == "none":
            return values
        number = {"mean": counts, "active": terms.detach() != 0, "sum": None}[self.reduction]
        total = values.sum(dtype=torch.float64)
        divisor = 1 if number is None else max(1, int(number.sum()))
        return (total / divisor).to(rows.dtype)

    def _columns(self, function: FarLogSum, table: Table) -> Tensor:
        """The far log-sum-exp of each column."""
        distance = self.distance
        if Axiom.SYMMETRIC not in distance.axioms:
            if isinstance(distance, ProductDistance):
                distance = TransposedProduct(distance)
            else:
                distance = Transposed(distance)
        request = TableRequest(function, distance, _Turned(table.resolved), "none")
        value: Tensor = table_value(request, table.other, table.rows, None)[0]
        return value
