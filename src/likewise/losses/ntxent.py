"""NT-Xent and the N-pair losses: each positive pair against the negatives of its anchor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Cosine, Distance, Dot
from likewise.errors import InputError
from likewise.losses.base import Loss, Miner, ReductionName, positive
from likewise.losses.centred import columns_centred
from likewise.losses.composed import ComposedLoss, near_cells
from likewise.losses.directions import check_columns_are_anchors, check_directions, column_wise
from likewise.losses.log_sum import FarLogSum, RowTerms, one_plus, pair_softmax
from likewise.relations import Relation, Resolved, Sides
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.both_ways import far_log_sums

__all__ = ["NPairs", "NTXent"]


class NTXent(Loss):
    r"""Normalised temperature-scaled cross-entropy: each positive pair has a softmax of its own.

    With logits ``z = -d / t`` a pair (i, p) costs ``-log(exp z_p / (exp z_p + sum_n exp z_n))`` over the
    negatives n of i: other positives of the anchor are not in its denominator (in SupCon they are).
    With the cosine distance z is the paper's ``s / t`` up to a constant that the softmax drops. For two
    views of a batch, put them in one table with labels that say who is whose view (SimCLR), or give the
    views as rows and columns with :class:`~likewise.relations.Matches` (InfoNCE, CLIP).

    Defaults: cosine distance (so embeddings are normalised), temperature 0.1 (SimCLR's for long training;
    the paper tries 0.05 to 1), mean over all positive pairs. pytorch-metric-learning's NTXentLoss takes
    0.07, gives zero for a batch without any negative, and averages over each anchor's pairs as we do.

    Parameters
    ----------
    temperature : float, above 0
        t.
    both_directions : bool
        The mean of the softmax over rows and the softmax over columns (CLIP), each reduced by itself:
        every column is an anchor too, and what is near to it is what it is near to. ``reduction="none"``
        and weights then need as many columns as rows, column i being row i's other view. One walk gives the
        sums of both; with a miner, which chooses for rows and columns apart, it takes two.

    References
    ----------
    T. Chen, S. Kornblith, M. Norouzi, G. Hinton, "A simple framework for contrastive learning of visual
    representations", 2020, equation 1; A. Radford et al., "Learning transferable visual models from
    natural language supervision", 2021, figure 3, for both directions.

    >>> loss = NTXent(temperature=1.0)
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(loss(x, [0, 0, 1]).item(), 4)  # log(1 + 1 / e)
    0.3133
    """

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        both_directions: bool = False,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Cosine(), reduction=reduction, miner=miner)
        self.temperature = positive("temperature", temperature)
        self.both_directions = bool(both_directions)

    def function(self) -> FarLogSum:
        """Every near cell against the far log-sum-exp of its row."""
        return FarLogSum(1.0 / self.temperature, self._row)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        rate = 1.0 / self.temperature
        return pair_softmax(near, far, near.distances * -rate, -rate)

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        if not self.both_directions:
            return super()._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)
        if self.miner is not None:  # what is mined for rows isn't what is mined for columns
            value = super()._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)
            other = column_wise(self, rows, relation, columns, column_relation, ids, column_ids, weights)
            return (value + other) / 2
        return self._both(rows, relation, columns, column_relation, ids, column_ids, weights)

    def _both(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        """Both softmaxes from the far log-sum-exps of rows and columns, which one walk gives."""
        sides = ComposedLoss._sides(rows, columns, ids, column_ids)
        check_directions(self, sides, weights)
        resolved = relation.resolve(column_relation, sides)
        check_columns_are_anchors(relation, resolved)
        if weights is not None:
            weights = self._check_weights(weights, resolved, rows)
        rate = 1.0 / self.temperature
        by_row, by_column, near = far_log_sums(self.distance, resolved, rate, rows, columns)
        if not near.numel():
            self.warn_of_nothing()
        row, _, column = near_cells(resolved)
        values = [
            self._reduced(one_plus(far[place] + near * rate), place, sides, weights)
            for far, place in ((by_row, row), (by_column, column))
        ]
        return (values[0] + values[1]) / 2

    def _reduced(self, terms: Tensor, place: Tensor, sides: Sides, weights: Tensor | None) -> Tensor:
        """The terms (k,) of one direction, each of the anchor at ``place``, reduced."""
        value = terms if weights is None else terms * weights[place]
        if self.reduction == "none":
            return value.new_zeros(sides.n_rows).index_add(0, place, value)
        divisor = {"mean": terms.shape[0], "active": int((terms != 0).sum()), "sum": 1}[self.reduction]
        return value.sum() / max(1, divisor)


class NPairs(Loss):
    r"""Multi-class N-pair loss (Sohn 2016): ``log(1 + sum_n exp(s_n - s_p))`` for each positive pair.

    s is the inner product, so the distance is minus it, and norms count. The paper takes N pairs of N
    classes, anchors f and positives f+: rows f, columns f+ and :class:`~likewise.relations.Matches`. Any
    other relation does as well: every positive pair of a row against all its negatives.

    Defaults: inner product (:class:`~likewise.distances.Dot`), embeddings as given, mean over all
    positive pairs. pytorch-metric-learning's NPairsLoss picks one pair of each class from the batch
    and takes the positives of the others as negatives, which is what Matches on those pairs gives.

    Parameters
    ----------
    one_vs_one : bool
        True takes the paper's weaker form, ``sum_n log(1 + exp(s_n - s_p))``.
    norm_weight : float, 0 or more
        Weight of the mean squared norm of the embeddings (and, added, of ``columns``), which the paper
        adds so that norms don't grow, without saying how much; TensorFlow's npairs_loss takes 0.0005.
        With ``reduction="none"`` each row's value has its own squared norm's part.

    References
    ----------
    K. Sohn, "Improved deep metric learning with multi-class N-pair loss objective", 2016, equations 6
    (N-pair) and 7 (one against one), and section 3.2.2 for the norms (equation numbers from memory).

    >>> loss = NPairs()
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> from likewise.relations import Matches
    >>> round(loss(x, Matches(), columns=x).item(), 4)  # log(1 + 1 / e)
    0.3133
    """

    def __init__(
        self,
        *,
        one_vs_one: bool = False,
        norm_weight: float = 0.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Dot(), reduction=reduction, miner=miner)
        self.one_vs_one = bool(one_vs_one)
        self.norm_weight = positive("norm_weight", norm_weight, zero=True)

    def function(self) -> TableFunction[Any]:
        """NT-Xent's function at temperature 1, or the sum over negatives outside the logarithm."""
        return _OneAgainstOne() if self.one_vs_one else FarLogSum(1.0, self._row)

    def walked(self, rows: Tensor, columns: Tensor | None, resolved: Resolved) -> Distance:
        """Products of centred columns, where they are far from the origin: differences alone count."""
        return columns_centred(self.distance, rows if columns is None else columns, resolved)

    def _row(self, near: Near, far: Tensor) -> RowTerms:
        return pair_softmax(near, far, -near.distances, -1.0)

    def _evaluate(
        self,
        rows: Tensor,
        relation: Relation,
        columns: Tensor | None,
        column_relation: Relation | None,
        ids: Any,
        column_ids: Any,
        weights: Tensor | None,
    ) -> Tensor:
        value = super()._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)
        if not self.norm_weight or not rows.shape[0]:
            return value
        if self.reduction == "none":
            if columns is not None or value.shape[0] != rows.shape[0]:
                raise InputError('norm_weight with reduction="none" needs rows that are the columns')
            return value + self.norm_weight * rows.square().sum(1)
        for side in (rows, columns):
            if side is not None and side.shape[0]:
                value = value + self.norm_weight * side.square().sum(1).mean()
        return value


@dataclass
class _Gaps:
    near: Near
    logits: Tensor  # (r, p); infinity where not valid, so that nothing comes of it
    value: Tensor  # (r,)
    active: Tensor  # (r,) pairs whose value isn't zero
    share: Tensor  # (r, p) the sum over negatives of the sigmoid
    slopes: Tensor | None = None


class _OneAgainstOne(TableFunction[_Gaps]):
    """``sum_p sum_n log(1 + exp(d_p - d_n))``, one positive at a time."""

    def begin(self, near: Near) -> _Gaps:
        logits = near.filled(-near.distances, torch.inf)
        zero = torch.zeros_like(near.count)
        return _Gaps(near, logits, zero, zero.clone(), torch.zeros_like(logits))

    def _visit(self, tile: Tile, state: _Gaps, *, fold: bool) -> Tensor:
        slopes = torch.zeros_like(tile.distances)
        for number in range(state.logits.shape[1]):
            gap = torch.add(-state.logits[:, number, None], tile.distances, alpha=-1.0)
            if fold:
                state.value += torch.nn.functional.softplus(gap, threshold=50.0).sum(1)
            share = gap.sigmoid_()
            if fold:
                state.share[:, number] += share.sum(1)
            slopes.sub_(share)
        return slopes

    def observe(self, tile: Tile, state: _Gaps) -> None:
        slopes = self._visit(tile, state, fold=True)
        state.slopes = slopes if tile.kept else None

    def finish(self, state: _Gaps) -> Rows:
        # a positive without negatives has the value zero; with some it never has
        some = (state.share > 0) & state.near.valid
        return Rows(joint=Part(state.value, state.near.count, some.sum(1)))

    def slope(self, tile: Tile, state: _Gaps) -> Tensor:
        return self._visit(tile, state, fold=False) if state.slopes is None else state.slopes

    def near_slope(self, state: _Gaps) -> Tensor:
        return state.share
