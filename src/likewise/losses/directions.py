"""A loss over rows and, mined apart, over columns: the mean of the table's value and of its transpose's.

The transpose is walked as a table of its own: columns are the anchors, the relation is turned round, and
so is a distance that isn't symmetric. That costs the products twice; without a miner one walk gives both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.distances import Axiom, Distance, Form, ProductDistance
from likewise.errors import InputError
from likewise.losses.base import Loss
from likewise.relations import Cells, Chunklets, Labels, Mask, Matches, Relation, Resolved, Sides
from likewise.relations.labels import exact_labels
from likewise.table import TableRequest, table_value

__all__ = [
    "Transposed",
    "TransposedProduct",
    "check_columns_are_anchors",
    "check_directions",
    "column_wise",
    "transposed_relation",
]


class TransposedProduct(ProductDistance):
    """``d(y, x)`` of a product distance."""

    form: Form  # type: ignore[misc]  # of the distance it turns round

    def __init__(self, distance: ProductDistance) -> None:
        super().__init__()
        self.distance = distance
        self.form = distance.form

    def features(self, x: Tensor) -> Tensor:
        """What the distance makes of columns."""
        return self.distance.column_features(x)

    def column_features(self, y: Tensor) -> Tensor:
        """What the distance makes of rows."""
        return self.distance.features(y)


class Transposed(Distance):
    """``d(y, x)`` of any distance."""

    def __init__(self, distance: Distance) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row, arguments exchanged."""
        return self.distance(y, x)

    def width(self, dimension: int) -> int:
        """As the distance's."""
        return self.distance.width(dimension)


def _turned(distance: Distance) -> Distance:
    if Axiom.SYMMETRIC in distance.axioms:
        return distance
    return TransposedProduct(distance) if isinstance(distance, ProductDistance) else Transposed(distance)


def _mask(cells: Cells, shape: tuple[int, int]) -> Tensor:
    """Listed cells of a whole table as a sparse mask of its transpose."""
    row = torch.arange(cells.columns.shape[0], device=cells.columns.device)[:, None].expand_as(cells.columns)
    indices = torch.unique(torch.stack([cells.columns[cells.valid], row[cells.valid]]), dim=1)
    values = torch.ones(indices.shape[1], dtype=torch.bool, device=indices.device)
    return torch.sparse_coo_tensor(indices, values, shape[::-1], check_invariants=True, is_coalesced=True)


def transposed_relation(
    relation: Relation, column_relation: Relation | None, sides: Sides
) -> tuple[Relation, Relation | None]:
    """The relation of columns to rows, from that of rows to columns.

    Raises
    ------
    InputError
        The relation compares pairs (Triplets, Quadruplets) and so has no columns to start from.
    """
    if isinstance(relation, Labels | Chunklets | Matches):
        return (relation, None) if column_relation is None else (column_relation, relation)
    resolved = relation.resolve(column_relation, sides)
    check_columns_are_anchors(relation, resolved)
    block = resolved.block(0, sides.n_rows)
    assert block.far is not None
    shape = (sides.n_rows, sides.n_columns)
    return Mask(_mask(block.near, shape), _mask(block.far, shape)), None


def check_columns_are_anchors(relation: Relation, resolved: Resolved) -> None:
    """Refuse comparisons of pairs, which have no columns to start from.

    Raises
    ------
    InputError
    """
    if resolved.anchors is not None:
        raise InputError(
            "both_directions needs a relation that speaks of columns as of rows: Labels, Matches, Pairs, "
            f"Mask; found {type(relation).__name__}"
        )


def check_directions(loss: Loss, sides: Sides, weights: Tensor | None) -> None:
    """Refuse what needs as many columns as rows where they differ.

    Raises
    ------
    InputError
    """
    n, m = sides.n_rows, sides.n_columns
    if n != m and (weights is not None or loss.reduction == "none"):
        what = "weights" if weights is not None else 'reduction="none"'
        raise InputError(f"both_directions with {what} needs as many columns as rows; found {n} and {m}")


def column_wise(
    loss: Loss,
    rows: Tensor,
    relation: Relation,
    columns: Tensor | None,
    column_relation: Relation | None,
    ids: Tensor | None,
    column_ids: Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """The value of a loss with the columns as its anchors; arguments are those of the table itself.

    Raises
    ------
    InputError
        As :func:`transposed_relation`; or weights or ``reduction="none"``, and not as many columns as rows.
    """
    others = rows if columns is None else columns
    n, m = rows.shape[0], others.shape[0]
    row_ids, other_ids = _ids(ids, rows), _ids(column_ids, rows)
    if columns is None and row_ids is not None and other_ids is None:
        other_ids = row_ids
    sides = Sides(n, m, columns is None, rows.device, row_ids, other_ids)
    check_directions(loss, sides, weights)
    turned = Sides(m, n, columns is None, rows.device, other_ids, row_ids)
    resolved: Resolved = _resolve(relation, column_relation, sides, turned)
    distance = _turned(loss.distance)
    if loss.miner is not None:
        resolved = loss.miner(
            others.detach(), resolved, columns=None if columns is None else rows, distance=distance
        )
    request = TableRequest(loss.function(), distance, resolved, loss.reduction)
    plain = None if weights is None else weights.to(rows.dtype)
    value: Tensor
    value, _ = table_value(request, others, None if columns is None else rows, plain)
    return value


def _resolve(relation: Relation, columns: Relation | None, sides: Sides, turned: Sides) -> Resolved:
    first, second = transposed_relation(relation, columns, sides)
    return first.resolve(second, turned)


def _ids(ids: Any, like: Tensor) -> Tensor | None:
    return None if ids is None else torch.as_tensor(exact_labels(ids, "ids")).to(like.device)
