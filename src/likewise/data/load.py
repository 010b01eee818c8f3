"""Records in: a built-in set by name, a ``.npz`` with ``X`` and ``y``, arrays, or Records.

A source may name its classes and a row: ``digits:classes=0-4`` is a part, ``digits:17`` one item.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.data.builtin import BUILT_IN
from likewise.data.records import Records, check_items, records_from_arrays
from likewise.data.splits import take_classes
from likewise.errors import DataError

__all__ = ["Record", "Source", "load", "record"]

Source: TypeAlias = str | os.PathLike[str] | Records | tuple[Any, Any]

_ROW = re.compile(r"(?P<source>.+):(?P<row>-?\d+)")
_CLASSES = re.compile(r"(?P<source>.+):classes=(?P<classes>.+)")
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")


@dataclass(frozen=True, eq=False)
class Record:
    """One item: its array, its label where there is one, and where it came from."""

    item: NDArray[np.float32]
    label: int | str | None
    name: str
    row: int

    @property
    def id(self) -> str:
        """What :func:`record` reads again, such as ``digits:17``."""
        return f"{self.name}:{self.row}"


def load(source: Source, *, name: str | None = None) -> Records:
    """Read labelled items.

    Parameters
    ----------
    source : str, path, (X, y) or Records
        The name of a built-in set (``digits``, ``iris``, ``wine``, ``breast-cancer``), a ``.npz`` with
        ``X`` (n, ...) and ``y`` (n,), a pair of arrays or tensors, or records, which are returned as
        they are. ``:classes=0-4`` or ``:classes=cat,dog`` after a name takes these classes only.
    name : str
        What to call the data; by default as the source is called, and ``data`` for arrays.

    Returns
    -------
    Records

    Raises
    ------
    DataError
        A file that isn't there or can't be read, a name that isn't known (the nearest is told), NaN or
        infinity, labels that aren't whole numbers or strings, lengths that differ, Python objects.

    >>> load("digits")
    <digits: 1797 items (8, 8), 10 classes>
    >>> load("digits:classes=0-4").classes.tolist()
    [0, 1, 2, 3, 4]
    """
    if isinstance(source, Records):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(f"data must be a pair (X, y); found a tuple of {len(source)}")
        return records_from_arrays(source[0], source[1], name=name or "data")
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(
            f"data must be a name, a path, a pair (X, y) or Records; found {type(source).__name__}"
        )
    text = os.fspath(source)
    part = _CLASSES.fullmatch(text)
    if part and not Path(text).exists():
        records = load(part["source"], name=name)
        return take_classes(records, _classes_from_text(part["classes"], records), name=name or text)
    if text in BUILT_IN:
        return BUILT_IN[text].read()
    arrays = _read_npz(text, wanted=("X", "y"))
    return records_from_arrays(arrays["X"], arrays["y"], name=name or text)


def record(source: str | os.PathLike[str]) -> Record:
    """Read one item: ``digits:17``, ``data.npz:5``. Rows count from 0; a ``.npz`` needs no ``y`` here.

    Raises
    ------
    DataError
        No row is named, there is no such row, or the source can't be read.

    >>> record("digits:17").label
    7
    """
    text = os.fspath(source)
    match = _ROW.fullmatch(text)
    if match is None:
        raise DataError(f"{text}: one item is wanted, as SOURCE:ROW; for example digits:17 or data.npz:5")
    origin, row = match["source"], int(match["row"])
    y: NDArray[Any] | None
    if origin in BUILT_IN or _CLASSES.fullmatch(origin):
        records = load(origin)
        X, y = records.X, records.y
    else:
        arrays = _read_npz(origin, wanted=("X",))
        X, y = arrays["X"], arrays.get("y")
    if not 0 <= row < len(X):
        raise DataError(f"{text}: {origin} has rows 0 to {len(X) - 1}; found {row}")
    item = check_items(X[row : row + 1], name=text)[0]
    label = None if y is None or y.ndim != 1 or len(y) != len(X) else y[row].item()
    return Record(item, label if isinstance(label, (int, str)) else None, origin, row)


def _read_npz(text: str, *, wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    path = Path(text)
    if "\0" in text or not path.exists():
        near = difflib.get_close_matches(text, BUILT_IN, n=1)
        hint = f"did you mean {near[0]}?" if near else f"built-in sets are {', '.join(sorted(BUILT_IN))}"
        raise DataError(f"{text!r}: no such file or built-in set; {hint}")
    if path.is_dir() or path.suffix.lower() != ".npz":
        found = "a folder" if path.is_dir() else f"a file of type {path.suffix or 'none'}"
        raise DataError(f"{text}: data must be a .npz with X and y, or a built-in set; found {found}")
    try:
        # Opened here, as numpy leaves a damaged file open.
        with open(path, "rb") as stream:
            if stream.read(4) != b"PK\x03\x04":
                raise DataError(
                    f"{text}: not a .npz (a zip of arrays), whatever its name; save X and y with np.savez"
                )
            stream.seek(0)
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{text}: not a .npz, but one array; save X and y with np.savez")
            with archive:
                lacking = [key for key in wanted if key not in archive.files]
                if lacking:
                    held = ", ".join(archive.files[:6]) or "nothing"
                    raise DataError(f"{text}: the .npz must hold {' and '.join(wanted)}; found {held}")
                return {key: _read_array(archive, key, text) for key in ("X", "y") if key in archive.files}
    except DataError:
        raise
    except Exception as error:  # a damaged file makes zipfile, zlib and numpy raise a dozen kinds
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{text}: not a readable .npz ({type(error).__name__}: {reason})") from error


def _read_array(archive: Any, key: str, text: str) -> NDArray[Any]:
    member = f"{key}.npy" if f"{key}.npy" in archive.zip.namelist() else key
    with archive.zip.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(stream)
    if dtype.hasobject:
        raise DataError(
            f"{text}: {key} holds Python objects, which are never loaded; "
            "save numbers, or strings as y.astype(str)"
        )
    # Before anything of that size is allocated.
    if math.prod(shape) * dtype.itemsize > archive.zip.getinfo(member).file_size:
        raise DataError(f"{text}: {key} claims the shape {shape}, which is more than the file holds")
    value: NDArray[Any] = archive[key]
    return value


def _classes_from_text(text: str, records: Records) -> list[Any]:
    if records.y.dtype.kind == "U":
        return text.split(",")
    classes: list[int] = []
    for part in text.split(","):
        span = _RANGE.fullmatch(part)
        try:
            low, high = (int(span[1]), int(span[2])) if span else (int(part), int(part))
        except ValueError as error:
            raise DataError(
                f"{records.name}: classes must be whole numbers or ranges such as 0-4; found {part!r}"
            ) from error
        classes.extend(label for label in records.classes.tolist() if low <= label <= high)
        if span is None and low not in records.classes:
            raise DataError(f"{records.name}: there is no class {low}; found {_span(records)}")
    if not classes:
        raise DataError(f"{records.name}: there is no class in {text}; found {_span(records)}")
    return classes


def _span(records: Records) -> str:
    return f"{len(records.classes)} classes from {records.classes[0]} to {records.classes[-1]}"
