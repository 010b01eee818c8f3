"""Pairs, triplets, quadruplets and chunklets from labels, by seeded rules.

Every rule draws from all that the labels imply, without looking at the rows, so a tuple's chance never
depends on a distance; the one that looks (near targets and impostors) says so in its name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from likewise.relations import Chunklets, Pairs, Quadruplets, Triplets

__all__ = [
    "chunklets_from_labels",
    "generator_from",
    "near_triplets_from_labels",
    "pairs_from_labels",
    "quadruplets_from_labels",
    "triplets_from_labels",
]

_Codes = NDArray[np.int64]


def generator_from(random_state: Any) -> np.random.Generator:
    """A generator from what scikit-learn takes as ``random_state``: None, an integer, a RandomState."""
    return np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))


class _Sorted:
    """Rows in order of class: for each, the later rows of its class, and those of later classes."""

    def __init__(self, codes: _Codes) -> None:
        self.order = np.argsort(codes, kind="stable")
        ordered = codes[self.order]
        positions = np.arange(len(codes))
        self.begin = np.searchsorted(ordered, ordered)
        self.end = np.searchsorted(ordered, ordered, side="right")
        self.first = {True: positions + 1, False: self.end}
        self.count = {True: self.end - positions - 1, False: len(codes) - self.end}

    def pairs(self, same: bool, count: int, generator: np.random.Generator) -> tuple[_Codes, _Codes]:
        """``count`` different pairs of one class (or of two), or all where there are fewer."""
        ends = np.cumsum(self.count[same])
        total = int(ends[-1]) if len(ends) else 0
        chosen = (
            np.arange(total) if total <= count else np.sort(generator.choice(total, count, replace=False))
        )
        left = np.searchsorted(ends, chosen, side="right")
        right = self.first[same][left] + chosen - (ends[left] - self.count[same][left])
        return self.order[left], self.order[right]


def pairs_from_labels(codes: _Codes, count: int, generator: np.random.Generator) -> Pairs:
    """``count`` pairs of one class and ``count`` of two, each uniform among all, none twice.

    Where there are fewer, all are taken.

    >>> pairs_from_labels(np.array([0, 0, 1, 1]), 10, np.random.default_rng(0))
    Pairs(6)
    """
    rows = _Sorted(codes)
    alike, unlike = rows.pairs(True, count, generator), rows.pairs(False, count, generator)
    return Pairs(
        np.concatenate([alike[0], unlike[0]]),
        np.concatenate([alike[1], unlike[1]]),
        np.repeat([True, False], [len(alike[0]), len(unlike[0])]),
    )


def triplets_from_labels(codes: _Codes, count: int, generator: np.random.Generator) -> Triplets:
    """``count`` triplets: an anchor uniform among rows with a positive and a negative, then each of these.

    A triplet may come twice. There are none where no class has two rows, or there is one class only.

    >>> triplets_from_labels(np.array([0, 0, 1]), 5, np.random.default_rng(0))
    Triplets(5)
    """
    rows = _Sorted(codes)
    size = rows.end - rows.begin
    able = np.flatnonzero((size > 1) & (size < len(codes)))
    if not len(able):
        return Triplets([], [], [])
    anchor = generator.choice(able, count)
    begin, end = rows.begin[anchor], rows.end[anchor]
    positive = begin + generator.integers(size[anchor] - 1)
    positive += positive >= anchor
    negative = generator.integers(len(codes) - size[anchor])
    negative = np.where(negative >= begin, negative + end - begin, negative)
    return Triplets(rows.order[anchor], rows.order[positive], rows.order[negative])


def near_triplets_from_labels(
    X: NDArray[np.float64], codes: _Codes, n_targets: int, n_impostors: int
) -> Triplets:
    """All triplets of each row, its nearest rows of its class, and its nearest of other classes.

    Nearest by Euclidean distance in X; at most ``n_targets`` times ``n_impostors`` triplets a row.

    >>> near_triplets_from_labels(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1]), 1, 1)
    Triplets(2)
    """
    from sklearn.neighbors import NearestNeighbors

    parts = []
    for code in np.unique(codes):
        own, other = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
        targets, impostors = min(n_targets, len(own) - 1), min(n_impostors, len(other))
        if not targets or not impostors:
            continue
        near = NearestNeighbors(n_neighbors=targets).fit(X[own]).kneighbors(return_distance=False)
        far = NearestNeighbors(n_neighbors=impostors).fit(X[other]).kneighbors(X[own], return_distance=False)
        shape = (len(own), targets, impostors)
        three = (own[:, None, None], own[near][:, :, None], other[far][:, None, :])
        parts.append(np.stack([np.broadcast_to(part, shape).ravel() for part in three]))
    joined = np.concatenate(parts, axis=1) if parts else np.empty((3, 0), dtype=np.int64)
    return Triplets(joined[0], joined[1], joined[2])


def quadruplets_from_labels(codes: _Codes, count: int, generator: np.random.Generator) -> Quadruplets:
    """``count`` comparisons of a pair of one class with a pair of two; each pair uniform among all.

    >>> quadruplets_from_labels(np.array([0, 0, 1, 1]), 7, np.random.default_rng(0))
    Quadruplets(7)
    """
    rows = _Sorted(codes)
    near, far = rows.pairs(True, count, generator), rows.pairs(False, count, generator)
    if not len(near[0]) or not len(far[0]):
        return Quadruplets([], [], [], [])
    one, other = generator.integers(len(near[0]), size=count), generator.integers(len(far[0]), size=count)
    return Quadruplets(near[0][one], near[1][one], far[0][other], far[1][other])


def chunklets_from_labels(codes: _Codes, size: int | None, generator: np.random.Generator) -> Chunklets:
    """Each class as one chunklet, or cut at random into chunklets of ``size`` rows, the rest unassigned.

    >>> chunklets_from_labels(np.array([0, 0, 0, 1]), 2, np.random.default_rng(0)).chunklets.unique()
    tensor([-1,  0])
    """
    if size is None:
        return Chunklets(codes)
    chunklets = np.full(len(codes), -1, dtype=np.int64)
    made = 0
    for code in np.unique(codes):
        rows = generator.permutation(np.flatnonzero(codes == code))
        whole = len(rows) // size
        chunklets[rows[: whole * size]] = made + np.repeat(np.arange(whole), size)
        made += whole
    return Chunklets(chunklets)
