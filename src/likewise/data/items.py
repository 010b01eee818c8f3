"""Items of every kind behind one door: features, images, texts and rows of tables.

An :class:`Items` reads some of its items at a time as one array, so that what is too large for memory can
stay on the disk. It knows nothing of labels; those are :class:`~likewise.data.Records`'.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError

__all__ = [
    "ArrayItems",
    "ItemKind",
    "Items",
    "PackedImages",
    "TableItems",
    "TextItems",
    "digest",
    "positions",
    "texts_from",
]

ItemKind: TypeAlias = Literal["features", "image", "text", "table"]


class Items(ABC):
    """Some items of one kind and one shape.

    ``kind`` says what :meth:`read` gives:

    ============ ==========================================================================
    ``features`` float32 (n, d)
    ``image``    float32 (n, height, width) or (n, channels, height, width), in [0, 1] where
                 the items come from files
    ``text``     str, as an object array (n,)
    ``table``    a structured array (n,), one field a column: float32 with NaN for missing, or
                 str with "" for missing
    ============ ==========================================================================
    """

    kind: ItemKind
    item_shape: tuple[int, ...]

    @property
    def costly(self) -> bool:
        """Whether reading is work (decoding files, say) that another process may do ahead."""
        return False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, rows: Any) -> NDArray[Any]:
        """The items at these positions (a list, an array, a slice or a mask), in that order."""

    @abstractmethod
    def take(self, rows: Any) -> Items:
        """The items at these positions, read when they are needed."""

    def reshaped(self, item_shape: tuple[int, ...]) -> Items:  # noqa: ARG002 - most can't
        """The same images in another size and colour, where they can be decoded anew; else themselves."""
        return self

    @abstractmethod
    def digests(self) -> list[str]:
        """A hash of each item's content: equal items have equal ones."""


def positions(rows: Any, count: int) -> NDArray[np.int64]:
    """Rows said as a list, an array, a slice or a mask, as positions (m,) below ``count``.

    >>> positions([True, False, True], 3).tolist(), positions(slice(1, None), 3).tolist()
    ([0, 2], [1, 2])
    """
    if isinstance(rows, slice):
        return np.arange(count)[rows]
    chosen = np.asarray(rows)
    if chosen.dtype == bool:
        if chosen.shape != (count,):
            raise DataError(f"rows: a mask must have shape ({count},); found {chosen.shape}")
        return np.flatnonzero(chosen)
    if chosen.size == 0:
        return np.zeros(0, dtype=np.int64)
    return chosen.astype(np.int64, casting="same_kind").reshape(-1)


def digest(data: bytes | memoryview) -> str:
    """A hash of one item's bytes, of 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _digests(array: NDArray[Any]) -> list[str]:
    return [digest(np.ascontiguousarray(row).tobytes()) for row in array]


class ArrayItems(Items):
    """Features or images in memory: float32 as they are, or uint8 read as [0, 1].

    Parameters
    ----------
    values : float32 or uint8 array (n, ...)
    names : sequence of str, optional
        What the features are called, where they come from the columns of a table.
    """

    def __init__(self, values: NDArray[Any], *, names: Sequence[str] | None = None) -> None:
        self.values = values
        self.names = None if names is None else tuple(names)
        self.kind = "features" if values.ndim == 2 else "image"
        self.item_shape = tuple(values.shape[1:])

    def __len__(self) -> int:
        return len(self.values)

    def read(self, rows: Any) -> NDArray[Any]:
        chosen: NDArray[Any] = self.values[rows]
        if chosen.dtype == np.uint8:
            scaled: NDArray[np.float32] = np.divide(chosen, np.float32(255), dtype=np.float32)
            return scaled
        return chosen

    def take(self, rows: Any) -> ArrayItems:
        return ArrayItems(self.values[rows], names=self.names)

    def digests(self) -> list[str]:
        return _digests(self.values)

    def table(self) -> NDArray[Any]:
        """Named features as rows of a table (n,): a structured array, a field a feature."""
        names = self.names or tuple(f"x{place}" for place in range(self.values.shape[1]))
        rows = np.empty(len(self.values), dtype=[(name, "f4") for name in names])
        for place, name in enumerate(names):
            rows[name] = self.values[:, place]
        return rows


class PackedImages(Items):
    """Images of one bit a pixel, eight pixels a byte; read as float32, 1 where a bit is set.

    Parameters
    ----------
    bits : uint8 array (n, ceil(height width / 8))
        As ``numpy.packbits`` of each flattened image gives them.
    item_shape : (height, width)
    """

    kind = "image"

    def __init__(self, bits: NDArray[np.uint8], item_shape: tuple[int, ...]) -> None:
        self.bits, self.item_shape = bits, tuple(item_shape)

    def __len__(self) -> int:
        return len(self.bits)

    def read(self, rows: Any) -> NDArray[Any]:
        chosen = self.bits[rows]
        pixels = np.unpackbits(chosen, axis=1, count=int(np.prod(self.item_shape)))
        return pixels.reshape(len(chosen), *self.item_shape).astype(np.float32)

    def take(self, rows: Any) -> PackedImages:
        return PackedImages(self.bits[rows], self.item_shape)

    def digests(self) -> list[str]:
        return _digests(self.bits)


class TextItems(Items):
    """Texts.

    Parameters
    ----------
    texts : sequence of str

    >>> TextItems(["one", "two", "three"]).read([2, 0]).tolist()
    ['three', 'one']
    """

    kind = "text"
    item_shape = ()

    def __init__(self, texts: Sequence[str] | NDArray[Any]) -> None:
        # Objects, as an array of fixed width would give every text the room of the longest.
        self.texts = np.empty(len(texts), dtype=object)
        self.texts[:] = list(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, rows: Any) -> NDArray[Any]:
        chosen: NDArray[Any] = self.texts[rows]
        return chosen

    def take(self, rows: Any) -> TextItems:
        return TextItems(self.texts[rows])

    def digests(self) -> list[str]:
        return [digest(text.encode("utf-8", "surrogatepass")) for text in self.texts]


class TableItems(Items):
    """Rows of a table with missing values and categories.

    Parameters
    ----------
    rows : structured array (n,)
        A field a column: float32 with NaN for missing, or str with "" for missing.
    """

    kind = "table"

    def __init__(self, rows: NDArray[Any]) -> None:
        if rows.dtype.names is None:
            raise DataError("a table's rows must be a structured array, a field a column")
        self.rows = rows
        self.item_shape = (len(rows.dtype.names),)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Any) -> NDArray[Any]:
        chosen: NDArray[Any] = self.rows[rows]
        return chosen

    def take(self, rows: Any) -> TableItems:
        return TableItems(self.rows[rows])

    def digests(self) -> list[str]:
        # By value, as NaN and the width of a field have many spellings in bytes.
        return [digest(repr(row).encode("utf-8", "surrogatepass")) for row in self.rows.tolist()]


def texts_from(values: Any, *, name: str) -> TextItems:
    """Texts, checked: all of them str, none empty of all but spaces.

    Raises
    ------
    DataError
        Something else is among them, or there is none; the row is named.

    >>> texts_from(["a", 3], name="notes")
    Traceback (most recent call last):
    ...
    likewise.errors.DataError: notes: texts must be str; found int in row 1
    """
    texts = list(values)
    if not texts:
        raise DataError(f"{name}: there is no text")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}: texts must be str; found {type(text).__name__} in row {row}")
        if not text.strip():
            raise DataError(f"{name}: the text of row {row} is empty; fill it or drop the row")
    return TextItems(texts)
