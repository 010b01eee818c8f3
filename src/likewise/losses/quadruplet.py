"""PDDM: hard quadruplets mined by a learned similarity, and a hinge for each of its two heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from likewise.distances import Distance, PositionDependent, SquaredEuclidean, distance_from_name, unit_rows
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.relations import Cells

__all__ = ["DoubleHeaderHinge"]

_CELLS = 1 << 21
"""Numbers that a tile of the mining walk may hold."""


@dataclass
class _Hardest:
    """For each place: the distance of the best cell found so far, its row's embedding and its column.

    value is plus infinity, and anchor and column -1, where there is none.
    """

    value: Tensor
    anchor: Tensor
    column: Tensor

    @classmethod
    def none(cls, count: int, like: Tensor) -> _Hardest:
        """Nothing found for any of ``count`` places."""
        value = torch.full((count,), torch.inf, dtype=like.dtype, device=like.device)
        nobody = torch.full((count,), -1, dtype=torch.int64, device=like.device)
        return cls(value, nobody, nobody.clone())

    def fold(self, place: Tensor, value: Tensor, anchor: Tensor, column: Tensor) -> None:
        """Take cells (k,) in where they are lower; ties go to the lower anchor, then the lower column."""
        kept = torch.isfinite(value)
        place, value, anchor, column = place[kept], value[kept], anchor[kept], column[kept]
        order = torch.argsort(column, stable=True)
        for key in (anchor, value, place):
            order = order[torch.argsort(key[order], stable=True)]
        place, value, anchor, column = place[order], value[order], anchor[order], column[order]
        first = torch.ones_like(place, dtype=torch.bool)
        first[1:] = place[1:] != place[:-1]
        place, value, anchor, column = place[first], value[first], anchor[first], column[first]
        old_anchor = self.anchor[place]
        lower = (anchor < old_anchor) | ((anchor == old_anchor) & (column < self.column[place]))
        better = (value < self.value[place]) | ((value == self.value[place]) & lower)
        place = place[better]
        self.value[place], self.anchor[place], self.column[place] = (
            part[better] for part in (value, anchor, column)
        )


@dataclass(frozen=True)
class _Mined:
    """The hardest cells of each row, and of each item that can be a row's positive."""

    near: _Hardest  # value is minus the distance
    far: _Hardest
    of_column: _Hardest


class DoubleHeaderHinge(ComposedLoss):
    r"""PDDM's double-header hinge on hard quadruplets (Huang, Loy, Tang 2016).

    A learned position-dependent similarity S (the *unit*) finds in a batch the hardest positive pair
    ``(i, j) = argmin S`` and the hardest negatives of both, ``k = argmax_k S(i, k)`` and
    ``l = argmax_l S(j, l)``. The quadruplet trains both the unit and the embedding::

        E_m = max(0, a + S(i, k) - S(i, j)) + max(0, a + S(j, l) - S(i, j))
        E_e = max(0, b + D(i, j) - D(i, k)) + max(0, b + D(i, j) - D(j, l))

    and the loss is ``E_m + w E_e``. Mining has no gradient; it flows through the chosen S and D only. An item
    without negatives has no hinge of its own. A row's negatives are its far columns; those of its positive j
    are the far columns of the row of j, or, where columns aren't rows, the rows far from column j.

    Defaults: the unit of the paper, D the squared Euclidean distance of embeddings at unit length, margins
    0.5 and 1, w = 0.5, one quadruplet a batch, mean over the quadruplets. Margins, weight and the names of
    the heads are from memory; the paper's ``gamma |W|^2`` is the optimiser's weight decay. Not in
    pytorch-metric-learning; of three public implementations two leave the unit's input normalisation out
    (``unit=PositionDependent(d, normalize_inputs=False)``).

    Parameters
    ----------
    dimension : int
        d of the embeddings, for the unit.
    unit : Distance, optional
        Minus S; ``PositionDependent(dimension)`` when not given.
    margin_similarity : float, 0 or more
        a.
    margin_embedding : float, 0 or more
        b.
    weight_embedding : float, 0 or more
        w.
    per : {"batch", "anchor"}
        One quadruplet a batch as the paper, or one for every row that has a positive and a negative: a
        denser gradient, and a departure.
    mine_by : {"unit", "embedding"}
        Whether S or D finds the quadruplets; an untrained unit finds random ones, so begin by "embedding".
        It can be changed at any time: ``loss.mine_by = "unit"``.
    normalize : bool
        Bring embeddings to unit length before D.

    References
    ----------
    C. Huang, C. C. Loy, X. Tang, "Local similarity-aware deep feature embedding", 2016, section 3 (equations
    from memory).

    >>> from likewise.distances import Cityblock
    >>> loss = DoubleHeaderHinge(1, unit=Cityblock(), normalize=False, weight_embedding=0.0)
    >>> loss(torch.tensor([[0.0], [1.0], [1.25]]), [0, 0, 1])  # (0.5 + 1 - 1.25) + (0.5 + 1 - 0.25)
    tensor(1.5000)
    """

    def __init__(
        self,
        dimension: int,
        *,
        unit: Distance | str | None = None,
        margin_similarity: float = 0.5,
        margin_embedding: float = 1.0,
        weight_embedding: float = 0.5,
        per: Literal["batch", "anchor"] = "batch",
        mine_by: Literal["unit", "embedding"] = "unit",
        normalize: bool = True,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or SquaredEuclidean(), reduction=reduction, miner=miner)
        if not isinstance(dimension, int) or dimension < 1:
            raise InputError(f"dimension must be a whole number from 1; found {dimension!r}")
        if per not in ("batch", "anchor"):
            raise InputError(f'per must be "batch" or "anchor"; found {per!r}')
        if mine_by not in ("unit", "embedding"):
            raise InputError(f'mine_by must be "unit" or "embedding"; found {mine_by!r}')
        self.unit = PositionDependent(dimension) if unit is None else distance_from_name(unit, "unit")
        self.margin_similarity = positive("margin_similarity", margin_similarity, zero=True)
        self.margin_embedding = positive("margin_embedding", margin_embedding, zero=True)
        self.weight_embedding = positive("weight_embedding", weight_embedding, zero=True)
        self.per = per
        self.mine_by = mine_by
        self.normalize = bool(normalize)

    def compose(self, table: Table) -> Tensor:
        """Mine without gradient, then take the hinges of the chosen cells."""
        rows, other = table.rows, table.other
        unit_length = unit_rows if self.normalize else (lambda x: x)
        with torch.no_grad():
            if self.mine_by == "unit":
                mined = _mine(self.unit, rows.detach(), other.detach(), table)
            else:
                mined = _mine(self.distance, unit_length(rows.detach()), unit_length(other.detach()), table)
            chosen = self._chosen(mined, table.columns is None and table.resolved.anchors is None)
        i, j = mined.near.anchor[chosen], mined.near.column[chosen]
        first_row, first_column = mined.far.anchor[chosen], mined.far.column[chosen]
        second_row, second_column = mined.of_column.anchor[j], mined.of_column.column[j]
        total = rows.new_zeros(chosen.shape[0])
        u, v = unit_length(rows), unit_length(other)
        heads = (
            (self.unit, rows, other, self.margin_similarity, 1.0),
            (self.distance, u, v, self.margin_embedding, self.weight_embedding),
        )
        for distance, left, right, margin, weight in heads:
            alike = distance(left[i], right[j])
            for row, column in ((first_row, first_column), (second_row, second_column)):
                there = (row >= 0).to(rows.dtype)
                unlike = distance(left[row.clamp(min=0)], right[column.clamp(min=0)])
                total = total + weight * there * torch.relu(margin + alike - unlike)
        self.warn_if_empty(chosen.shape[0])
        weighted = total if table.weights is None else total * table.weights[chosen]
        if self.reduction == "none":
            return rows.new_zeros(table.resolved.n_rows).index_add(0, chosen, weighted) + rows[:0].sum()
        count = {"mean": chosen.shape[0], "sum": 1, "active": int((total != 0).sum())}[self.reduction]
        return weighted.sum() / max(1, count) + rows[:0].sum()

    def _chosen(self, mined: _Mined, together: bool) -> Tensor:
        """The rows of the table that give a quadruplet: (q,)."""
        there = (mined.near.column >= 0) & (mined.far.column >= 0)
        numbers = there.nonzero().view(-1)
        if self.per == "anchor" or not numbers.numel():
            return numbers
        hardest = mined.near.value[numbers]
        chosen = numbers[hardest == hardest.min()][:1]
        if together:
            # a pair is found from both its ends, whose distances may differ by a rounding
            other = mined.near.column[chosen]
            both = there[other] & (mined.near.column[other] == chosen)
            chosen = torch.where(both, torch.minimum(chosen, other), chosen)
        return chosen


def _mine(distance: Distance, rows: Tensor, columns: Tensor, table: Table) -> _Mined:
    """The farthest near cell and the nearest far cell of each row, and of each item as a positive."""
    resolved = table.resolved
    near, far = (_Hardest.none(resolved.n_rows, rows) for _ in range(2))
    of_column = _Hardest.none(columns.shape[0], rows)
    together = table.columns is None
    width = max(1, distance.width(rows.shape[1]))
    step = max(1, _CELLS // max(1, width * resolved.n_columns))
    if not resolved.n_columns:
        return _Mined(near, far, of_column)
    for start in range(0, resolved.n_rows, step):
        stop = min(start + step, resolved.n_rows)
        block = resolved.block(start, stop)
        numbers = torch.arange(start, stop, device=rows.device)
        anchors = numbers if resolved.anchors is None else resolved.anchors[start:stop]
        number, anchor, column = _list(block.near, numbers, anchors)
        near.fold(number, -_pairs(distance, rows, columns, anchor, column, width), anchor, column)
        if block.far is not None:
            number, anchor, column = _list(block.far, numbers, anchors)
            value = _pairs(distance, rows, columns, anchor, column, width)
            far.fold(number, value, anchor, column)
            of_column.fold(anchor if together else column, value, anchor, column)
            continue
        tile = distance.table(rows[anchors], columns).contiguous()
        block.hide(tile, 0, resolved.n_columns, torch.inf)
        best = _lowest(tile)
        far.fold(numbers, tile.amin(1), anchors, best)
        if together:
            of_column.fold(anchors, tile.amin(1), anchors, best)
        else:
            every = torch.arange(columns.shape[0], device=rows.device)
            of_column.fold(every, tile.amin(0), anchors[_lowest(tile.T)], every)
    return _Mined(near, far, of_column)


def _lowest(tile: Tensor) -> Tensor:
    """The first place of each row's minimum."""
    places = torch.arange(tile.shape[1], device=tile.device).expand_as(tile)
    return torch.where(tile == tile.amin(1, keepdim=True), places, tile.shape[1]).amin(1)


def _list(cells: Cells, numbers: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Valid cells as a list: the row of the table, the embedding it is measured from, the column."""
    row, slot = cells.valid.nonzero(as_tuple=True)
    own = anchors[row] if cells.anchors is None else cells.anchors.expand_as(cells.columns)[row, slot]
    return numbers[row], own, cells.columns[row, slot]


def _pairs(
    distance: Distance, rows: Tensor, columns: Tensor, row: Tensor, column: Tensor, width: int
) -> Tensor:
    """Distances of listed cells, some at a time."""
    step = max(1, _CELLS // width)
    parts = [
        distance(rows[row[first : first + step]], columns[column[first : first + step]])
        for first in range(0, row.shape[0], step)
    ]
    return torch.cat(parts) if parts else rows.new_zeros(0)
