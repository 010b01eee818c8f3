"""Which items are better than which, from any relation: for losses that give each item a value of its own.

``Scores`` say it pair by pair, and integer labels are grades. Any other relation speaks of who is near whom,
and is read as search is: for each row, its near columns are better than its far ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from likewise.losses.composed import far_cells, near_cells, near_with_far
from likewise.relations import Labels, Relation, Resolved

__all__ = ["Preferences", "are_grades", "preferences"]


@dataclass(frozen=True)
class Preferences:
    """Of two columns the better and the worse (k,), and the row of the table for which that holds (k,).

    A preference that holds for several rows is listed once for each.
    """

    better: Tensor
    worse: Tensor
    row: Tensor


def are_grades(relation: Relation) -> bool:
    """Whether a relation is one integer an item: ordered grades."""
    return (
        isinstance(relation, Labels)
        and relation._levels is None
        and isinstance(relation._values, Tensor)
        and relation._values.ndim == 1
    )


def preferences(resolved: Resolved) -> Preferences:
    """Every near column of a row before every far one: as many as there are such triples."""
    (row, _, near), (far_row, _, far) = near_cells(resolved), far_cells(resolved)
    cell, other = near_with_far(row, far_row, resolved.n_rows)
    return Preferences(near[cell], far[other], row[cell])
