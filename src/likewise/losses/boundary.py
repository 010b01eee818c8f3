"""Margin loss: alike and unlike pairs on two sides of a boundary that may be learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from likewise.distances import Distance, Euclidean
from likewise.errors import InputError
from likewise.losses.base import Miner, ReductionName, positive
from likewise.losses.composed import ComposedLoss, Table
from likewise.losses.recorded import RowNotes
from likewise.relations import Labels, Relation
from likewise.table import Near, Part, Rows, TableFunction, TableRequest, Tile, table_value

__all__ = ["Margin"]


@dataclass
class _Sums:
    near: Near
    boundary: Tensor  # (r, 1)
    excess: Tensor  # (r, p) how far alike pairs lie beyond the boundary less the margin
    value: Tensor  # (r,) far terms so far
    active: Tensor  # (r,)
    inside: Tensor | None = None  # of the last tile, where it comes back


class _Pairs(TableFunction[_Sums]):
    """``max(0, d - b + m)`` and ``max(0, b - d + m)``; notes the derivative of each row by its b."""

    scaled = True

    def __init__(self, boundary: Tensor, margin: float) -> None:
        self._boundary, self._margin = boundary, margin
        self.slopes = RowNotes()

    def begin(self, near: Near) -> _Sums:
        boundary = self._boundary
        if boundary.shape[0] > 1:
            boundary = boundary[near.embeddings()]
        boundary = boundary[:, None]
        excess = near.filled((near.distances - (boundary - self._margin)).clamp_(min=0.0), 0.0)
        zero = torch.zeros_like(near.count)
        return _Sums(near, boundary, excess, zero, zero.clone())

    def _gap(self, tile: Tile, state: _Sums) -> Tensor:
        return ((state.boundary + self._margin) - tile.distances).clamp_(min=0.0)

    def observe(self, tile: Tile, state: _Sums) -> None:
        gap = self._gap(tile, state)
        state.value += gap.sum(1)
        state.inside = gap.sign_()
        state.active += gap.sum(1)
        if not tile.kept:
            state.inside = None

    def finish(self, state: _Sums) -> Rows:
        near = state.excess.sign().sum(1)
        self.slopes.note(state.near.start, state.active - near)
        terms = state.near.count + state.near.far_count
        return Rows(joint=Part(state.excess.sum(1) + state.value, terms, near + state.active))

    def slope(self, tile: Tile, state: _Sums) -> Tensor:
        inside = self._gap(tile, state).sign_() if state.inside is None else state.inside
        return inside.neg_()

    def near_slope(self, state: _Sums) -> Tensor:
        return state.excess.sign()


class Margin(ComposedLoss):
    r"""Margin loss (Wu et al. 2017): ``max(0, d - b + m)`` of alike, ``max(0, b - d + m)`` of unlike pairs.

    b is one boundary for all, or one a class of the anchor, and is learned (give it a learning rate of its
    own); ``regularization * b``, averaged over the anchors' boundaries, is added to a scalar value, as the
    paper's nu.

    Defaults: Euclidean distance, embeddings as given (the paper normalises them), m = 0.2, b = 1.2, the mean
    over active pairs, nu = 0. The paper samples one negative for each alike pair
    (``miner=DistanceWeighted()``), and so does pytorch-metric-learning, which sums both hinges over triplets;
    here each pair of the table counts once.

    Parameters
    ----------
    margin : float, 0 or more
        m.
    boundary : float, above 0
        b to begin with.
    n_classes : int, optional
        One boundary a class: labels are then integers from 0 to n_classes - 1.
    learn_boundary : bool
    regularization : float, 0 or more
        nu: without it the boundary grows where unlike pairs are cheap to push.

    Attributes
    ----------
    boundary : (1,) or (n_classes,) parameter

    References
    ----------
    C.-Y. Wu, R. Manmatha, A. Smola, P. Krahenbuhl, "Sampling matters in deep embedding learning", 2017,
    equations 5 and 6 (numbers from memory).

    >>> loss = Margin(margin=0.5, boundary=1.0)
    >>> x = torch.tensor([[0.0], [1.0], [1.2]])
    >>> value = loss(x, [0, 0, 1])  # 0.5 twice; 0.3 and 1.3, twice
    >>> round(float(value.detach()), 4)
    0.7
    """

    default_reduction = "active"

    def __init__(
        self,
        *,
        margin: float = 0.2,
        boundary: float = 1.2,
        n_classes: int | None = None,
        learn_boundary: bool = True,
        regularization: float = 0.0,
        distance: Distance | str | None = None,
        reduction: ReductionName | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__(distance=distance or Euclidean(), reduction=reduction, miner=miner)
        if n_classes is not None and not (isinstance(n_classes, int) and n_classes > 0):
            raise InputError(f"n_classes must be a whole number above zero; found {n_classes!r}")
        self.margin = positive("margin", margin, zero=True)
        self.regularization = positive("regularization", regularization, zero=True)
        start = torch.full((n_classes or 1,), positive("boundary", boundary))
        self.boundary = nn.Parameter(start, requires_grad=bool(learn_boundary))
        self.n_classes = n_classes

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
        """Look up each anchor's boundary, and go on as every composed loss."""
        numbers = None if self.n_classes is None else self._classes(relation, rows)
        boundary = self.boundary.to(rows.dtype)
        self.__dict__["_boundaries"] = boundary if numbers is None else boundary[numbers]
        return super()._evaluate(rows, relation, columns, column_relation, ids, column_ids, weights)

    def _classes(self, relation: Relation, rows: Tensor) -> Tensor:
        count = self.n_classes or 0
        expected = f"a boundary a class needs labels from 0 to {count - 1}, one known class an item"
        if not isinstance(relation, Labels):
            raise InputError(f"{expected}; found {type(relation).__name__}")
        values = relation._values
        if not isinstance(values, Tensor) or values.ndim != 1 or relation._known() is not None:
            raise InputError(f"{expected}; found strings, a table, or unlabelled items")
        outside = values[(values < 0) | (values >= count)]
        if outside.numel():
            raise InputError(f"{expected}; found {int(outside[0])}")
        return values.to(rows.device)

    def compose(self, table: Table) -> Tensor:
        """One walk, and the boundaries' derivatives that it noted."""
        boundaries: Tensor = self.__dict__.pop("_boundaries")
        function = _Pairs(boundaries.detach(), self.margin)
        request = TableRequest(function, self.distance, table.resolved, self.reduction)
        value, outcome = table_value(request, table.rows, table.columns, table.weights)
        self.warn_if_empty(outcome.terms)
        if boundaries.requires_grad:
            slopes = function.slopes.all(table.rows)
            anchors = table.resolved.anchors
            own = boundaries
            if boundaries.shape[0] > 1 and anchors is not None:
                own = boundaries[anchors]
            by_boundary = (own - own.detach()) * slopes
            if table.weights is not None:
                by_boundary = by_boundary * table.weights
            if self.reduction == "none":
                return value + by_boundary
            value = value + by_boundary.sum() / outcome.divisors["joint"]
        if self.regularization and self.reduction != "none":
            value = value + self.regularization * boundaries.mean()
        return value
