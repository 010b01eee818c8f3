"""Images out of a published archive, tar or zip, without unpacking it: only members that are asked for."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.data.images import read_image
from likewise.errors import DataError

__all__ = ["Archive", "open_archive"]

_SUFFIXES = (".jpg", ".jpeg", ".png")


class Archive:
    """A tar or zip file opened for reading; nothing of it is written anywhere.

    Members are found by their path, whether or not the archive writes ``./`` before it.
    """

    def __init__(self, held: tarfile.TarFile | zipfile.ZipFile, path: Path) -> None:
        self._held, self._path = held, path

    def text(self, name: str) -> str:
        """A text of the archive; UTF-8."""
        for _, data in self._members({name}):
            return data.decode("utf-8")
        raise DataError(f"{self._path}: holds no {name}; is it the published archive?")

    def bytes_of(self, name: str) -> bytes:
        """A member as it is."""
        for _, data in self._members({name}):
            return data
        raise DataError(f"{self._path}: holds no {name}; is it the published archive?")

    def names(self) -> list[str]:
        """The paths of all images, sorted."""
        if isinstance(self._held, zipfile.ZipFile):
            names = [info.filename for info in self._held.infolist() if not info.is_dir()]
        else:
            names = [member.name for member in self._held.getmembers() if member.isfile()]
        return sorted(_plain(name) for name in names if name.lower().endswith(_SUFFIXES))

    def images(self, names: Sequence[str], size: tuple[int, int]) -> NDArray[np.uint8]:
        """Colour images (n, 3, height, width) by their paths, in this order; the archive is read once.

        Raises
        ------
        DataError
            One of them isn't there, or can't be decoded.
        """
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        out = np.empty((len(names), 3, *size), dtype=np.uint8)
        for name, data in self._members(rows):
            out[rows.pop(name)] = read_image(data, size=size, colour="rgb", name=f"{self._path}/{name}")
        if rows:
            raise DataError(
                f"{self._path}: {len(rows):,} of its {len(names):,} listed images aren't in it, "
                f"such as {next(iter(rows))}"
            )
        return out

    def _members(self, wanted: Mapping[str, object] | set[str]) -> Iterator[tuple[str, bytes]]:
        left = set(wanted)
        if isinstance(self._held, zipfile.ZipFile):
            for info in self._held.infolist():
                name = _plain(info.filename)
                if name in left:
                    left.remove(name)
                    yield name, self._held.read(info)
            return
        for member in self._held:
            name = _plain(member.name)
            if member.isfile() and name in left:
                left.remove(name)
                stream = self._held.extractfile(member)
                assert stream is not None
                yield name, stream.read()
            if not left:
                return


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a ``.zip``, ``.tar``, ``.tgz`` or ``.tar.gz``."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as held:
            yield Archive(held, path)
    else:
        with tarfile.open(path) as tar:
            yield Archive(tar, path)


def _plain(name: str) -> str:
    return name.removeprefix("./")
