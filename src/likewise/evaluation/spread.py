"""How far a figure moves from one draw of classes to the next.

A figure of C classes is a sum of what classes do alone, in twos, in threes and so on (Hoeffding 1948): in
retrieval a class asks, and stands in the way of others' queries. Its variance is the sum of the variances
of those parts. Taking the figure again without each class (the jackknife) counts a part of k classes k times,
so it is never too small on average (Efron, Stein 1981), but nearly twice too large where classes disturb
each other. What the absence of both of two classes does beyond that of either, squared and summed over
twos, counts it k (k - 1) / 2 times. The jackknife less half of that counts parts of one to four classes
1, 1.5, 1.5 and 1 times: still not too small, and near for the first and largest.

How much the estimate itself can be trusted is told in degrees of freedom: C - 1 where all classes weigh
about alike, down to 2 where one of them decides. What it doesn't know: rare kinds of classes of which none
was drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Spread",
    "jackknife_spread",
    "left_out_means",
    "linked_variance",
    "mean_spread",
    "shared_variance",
]

_Floats = NDArray[np.floating[Any]]
_Integers = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Spread:
    """A figure's standard error, and how many degrees of freedom the estimate of it has."""

    error: float
    freedom: float


def jackknife_spread(left_out: _Floats, n_units: int, *, shared: float = 0.0) -> Spread:
    """``(C - 1)/C sum_c (v_(c) - mean)^2``, less half of what twos of classes share.

    The degrees of freedom are Satterthwaite's: ``2 / (2 / (C - 1) + kurtosis / C)``, with the excess kurtosis
    of the v_(c) where it is above 0.

    Parameters
    ----------
    left_out : array (C,)
        The figure without each class; NaN where it can't be taken then.
    n_units : int
        How many classes were drawn.
    shared : float
        As :func:`shared_variance` gives it. At most half of the variance is taken off for it.

    >>> spread = jackknife_spread(np.array([0.5, 0.75, 1.0]), 3)
    >>> round(spread.error, 4), spread.freedom
    (0.2887, 2.0)

    References
    ----------
    Efron, Stein (1981), The Jackknife Estimate of Variance; Satterthwaite (1946), An Approximate
    Distribution of Estimates of Variance Components.
    """
    v = np.asarray(left_out, dtype=np.float64)
    v = v[np.isfinite(v)]
    if len(v) < 2:
        return Spread(math.nan, math.nan)
    moved = v - v.mean()
    variance = (n_units - 1) / n_units * float(np.sum(moved**2))
    variance = max(variance - shared / 2, variance / 2)
    return Spread(math.sqrt(variance), _freedom(moved))


def _freedom(moved: _Floats) -> float:
    """The degrees of freedom of a sum of squares (C,)."""
    n, second = len(moved), float(np.mean(moved**2))
    if second == 0:
        return float(n - 1)
    kurtosis = float(np.mean((moved**2 / second) ** 2)) - 3
    return 2 / (2 / (n - 1) + max(kurtosis, 0.0) / n)


def mean_spread(
    scores: _Floats, own: _Integers, rivals: _Integers, changes: NDArray[np.floating[Any]] | None
) -> Spread:
    """The spread of the mean of scores (q,), of queries of two classes or more.

    ``own``, ``rivals`` and ``changes`` are as :func:`left_out_means` takes them. Without changes the variance
    is that of residuals that share a class, ``rivals`` being (q,) or its first column: it holds the
    gallery fixed, and is too small where classes disturb each other.
    """
    n_units = len(np.unique(own))
    if changes is not None:
        left_out = left_out_means(scores, own, rivals, changes)
        return jackknife_spread(left_out, n_units, shared=shared_variance(own, rivals, changes))
    first = rivals if rivals.ndim == 1 else rivals[:, 0]
    residuals = (scores - scores.mean()) / len(scores)
    variance = linked_variance(residuals, own, first) * n_units / (n_units - 1)
    sums = np.bincount(own, weights=residuals).astype(np.float64)[np.bincount(own) > 0]
    return Spread(math.sqrt(variance), _freedom(sums))


def left_out_means(
    scores: _Floats, own: _Integers, rivals: _Integers, changes: NDArray[np.floating[Any]]
) -> _Floats:
    """The mean of scores without each class: without its queries, and without it in the gallery.

    Parameters
    ----------
    scores : array (q,)
    own : int array (q,)
        The class of each query.
    rivals : int array (q, V)
        Classes without which a query's score would be another.
    changes : array (q, V)
        By how much, without that class; 0 where ``rivals`` is the own class.

    Returns
    -------
    array (C,)
        Of each class that occurs; NaN where no query is left.
    """
    n = int(max(own.max(), rivals.max(initial=0))) + 1
    sums = np.bincount(own, weights=scores, minlength=n)
    sizes = np.bincount(own, minlength=n)
    gained = np.bincount(rivals.ravel(), weights=changes.ravel().astype(np.float64), minlength=n)
    occurs = (sizes > 0) | (np.bincount(rivals.ravel(), minlength=n) > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (scores.sum() - sums + gained) / (len(scores) - sizes)
    return np.where(sizes < len(scores), means, np.nan)[occurs]


def shared_variance(own: _Integers, rivals: _Integers, changes: NDArray[np.floating[Any]]) -> float:
    """``sum_{a < b} I_ab^2``: what the absence of two classes does to the mean beyond that of either.

    ``I_ab`` is 1/q of the changes in queries of a without b, and of b without a. Arguments are those of
    :func:`left_out_means`; where nothing changes there is nothing to sort.

    >>> shared_variance(np.array([0, 1]), np.array([[1], [0]]), np.array([[1.0], [0.5]]))
    0.5625
    """
    row, column = np.nonzero(changes)
    moved = changes[row, column].astype(np.float64) / len(own)
    return float(np.square(_sums_over_twos(moved, own[row], rivals[row, column])).sum())


def linked_variance(residuals: _Floats, own: _Integers, other: _Integers) -> float:
    """The variance of a sum of residuals that move together where they share a class.

    ``sum_{i, j sharing a class} e_i e_j``, in linear time as ``sum_c S_c^2 - sum_{a < b} T_ab^2`` with S_c
    the sum over residuals of class c, on either side, and T_ab over those of both a and b.

    Parameters
    ----------
    residuals : array (q,)
    own, other : int arrays (q,)
        The class of each and the class that it contends with; the same twice for none.

    References
    ----------
    Aronow, Samii, Assenova (2015), Cluster-Robust Variance Estimation for Dyadic Data.
    """
    n = int(max(own.max(), other.max())) + 1
    two = own != other
    sums = np.bincount(own, weights=residuals, minlength=n)
    alone = float(np.square(sums).sum())
    sums = sums + np.bincount(other[two], weights=residuals[two], minlength=n)
    both = _sums_over_twos(residuals[two], own[two], other[two])
    # In few classes the estimate can fall short, even below zero: never below that of own classes alone.
    return max(float(np.square(sums).sum() - np.square(both).sum()), alone)


def _sums_over_twos(values: _Floats, own: _Integers, other: _Integers) -> _Floats:
    """The sums of values (q,) by the two classes that they belong to, in whichever order."""
    if len(values) == 0:
        return np.zeros(0)
    own, other = own.astype(np.int64, copy=False), other.astype(np.int64, copy=False)
    keys = np.minimum(own, other) * (int(max(own.max(), other.max())) + 1) + np.maximum(own, other)
    return np.bincount(np.unique(keys, return_inverse=True)[1], weights=values).astype(np.float64)
