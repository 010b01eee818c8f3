"""Near duplicates, leaks and outliers: what the distance to the nearest neighbour tells.

Two items are near duplicates where their distance is at most ``ratio`` times the median distance of an
item to its nearest neighbour; a leak is such a twin in other data. An outlier's distance to its
fifth-nearest neighbour has a logarithm that lies over 3.5 robust deviations above the median (Iglewicz and
Hoaglin 1993, the modified z-score).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.search.exact import nearest, vectors

__all__ = ["Outliers", "Twins", "near_duplicates", "outliers", "twins_between"]

_OUTLYING = 3.5
_FIFTH = 5
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Twins:
    """Pairs that lie too close: ``left`` and ``right`` (p,) rows, nearest pairs first, their distances."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    distances: _Floats
    limit: float

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True)
class Outliers:
    """How far off each item lies: a robust z-score (n,), and the rows over the limit, farthest first."""

    score: _Floats
    rows: NDArray[np.int64]


@torch.no_grad()
def near_duplicates(embeddings: Any, *, distance: str | Distance = "euclidean", ratio: float = 0.1) -> Twins:
    """Pairs of items that are nearly the same, each pair once.

    An item is held against its ten nearest neighbours, so a heap of more than eleven copies is shown by
    some of its pairs only.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        At least two items.
    distance : str or Distance
    ratio : float
        In [0, 1), of the median nearest distance. Where that is 0, only exact copies are named.

    >>> twins = near_duplicates([[0.0], [1.0], [2.0], [2.001], [4.0]])
    >>> twins.left.tolist(), twins.right.tolist()
    ([2], [3])
    """
    rows = vectors(embeddings)
    if len(rows) < 2:
        raise DataError(f"embeddings must hold at least two items for duplicates; found {len(rows)}")
    found = nearest(
        rows,
        rows,
        min(10, len(rows) - 1),
        distance=distance_from_name(distance),
        exclude=torch.arange(len(rows)),
    )
    distances = found.distances.double().cpu().numpy()
    limit = _ratio(ratio) * float(np.median(distances[:, 0]))
    left, place = np.nonzero(distances <= limit)
    right = found.indices.cpu().numpy()[left, place]
    pairs = np.unique(np.stack([np.minimum(left, right), np.maximum(left, right)], 1), axis=0)
    keys = dict(
        zip(zip(left.tolist(), right.tolist(), strict=True), distances[left, place].tolist(), strict=True)
    )
    apart = np.array([keys.get((a, b), keys.get((b, a))) for a, b in pairs.tolist()], dtype=np.float64)
    order = np.argsort(apart, kind="stable")
    return Twins(pairs[order, 0], pairs[order, 1], apart[order], limit)


@torch.no_grad()
def twins_between(
    embeddings: Any, others: Any, *, distance: str | Distance = "euclidean", ratio: float = 0.1
) -> Twins:
    """Items that have a near duplicate in other data: a leak between splits.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        The data under audit, often the test split.
    others : array or Tensor (m, d)
        What it must not share items with, often the training split. The limit is ``ratio`` times the
        median nearest distance within it.
    distance : str or Distance
    ratio : float

    >>> twins_between([[1.0], [7.7]], [[0.0], [1.0], [2.0], [3.0]]).right.tolist()
    [1]
    """
    rows, columns = vectors(embeddings), vectors(others, "others")
    measure = distance_from_name(distance)
    if len(columns) < 2:
        raise DataError(f"others must hold at least two items; found {len(columns)}")
    within = nearest(columns, columns, 1, distance=measure, exclude=torch.arange(len(columns))).distances
    limit = _ratio(ratio) * float(within.double().median())
    found = nearest(rows, columns, 1, distance=measure)
    apart = found.distances[:, 0].double().cpu().numpy()
    left = np.flatnonzero(apart <= limit)
    left = left[np.argsort(apart[left], kind="stable")]
    return Twins(left, found.indices[:, 0].cpu().numpy()[left], apart[left], limit)


@torch.no_grad()
def outliers(embeddings: Any, *, distance: str | Distance = "euclidean") -> Outliers:
    """Items that lie far from everything.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        At least three items.
    distance : str or Distance

    >>> outliers([[0.0], [1.0], [2.1], [3.0], [4.2], [5.0], [6.3], [900.0]]).rows.tolist()
    [7]
    """
    rows = vectors(embeddings)
    if len(rows) < 3:
        raise DataError(f"embeddings must hold at least three items for outliers; found {len(rows)}")
    k = min(_FIFTH, len(rows) - 1)
    found = nearest(rows, rows, k, distance=distance_from_name(distance), exclude=torch.arange(len(rows)))
    far = found.distances[:, -1].double().cpu().numpy()
    positive = far[far > 0]
    if len(positive) == 0:
        return Outliers(np.zeros(len(far)), np.empty(0, dtype=np.int64))
    logs = np.log(np.maximum(far, positive.min()))
    off = logs - np.median(logs)
    spread = float(np.median(np.abs(off)))
    score = 0.6745 * off / spread if spread > 0 else np.where(off > 0, np.inf, 0.0)
    over = np.flatnonzero(score > _OUTLYING)
    return Outliers(score, over[np.argsort(-score[over], kind="stable")])


def _ratio(ratio: float) -> float:
    if not 0 <= ratio < 1:
        raise InputError(f"ratio must lie in [0, 1); found {ratio!r}")
    return float(ratio)
