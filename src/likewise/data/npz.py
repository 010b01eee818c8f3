"""Arrays in: a ``.npz`` with ``X`` and, where there are labels, ``y``; never a pickle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError

__all__ = ["read_npz"]


def read_npz(path: Path, *, label: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz``: ``X``, ``y`` where there is one, and others that are as long, by name.

    Parameters
    ----------
    path : path
    label : str, optional
        The array that is given as ``y``.

    Raises
    ------
    DataError
        It isn't a ``.npz``, is damaged, lacks X or the label, or holds Python objects.
    """
    text = str(path)
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
                return _arrays(archive, label, text)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes zipfile, zlib and numpy raise a dozen kinds
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{text}: not a readable .npz ({type(error).__name__}: {reason})") from error


def _arrays(archive: Any, label: str | None, text: str) -> dict[str, NDArray[Any]]:
    names = list(archive.files)
    wanted = label or "y"
    unlabelled = label is None and names == ["X"]
    if "X" not in names or (wanted not in names and not unlabelled):
        held = ", ".join(names[:6]) or "nothing"
        raise DataError(
            f"{text}: the .npz must hold X and {wanted}; found {held}; name the labels with label=, or keep "
            "X alone where there are none"
        )
    X = _read_array(archive, "X", text)
    arrays = {"X": X}
    for name in names:
        if name == wanted:
            arrays["y"] = _read_array(archive, name, text)
        elif name not in ("X", "y") and _shape(archive, name)[0] == X.shape[:1]:
            arrays[name] = _read_array(archive, name, text)
    return arrays


def _shape(archive: Any, key: str) -> tuple[tuple[int, ...], Any]:
    """Shape and type of an array, by its header alone."""
    with archive.zip.open(_member(archive, key)) as stream:
        version = np.lib.format.read_magic(stream)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(stream)
    return shape, dtype


def _member(archive: Any, key: str) -> str:
    return f"{key}.npy" if f"{key}.npy" in archive.zip.namelist() else key


def _read_array(archive: Any, key: str, text: str) -> NDArray[Any]:
    shape, dtype = _shape(archive, key)
    if dtype.hasobject:
        raise DataError(
            f"{text}: {key} holds Python objects, which are never loaded; "
            "save numbers, or strings as y.astype(str)"
        )
    # Before anything of that size is allocated.
    if math.prod(shape) * dtype.itemsize > archive.zip.getinfo(_member(archive, key)).file_size:
        raise DataError(f"{text}: {key} claims the shape {shape}, which is more than the file holds")
    value: NDArray[Any] = archive[key]
    return value
