"""Tables that say which things go together: pairs, scores, triplets and rankings.

============================ ==========================================================
``left,right,same``           alike (1, true) or not (0, false)
``left,right,score``          the larger the score, the more alike
``anchor,positive,negative``  the anchor is nearer to the positive than to the negative
``query,item,rank``           of a query's items, those of lower rank are nearer to it
``better,worse``              the first has the higher learned score
============================ ==========================================================

The things are image files, texts, or rows (or ids) of other data.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from likewise.data.columns import is_text, label_column, plain_column, text_column
from likewise.data.entries import restricted
from likewise.data.items import TextItems
from likewise.data.orders import rows_in_a_circle
from likewise.data.reading import Reading
from likewise.data.records import Records
from likewise.data.tables import images_of_paths, looks_like_image
from likewise.errors import DataError
from likewise.relations import Pairs, Relation, Scores, Triplets

__all__ = ["records_from_supervision", "supervision_of"]

_PLACES = {
    "same": ("left", "right"),
    "score": ("left", "right"),
    "triplets": ("anchor", "positive", "negative"),
    "ranking": ("query", "item"),
    "preferences": ("better", "worse"),
}
_SAID = {"same": "same", "score": "score", "ranking": "rank"}


def supervision_of(names: list[str]) -> str | None:
    """Which kind of supervision a table's columns say, or None.

    >>> supervision_of(["left", "right", "score"]), supervision_of(["age", "label"])
    ('score', None)
    """
    held = set(names)
    for kind, places in _PLACES.items():
        if held >= {*places, *([_SAID[kind]] if kind in _SAID else [])}:
            return kind
    return None


def records_from_supervision(
    table: pyarrow.Table, *, name: str, folder: Path, reading: Reading, others: Records | None
) -> Records:
    """The things that a table speaks of, each once, with what it says of them as their relation.

    Parameters
    ----------
    table : pyarrow.Table
        Columns as in this module's table; any more are kept in ``entries``.
    name : str
        What the records are called.
    folder : path
        Where relative paths of images start.
    reading : Reading
        ``size``, ``colour`` and ``skip_bad``, of images.
    others : Records, optional
        What rows or ids are of (``items=``).

    Returns
    -------
    Records
        Without labels; ``relation`` is Pairs, Scores or Triplets.

    Raises
    ------
    DataError
        A thing isn't there, is paired with itself, or rows contradict each other; rows are named.
    """
    kind = supervision_of(table.column_names)
    if kind is None:
        raise DataError(f"{name}: found {', '.join(table.column_names)}, which say no pairs or triplets")
    fields = _PLACES[kind]
    base, places = _things(table, fields, name, folder, reading, others)
    relation, entry_rows = _RELATIONS[kind](table, places, name)
    used = (*fields, *([_SAID[kind]] if kind in _SAID else []))
    entries = {
        column: plain_column(table[column])[entry_rows] for column in table.column_names if column not in used
    }
    rows = np.arange(len(base))
    if others is not None:  # only those that are spoken of
        rows = np.unique(np.concatenate([values[values >= 0] for values in places.values()]))
    alone = base.take(rows, name=name)
    kept, relation = restricted(relation, rows, len(base))
    if not len(kept):
        raise DataError(f"{name}: no row is left to learn from")
    entries = {key: values[kept] for key, values in entries.items()}
    return Records(
        alone.source,
        None,
        name,
        columns=alone.columns,
        relation=relation,
        entries=entries,
        skipped=base.skipped,
    )


def _things(
    table: pyarrow.Table,
    fields: tuple[str, ...],
    name: str,
    folder: Path,
    reading: Reading,
    others: Records | None,
) -> tuple[Records, dict[str, NDArray[np.int64]]]:
    """The different things, and where each cell's lies among them (-1 for an image that was left out)."""
    if others is not None:
        return others, {field: _positions(table[field], field, name, others) for field in fields}
    numbers: dict[str, int] = {}
    first_rows: list[str] = []
    places = {}
    for field in fields:
        if not is_text(table[field]) and not table[field].null_count:
            raise DataError(
                f"{name}: column {field!r} holds {table[field].type}; name the data that rows are of, "
                "with items= (such as pairs.csv:items=things.npz), or give image files or texts"
            )
        cells = text_column(table[field], told=f"{name}: column {field!r}")
        for row, cell in enumerate(cells):
            if numbers.setdefault(cell, len(numbers)) == len(first_rows):
                first_rows.append(f"{name}: row {row}, column {field!r}")
        places[field] = np.array([numbers[cell] for cell in cells], dtype=np.int64)
    things = list(numbers)
    if not looks_like_image(things[0]):
        return Records(TextItems(things), None, name), places
    items, good = images_of_paths(things, folder=folder, name=name, reading=reading, rows=first_rows)
    new = np.full(len(things), -1, dtype=np.int64)
    new[good] = np.arange(len(good))
    columns = {"path": np.array(things)[good]}
    made = Records(items, None, name, columns=columns, skipped=len(things) - len(good))
    return made, {field: new[values] for field, values in places.items()}


def _positions(column: pyarrow.ChunkedArray, field: str, name: str, others: Records) -> NDArray[np.int64]:
    told = f"{name}: column {field!r}"
    cells = label_column(column, told=told)
    if cells.dtype.kind == "U":
        numbers = {known: row for row, known in enumerate(others.ids)}
        found = np.array([numbers.get(cell, -1) for cell in cells.tolist()], dtype=np.int64)
    else:
        found = np.where((cells >= 0) & (cells < len(others)), cells, -1)
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        raise DataError(f"{told} has {cells[row].item()!r} in row {row}; {others.name} has no such item")
    return found


def _pairs(table: pyarrow.Table, places: dict[str, NDArray[np.int64]], name: str) -> tuple[Relation, Any]:
    left, right = places["left"], places["right"]
    same = label_column(table["same"], told=f"{name}: column 'same'")
    if same.dtype.kind == "U" or not np.isin(same, (0, 1)).all():
        row = next(row for row, value in enumerate(same.tolist()) if value not in (0, 1))
        raise DataError(
            f"{name}: same must be 1 or 0, true or false; found {same[row].item()!r} in row {row}"
        )
    _refuse_itself(left, right, name)
    seen: dict[tuple[int, int], int] = {}
    for row, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        first = seen.setdefault((min(a, b), max(a, b)), row)
        if same[first] != same[row]:
            raise DataError(f"{name}: rows {first} and {row} contradict each other: one pair, alike and not")
    rows = _whole(places)
    return Pairs(left[rows], right[rows], same[rows].astype(bool)), rows


def _scores(table: pyarrow.Table, places: dict[str, NDArray[np.int64]], name: str) -> tuple[Relation, Any]:
    left, right = places["left"], places["right"]
    score = _numbers(table["score"], f"{name}: column 'score'")
    _refuse_itself(left, right, name)
    rows = _whole(places)
    return Scores(left[rows], right[rows], score[rows]), rows


def _triplets(table: pyarrow.Table, places: dict[str, NDArray[np.int64]], name: str) -> tuple[Relation, Any]:
    del table
    fields = [places[field] for field in _PLACES["triplets"]]
    seen: dict[tuple[int, int, int], int] = {}
    for row, (anchor, positive, negative) in enumerate(zip(*(f.tolist() for f in fields), strict=True)):
        if min(anchor, positive, negative) < 0:
            continue
        if len({anchor, positive, negative}) < 3:
            raise DataError(f"{name}: row {row} names one thing twice; a triplet needs three")
        seen[anchor, positive, negative] = row
        other = seen.get((anchor, negative, positive))
        if other is not None:
            raise DataError(f"{name}: rows {other} and {row} contradict each other: which one is nearer?")
    anchors, near, far = (field.tolist() for field in fields)
    _refuse_circles(zip(anchors, near, strict=True), zip(anchors, far, strict=True), name, "nearer")
    rows = _whole(places)
    return Triplets(*(field[rows] for field in fields)), rows


def _ranking(table: pyarrow.Table, places: dict[str, NDArray[np.int64]], name: str) -> tuple[Relation, Any]:
    """Every comparison of two items of one query whose ranks differ."""
    query, item = places["query"], places["item"]
    rank = _numbers(table["rank"], f"{name}: column 'rank'")
    _refuse_itself(query, item, name)
    seen: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(zip(query.tolist(), item.tolist(), strict=True)):
        first = seen.setdefault(pair, row)
        if rank[first] != rank[row]:
            raise DataError(f"{name}: rows {first} and {row} contradict each other: one item, two ranks")
    whole = _whole(places)
    near, far = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for one in np.unique(query[whole]):
        rows = whole[query[whole] == one]
        better, worse = np.nonzero(rank[rows][:, None] < rank[rows][None, :])
        near.append(rows[better])
        far.append(rows[worse])
    nearer, farther = np.concatenate(near), np.concatenate(far)
    if not len(nearer):
        raise DataError(f"{name}: no query has two items of different rank")
    return Triplets(query[nearer], item[nearer], item[farther]), nearer


def _preferences(
    table: pyarrow.Table, places: dict[str, NDArray[np.int64]], name: str
) -> tuple[Relation, Any]:
    del table
    better, worse = places["better"], places["worse"]
    _refuse_itself(better, worse, name)
    seen: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(zip(better.tolist(), worse.tolist(), strict=True)):
        seen[pair] = row
        other = seen.get((pair[1], pair[0]))
        if other is not None:
            raise DataError(f"{name}: rows {other} and {row} contradict each other: which one is better?")
    _refuse_circles(better.tolist(), worse.tolist(), name, "better")
    rows = _whole(places)
    return Scores(better[rows], worse[rows], np.ones(len(rows))), rows


_RELATIONS: dict[str, Callable[[pyarrow.Table, dict[str, NDArray[np.int64]], str], tuple[Relation, Any]]] = {
    "same": _pairs,
    "score": _scores,
    "triplets": _triplets,
    "ranking": _ranking,
    "preferences": _preferences,
}


def _refuse_itself(left: NDArray[np.int64], right: NDArray[np.int64], name: str) -> None:
    twice = np.flatnonzero((left == right) & (left >= 0))
    if len(twice):
        raise DataError(f"{name}: row {int(twice[0])} pairs a thing with itself; drop it")


def _refuse_circles(first: Iterable[Hashable], second: Iterable[Hashable], name: str, told: str) -> None:
    circle = rows_in_a_circle(first, second)
    if circle:
        shown = ", ".join(map(str, circle[:-1])) + f" and {circle[-1]}"
        raise DataError(f"{name}: rows {shown} go in a circle: each thing is {told} than the next; drop one")


def _whole(places: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """The rows none of whose things was left out."""
    return np.flatnonzero(np.all([values >= 0 for values in places.values()], axis=0))


def _numbers(column: pyarrow.ChunkedArray, told: str) -> NDArray[np.float64]:
    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        raise DataError(f"{told} must hold numbers; found {kind}")
    values = np.array([np.nan if value is None else float(value) for value in column.to_pylist()])
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"{told} must be finite; found {values[row]} in row {row}; mend or drop it")
    return values
