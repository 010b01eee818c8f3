"""A table as records: which column is the label, what the items are, and what is merely known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from likewise.data.columns import (
    feature_column,
    is_text,
    label_column,
    mostly_numbers,
    plain_column,
    text_column,
)
from likewise.data.files import FileImages, open_images
from likewise.data.images import IMAGE_SUFFIXES
from likewise.data.items import ArrayItems, Items, TableItems, TextItems
from likewise.data.reading import Reading, nearest_name
from likewise.data.records import Records
from likewise.errors import DataError

__all__ = ["images_of_paths", "looks_like_image", "records_from_table"]

_LABEL_NAMES = ("label", "class", "target", "y")
_IMAGE_NAMES = ("image", "image_path", "path", "file", "filename", "img")
_TEXT_NAMES = ("text", "sentence", "document", "question", "title")
_KNOWN_NAMES = ("id", "group", "split", "fold", "part")


@dataclass(frozen=True)
class _Roles:
    """Names of columns: the label, the items' own, and those merely known of them."""

    label: str | None
    image: str | None
    text: str | None
    features: tuple[str, ...]
    known: tuple[str, ...]


def records_from_table(table: pyarrow.Table, *, name: str, folder: Path, reading: Reading) -> Records:
    """Rows of a table as images, texts, features or rows with missing values and categories.

    The label is the column ``label``, ``class``, ``target`` or ``y`` where none is named; without one the
    records are unlabelled. A column ``image``, ``path`` or the like that holds names of image files makes
    the items images; ``text``, ``sentence`` or the like, or the only other column where it is one of
    strings, makes them texts. Of anything else all columns are features, but ``id``, ``group``, ``split``,
    ``fold`` and ``part``, which are kept in ``columns`` as in the other cases every other column is.

    Parameters
    ----------
    table : pyarrow.Table
        At least one row.
    name : str
        What the records are called.
    folder : path
        Where relative paths of images start.
    reading : Reading

    Raises
    ------
    DataError
        A named column isn't there (the nearest is told), an image isn't there (its row is named), a label
        or a text is missing, or a column mixes types.
    """
    roles = _roles(table, name, reading)
    y = None
    if roles.label is not None:
        y = label_column(table[roles.label], told=f"{name}: column {roles.label!r}")
    columns = {column: plain_column(table[column]) for column in roles.known}
    items: Items
    if roles.image is not None:
        paths = text_column(table[roles.image], told=f"{name}: column {roles.image!r}")
        items, good = images_of_paths(paths, folder=folder, name=name, reading=reading)
        columns = {key: values[good] for key, values in columns.items()}
        columns["path"] = np.array(paths)[good]
        skipped = len(paths) - len(good)
        return Records(items, None if y is None else y[good], name, columns=columns, skipped=skipped)
    if roles.text is not None:
        items = TextItems(text_column(table[roles.text], told=f"{name}: column {roles.text!r}"))
    else:
        items = _rows(table, roles.features, name)
    return Records(items, y, name, columns=columns)


def images_of_paths(
    paths: list[str], *, folder: Path, name: str, reading: Reading, rows: list[str] | None = None
) -> tuple[FileImages, NDArray[np.int64]]:
    """Images by their paths, relative ones starting at a folder; messages name the row."""
    told = rows or [f"{name}: row {row}" for row in range(len(paths))]
    return open_images(
        [folder / path for path in paths],
        size=reading.size,
        colour=reading.colour,
        skip_bad=reading.skip_bad,
        rows=told,
    )


def looks_like_image(value: Any) -> bool:
    """Whether a cell is the name of an image file.

    >>> looks_like_image("cats/1.JPG"), looks_like_image("cats")
    (True, False)
    """
    return isinstance(value, str) and PurePath(value).suffix.lower() in IMAGE_SUFFIXES


def _roles(table: pyarrow.Table, name: str, reading: Reading) -> _Roles:
    names = table.column_names
    for option in ("label", "image", "text"):
        wanted = getattr(reading, option)
        if wanted is not None and wanted not in names:
            raise DataError(
                f"{name}: there is no column {wanted!r} ({option}); {nearest_name(wanted, names)}"
            )
    if reading.image is not None and reading.text is not None:
        raise DataError(f"{name}: items are images or texts; give image= or text=, not both")
    label = reading.label or _first(_LABEL_NAMES, names)
    rest = [column for column in names if column != label]
    image, text = reading.image, reading.text
    if image is None and text is None:
        image = next(
            (column for column in rest if column.lower() in _IMAGE_NAMES and _holds_images(table[column])),
            None,
        )
    known = tuple(column for column in rest if column.lower() in _KNOWN_NAMES)
    free = [column for column in rest if column not in known]
    if image is None and text is None:
        text = next((c for c in free if c.lower() in _TEXT_NAMES and is_text(table[c])), None)
        if text is None and len(free) == 1 and is_text(table[free[0]]):
            if _holds_images(table[free[0]]):
                image = free[0]
            elif not mostly_numbers(table[free[0]].to_pylist()):
                text = free[0]
    if image is not None or text is not None:
        return _Roles(label, image, text, (), tuple(c for c in rest if c not in (image, text)))
    if not free:
        raise DataError(f"{name}: there is nothing to learn from but {', '.join(names)}; add columns")
    return _Roles(label, None, None, tuple(free), known)


def _first(wanted: tuple[str, ...], names: list[str]) -> str | None:
    lower = {column.lower(): column for column in reversed(names)}
    return next((lower[word] for word in wanted if word in lower), None)


def _holds_images(column: pyarrow.ChunkedArray) -> bool:
    if not is_text(column):
        return False
    return looks_like_image(next((value for value in column.to_pylist() if value is not None), None))


def _rows(table: pyarrow.Table, names: tuple[str, ...], name: str) -> Items:
    """Features where every cell is a number; rows with missing values and categories otherwise."""
    values = {column: feature_column(table[column], told=f"{name}: column {column!r}") for column in names}
    if all(held.dtype == np.float32 and not np.isnan(held).any() for held in values.values()):
        return ArrayItems(np.stack(list(values.values()), axis=1), names=names)
    rows = np.empty(table.num_rows, dtype=[(column, held.dtype) for column, held in values.items()])
    for column, held in values.items():
        rows[column] = held
    return TableItems(rows)
