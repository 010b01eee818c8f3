"""95 % intervals whose unit is the class.

Items of one class, and pairs of the same two classes, rise and fall together, so an interval over
items or pairs is far too narrow. Here a figure is taken again with each class left out, its queries and its
place in the gallery (the delete-one-class jackknife, which needs no formula for the figure). With few
classes that is a little too wide (Efron, Stein 1981), while the variance of residuals that share a class
(:func:`linked_variance`) is too narrow, as it holds the gallery fixed; where both are known their mean is
taken. A mean of scores gets Wilson's interval (1927), any other figure Student's on the logarithm of the
odds, both with C - 1 degrees of freedom: they stay within the figure's range and lean inwards near its
ends. ``benchmarks/coverage.py`` shows how often they hold the truth. What it doesn't know: what other
classes than these, drawn in another way, would give.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.evaluation.figures import Figure

__all__ = [
    "FEW_CLASSES",
    "clopper_pearson",
    "error_figure",
    "jackknife_figure",
    "jackknife_variance",
    "left_out_means",
    "linked_figure",
    "linked_variance",
    "logit_interval",
    "mean_variance",
    "ratio_figure",
    "wilson",
]

FEW_CLASSES = 20
_Floats = NDArray[np.floating[Any]]
_Integers = NDArray[np.signedinteger[Any]]


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a binomial proportion (Clopper and Pearson 1934).

    >>> [round(end, 4) for end in clopper_pearson(0, 10)]
    [0.0, 0.3085]
    """
    from scipy.stats import beta

    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"successes must lie in 0..trials with trials >= 1; found {successes} of {trials}")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def wilson(value: float, error: float, quantile: float, *, most: float = math.inf) -> tuple[float, float]:
    """Wilson's interval of a figure within (0, 1) with a standard error.

    As for a proportion of ``n = value (1 - value) / error^2`` draws, n at most ``most``:
    ``(v + q^2/2n -+ q sqrt(v (1 - v) / n + q^2/4n^2)) / (1 + q^2/n)``.

    >>> [round(end, 4) for end in wilson(0.5, 0.05, 1.959964)]
    [0.4038, 0.5962]

    References
    ----------
    Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.
    """
    spread = value * (1 - value)
    n = min(spread / error**2, most) if error > 0 else most
    if math.isinf(n):
        return value, value
    square = quantile * quantile / n
    half = quantile * math.sqrt(spread / n + square / (4 * n))
    middle = value + square / 2
    return max((middle - half) / (1 + square), 0.0), min((middle + half) / (1 + square), 1.0)


def logit_interval(value: float, error: float, quantile: float) -> tuple[float, float]:
    """``value -+ quantile error`` on the scale of ``log(v / (1 - v))``, for a value within (0, 1).

    >>> [round(end, 4) for end in logit_interval(0.9, 0.05, 2.0)]
    [0.7476, 0.9647]
    """
    middle, reach = math.log(value / (1 - value)), quantile * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(min(-end, 700.0))) for end in (middle - reach, middle + reach))
    return low, high


def jackknife_figure(
    value: float,
    left_out: _Floats,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    n_units: int | None = None,
    confidence: float = 0.95,
    note: str = "",
    draws: float | None = None,
) -> Figure:
    """A figure with the standard error ``sqrt((C-1)/C sum_c (v_(c) - mean)^2)``, on the logit's scale.

    Parameters
    ----------
    value : float
        The figure over all classes.
    left_out : array (C,)
        The figure without class c; NaN where it can't be taken then.
    bounds : (float, float)
        The figure's range, which holds the interval. At an end of the range (0 of n, n of n) the
        jackknife has no spread, and Clopper and Pearson's interval over the C classes is given.
    unit, note
        As in :class:`Figure`. Under 20 units "few classes" is added to the note.
    n_units : int, optional
        Where groups of units were left out together, the number of units.
    confidence : float
    draws : float, optional
        As :func:`error_figure` takes it.
    """
    v = np.asarray(left_out, dtype=np.float64)
    v = v[np.isfinite(v)]
    n = len(v)
    if min(abs(value - end) for end in bounds) < 1e-12:
        value = min(bounds, key=lambda end: abs(value - end))
    if math.isnan(value) or n < 2:
        error = math.nan
    elif value in bounds and np.all(v == value):
        error = 0.0
    else:
        error = math.sqrt((n - 1) / n * float(np.sum((v - v.mean()) ** 2)))
    units = n if n_units is None else n_units
    return error_figure(
        value,
        error,
        units,
        freedom=n - 1,
        bounds=bounds,
        unit=unit,
        confidence=confidence,
        note=note,
        draws=draws,
    )


def error_figure(
    value: float,
    error: float,
    n_units: int,
    *,
    freedom: int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    confidence: float = 0.95,
    note: str = "",
    draws: float | None = None,
) -> Figure:
    """The figure of a value and its standard error, with an interval that stays within its range.

    ``freedom`` is ``n_units - 1`` unless given. An error of NaN gives the whole range; a value at an end
    of the range gives Clopper and Pearson's interval over the units. Where the range has
    no ends it is Student's ``value -+ t error``. Of a mean of ``draws`` scores it is Wilson's, else
    the logit's.
    """
    from scipy.stats import t

    if math.isnan(value):
        return Figure(math.nan, math.nan, math.nan, unit, n_units, note)
    few = ("few classes" if unit == "class" else f"few {unit}s") if n_units < FEW_CLASSES else ""
    note = "; ".join(part for part in (note, few) if part)
    low_end, high_end = bounds
    if math.isnan(error):
        return Figure(value, low_end, high_end, unit, n_units, note)
    if value in bounds and math.isfinite(high_end - low_end):
        low, high = clopper_pearson(0 if value == low_end else n_units, n_units, confidence=confidence)
        span = high_end - low_end
        return Figure(value, low_end + span * low, low_end + span * high, unit, n_units, note)
    quantile = float(t.ppf((1 + confidence) / 2, n_units - 1 if freedom is None else freedom))
    span = high_end - low_end
    if not math.isfinite(span):
        return Figure(value, value - quantile * error, value + quantile * error, unit, n_units, note)
    share, deviation = (value - low_end) / span, error / span
    if draws is None:
        low, high = logit_interval(share, deviation, quantile)
    else:
        low, high = wilson(share, deviation, quantile, most=draws)
    low, high = low_end + span * low, low_end + span * high
    return Figure(value, min(low, value), max(high, value), unit, n_units, note)


def ratio_figure(
    numerators: _Floats,
    denominators: _Floats,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    confidence: float = 0.95,
    note: str = "",
) -> Figure:
    """The figure ``sum_c a_c / sum_c b_c`` of per-class sums (C,), classes with ``b_c = 0`` left aside.

    >>> figure = ratio_figure(np.array([8.0, 9.0, 7.0]), np.array([10.0, 10.0, 10.0]))
    >>> print(figure)
    0.800 [0.413, 0.958] (few classes)
    """
    a, b = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    a, b = a[b > 0], b[b > 0]
    if len(b) == 0:
        return Figure(math.nan, math.nan, math.nan, unit, 0, note)
    rest = b.sum() - b
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = np.where(rest > 0, (a.sum() - a) / rest, np.nan)
    value = float(a.sum() / b.sum())
    exact = a.sum() == b.sum() * bounds[1]
    return jackknife_figure(
        bounds[1] if exact else value,
        np.full(len(b), bounds[1]) if exact else left_out,
        bounds=bounds,
        unit=unit,
        confidence=confidence,
        note=note,
        draws=float(b.sum()),
    )


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
    own, other = own.astype(np.int64, copy=False), other.astype(np.int64, copy=False)
    n = int(max(own.max(), other.max())) + 1
    two = own != other
    sums = np.bincount(own, weights=residuals, minlength=n)
    alone = float(np.square(sums).sum())
    sums = sums + np.bincount(other[two], weights=residuals[two], minlength=n)
    keys = np.minimum(own, other)[two] * n + np.maximum(own, other)[two]
    both = np.bincount(np.unique(keys, return_inverse=True)[1], weights=residuals[two])
    # In few classes the estimate can fall short, even below zero: never below that of own classes alone.
    return max(float(np.square(sums).sum() - np.square(both).sum()), alone)


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


def linked_figure(
    scores: _Floats,
    own: _Integers,
    rivals: _Integers,
    *,
    changes: NDArray[np.floating[Any]] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    confidence: float = 0.95,
    note: str = "",
) -> Figure:
    """The mean of scores (q,), each of a query of class ``own`` that contends with other classes.

    Parameters
    ----------
    scores : array (q,)
    own : int array (q,)
    rivals : int array (q,) or (q, V)
        The classes that a query contends with, the foremost first; its own for none.
    changes : array (q, V), optional
        As :func:`left_out_means` takes it. Without it the variance is that of linked residuals alone, which
        holds the gallery fixed.

    >>> scores = np.array([1.0, 1.0, 0.0, 1.0])
    >>> print(linked_figure(scores, np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])))
    0.750 [0.131, 0.984] (few classes)
    """
    n_units = len(np.unique(own))
    value = float(np.mean(scores)) if len(scores) else math.nan
    if min(abs(value - end) for end in bounds) < 1e-12:
        value = min(bounds, key=lambda end: abs(value - end))  # a sum of thirds isn't exactly their number
    if n_units < 2:
        error = math.nan
    elif value in bounds:
        error = 0.0
    else:
        error = math.sqrt(mean_variance(scores, own, rivals, changes))
    return error_figure(
        value,
        error,
        n_units,
        bounds=bounds,
        unit=unit,
        confidence=confidence,
        note=note,
        draws=len(scores),
    )


def mean_variance(
    scores: _Floats, own: _Integers, rivals: _Integers, changes: NDArray[np.floating[Any]] | None
) -> float:
    """The variance of the mean of scores over draws of classes, of two classes or more."""
    n_units = len(np.unique(own))
    first = rivals if rivals.ndim == 1 else rivals[:, 0]
    linked = linked_variance((scores - scores.mean()) / len(scores), own, first) * n_units / (n_units - 1)
    if changes is None:
        return linked
    left_out = left_out_means(scores, own, rivals, changes)
    return (linked + jackknife_variance(left_out, n_units)) / 2


def jackknife_variance(left_out: _Floats, n_units: int) -> float:
    """``(C - 1)/C sum_c (v_(c) - mean)^2`` over the classes without which there is a value, for C units."""
    v = left_out[np.isfinite(left_out)]
    return (n_units - 1) / n_units * float(np.sum((v - v.mean()) ** 2)) if len(v) else 0.0
