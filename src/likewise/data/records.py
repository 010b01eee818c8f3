"""Records: items with labels, checked once where they enter.

Every number is finite float32 and every label a whole number or a string, so nothing below has to ask
again. It doesn't know where the items came from; that is :mod:`likewise.data.load`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.errors import DataError

__all__ = ["Records", "check_items", "check_labels", "check_trainable", "records_from_arrays"]


@dataclass(frozen=True, eq=False)
class Records:
    """Items and their labels.

    Parameters
    ----------
    X : float32 array (n, ...)
        The items: rows of features ``(n, d)``, grey images ``(n, height, width)`` or colour images
        ``(n, channels, height, width)``.
    y : int64 or str array (n,)
        The labels.
    name : str
        What the records are called in messages, reports and ids.

    >>> records = records_from_arrays([[0.0, 1.0], [2.0, 3.0]], ["a", "b"], name="two")
    >>> len(records), records.item_shape, records.classes.tolist()
    (2, (2,), ['a', 'b'])
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    name: str

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} items {self.item_shape}, {len(self.classes)} classes>"

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one item."""
        return tuple(self.X.shape[1:])

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The different labels, sorted."""
        return np.unique(self.y)

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Each item's class as its position in :attr:`classes`; (n,)."""
        return np.searchsorted(self.classes, self.y).astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of shapes, items and labels: equal records have equal fingerprints, whatever their name."""
        digest = hashlib.sha256(f"{self.X.shape} {self.y.dtype.kind}\n".encode())
        digest.update(np.ascontiguousarray(self.X).data)
        digest.update("\0".join(map(str, self.y.tolist())).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def take(self, rows: Any, *, name: str | None = None) -> Records:
        """The records at these positions (or where this mask is true), in that order."""
        return Records(self.X[rows], self.y[rows], self.name if name is None else name)


def records_from_arrays(X: Any, y: Any, *, name: str = "data") -> Records:
    """Check arrays or tensors and make :class:`Records` of them.

    Parameters
    ----------
    X : array or tensor (n, ...)
        Numbers, finite; at least one item with at least one number.
    y : sequence, array or tensor (n,)
        Whole numbers that fit in int64, or strings. Truth values count as 0 and 1.
    name : str
        What messages call the data.

    Raises
    ------
    DataError
        NaN or infinity (row and column named), lengths that differ, labels of another kind.

    >>> records_from_arrays([[1.0], [float("nan")]], [0, 1])
    Traceback (most recent call last):
    ...
    likewise.errors.DataError: data: X must be finite; found nan in row 1, position (0,); mend or drop it
    """
    items = check_items(X, name=name)
    labels = check_labels(y, name=name)
    if len(items) != len(labels):
        raise DataError(
            f"{name}: X and y must have one label an item; found X {items.shape} and y {labels.shape}"
        )
    return Records(items, labels, name)


def check_items(X: Any, *, name: str) -> NDArray[np.float32]:
    """Items as a finite float32 array (n, ...), or a DataError that names the first bad row."""
    try:
        array = _to_array(X)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: X must be one array of numbers; found {_first_line(error)}") from error
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name}: X must hold numbers; found {_kind(array)}")
    if array.ndim < 2 or array.ndim > 4 or array.size == 0:
        raise DataError(
            f"{name}: X must have shape (n, d), (n, height, width) or (n, channels, height, width), "
            f"none of them zero; found {array.shape}"
        )
    with np.errstate(over="ignore"):
        items = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(items)
    if not finite.all():
        row, *position = (int(index) for index in np.argwhere(~finite)[0])
        found = array[(row, *position)]
        beyond = " (beyond float32)" if np.isfinite(found) else ""
        raise DataError(
            f"{name}: X must be finite; found {found}{beyond} in row {row}, position "
            f"{tuple(position)}; mend or drop it"
        )
    return items


def check_labels(y: Any, *, name: str) -> NDArray[Any]:
    """Labels as an int64 or str array (n,), or a DataError."""
    if isinstance(y, (list, tuple)):
        strings = sum(isinstance(label, str) for label in y)
        if 0 < strings < len(y):
            raise DataError(f"{name}: labels must be all whole numbers or all strings; found both")
    try:
        array = _to_array(y)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: labels must be one array; found {_first_line(error)}") from error
    if array.ndim != 1:
        raise DataError(f"{name}: labels must have shape (n,); found {array.shape}")
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array):
        array = array.astype(str)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "iub":
        raise DataError(
            f"{name}: labels must be whole numbers or strings; found {_kind(array)}; "
            "convert them, for example y.astype(int)"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{name}: labels must fit in int64; found {int(array.max())}")
    return array.astype(np.int64)


def check_trainable(records: Records) -> None:
    """Refuse records that nothing can be learned from.

    Raises
    ------
    DataError
        There is one class only, or a class with one item, so that no pair of the class exists.
    """
    classes, counts = np.unique(records.y, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"{records.name}: training needs at least two classes; found one ({classes[0]}); "
            "add items of another class"
        )
    single = classes[counts < 2]
    if len(single):
        raise DataError(
            f"{records.name}: training needs at least two items of every class; found one item of "
            f"{_some(single.tolist())}; add items of it or drop it"
        )


def _to_array(values: Any) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if values.dtype == torch.bfloat16:
            values = values.float()
        return np.asarray(values.numpy())
    return np.asarray(values)


def _kind(array: NDArray[Any]) -> str:
    return "Python objects" if array.dtype.kind == "O" else f"{array.dtype} values"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _some(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more classes"
