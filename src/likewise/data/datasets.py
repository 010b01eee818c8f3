"""Any map-style dataset as records: ``(image, label)``, as torchvision has it, dicts, or items alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from likewise.data.images import Header, common_form, image_from
from likewise.data.items import ArrayItems, Items, TextItems, digest
from likewise.data.reading import Reading, nearest_name
from likewise.data.records import Records, check_items, check_labels
from likewise.errors import DataError

__all__ = ["MapDataset", "records_from_dataset"]

_KEPT_BYTES = 256 * 2**20
_ITEM_KEYS = ("image", "img", "text", "sentence", "question", "features", "x")
_LABEL_KEYS = ("label", "labels", "fine_label", "target", "class", "y")


@runtime_checkable
class MapDataset(Protocol):
    """What has a length and gives an item by its number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def records_from_dataset(dataset: MapDataset, *, name: str, reading: Reading) -> Records:
    """Read a map-style dataset once for its labels; up to 256 MB of items stay in memory.

    An item is ``(x, label)``, a dict, or x alone, and then there are no labels. x is a PIL image, a text,
    or an array or tensor (rows of features, or images with their channels first). Of a dict, x is
    ``image``, ``text`` or the like, the label ``label``; ``image=``, ``text=`` and ``label=`` name others.
    What the dataset draws at random (augmentation) is drawn anew each time only where it doesn't fit in
    memory; leave augmentation to training.

    Raises
    ------
    DataError
        It is empty, an item has another form or shape than the first (its number is named), NaN.
    """
    count = len(dataset)
    if count == 0:
        raise DataError(f"{name}: the dataset is empty")
    first = dataset[0]
    read = _Access(name, first, reading)
    example = read.item(first, 0)
    labels: list[Any] = []
    headers: list[Header] = []
    texts: list[str] = []
    for row in range(count):
        entry = dataset[row]
        item = read.item(entry, row)
        if read.labelled:
            labels.append(read.label(entry, row))
        if isinstance(example, str):
            if not isinstance(item, str) or not item.strip():
                raise DataError(f"{name}: item {row} must be a text; found {_told(item)}")
            texts.append(item)
        elif isinstance(example, Image.Image):
            if not isinstance(item, Image.Image):
                raise DataError(f"{name}: item {row} must be an image, as item 0 is; found {_told(item)}")
            grey = item.mode in ("1", "L", "LA", "I", "I;16", "F")
            headers.append(Header(item.height, item.width, "grey" if grey else "rgb"))
        else:
            _check_array(item, np.shape(np.asarray(example)), row, name)
    items: Items
    if texts:
        items = TextItems(texts)
    else:
        size, colour = common_form(headers) if headers else (None, None)
        form = (reading.size or size, reading.colour or colour)
        items = _DatasetItems(dataset, np.arange(count), read, form)
        if count * int(np.prod(items.item_shape)) * 4 <= _KEPT_BYTES:
            items = ArrayItems(items.read(np.arange(count)))
    y = check_labels(labels, name=name) if read.labelled else None
    return Records(items, y, name)


class _Access:
    """Finds the item and the label in what a dataset gives."""

    def __init__(self, name: str, first: Any, reading: Reading) -> None:
        self.name = name
        self.item_key: Any = None
        self.label_key: Any = None
        if isinstance(first, Mapping):
            keys = [str(key) for key in first]
            self.item_key = self._key(reading.image or reading.text, _ITEM_KEYS, keys)
            if self.item_key is None:
                raise DataError(f"{name}: items have {', '.join(keys)}; say image= or text=")
            self.label_key = self._key(reading.label, _LABEL_KEYS, keys)
        elif isinstance(first, (tuple, list)) and len(first) == 2:
            self.item_key, self.label_key = 0, 1
        elif isinstance(first, (tuple, list)):
            raise DataError(f"{name}: an item must be (x, label); found {len(first)} things in item 0")
        self.labelled = self.label_key is not None

    def _key(self, wanted: str | None, known: tuple[str, ...], keys: list[str]) -> str | None:
        if wanted is not None and wanted not in keys:
            raise DataError(f"{self.name}: items have no {wanted!r}; {nearest_name(wanted, keys)}")
        return wanted or next((key for key in known if key in keys), None)

    def item(self, entry: Any, row: int) -> Any:
        return entry if self.item_key is None else self._part(entry, self.item_key, row)

    def label(self, entry: Any, row: int) -> Any:
        value = self._part(entry, self.label_key, row)
        if isinstance(value, (torch.Tensor, np.generic)) and np.ndim(value) == 0:
            value = value.item()
        if isinstance(value, (bool, int, str)):
            return value
        raise DataError(f"{self.name}: the label of item {row} must be a whole number or a string; "
                        f"found {_told(value)}")  # fmt: skip

    def _part(self, entry: Any, key: Any, row: int) -> Any:
        try:
            return entry[key]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{self.name}: item {row} has no {key!r}, as item 0 has") from error


class _DatasetItems(Items):
    """Items of a dataset, asked for when they are read."""

    def __init__(
        self, dataset: MapDataset, rows: NDArray[np.int64], read: _Access, form: tuple[Any, Any]
    ) -> None:
        self._dataset, self._rows, self._read, self._form = dataset, rows, read, form
        self.item_shape = tuple(self._one(int(rows[0])).shape)
        self.kind = "features" if len(self.item_shape) == 1 else "image"

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def costly(self) -> bool:
        return True

    def read(self, rows: Any) -> NDArray[Any]:
        parts = [self._one(int(row)) for row in self._rows[rows]]
        return np.stack(parts) if parts else np.zeros((0, *self.item_shape), dtype=np.float32)

    def take(self, rows: Any) -> _DatasetItems:
        return _DatasetItems(self._dataset, self._rows[rows], self._read, self._form)

    def reshaped(self, item_shape: tuple[int, ...]) -> _DatasetItems:
        form = (item_shape[-2:], "grey" if len(item_shape) == 2 else "rgb")
        return _DatasetItems(self._dataset, self._rows, self._read, form)

    def digests(self) -> list[str]:
        return [digest(self._one(int(row)).tobytes()) for row in self._rows]

    def _one(self, row: int) -> NDArray[np.float32]:
        item = self._read.item(self._dataset[row], row)
        name = f"{self._read.name}: item {row}"
        if isinstance(item, Image.Image):
            return image_from(item, size=self._form[0], colour=self._form[1], name=name)
        one: NDArray[np.float32] = check_items(np.asarray(item)[None], name=name)[0]
        return one


def _check_array(item: Any, shape: tuple[int, ...], row: int, name: str) -> None:
    try:
        found = np.asarray(item)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}: item {row} must be an array; found {_told(item)}") from error
    if found.dtype.kind not in "fiub":
        raise DataError(f"{name}: item {row} must hold numbers; found {_told(item)}")
    if found.shape != shape:
        raise DataError(f"{name}: item {row} has shape {found.shape}; item 0 has {shape}")


def _told(value: Any) -> str:
    return type(value).__name__
