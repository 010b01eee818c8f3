"""95 % intervals whose unit is the class.

Items of one class, and pairs of the same two classes, rise and fall together, so an interval over
items or pairs is far too narrow. Here a figure is taken again with each class left out, its queries and its
place in the gallery, which needs no formula for the figure; :mod:`likewise.evaluation.spread` makes a
standard error of that, and degrees of freedom that are fewer where few classes decide. A mean of scores
gets Wilson's interval (1927), any other figure Student's on the logarithm of the odds: they stay within
the figure's range and lean inwards near its ends. ``benchmarks/coverage.py`` shows how often they hold the
truth. What it doesn't know: what other classes than these, drawn in another way, would give.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.evaluation.figures import Figure
from likewise.evaluation.spread import Spread, jackknife_spread, mean_spread

__all__ = [
    "FEW_CLASSES",
    "clopper_pearson",
    "error_figure",
    "few",
    "jackknife_figure",
    "linked_figure",
    "logit_interval",
    "ratio_figure",
    "wilson",
]

FEW_CLASSES = 20
_FEW_DECIDE = 9  # degrees of freedom
_PLURALS = {"class": "classes", "query": "queries"}
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


def few(n_units: int, unit: str = "class", *, freedom: float = math.inf) -> str:
    """What a reader must know of few units: "few classes", or "few classes decide" of many; else nothing.

    >>> few(10), few(100, freedom=4.0), few(5, "query")
    ('few classes', 'few classes decide', 'few queries')
    """
    named = f"few {_PLURALS.get(unit, unit + 's')}"
    if n_units < FEW_CLASSES:
        return named
    return f"{named} decide" if freedom < _FEW_DECIDE else ""


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
        As in :class:`Figure`. What :func:`few` says is added to the note.
    n_units : int, optional
        Where groups of units were left out together, the number of units.
    confidence : float
    draws : float, optional
        As :func:`error_figure` takes it.
    """
    left_out = np.asarray(left_out, dtype=np.float64)
    left_out = left_out[np.isfinite(left_out)]
    n = len(left_out)
    return error_figure(
        value,
        jackknife_spread(left_out, n),
        n if n_units is None else n_units,
        bounds=bounds,
        unit=unit,
        confidence=confidence,
        note=note,
        draws=draws,
    )


def error_figure(
    value: float,
    spread: Spread,
    n_units: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    unit: str = "class",
    confidence: float = 0.95,
    note: str = "",
    draws: float | None = None,
) -> Figure:
    """The figure of a value and its standard error, with an interval that stays within its range.

    An error of NaN gives the whole range; a value at an end of the range gives Clopper and Pearson's
    interval over the units. Where the range has no ends it is Student's ``value -+ t error``. Of a mean of
    scores, at most ``draws`` of them independent, it is Wilson's, else the logit's.
    """
    from scipy.stats import t

    if math.isnan(value):
        return Figure(math.nan, math.nan, math.nan, unit, n_units, note)
    note = "; ".join(part for part in (note, few(n_units, unit, freedom=spread.freedom)) if part)
    low_end, high_end = bounds
    if math.isnan(spread.error):
        return Figure(value, low_end, high_end, unit, n_units, note)
    span = high_end - low_end
    if min(value - low_end, high_end - value) < 1e-12:  # a sum of thirds isn't exactly their number
        value = low_end if value - low_end < 1e-12 else high_end
        low, high = clopper_pearson(0 if value == low_end else n_units, n_units, confidence=confidence)
        return Figure(value, low_end + span * low, low_end + span * high, unit, n_units, note)
    quantile = float(t.ppf((1 + confidence) / 2, spread.freedom))
    if not math.isfinite(span):
        reach = quantile * spread.error
        return Figure(value, value - reach, value + reach, unit, n_units, note)
    share, error = (value - low_end) / span, spread.error / span
    if draws is None:
        low, high = logit_interval(share, error, quantile)
    else:
        low, high = wilson(share, error, quantile, most=draws)
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
    draws: float | None = None,
) -> Figure:
    """The mean of scores (q,), each of a query of class ``own`` that contends with other classes.

    Parameters
    ----------
    scores : array (q,)
    own : int array (q,)
    rivals : int array (q,) or (q, V)
        The classes that a query contends with, the foremost first; its own for none.
    changes : array (q, V), optional
        By how much a score would change without each rival, 0 for the own class. Without changes the
        gallery is held fixed.
    draws : float, optional
        How many scores are independent at most, where things are asked more than once.

    >>> scores = np.array([1.0, 1.0, 0.0, 1.0])
    >>> print(linked_figure(scores, np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])))
    0.750 [0.131, 0.984] (few classes)
    """
    n_units = len(np.unique(own))
    value = float(np.mean(scores)) if len(scores) else math.nan
    spread = Spread(math.nan, math.nan)
    if n_units > 1:
        spread = mean_spread(scores, own, rivals, changes)
    return error_figure(
        value,
        spread,
        n_units,
        bounds=bounds,
        unit=unit,
        confidence=confidence,
        note=note,
        draws=len(scores) if draws is None else draws,
    )
