"""What evaluation takes in, checked once: labels and embeddings that belong together.

Labels are compared exactly: whole numbers as whole numbers (to 2^63, and beyond as Python integers),
strings as strings, never through floating point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Cosine, Distance
from likewise.errors import DataError, InputError
from likewise.search.exact import vectors

__all__ = [
    "check_lengths",
    "class_codes",
    "class_codes_jointly",
    "finite_numbers",
    "paired_vectors",
    "positive_integer",
    "sorted_distinct",
    "zero_vectors",
]

_Codes = NDArray[np.int64]


def _label_array(labels: Any, name: str) -> NDArray[Any]:
    """Labels as a one-dimensional array of integers, strings, or Python integers."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "O":
        array = labels
    else:
        items = list(labels)
        array = np.empty(len(items), dtype=object)
        array[:] = [item.item() if isinstance(item, (np.generic, Tensor)) else item for item in items]
    if array.ndim != 1 or len(array) == 0:
        raise DataError(f"{name} must have shape (n,) with n >= 1; found shape {array.shape}")
    if array.dtype.kind == "O":
        kinds = {type(item) for item in array}
        if kinds == {int}:
            return _smallest_integers(array)
        if kinds == {str}:
            return array.astype(str)
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"{name} must be whole numbers or strings, all of one kind; found {found}")
    if array.dtype.kind == "u":
        return _smallest_integers(array)
    if array.dtype.kind in "ibU":
        return array.astype(np.int64) if array.dtype.kind in "ib" else array
    raise DataError(
        f"{name} must be whole numbers or strings, which compare exactly; found {array.dtype}; "
        "convert them, for instance with labels.astype(int)"
    )


def _smallest_integers(array: NDArray[Any]) -> NDArray[Any]:
    """int64 where all fit, Python integers otherwise."""
    fits = int(array.min()) >= -(2**63) and int(array.max()) < 2**63
    return array.astype(np.int64) if fits else array.astype(object)


def class_codes_jointly(many: Sequence[Any], names: Sequence[str]) -> tuple[list[_Codes], NDArray[Any]]:
    """_Codes 0 to C-1 of several label arrays under one numbering, and the classes in sorted order."""
    arrays = [_label_array(labels, name) for labels, name in zip(many, names, strict=True)]
    if len({array.dtype.kind == "U" for array in arrays}) > 1:
        raise DataError(f"{' and '.join(names)} must be of one kind; found whole numbers and strings")
    if len({array.dtype.kind for array in arrays}) > 1:
        arrays = [array.astype(object) for array in arrays]
    classes, codes = np.unique(np.concatenate(arrays), return_inverse=True)
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return [part.astype(np.int64) for part in np.split(codes, ends)], classes


def class_codes(labels: Any, name: str = "labels") -> tuple[_Codes, NDArray[Any]]:
    """_Codes 0 to C-1 of labels, and the classes in sorted order.

    >>> class_codes(["b", "a", "b"])
    (array([1, 0, 1]), array(['a', 'b'], dtype='<U1'))
    """
    codes, classes = class_codes_jointly([labels], [name])
    return codes[0], classes


def check_lengths(first: int, second: int, first_name: str, second_name: str) -> None:
    """Refuse two things of different length."""
    if first != second:
        raise DataError(
            f"{first_name} and {second_name} must have the same length; found {first} and {second}"
        )


def paired_vectors(
    embeddings: Any, labels: Any, *, name: str = "embeddings", labels_name: str = "labels"
) -> tuple[Tensor, _Codes, NDArray[Any]]:
    """Embeddings (n, d), codes (n,) of their labels, and the classes."""
    rows = vectors(embeddings, name)
    codes, classes = class_codes(labels, labels_name)
    check_lengths(len(codes), len(rows), labels_name, name)
    return rows, codes, classes


def finite_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Finite real numbers (n,) from an array or tensor, as float64."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if array.ndim != 1 or array.dtype.kind not in "fiub" or len(array) == 0:
        raise DataError(f"{name} must be numbers (n,); found {array.dtype} of shape {array.shape}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise DataError(f"{name} must be finite; found {int((~np.isfinite(array)).sum())} that are not")
    return array


def positive_integer(value: Any, name: str, *, least: int = 1) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}; found {value!r}")
    return int(value)


def sorted_distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The different values in ascending order; by sorting, as NumPy's hashing is far slower on large arrays.

    >>> sorted_distinct(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def zero_vectors(distance: Distance, *tables: Tensor) -> dict[str, int]:
    """Under cosine how many rows are all zero, which have no direction and lie at 1/2 from everything.

    For the counts of a report: ``{"zero vectors": n}``, or nothing where the distance is another.
    """
    if not isinstance(distance, Cosine):
        return {}
    return {"zero vectors": sum(int((~torch.any(rows, dim=1)).sum()) for rows in tables)}
