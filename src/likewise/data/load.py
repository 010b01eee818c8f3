"""Records in, from anything: a built-in set, a folder, a table, a frame, arrays, a dataset.

What is said after a source chooses: ``digits:classes=0-4`` and ``mnist:split=train`` are parts,
``omniglot:size=105`` and ``people.csv:label=city`` say how to read, and ``digits:17`` is one item.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data.builtin import BUILT_IN, SHARED
from likewise.data.datasets import MapDataset, records_from_dataset
from likewise.data.files import open_images
from likewise.data.folder import records_from_folder
from likewise.data.images import IMAGE_SUFFIXES, read_image
from likewise.data.items import Items, texts_from
from likewise.data.npz import read_npz
from likewise.data.parts import split_source, take_part
from likewise.data.reading import Reading, nearest_name
from likewise.data.records import Records, check_labels, records_from_arrays
from likewise.data.shared import SharedRequest
from likewise.data.supervision import records_from_supervision, supervision_of
from likewise.data.table_files import TABLE_SUFFIXES, arrow_from_frame, is_frame, read_table
from likewise.data.tables import looks_like_image, records_from_table
from likewise.errors import DataError

__all__ = ["Record", "Source", "load", "record"]

Source: TypeAlias = str | os.PathLike[str] | Records | tuple[Any, Any] | MapDataset | Any

_ROW = re.compile(r"(?P<source>.+):(?P<row>-?\d+)", re.DOTALL)
_TEXT = "text:"


@dataclass(frozen=True, eq=False)
class Record:
    """One item: what it is, its label where there is one, and where it came from.

    Parameters
    ----------
    item : array of item_shape, str, row of a table, or PIL image
    label : int, str or None
    name : str
        The data that it is of, or its own path.
    row : int or None
        Its place there; None for a file or a text of its own.
    """

    item: Any
    label: int | str | None
    name: str
    row: int | None

    @property
    def id(self) -> str:
        """What :func:`record` reads again, such as ``digits:17``."""
        return self.name if self.row is None else f"{self.name}:{self.row}"


def load(
    source: Source,
    *,
    name: str | None = None,
    label: str | None = None,
    image: str | None = None,
    text: str | None = None,
    items: Source | None = None,
    size: Any = None,
    colour: Any = None,
    skip_bad: bool = False,
    data: str | os.PathLike[str] | None = None,
) -> Records:
    """Read items, and what is known of them.

    Parameters
    ----------
    source : see below
        The name of a built-in set (``likewise list datasets``); a folder with a folder of images for each
        class, or with loose images, which are unlabelled; a CSV, TSV, Parquet or JSONL table; a ``.npz``
        with ``X`` (n, ...) and ``y`` (n,), or X alone; a pair (X, y) of arrays, tensors, lists of texts, or
        lists of images as paths or by PIL, where y may be None; a pandas or polars frame; any map-style
        dataset; records, which are returned as they are.

        After a name, ``:column=values`` takes a part, ``:column!=values`` all but it: values are words
        between commas, or whole numbers and ranges (``:classes=0-4,7``). The column is ``classes`` (the
        labels) or any of ``records.columns``. ``label``, ``image``, ``text``, ``items``, ``size`` and
        ``colour`` can be said there too: ``people.csv:label=city``.
    name : str
        What to call the data; by default as the source is called, and ``data`` for arrays.
    label, image, text : str, optional
        The columns of a table (of a dict, of a ``.npz``) that hold labels, image files or texts; see
        :func:`likewise.data.records_from_table` for what is taken when they aren't given.
    items : source, optional
        What the rows or ids of a table of pairs or triplets are of.
    size : int, (height, width) or "HEIGHTxWIDTH", optional
        Of images; by default the median one, its longer side made at most 64.
    colour : "grey" or "rgb", optional
        Of images; by default grey when all are.
    skip_bad : bool
        Leave out images that can't be read and count them in ``records.skipped``, rather than refuse.
    data : path, optional
        A folder in which built-in sets are looked for first.

    Returns
    -------
    Records

    Raises
    ------
    DataError
        What isn't there or can't be read, a name that isn't known (the nearest is told), NaN or infinity,
        labels that aren't whole numbers or strings, lengths that differ, Python objects.

    >>> load("digits")
    <digits: 1797 items (8, 8), 10 classes>
    >>> load("digits:classes=0-4").classes.tolist()
    [0, 1, 2, 3, 4]
    """
    if isinstance(source, Records):
        return source
    reading = Reading(label, image, text, items, size, colour, skip_bad, data)
    if isinstance(source, (str, os.PathLike)):
        return _named(os.fspath(source), name, reading)
    called = name or "data"
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(f"data must be a pair (X, y); found a tuple of {len(source)}")
        return _paired(source[0], source[1], called, reading)
    if is_frame(source):
        return _tabular(arrow_from_frame(source, name=called), called, Path(), reading)
    if isinstance(source, MapDataset) and not isinstance(source, (list, dict, np.ndarray)):
        return records_from_dataset(source, name=called, reading=reading)
    raise DataError(
        "data must be a name, a path, a pair (X, y), a frame, a dataset or Records; "
        f"found {type(source).__name__}"
    )


def record(source: str | os.PathLike[str]) -> Record:
    """Read one item: ``digits:17``, ``data.npz:5``, ``photos/cat.jpg``, ``text:some words``.

    Rows count from 0.

    Raises
    ------
    DataError
        No row is named, there is no such row, or the source can't be read.

    >>> record("digits:17").label
    7
    """
    text = os.fspath(source)
    if text.startswith(_TEXT):
        held = texts_from([text.removeprefix(_TEXT)], name=text)
        return Record(held.read([0])[0], None, text, None)
    if Path(text).suffix.lower() in IMAGE_SUFFIXES:
        return Record(_open_image(text), None, text, None)
    match = _ROW.fullmatch(text)
    if match is None:
        raise DataError(
            f"{text}: one item is wanted, as SOURCE:ROW; for example digits:17 or data.npz:5, an image "
            "file, or text:some words"
        )
    origin, row = match["source"], int(match["row"])
    records = load(origin)
    if not 0 <= row < len(records):
        raise DataError(f"{text}: {origin} has rows 0 to {len(records) - 1}; found {row}")
    label = records.labels[row].item() if records.labelled else None
    return Record(records.items([row])[0], label, origin, row)


def _named(text: str, name: str | None, reading: Reading) -> Records:
    source, reading, parts = split_source(text, reading)
    called = name or (source if not parts else text)
    records = _read(source, called if not parts else source, reading)
    for part in parts:
        records = take_part(records, part, name=called)
    return records


def _read(text: str, name: str, reading: Reading) -> Records:
    if text in BUILT_IN:
        _refuse_options(text, reading, ())
        return BUILT_IN[text].read()
    if text in SHARED:
        _refuse_options(text, reading, ("size",))
        return SHARED[text].read(SharedRequest(name, data=reading.data, size=reading.size))
    path = Path(text)
    if "\0" in text or not os.path.exists(text):  # False for a name that is too long, too
        known = sorted([*BUILT_IN, *SHARED])
        near = nearest_name(text, known, cutoff=0.7)
        hint = near if near.startswith("did") else f"built-in sets are {', '.join(known)}"
        raise DataError(f"{text!r}: no such file or built-in set; {hint}")
    suffix = path.suffix.lower()
    if path.is_dir() and suffix not in (".npz", *TABLE_SUFFIXES):
        return records_from_folder(path, name=name, reading=reading)
    if suffix in TABLE_SUFFIXES and path.is_file():
        return _tabular(read_table(path), name, path.parent, reading)
    if suffix == ".npz" and path.is_file():
        arrays = read_npz(path, label=reading.label)
        X, y = arrays.pop("X"), arrays.pop("y", None)
        made = _paired(X, y, name, reading)
        columns = {key: values for key, values in arrays.items() if values.ndim == 1}
        return replace(made, columns={**made.columns, **columns})
    found = "a folder" if path.is_dir() else f"a file of type {path.suffix or 'none'}"
    raise DataError(
        f"{text}: data must be a folder of images, a table ({', '.join(TABLE_SUFFIXES)}), a .npz with X and "
        f"y, or a built-in set; found {found}"
    )


def _tabular(table: Any, name: str, folder: Path, reading: Reading) -> Records:
    if supervision_of(table.column_names) is None:
        return records_from_table(table, name=name, folder=folder, reading=reading)
    others = None
    if reading.items is not None:
        inner = reading.items
        if isinstance(inner, str) and not Path(inner).exists() and (folder / inner).exists():
            inner = folder / inner
        others = load(inner, size=reading.size, colour=reading.colour, skip_bad=reading.skip_bad)
    return records_from_supervision(table, name=name, folder=folder, reading=reading, others=others)


def _paired(X: Any, y: Any, name: str, reading: Reading) -> Records:
    """Arrays, or lists of texts or images, with labels or None."""
    held = _listed(X, name, reading)
    if held is None:
        if y is not None:
            return records_from_arrays(X, y, name=name)
        return replace(records_from_arrays(X, np.zeros(len(X), dtype=np.int64), name=name), y=None)
    items, good, columns = held
    labels = None if y is None else check_labels(y, name=name)
    if labels is not None and len(labels) != len(X):
        raise DataError(
            f"{name}: X and y must have one label an item; found {len(X)} items and y {labels.shape}"
        )
    skipped = len(X) - len(good)
    return Records(items, None if labels is None else labels[good], name, columns=columns, skipped=skipped)


def _listed(
    X: Any, name: str, reading: Reading
) -> tuple[Items, NDArray[np.int64], dict[str, NDArray[Any]]] | None:
    """A list of texts, of image files or of PIL images as items; None for anything else."""
    is_strings = isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "UO"
    if not len(X) or not (isinstance(X, (list, tuple)) or is_strings):
        return None
    first = X[0]
    if isinstance(first, Image.Image):
        made = records_from_dataset(list(X), name=name, reading=reading)
        return made.held, np.arange(len(X)), {}
    if isinstance(first, os.PathLike) or all(looks_like_image(value) for value in X):
        items, good = open_images(
            list(X), size=reading.size, colour=reading.colour, skip_bad=reading.skip_bad
        )
        return items, good, {"path": np.array([os.fspath(path) for path in X])[good]}
    if isinstance(first, str):
        return texts_from(X, name=name), np.arange(len(X)), {}
    return None


def _refuse_options(name: str, reading: Reading, known: tuple[str, ...]) -> None:
    for option in ("label", "image", "text", "items", "size", "colour"):
        if getattr(reading, option) is not None and option not in known:
            raise DataError(f"{name}: a built-in set takes no {option}=")


def _open_image(path: str) -> Image.Image:
    pixels = read_image(path)
    return Image.fromarray(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0))
