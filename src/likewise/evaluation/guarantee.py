"""Thresholds that keep a promise: a false-accept rate over new classes, with stated confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError, InputError
from likewise.evaluation.inputs import check_lengths, class_codes_jointly, finite_numbers

__all__ = ["GuaranteedThreshold", "guaranteed_threshold", "smallest_guaranteed_far"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GuaranteedThreshold:
    """A threshold with a promise: over new classes FAR is at most ``far``, with ``confidence``.

    ``observed_far`` is the rate among the pairs given, every pair of classes counted alike;
    ``smallest_far`` is the least that so many classes could promise.
    """

    threshold: float
    far: float
    confidence: float
    observed_far: float
    smallest_far: float
    n_classes: int


def smallest_guaranteed_far(n_classes: int, *, confidence: float = 0.95) -> float:
    """``1 - (1 - confidence)^(1 / floor(C / 2))``: what C classes without one false accept can promise.

    >>> round(smallest_guaranteed_far(100), 4)
    0.0582
    """
    if n_classes < 2:
        raise InputError(f"n_classes must be at least 2 to have an unlike pair; found {n_classes}")
    return float(-np.expm1(math.log1p(-_checked_rate(confidence, "confidence")) / (n_classes // 2)))


def guaranteed_threshold(
    distances: Any, left_classes: Any, right_classes: Any, far: float, *, confidence: float = 0.95
) -> GuaranteedThreshold:
    """The largest threshold whose false-accept rate over new classes is surely at most ``far``.

    Classes are taken as drawn independently; a pair of classes has as its value the part of its item
    pairs that is accepted, and FAR is the mean over pairs of classes. Pairs of classes that share none
    are independent, so C classes are worth floor(C / 2) independent values, and Hoeffding's bound for
    U-statistics holds: ``n KL(observed || far) >= log(1 / (1 - confidence))``. As FAR only grows with
    the threshold, choosing the threshold on the same pairs costs nothing more.

    Parameters
    ----------
    distances : array (n,)
        Of pairs; pairs of one class are left aside.
    left_classes, right_classes : integers or strings (n,)
    far : float
        In (0, 1).
    confidence : float

    Raises
    ------
    InputError
        So many classes can't promise ``far``; the message says what they can.

    References
    ----------
    Hoeffding (1963), Probability Inequalities for Sums of Bounded Random Variables, section 5a;
    Janson (2004), Large Deviations for Sums of Partly Dependent Random Variables, for sampled pairs.
    """
    far, confidence = _checked_rate(far, "far"), _checked_rate(confidence, "confidence")
    names = ["left_classes", "right_classes"]
    (left, right), classes = class_codes_jointly([left_classes, right_classes], names)
    check_lengths(len(left), len(right), *names)
    values, unlike = finite_numbers(distances, "distances"), left != right
    check_lengths(len(left), len(values), "left_classes", "distances")
    if not unlike.any():
        raise DataError("left_classes and right_classes must differ for some pair; found alike pairs only")
    values, low, high = values[unlike], np.minimum(left, right)[unlike], np.maximum(left, right)[unlike]
    keys, place, counts = np.unique(low * len(classes) + high, return_inverse=True, return_counts=True)
    partners = np.bincount(np.concatenate(np.divmod(keys, len(classes))))
    n_classes = int((partners > 0).sum())
    complete = len(keys) == n_classes * (n_classes - 1) // 2
    # Vizing: pairs of classes fall into max degree + 1 sets of disjoint ones, equal to within one.
    n = n_classes // 2 if complete else len(keys) // (int(partners.max()) + 1)
    smallest = float(-np.expm1(math.log1p(-confidence) / n)) if n else 1.0
    if far < smallest:
        raise InputError(
            f"far must be at least {smallest:.3g}, the smallest rate that these {n_classes} classes can "
            f"promise with confidence {confidence:g}; found {far:g}"
        )
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    accepted = np.cumsum(1 / counts[place[order]]) / len(keys)
    last = np.append(ordered[1:] != ordered[:-1], True)  # pairs at equal distances enter together
    allowed = np.flatnonzero(last & (accepted <= _largest_observed(far, n, confidence) + 1e-12))
    i = int(allowed[-1]) if len(allowed) else -1
    observed = float(accepted[i]) if i >= 0 else 0.0
    return GuaranteedThreshold(_between(ordered, i), far, confidence, observed, smallest, n_classes)


def _between(ordered: _Floats, i: int) -> float:
    """A threshold that accepts ``ordered[: i + 1]`` and no more."""
    if i < 0:
        return float(np.nextafter(ordered[0], -np.inf))
    if i + 1 == len(ordered):
        return float(ordered[i])
    middle = float((ordered[i] + ordered[i + 1]) / 2)
    return middle if middle < ordered[i + 1] else float(ordered[i])


def _largest_observed(far: float, n: int, confidence: float) -> float:
    """The largest u below far with ``n KL(u || far) >= log(1 / (1 - confidence))``, by bisection."""
    needed = -math.log1p(-confidence) / n
    low, high = 0.0, far
    for _ in range(100):
        u = (low + high) / 2
        divergence = (1 - u) * math.log((1 - u) / (1 - far)) + (u * math.log(u / far) if u > 0 else 0.0)
        low, high = (u, high) if divergence >= needed else (low, u)
    return low


def _checked_rate(value: float, name: str) -> float:
    if not 0 < value < 1:
        raise InputError(f"{name} must lie between 0 and 1; found {value!r}")
    return float(value)
