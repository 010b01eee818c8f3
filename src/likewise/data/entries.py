"""The entries of a relation, whatever its kind: which items each speaks of, and some of them alone."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.relations import Pairs, Quadruplets, Relation, Scores, Triplets

__all__ = ["Listed", "chosen_entries", "entries_of", "places_of", "restricted"]

Listed: TypeAlias = Pairs | Scores | Triplets | Quadruplets

# kind -> the fields that hold positions, and those that hold what is said of them
_PLACES: dict[type[Relation], tuple[str, ...]] = {
    Pairs: ("left", "right"),
    Scores: ("left", "right"),
    Triplets: ("anchor", "positive", "negative"),
    Quadruplets: ("left", "right", "far_left", "far_right"),
}
_SAID: dict[type[Relation], tuple[str, ...]] = {Pairs: ("same",), Scores: ("score",)}


def places_of(relation: Relation) -> dict[str, NDArray[np.int64]]:
    """The positions of items, by field: each (m,).

    >>> {name: rows.tolist() for name, rows in places_of(Pairs([0, 1], [2, 3], [1, 0])).items()}
    {'left': [0, 1], 'right': [2, 3]}
    """
    return _fields(relation, _PLACES)


def entries_of(relation: Relation) -> dict[str, NDArray[Any]]:
    """Everything that is listed, by field: each (m,)."""
    return {**_fields(relation, _PLACES), **_fields(relation, _SAID, empty=True)}


def chosen_entries(relation: Relation, chosen: NDArray[np.int64]) -> Relation:
    """Some of the entries, in that order, about the same items."""
    return _rebuilt(relation, {name: values[chosen] for name, values in entries_of(relation).items()})


def restricted(relation: Relation, rows: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Relation]:
    """What is said about some items alone, by their new positions.

    Parameters
    ----------
    relation : Pairs, Scores, Triplets or Quadruplets
        About ``count`` items.
    rows : int64 array (k,)
        The items that stay, in their new order.
    count : int
        How many items there are.

    Returns
    -------
    kept : int64 array
        The entries whose items all stay.
    relation
        Those, about the k items.
    """
    new = np.full(count, -1, dtype=np.int64)
    new[rows] = np.arange(len(rows))
    moved = {name: new[values] for name, values in places_of(relation).items()}
    kept = np.flatnonzero(np.all([values >= 0 for values in moved.values()], axis=0))
    fields = {**entries_of(relation), **moved}
    return kept, _rebuilt(relation, {name: values[kept] for name, values in fields.items()})


def _fields(
    relation: Relation, table: dict[type[Relation], tuple[str, ...]], *, empty: bool = False
) -> dict[str, NDArray[Any]]:
    names = table.get(type(relation), () if empty else None)
    if names is None:
        known = ", ".join(kind.__name__ for kind in _PLACES)
        raise DataError(f"a relation of records must be one of {known}; found {type(relation).__name__}")
    return {name: getattr(relation, name).numpy() for name in names}


def _rebuilt(relation: Relation, fields: dict[str, NDArray[Any]]) -> Relation:
    if isinstance(relation, Scores):
        return Scores(**fields, near_from=relation.near_from, far_to=relation.far_to)
    kind: Any = type(relation)
    made: Relation = kind(**fields)
    return made
