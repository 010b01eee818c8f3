"""Tables in: CSV, TSV, Parquet and JSONL files, and frames, all as one Arrow table."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from likewise.errors import DataError

__all__ = ["TABLE_SUFFIXES", "arrow_from_frame", "is_frame", "read_table"]

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]


def read_table(path: Path) -> pyarrow.Table:
    """A file as an Arrow table, its columns named by the file.

    An empty cell, and ``NA``, ``NaN``, ``null``, ``None`` and ``?`` without quotes, are missing values.

    Raises
    ------
    DataError
        It can't be read, has no row, names a column twice, or has numbers where names should stand.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the table is empty (0 bytes)")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        elif suffix == ".jsonl":
            table = pyarrow.json.read_json(path)
        else:
            table = _read_separated(path, "\t" if suffix == ".tsv" else ",")
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: can't be read as a table ({reason})") from error
    return _checked(table, str(path))


def is_frame(source: Any) -> bool:
    """Whether something is a pandas or polars frame, or an Arrow table; none of them is imported for it."""
    kinds = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "Table"}
    return any(
        module in sys.modules and isinstance(source, getattr(sys.modules[module], kind, ()))
        for module, kind in kinds.items()
    )


def arrow_from_frame(frame: Any, *, name: str) -> pyarrow.Table:
    """A pandas or polars frame as an Arrow table; the index of pandas is left out.

    Raises
    ------
    DataError
        A column holds what Arrow can't (mixed types), there is no row, or a name occurs twice.
    """
    try:
        if isinstance(frame, pyarrow.Table):
            table = frame
        elif "pandas" in sys.modules and isinstance(frame, sys.modules["pandas"].DataFrame):
            names = [str(column) for column in frame.columns]
            _check_names(names, name)
            table = pyarrow.Table.from_pandas(frame, preserve_index=False)
        else:
            table = frame.to_arrow()
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: the frame can't be read ({reason}); give each column one type") from error
    return _checked(table, name)


def _read_separated(path: Path, separator: str) -> pyarrow.Table:
    with open(path, encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream, delimiter=separator), [])
    if any(_is_number(name) for name in header):
        number = next(name for name in header if _is_number(name))
        raise DataError(f"{path}: the first line must name the columns; found the number {number} in it")
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=_MISSING
        ),
    )


def _checked(table: pyarrow.Table, name: str) -> pyarrow.Table:
    _check_names(table.column_names, name)
    if table.num_rows == 0 or table.num_columns == 0:
        raise DataError(f"{name}: the table has no row")
    decoded = [
        column.cast(column.type.value_type) if pyarrow.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    return pyarrow.table(decoded, names=table.column_names)


def _check_names(names: list[str], name: str) -> None:
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise DataError(f"{name}: the column {twice!r} occurs twice; rename one")
    if any(not column.strip() for column in names):
        raise DataError(f"{name}: a column has no name; name every column")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
