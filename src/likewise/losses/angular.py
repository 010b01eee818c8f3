"""Angular loss: the angle at the negative of the triangle that it makes with a positive pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, SquaredEuclidean, unit_rows
from likewise.errors import InputError
from likewise.losses.angular_classes import MOST, angular_value, by_classes
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table, far_cells, near_cells, near_with_far
from likewise.losses.lifted import far_alone
from likewise.losses.log_sum import FarLogSum
from likewise.relations import Block, Cells, Resolved
from likewise.table import TableRequest, table_value
from likewise.table.distributed import active_group

__all__ = ["Angular"]


class _OfRows(Resolved):
    """The far cells of some rows of a table, in ascending order and any number of times; nothing is near."""

    def __init__(self, table: Resolved, rows: Tensor) -> None:
        self._table, self._rows = table, rows
        self.n_rows, self.n_columns = rows.shape[0], table.n_columns
        self.longest, self.far_is_listed = table.longest, table.far_is_listed

    def block(self, start: int, stop: int) -> Block:
        rows = self._rows[start:stop]
        first, last = (int(rows[0]), int(rows[-1]) + 1) if stop > start else (0, 0)
        block, own = self._table.block(first, last), rows - first
        nothing = block.near.columns[own, :0]
        far = None if block.far is None else _chosen(block.far, own)
        hidden = None if block.hidden is None else _chosen(block.hidden, own)
        if far is None and hidden is None and block.mask is None:
            hidden = _chosen(block.near, own)
        mask = None if block.mask is None else block.mask[own]
        return Block(block.n_columns, Cells(nothing, nothing.bool()), far, hidden, mask)


def _chosen(cells: Cells, rows: Tensor) -> Cells:
    return Cells(cells.columns[rows], cells.valid[rows])


class Angular(ComposedLoss):
    r"""Angular loss (Wang et al. 2017): ``log(1 + sum_n exp(4 t (x_a + x_p).x_n - 2 (1 + t) x_a.x_p))``.

    ``t = tan(a)^2``; each positive pair (a, p) costs one such term over all negatives n of its anchor, the
    smooth bound of ``max_n |x_a - x_p|^2 - 4 t |x_n - (x_a + x_p) / 2|^2`` on unit vectors.

    Defaults: embeddings at unit length (the cosine distance), a = 40 degrees, the mean over positive pairs;
    pytorch-metric-learning's AngularLoss is the same but for the negatives, which it leaves at the length
    they have. The paper takes one positive pair a class, adds the N-pair loss (``Weighted([NPairs(),
    Angular()])``) and finds 36 to 55 degrees good.

    A labelled batch takes three products, as other losses do. Elsewhere (other relations, columns of their
    own, several processes, ``reduction="none"``, or a beyond 63 degrees) each positive pair is a row of its
    own: time and memory grow with their number, times columns and dimension. Of a listed quadruplet the
    negatives are those ends of the far pair that aren't ends of the near one: one where the pairs share an
    item, as in a triplet, else both.

    Parameters
    ----------
    angle : float, above 0 and below 90
        a, in degrees.

    References
    ----------
    J. Wang, F. Zhou, S. Wen, X. Liu, Y. Lin, "Deep metric learning with angular loss", 2017, equation 8
    (number from memory).

    >>> loss = Angular(angle=45.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(float(loss(x, [0, 0, 1])), 4)  # log(1 + exp(0 - 4))
    0.0181
    """

    def __init__(
        self,
        *,
        angle: float = 40.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        if not isinstance(self.distance, Cosine):
            raise InputError(f"distance must be Cosine; found {type(self.distance).__name__}")
        if positive("angle", angle) >= 90:
            raise InputError(f"angle must be degrees below 90; found {angle!r}")
        self.angle = float(angle)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # walks are loops: one graph break
    def compose(self, table: Table) -> Tensor:
        """One walk whose rows are the positive pairs."""
        resolved = table.resolved
        square = math.tan(math.radians(self.angle)) ** 2
        plain = table.columns is None and active_group() is None and self.reduction != "none"
        if plain and square <= MOST and by_classes(resolved):
            assert resolved.classes is not None
            codes = resolved.classes.rows
            value, pairs = angular_value(table.rows, codes, square, table.weights, self.reduction)
            self.warn_if_empty(pairs)
            return value
        row, own, column = near_cells(resolved)
        unit = unit_rows(table.rows)
        other = unit if table.columns is None else unit_rows(table.columns)
        left, right = unit.index_select(0, own), other.index_select(0, column)
        # the same exponents by subtraction: |x_a - x_p|^2 - 4 t |x_n - (x_a + x_p) / 2|^2 + 6 t - 2
        pair = (left - right).square().sum(1) + (6.0 * square - 2.0)
        middle = (left + right) / 2
        if resolved.far_has_anchors:
            terms = _of_both_ends(table, unit, other, middle, pair, 4.0 * square)
        else:
            function = FarLogSum(4.0 * square, far_alone)
            request = TableRequest(function, SquaredEuclidean(), _OfRows(resolved, row), "none")
            far, _ = table_value(request, middle, other, None)
            terms = torch.nn.functional.softplus(far + pair)
        self.warn_if_empty(terms.shape[0])
        weighted = terms if table.weights is None else terms * table.weights[row]
        if self.reduction == "none":
            return weighted.new_zeros(resolved.n_rows).index_add(0, row, weighted)
        count = {"mean": terms.shape[0], "active": int((terms != 0).sum()), "sum": 1}[self.reduction]
        return weighted.sum() / max(1, count) + table.rows.sum() * 0.0


def _of_both_ends(
    table: Table, unit: Tensor, other: Tensor, middle: Tensor, pair: Tensor, rate: float
) -> Tensor:
    """``log(1 + sum_n exp(pair - rate |x_n - middle|^2))`` of each near pair (k,), n ends of far pairs."""
    (row, own, column), (far_row, far_own, far_column) = (
        near_cells(table.resolved),
        far_cells(table.resolved),
    )
    cell, place = near_with_far(row, far_row, table.resolved.n_rows)
    start, stop, start_far, stop_far = own[cell], column[cell], far_own[place], far_column[place]
    new_start, new_stop = start_far != start, stop_far != stop
    if table.columns is None:
        new_start, new_stop = new_start & (start_far != stop), new_stop & (stop_far != start)
    cells = torch.cat([cell[new_start], cell[new_stop]])
    ends = torch.cat([unit.index_select(0, start_far[new_start]), other.index_select(0, stop_far[new_stop])])
    gaps = pair.index_select(0, cells) - rate * (middle.index_select(0, cells) - ends).square().sum(1)
    top = torch.zeros_like(pair).scatter_reduce(0, cells, gaps.detach(), "amax")
    total = (-top).exp().index_add(0, cells, (gaps - top[cells]).exp())
    return top + total.log()
