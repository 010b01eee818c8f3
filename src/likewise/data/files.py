"""Images that lie in files: decoded when they are read, and kept where they are few."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.images import Colour, Header, common_form, read_header, read_image
from likewise.data.items import Items, digest
from likewise.errors import DataError

__all__ = ["FileImages", "open_images"]

_KEPT_BYTES = 256 * 2**20
_THREADS = 2


class FileImages(Items):
    """Images in files, all brought to one size and colour.

    Parameters
    ----------
    paths : sequence of path
    size : (height, width)
        What every image is resized to.
    colour : "grey" or "rgb"
    kept : uint8 array (n, ...), optional
        The images themselves, where they are few enough to stay in memory.
    """

    kind = "image"

    def __init__(
        self,
        paths: Sequence[Any] | NDArray[Any],
        *,
        size: tuple[int, int],
        colour: Colour,
        kept: NDArray[np.uint8] | None = None,
    ) -> None:
        self.paths = np.empty(len(paths), dtype=object)
        self.paths[:] = [str(path) for path in paths]
        self.size, self.colour, self.kept = size, colour, kept
        self.item_shape = (*((3,) if colour == "rgb" else ()), *size)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def costly(self) -> bool:
        return self.kept is None

    def read(self, rows: Any) -> NDArray[Any]:
        if self.kept is not None:
            few: NDArray[np.float32] = np.divide(self.kept[rows], np.float32(255), dtype=np.float32)
            return few
        chosen = self.paths[rows]
        pixels = np.empty((len(chosen), *self.item_shape), dtype=np.uint8)
        for place, path in enumerate(chosen):
            pixels[place] = self._decode(path)
        scaled: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32)
        return scaled

    def take(self, rows: Any) -> FileImages:
        kept = None if self.kept is None else self.kept[rows]
        return FileImages(self.paths[rows], size=self.size, colour=self.colour, kept=kept)

    def reshaped(self, item_shape: tuple[int, ...]) -> FileImages:
        if len(item_shape) == 3 and item_shape[0] != 3:
            return self
        colour: Colour = "grey" if len(item_shape) == 2 else "rgb"
        return FileImages(self.paths, size=(item_shape[-2], item_shape[-1]), colour=colour)

    def digests(self) -> list[str]:
        return [digest(Path(path).read_bytes()) for path in self.paths]

    def _decode(self, path: str) -> NDArray[np.uint8]:
        return read_image(path, size=self.size, colour=self.colour)


def open_images(
    paths: Sequence[Any],
    *,
    size: tuple[int, int] | None = None,
    colour: Colour | None = None,
    skip_bad: bool = False,
    rows: Sequence[str] | None = None,
) -> tuple[FileImages, NDArray[np.int64]]:
    """Images of files as items: every file is looked at once, so that a bad one is named at once.

    Up to 256 MB of pixels are decoded and kept; beyond that each batch is decoded when it is read, and
    of each file only its header and its end are looked at here.

    Parameters
    ----------
    paths : sequence of path
    size : (height, width), optional
        By default the median size, its longer side made at most 64.
    colour : "grey" or "rgb", optional
        By default grey when all are.
    skip_bad : bool
        Leave out what can't be read, rather than refuse.
    rows : sequence of str, optional
        What messages put before each path, such as its row in a table.

    Returns
    -------
    items : FileImages
    good : int64 array
        The positions that were kept.

    Raises
    ------
    DataError
        A file can't be read (named), or none is left.
    """
    headers: dict[int, Header] = {}
    for place, path in enumerate(paths):
        try:
            headers[place] = read_header(path)
        except DataError as error:
            if not skip_bad:
                raise _told(error, rows, place) from error
    if not headers:
        raise DataError(f"none of the {len(paths)} images can be read")
    common, shade = common_form(list(headers.values()))
    form: tuple[int, int] = size or common
    tint: Colour = colour or shade
    good = np.array(sorted(headers), dtype=np.int64)
    chosen = [paths[place] for place in good]
    pixels = len(chosen) * form[0] * form[1] * (3 if tint == "rgb" else 1)
    if pixels > _KEPT_BYTES:
        return FileImages(chosen, size=form, colour=tint), good

    def decode(place: int) -> NDArray[np.uint8] | DataError:
        try:
            return read_image(paths[place], size=form, colour=tint)
        except DataError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        decoded = list(pool.map(decode, good.tolist(), chunksize=64))
    whole = []
    for place, image in zip(good.tolist(), decoded, strict=True):
        if not isinstance(image, DataError):
            whole.append((place, image))
        elif not skip_bad:
            raise _told(image, rows, place) from image
    if not whole:
        raise DataError(f"none of the {len(paths)} images can be read")
    good = np.array([place for place, _ in whole], dtype=np.int64)
    kept = np.stack([image for _, image in whole])
    return FileImages([paths[place] for place in good], size=form, colour=tint, kept=kept), good


def _told(error: DataError, rows: Sequence[str] | None, place: int) -> DataError:
    return error if rows is None else DataError(f"{rows[place]}: {error}")
