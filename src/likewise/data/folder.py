"""A folder of images: each folder in it is a class; images that lie loose are unlabelled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from likewise.data.files import open_images
from likewise.data.images import IMAGE_SUFFIXES
from likewise.data.reading import Reading
from likewise.data.records import Records
from likewise.errors import DataError

__all__ = ["records_from_folder"]


def records_from_folder(folder: Path, *, name: str, reading: Reading) -> Records:
    """Read a folder of class folders, or of loose images.

    The class is the first folder on the way to an image; ``columns`` holds each one's ``path`` within the
    folder, and ``folder``, all the folders on the way, where images lie deeper. Files that aren't images
    by their name and hidden files are passed over.

    Parameters
    ----------
    folder : path
    name : str
        What the records are called.
    reading : Reading
        ``size``, ``colour``, ``skip_bad``, and ``label="folder"`` to take all the folders on the way.

    Raises
    ------
    DataError
        There is no image, loose images lie beside class folders, a link leads out of the folder, or an
        image can't be read.
    """
    paths, outside = [], 0
    for path, leads_out in _images(folder, folder.resolve()):
        if not leads_out:
            paths.append(path)
        elif not reading.skip_bad:
            raise DataError(f"{folder / path}: the link leads out of {folder}; copy what it points to")
        else:
            outside += 1
    paths.sort()
    if not paths:
        raise DataError(
            f"{folder}: there is no image in this folder; it should hold a folder for each class, with "
            "PNG, JPEG, WebP, BMP, TIFF or PGM files"
        )
    loose = [path for path in paths if len(path.parts) == 1]
    if loose and len(loose) < len(paths):
        raise DataError(
            f"{folder}: {loose[0]} lies beside class folders ({len(loose)} such images); move them into "
            "class folders, or into a folder of their own"
        )
    items, good = open_images(
        [folder / path for path in paths],
        size=reading.size,
        colour=reading.colour,
        skip_bad=reading.skip_bad,
    )
    kept = [paths[row] for row in good]
    columns = {"path": np.array([path.as_posix() for path in kept])}
    if any(len(path.parts) > 2 for path in kept):
        columns["folder"] = np.array([path.parent.as_posix() for path in kept])
    labels = None if loose else np.array([path.parts[0] for path in kept])
    if reading.label is not None:
        if reading.label != "folder" or "folder" not in columns:
            raise DataError(
                f"{folder}: the label of a folder of images is its class folder; found label="
                f"{reading.label!r}; only label=folder is known, where images lie deeper"
            )
        labels = columns["folder"]
    return Records(items, labels, name, columns=columns, skipped=outside + len(paths) - len(kept))


def _images(folder: Path, root: Path) -> Iterator[tuple[Path, bool]]:
    """Paths within a folder, of images and of links that lead out of it, and whether each is such a link."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: can't be read ({error.strerror})") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [*folders, *files]:
            entry = Path(place, name)
            if entry.is_symlink() and not entry.resolve().is_relative_to(root):
                yield entry.relative_to(folder), True
            elif name in files and not name.startswith(".") and entry.suffix.lower() in IMAGE_SUFFIXES:
                yield entry.relative_to(folder), False
