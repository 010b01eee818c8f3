"""Built-in sets by name: those of scikit-learn, which always work, and those of a data folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from sklearn import datasets

from likewise.data.builtin_images import IMAGE_SETS
from likewise.data.builtin_tables import TABLE_SETS
from likewise.data.builtin_texts import TEXT_SETS
from likewise.data.places import data_places
from likewise.data.published_images import PUBLISHED_SETS
from likewise.data.records import Records
from likewise.data.shared import SharedSet

__all__ = ["BUILT_IN", "SHARED", "BuiltIn", "missing_files"]


@dataclass(frozen=True)
class BuiltIn:
    """A set that comes with scikit-learn: what it is in one line, and what reads it."""

    summary: str
    read: Callable[[], Records]


def _digits() -> Records:
    X, y = datasets.load_digits(return_X_y=True)
    return Records((X.reshape(-1, 8, 8) / 16.0).astype(np.float32), y.astype(np.int64), "digits")


def _iris() -> Records:
    X, y = datasets.load_iris(return_X_y=True)
    return Records(X.astype(np.float32), y.astype(np.int64), "iris")


def _wine() -> Records:
    X, y = datasets.load_wine(return_X_y=True)
    return Records(X.astype(np.float32), y.astype(np.int64), "wine")


def _breast_cancer() -> Records:
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return Records(X.astype(np.float32), y.astype(np.int64), "breast-cancer")


BUILT_IN = MappingProxyType(
    {
        "breast-cancer": BuiltIn("569 tumours, 30 measurements each, 2 classes", _breast_cancer),
        "digits": BuiltIn("1,797 handwritten digits, 8x8 grey pixels in [0, 1], 10 classes", _digits),
        "iris": BuiltIn("150 flowers, 4 measurements each, 3 classes", _iris),
        "wine": BuiltIn("178 wines, 13 measurements each, 3 classes", _wine),
    }
)

SHARED: MappingProxyType[str, SharedSet] = MappingProxyType(
    {**IMAGE_SETS, **PUBLISHED_SETS, **TABLE_SETS, **TEXT_SETS}
)


def missing_files(name: str, *, data: str | os.PathLike[str] | None = None) -> list[str]:
    """The files of a set of a data folder that are in none of the places.

    >>> missing_files("digits")
    []
    """
    if name not in SHARED:
        return []
    places = data_places(data)
    return [file for file in SHARED[name].files if not any((at.path / file).is_file() for at in places)]
