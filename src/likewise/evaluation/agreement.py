"""How far clusters agree with classes, read off the table of how often each meets each.

Without some classes the table only loses rows, so a figure is taken again without a group of classes in the
time of one pass over the pairs that occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Meetings", "adjusted_rand", "normalized_mutual_information"]

_Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Meetings:
    """Classes (p,), clusters (p,) and how many items are of both (p,), where there are any."""

    classes: _Codes
    clusters: _Codes
    counts: _Codes

    @classmethod
    def of(cls, codes: _Codes, clusters: _Codes) -> Meetings:
        """The table of class and cluster (n,) of each item."""
        width = int(clusters.max()) + 1
        pairs, counts = np.unique(codes.astype(np.int64) * width + clusters, return_counts=True)
        return cls(pairs // width, pairs % width, counts.astype(np.int64))

    def kept(self, kept: NDArray[np.bool_]) -> Meetings:
        """Of the classes where ``kept`` (C,) is true."""
        some = kept[self.classes]
        return Meetings(self.classes[some], self.clusters[some], self.counts[some])

    def sums(self) -> tuple[_Codes, _Codes]:
        """How many items each class and each cluster has, 0 for those that aren't there."""
        return (
            np.bincount(self.classes, weights=self.counts).astype(np.int64),
            np.bincount(self.clusters, weights=self.counts).astype(np.int64),
        )


def normalized_mutual_information(table: Meetings) -> float:
    """``2 I(U; V) / (H(U) + H(V))``; 1 where there is one class and one cluster.

    >>> normalized_mutual_information(Meetings.of(np.array([0, 0, 1]), np.array([1, 1, 0])))
    1.0
    """
    n = int(table.counts.sum())
    of_class, of_cluster = table.sums()
    if np.count_nonzero(of_class) == np.count_nonzero(of_cluster) == 1:
        return 1.0
    met = table.counts / n
    apart = of_class[table.classes] / n * (of_cluster[table.clusters] / n)
    shared = float(np.sum(met * np.log(met / apart)))
    if shared <= np.finfo(np.float64).eps:
        return 0.0
    return 2 * shared / (_entropy(of_class, n) + _entropy(of_cluster, n))


def _entropy(sums: NDArray[Any], n: int) -> float:
    shares = sums[sums > 0] / n
    return -float(np.sum(shares * np.log(shares)))


def adjusted_rand(table: Meetings) -> float:
    """The share of pairs on which both agree, less what chance gives (Hubert, Arabie 1985).

    >>> adjusted_rand(Meetings.of(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))
    -0.5
    """
    n = int(table.counts.sum())
    together, classes, clusters = (int(np.square(part).sum()) for part in (table.counts, *table.sums()))
    both, only_class, only_cluster = together - n, classes - together, clusters - together
    neither = n * n - classes - clusters + together
    if only_class == only_cluster == 0:
        return 1.0
    above = 2 * (both * neither - only_class * only_cluster)
    return above / (
        (both + only_class) * (only_class + neither) + (both + only_cluster) * (only_cluster + neither)
    )
