"""95 % intervals whose unit is the class.

Items of one class, and pairs of the same two classes, rise and fall together, so an interval over
items or pairs is far too narrow. Here a figure is taken again with each class left out (the
delete-one-class jackknife, which needs no formula for the figure), and Student's t with C - 1 degrees
of freedom gives the interval. A query that fails on account of another class moves with that class
too, so scores of queries are given with the class that they contend with (:func:`linked_figure`). What
it doesn't know: what other classes than these, drawn in another way, would give.
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
    "linked_figure",
    "linked_variance",
    "ratio_figure",
]

FEW_CLASSES = 20
_Floats = NDArray[np.floating[Any]]
_Integers = NDArray[np.int64]


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


def jackknife_figure(
    value: float,
    left_out: _Floats,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    n_units: int | None = None,
    confidence: float = 0.95,
    note: str = "",
) -> Figure:
    """A figure with the interval ``value -+ t_{C-1} sqrt((C-1)/C sum_c (v_(c) - mean)^2)``.

    Parameters
    ----------
    value : float
        The figure over all classes.
    left_out : array (C,)
        The figure without class c; NaN where it can't be taken then.
    bounds : (float, float)
        The figure's range; the interval is clipped to it. At an end of the range (0 of n, n of n) the
        jackknife has no spread, and Clopper and Pearson's interval over the C classes is given.
    unit, note
        As in :class:`Figure`. Under 20 units "few classes" is added to the note.
    n_units : int, optional
        Where groups of units were left out together, the number of units.
    confidence : float
    """
    v = np.asarray(left_out, dtype=np.float64)
    v = v[np.isfinite(v)]
    n = len(v)
    if math.isnan(value) or n < 2:
        error = math.nan
    elif value in bounds and np.all(v == value):
        error = 0.0
    else:
        error = math.sqrt((n - 1) / n * float(np.sum((v - v.mean()) ** 2)))
    units = n if n_units is None else n_units
    return error_figure(
        value, error, units, freedom=n - 1, bounds=bounds, unit=unit, confidence=confidence, note=note
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
) -> Figure:
    """The figure of a value and its standard error: Student's t, or the exact interval at an end.

    ``freedom`` is ``n_units - 1`` unless given. An error of NaN gives the whole range; one of 0 with the
    value at an end of the range gives Clopper and Pearson's interval over the units.
    """
    from scipy.stats import t

    if math.isnan(value):
        return Figure(math.nan, math.nan, math.nan, unit, n_units, note)
    few = ("few classes" if unit == "class" else f"few {unit}s") if n_units < FEW_CLASSES else ""
    note = "; ".join(part for part in (note, few) if part)
    low_end, high_end = bounds
    if math.isnan(error):
        return Figure(value, low_end, high_end, unit, n_units, note)
    if error == 0 and value in bounds and math.isfinite(high_end - low_end):
        low, high = clopper_pearson(0 if value == low_end else n_units, n_units, confidence=confidence)
        span = high_end - low_end
        return Figure(value, low_end + span * low, low_end + span * high, unit, n_units, note)
    reach = float(t.ppf((1 + confidence) / 2, n_units - 1 if freedom is None else freedom)) * error
    return Figure(value, max(value - reach, low_end), min(value + reach, high_end), unit, n_units, note)


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
    0.800 [0.552, 1.000] (few classes)
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
    n = int(max(own.max(), other.max())) + 1
    two = own != other
    sums = np.bincount(own, weights=residuals, minlength=n)
    alone = float(np.square(sums).sum())
    sums = sums + np.bincount(other[two], weights=residuals[two], minlength=n)
    keys = np.minimum(own, other)[two] * n + np.maximum(own, other)[two]
    both = np.bincount(np.unique(keys, return_inverse=True)[1], weights=residuals[two])
    # In few classes the estimate can fall short, even below zero: never below that of own classes alone.
    return max(float(np.square(sums).sum() - np.square(both).sum()), alone)


def linked_figure(
    scores: _Floats,
    own: _Integers,
    other: _Integers,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    confidence: float = 0.95,
    note: str = "",
) -> Figure:
    """The mean of scores (q,), each of a query of class ``own`` that contends with class ``other``.

    The interval is Student's t with C - 1 degrees of freedom on :func:`linked_variance`, times
    C / (C - 1), with C the number of own classes.

    >>> scores = np.array([1.0, 1.0, 0.0, 1.0])
    >>> print(linked_figure(scores, np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])))
    0.750 [0.000, 1.000] (few classes)
    """
    n_units = len(np.unique(own))
    value = float(np.mean(scores)) if len(scores) else math.nan
    if n_units < 2:
        error = math.nan
    elif value in bounds:
        error = 0.0
    else:
        variance = linked_variance((scores - value) / len(scores), own, other)
        error = math.sqrt(n_units / (n_units - 1) * variance)
    return error_figure(value, error, n_units, bounds=bounds, unit=unit, confidence=confidence, note=note)
