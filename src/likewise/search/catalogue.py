"""What an index knows of its records beside their embeddings: ids, labels, metadata; by row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.search.columns import Column, Value, check_value, column_from_values
from likewise.search.filters import parse_filter

__all__ = ["Catalogue", "Label", "Metadata", "check_ids", "check_label", "check_metadata"]

Label: TypeAlias = int | str | None
Metadata: TypeAlias = Mapping[str, Value]

_BUILT_IN = ("id", "label")
_LONGEST_ID = 1_000
_LONGEST_LABEL = 10_000
_MOST_COLUMNS = 200
_LONGEST_NAME = 200


class Catalogue:
    """Ids, labels and metadata by row; a removed record's row stays, and no longer counts."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.labels: list[Label] = []
        self.metadata: list[dict[str, Value]] = []
        self.rows: dict[str, int] = {}  # of the records that count
        self._columns: dict[str, Column] = {}
        self._kinds: dict[str, str] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def column_names(self) -> tuple[str, ...]:
        """The metadata's columns, sorted."""
        return tuple(sorted(self._kinds))

    def check_kinds(self, metadata: Iterable[Metadata]) -> None:
        """Refuse metadata in which a column's values are of another kind than those held."""
        known = dict(self._kinds)
        for record in metadata:
            for name, value in record.items():
                kind = check_value(value, name)
                if known.setdefault(name, kind) != kind:
                    raise InputError(
                        f"metadata: column {name!r} must hold one kind of value; "
                        f"found {kind} beside {known[name]}"
                    )
        if len(known) > _MOST_COLUMNS:
            raise InputError(f"metadata: at most {_MOST_COLUMNS} columns; found {len(known)}")

    def append(self, ids: Sequence[str], labels: Sequence[Label], metadata: Sequence[Metadata]) -> None:
        """Take checked records in; they get the next rows."""
        first = len(self.ids)
        self.rows.update({name: first + place for place, name in enumerate(ids)})
        self.ids.extend(ids)
        self.labels.extend(labels)
        for record in metadata:
            self._kinds.update({name: check_value(value, name) for name, value in record.items()})
            self.metadata.append(dict(record))
        self._columns.clear()

    def relabel(self, name: str, label: Label) -> None:
        """Give a record another label."""
        self.labels[self.rows[name]] = label
        self._columns.clear()

    def describe(self, name: str, metadata: Metadata) -> None:
        """Give a record other metadata in place of all it had."""
        self._kinds.update({column: check_value(value, column) for column, value in metadata.items()})
        self.metadata[self.rows[name]] = dict(metadata)
        self._columns.clear()

    def remove(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Forget records by id; the rows that no longer count."""
        return np.array(sorted(self.rows.pop(name) for name in names), dtype=np.int64)

    def rows_of(self, names: Sequence[str]) -> NDArray[np.int64]:
        """The rows of ids, in their order.

        Raises
        ------
        InputError
            An id that isn't there; how many aren't, and the first of them, are told.
        """
        unknown = [name for name in names if name not in self.rows]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(f"ids: {unknown[0]!r}{more} isn't in the index")
        return np.array([self.rows[name] for name in names], dtype=np.int64)

    def allowed(self, where: str, alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rows that a filter finds, ascending.

        Raises
        ------
        InputError
            The filter can't be read, or names a column that isn't there; the place is told.
        """
        parsed = parse_filter(where)
        return np.flatnonzero(parsed.mask(_Lazily(self)) & alive)

    def column(self, name: str) -> Column:
        """One column, ``id`` and ``label`` among them."""
        if name not in self._columns:
            if name == "id":
                values: Sequence[Value | None] = self.ids
            elif name == "label":
                values = self.labels
                if len({type(value) for value in values if value is not None}) > 1:
                    values = [None if value is None else str(value) for value in values]
            else:
                values = [record.get(name) for record in self.metadata]
            self._columns[name] = column_from_values(values, name)
        return self._columns[name]

    def to_json(self, rows: NDArray[np.int64]) -> bytes:
        """These rows as JSON."""
        chosen = rows.tolist()
        return json.dumps(
            {
                "ids": [self.ids[row] for row in chosen],
                "labels": [self.labels[row] for row in chosen],
                "metadata": [self.metadata[row] for row in chosen] if self._kinds else [],
            },
            allow_nan=False,
        ).encode()


class _Lazily(Mapping[str, Column]):
    """The columns of a catalogue, each made when it is asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __getitem__(self, name: str) -> Column:
        if name not in set(self):
            raise KeyError(name)
        return self._catalogue.column(name)

    def __iter__(self) -> Any:
        return iter([*_BUILT_IN, *self._catalogue.column_names()])

    def __len__(self) -> int:
        return len(_BUILT_IN) + len(self._catalogue.column_names())


def check_ids(names: Sequence[Any], count: int) -> list[str]:
    """Ids as a list of different texts, one for each of ``count`` items.

    Raises
    ------
    InputError
        Another count, something that isn't text, an empty or very long one, control signs, one twice.
    """
    found = list(names)
    if len(found) != count:
        raise InputError(f"ids must be one an item; found {len(found)} for {count} items")
    for name in found:
        if not isinstance(name, str) or not name:
            raise InputError(f"ids must be strings that aren't empty; found {name!r}")
        if len(name) > _LONGEST_ID or any(sign < " " or "\ud800" <= sign <= "\udfff" for sign in name):
            shown = ascii(name[:40])
            raise InputError(
                f"ids must be at most {_LONGEST_ID} signs, none of them a control sign; found {shown}"
            )
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise InputError(f"ids must all differ; found {twice!r} twice")
    return found


def check_label(label: Any) -> None:
    """Refuse what isn't a label: a text, a whole number that fits in int64, or none."""
    if label is None or (isinstance(label, str) and len(label) <= _LONGEST_LABEL):
        return
    if isinstance(label, int) and not isinstance(label, bool) and -(2**63) <= label < 2**63:
        return
    raise InputError(f"labels must be whole numbers or strings; found {ascii(label)[:60]}")


def check_metadata(
    metadata: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | None, count: int
) -> list[dict[str, Value]]:
    """Metadata as one mapping a record, without what is missing (None).

    Parameters
    ----------
    metadata : mapping of column to values (count,), or sequence of mappings, one a record
    count : int

    Raises
    ------
    InputError
        Another count, a name that can't be a column's, a value that isn't text, a number or a truth value.

    >>> check_metadata({"shop": ["A", None]}, 2)
    [{'shop': 'A'}, {}]
    """
    if metadata is None:
        return [{} for _ in range(count)]
    if isinstance(metadata, Mapping):
        columns = {name: _listed(values) for name, values in metadata.items()}
        wrong = next((name for name, values in columns.items() if len(values) != count), None)
        if wrong is not None:
            raise InputError(
                f"metadata: column {wrong!r} must have one value an item; "
                f"found {len(columns[wrong])} for {count}"
            )
        records = [{name: values[row] for name, values in columns.items()} for row in range(count)]
    else:
        records = [dict(record) for record in metadata]
        if len(records) != count:
            raise InputError(f"metadata must be one mapping an item; found {len(records)} for {count} items")
    for name in {name for record in records for name in record}:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise InputError(f"metadata: a column's name must be printable text; found {ascii(name)[:60]}")
        if name.lower() in _BUILT_IN:
            raise InputError(f"metadata: {name!r} is the index's own column; call it something else")
    return [{name: value for name, value in record.items() if value is not None} for record in records]


def _listed(values: Any) -> list[Any]:
    if isinstance(values, str):
        raise InputError("metadata: a column must be a sequence of values; found one text")
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
