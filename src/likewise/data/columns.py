"""Columns of an Arrow table as arrays: labels, numbers with missing values, categories, texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray

from likewise.errors import DataError

__all__ = ["feature_column", "is_text", "label_column", "mostly_numbers", "plain_column", "text_column"]

_MILLISECONDS_A_DAY = 86_400_000
_MOSTLY = 0.5


def is_text(column: pyarrow.ChunkedArray) -> bool:
    """Whether a column holds strings."""
    kind = column.type
    types = pyarrow.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def label_column(column: pyarrow.ChunkedArray, *, told: str) -> NDArray[Any]:
    """Labels: int64 or str (n,).

    Raises
    ------
    DataError
        One is missing (its row is named), or they are neither whole numbers nor strings.
    """
    _refuse_missing(column, f"{told} has no value", "fill it or drop the row")
    types = pyarrow.types
    if is_text(column):
        return np.array(column.to_pylist())
    if types.is_boolean(column.type):
        return np.array(column.to_pylist(), dtype=np.int64)
    if types.is_integer(column.type):
        return np.array([_below_2_63(value, told) for value in column.to_pylist()], dtype=np.int64)
    if types.is_date(column.type):
        return np.array([str(value) for value in column.to_pylist()])
    raise DataError(f"{told} must hold whole numbers or strings as labels; found {column.type}")


def text_column(column: pyarrow.ChunkedArray, *, told: str) -> list[str]:
    """Strings, none missing or blank."""
    if not is_text(column) and not pyarrow.types.is_null(column.type):
        raise DataError(f"{told} must hold strings; found {column.type}")
    _refuse_missing(column, f"{told} is empty", "fill it or drop the row")
    texts: list[str] = column.to_pylist()
    for row, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"{told} is empty in row {row}; fill it or drop the row")
    return texts


def feature_column(column: pyarrow.ChunkedArray, *, told: str) -> NDArray[Any]:
    """What is learned from: float32 with NaN for missing, or str with "" for missing; (n,).

    Dates are days since 1970. A column of strings that are mostly numbers is refused, as its numbers
    would be read as so many categories.

    Raises
    ------
    DataError
        Infinity, a number beyond float32, mixed types (the row is named), or lists and the like.
    """
    types, kind = pyarrow.types, column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan, dtype=np.float32)
    if is_text(column):
        return _categories(column.to_pylist(), told)
    if types.is_date(kind) or types.is_timestamp(kind):
        moments = column.cast(pyarrow.timestamp("ms"), safe=False).cast(pyarrow.int64())
        numbers = _floats(moments) / _MILLISECONDS_A_DAY
    elif types.is_boolean(kind):
        numbers = _floats(column.cast(pyarrow.int8()))
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = _floats(column)
    else:
        raise DataError(f"{told} holds {kind}, which is neither a number nor a string; drop it")
    with np.errstate(over="ignore"):
        values = numbers.astype(np.float32)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = int(infinite[0])
        beyond = "" if np.isinf(numbers[row]) else " (beyond float32)"
        raise DataError(f"{told} must be finite; found {numbers[row]}{beyond} in row {row}; mend or drop it")
    return values


def mostly_numbers(values: list[str | None] | list[str]) -> bool:
    """Whether most of some strings are numbers and a few are words.

    >>> mostly_numbers(["1", "2.5", "three"]), mostly_numbers(["1", "two", "three"])
    (True, False)
    """
    present = [value.strip() for value in values if value is not None and value.strip()]
    numbers = sum(map(_is_number, present))
    return len(present) > numbers > _MOSTLY * len(present)


def plain_column(column: pyarrow.ChunkedArray) -> NDArray[Any]:
    """Anything else that is known of the rows: int64 where it is whole and whole numbers, else str."""
    if pyarrow.types.is_integer(column.type) and not column.null_count:
        return np.asarray(column.to_numpy()).astype(np.int64)
    return np.array(["" if value is None else str(value) for value in column.to_pylist()])


def _floats(column: pyarrow.ChunkedArray) -> NDArray[np.float64]:
    filled = pyarrow.compute.fill_null(column.cast(pyarrow.float64(), safe=False), float("nan"))
    return np.asarray(filled.to_numpy(), dtype=np.float64)


def _categories(values: list[str | None], told: str) -> NDArray[np.str_]:
    words = ["" if value is None else value.strip() for value in values]
    if mostly_numbers(words):
        row = next(row for row, word in enumerate(words) if word and not _is_number(word))
        raise DataError(
            f"{told} mixes numbers and words: found {words[row]!r} in row {row}; "
            "mend it, or leave the cell empty if it is missing"
        )
    return np.array(words)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _below_2_63(value: int, told: str) -> int:
    if value >= 2**63:
        raise DataError(f"{told} must hold labels that fit in int64; found {value}")
    return value


def _refuse_missing(column: pyarrow.ChunkedArray, told: str, mend: str) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{told} in row {row}; {mend}")
