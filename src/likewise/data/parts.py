"""Parts of data, said after its name: ``mnist:split=train``, ``omniglot:alphabet!=Latin,Greek``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.reading import READING_OPTIONS, Reading, nearest_name
from likewise.data.records import Records
from likewise.errors import DataError

__all__ = ["Part", "split_source", "take_part", "take_where"]

_LAST = re.compile(r"(?P<source>.+?):(?P<key>[A-Za-z][\w .-]*?)(?P<sign>!?=)(?P<values>[^:]*)", re.DOTALL)
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")


@dataclass(frozen=True)
class Part:
    """One condition: of a column, or of the classes, the values that are taken, or left out."""

    column: str
    values: str
    exclude: bool = False


def split_source(text: str, reading: Reading) -> tuple[str, Reading, list[Part]]:
    """A source without what is said after it, the reading with its options, and its conditions.

    A path that exists is taken whole.

    >>> split_source("omniglot:size=105:part=background", Reading())[::2]
    ('omniglot', [Part(column='part', values='background', exclude=False)])
    """
    said: list[tuple[str, str, str]] = []
    while not _exists(text) and (match := _LAST.fullmatch(text)):
        # The shortest source leaves everything after it in the values, so the last piece is taken off first.
        start = text.rfind(":", 0, match.end("values"))
        key, sign, values = re.split(r"(!?=)", text[start + 1 :], maxsplit=1)
        said.insert(0, (key, sign, values))
        text = text[:start]
    parts = []
    for key, sign, values in said:
        if key in READING_OPTIONS and sign == "=":
            reading = reading.with_option(key, values)
        else:
            parts.append(Part(key, values, sign == "!="))
    return text, reading, parts


def take_part(records: Records, part: Part, *, name: str) -> Records:
    """The records that meet one condition.

    Raises
    ------
    DataError
        There is no such column (the nearest is told), or no item has such a value.
    """
    held = _column(records, part.column)
    chosen = _values(part.values, held, f"{records.name}: {part.column}", part.column == "classes")
    return take_where(records, part.column, chosen, exclude=part.exclude, name=name)


def take_where(
    records: Records, column: str, values: Sequence[Any], *, exclude: bool = False, name: str | None = None
) -> Records:
    """The records whose column has one of some values, or none of them.

    Parameters
    ----------
    records : Records
    column : str
        One of ``records.columns``, or of ``records.entries`` (which takes pairs, triplets or scores), or
        ``classes`` for the labels.
    values : sequence
    exclude : bool
        Take all others instead.
    name : str, optional
        What to call them.

    Raises
    ------
    DataError
        There is no such column or no such value, or nothing is left.

    >>> from likewise.data import load
    >>> take_where(load("iris"), "classes", [0], exclude=True).classes.tolist()
    [1, 2]
    """
    held = _column(records, column)
    known = set(held.tolist())
    lacking = [value for value in values if value not in known]
    if lacking:
        told = nearest_name(str(lacking[0]), sorted(map(str, known)))
        raise DataError(f"{records.name}: {column} has no {lacking[0]!r}; {told}")
    wanted = set(values)
    chosen = np.array([(value in wanted) != exclude for value in held.tolist()], dtype=bool)
    if not chosen.any():
        raise DataError(f"{records.name}: nothing is left of {len(records)} items where {column} is chosen")
    if column in records.entries and column not in records.columns:
        return records.take_entries(chosen, name=name)
    return records.take(chosen, name=name)


def _column(records: Records, name: str) -> NDArray[Any]:
    if name == "classes":
        return records.labels
    columns: Mapping[str, NDArray[Any]] = {**records.entries, **records.columns}
    if name not in columns:
        known = ["classes", *columns, *READING_OPTIONS] if records.labelled else [*columns, *READING_OPTIONS]
        raise DataError(f"{records.name}: there is no column {name!r}; {nearest_name(name, known)}")
    return columns[name]


def _values(text: str, held: NDArray[Any], told: str, classes: bool) -> list[Any]:
    """The values that a text names: words, or whole numbers and ranges of them."""
    if held.dtype.kind not in "iu":
        return text.split(",")
    known = np.unique(held).tolist()
    noun = "classes" if classes else "values"
    span = f"found {len(known)} {noun} from {known[0]} to {known[-1]}"
    chosen: list[int] = []
    for word in text.split(","):
        match = _RANGE.fullmatch(word)
        try:
            low, high = (int(match[1]), int(match[2])) if match else (int(word), int(word))
        except ValueError as error:
            raise DataError(f"{told} must be whole numbers or ranges such as 0-4; found {word!r}") from error
        if match is None and low not in known:
            raise DataError(
                f"{told.replace('classes', 'there')} is no class {low}; {span}"
                if classes
                else f"{told} has no {low}; {span}"
            )
        chosen.extend(value for value in known if low <= value <= high)
    if not chosen:
        raise DataError(
            f"{told.replace('classes', 'there is no class in')} {text}; {span}"
            if classes
            else f"{told} has none of {text}; {span}"
        )
    return chosen


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
