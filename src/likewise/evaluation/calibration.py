"""Calibration: the probability that two things are alike.

A calibrator is fitted on validation pairs and read on others. The probability is that of pairs drawn
as the fitted ones were: where one pair in two is alike there and one in a thousand here, it must be
told so with ``prior=``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError, InputError
from likewise.evaluation.figures import Report
from likewise.evaluation.pairs import pair_arrays, pair_units

__all__ = [
    "Isotonic",
    "Platt",
    "Reliability",
    "calibration",
    "isotonic",
    "platt",
    "reliability",
]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Platt:
    """``P(alike | d) = 1 / (1 + exp(-(slope d + intercept)))``; build it with :func:`platt`."""

    slope: float
    intercept: float
    fitted_prior: float

    def probability(self, distances: Any, *, prior: float | None = None) -> _Floats:
        """The probability that each pair is alike (n,), where ``prior`` of all pairs are."""
        logit = self.slope * np.asarray(distances, dtype=np.float64) + self.intercept
        if prior is not None:
            logit = logit + _logit(_rate(prior, "prior")) - _logit(self.fitted_prior)
        return np.asarray(1 / (1 + np.exp(-np.clip(logit, -700, 700))))


@dataclass(frozen=True)
class Isotonic:
    """A non-increasing probability by distance, linear between its points; build with :func:`isotonic`."""

    distances: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, distances: Any) -> _Floats:
        """The probability that each pair is alike (n,), constant beyond the ends."""
        asked = np.asarray(distances, dtype=np.float64)
        return np.asarray(np.interp(asked, self.distances, self.probabilities))


def platt(distances: Any, same: Any) -> Platt:
    """A logistic curve by maximum likelihood, with Platt's targets, which keep it finite.

    Targets are ``(n_alike + 1) / (n_alike + 2)`` and ``1 / (n_unlike + 2)`` in place of 1 and 0.

    Parameters
    ----------
    distances : array or Tensor (n,)
    same : booleans (n,)

    >>> bool(platt([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]).probability([0.5])[0].round(6) == 0.5)
    True

    References
    ----------
    Platt (1999), Probabilistic Outputs for Support Vector Machines; Lin, Lin, Weng (2007), by Newton.
    """
    values, alike = pair_arrays(distances, same)
    n_alike, n_unlike = int(alike.sum()), int((~alike).sum())
    target = np.where(alike, (n_alike + 1) / (n_alike + 2), 1 / (n_unlike + 2))
    centre, scale = float(values.mean()), float(values.std()) or 1.0
    design = np.stack([(values - centre) / scale, np.ones_like(values)], axis=1)  # (n, 2)
    weights = np.array([0.0, _logit((n_alike + 1) / (n_alike + n_unlike + 2))])

    def loss(w: _Floats) -> float:
        logit = design @ w
        return float(np.sum(np.logaddexp(0, logit) - target * logit))

    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -700, 700)))
        gradient = design.T @ (probability - target)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while loss(weights - length * step) > loss(weights) and length > 1e-10:
            length /= 2
        weights = weights - length * step
        if np.abs(length * step).max() < 1e-10:
            break
    slope = float(weights[0] / scale)
    return Platt(slope, float(weights[1] - slope * centre), n_alike / len(values))


def isotonic(distances: Any, same: Any) -> Isotonic:
    """The non-increasing step curve nearest in squares to the pairs (pool adjacent violators).

    >>> isotonic([0.1, 0.2, 0.3, 0.9], [1, 0, 1, 0]).probability([0.1, 0.25, 0.9]).tolist()
    [1.0, 0.5, 0.0]

    References
    ----------
    Zadrozny, Elkan (2002), Transforming Classifier Scores into Accurate Multiclass Probability Estimates.
    """
    from sklearn.isotonic import IsotonicRegression

    values, alike = pair_arrays(distances, same)
    machine = IsotonicRegression(increasing=False, y_min=0.0, y_max=1.0).fit(values, alike.astype(np.float64))
    return Isotonic(tuple(map(float, machine.X_thresholds_)), tuple(map(float, machine.y_thresholds_)))


@dataclass(frozen=True)
class Reliability:
    """What a reliability picture shows: per bin the mean probability, the part alike, and the count."""

    probability: _Floats
    alike: _Floats
    count: NDArray[np.int64]


def reliability(probabilities: Any, same: Any, *, bins: int = 15) -> Reliability:
    """Probabilities in equally wide bins against what came true; NaN where a bin is empty."""
    sums = _bin_sums(*_checked(probabilities, same), bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Reliability(sums[0] / sums[2], sums[1] / sums[2], sums[2].astype(np.int64))


def calibration(
    probabilities: Any, same: Any, *, left_classes: Any = None, right_classes: Any = None, bins: int = 15
) -> Report:
    """How far probabilities are from what came true.

    ``ece = sum_b n_b / n |mean probability in b - part alike in b|`` over equally wide bins (Guo et al.
    2017, eq. 3), which is above zero by chance alone; ``brier = mean (p - same)^2``.

    Parameters
    ----------
    probabilities : array (n,)
        In [0, 1].
    same : booleans (n,)
    left_classes, right_classes : integers or strings (n,), optional
        For intervals over classes, as in :func:`likewise.evaluation.verification`.
    bins : int

    >>> calibration([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 0])["ece"].value
    0.1
    """
    values, alike = _checked(probabilities, same)
    units = pair_units(len(values), left_classes, right_classes)
    whole = _bin_sums(values, alike, bins)
    ece = [_ece(whole - _bin_sums(values[m], alike[m], bins)) for m in units.members]
    losses = (values - alike) ** 2
    total, n = float(losses.sum()), len(losses)
    brier = [_ratio(total - float(losses[m].sum()), n - len(m)) for m in units.members]
    figures = {
        "ece": units.figure(round(_ece(whole), 12), ece),
        "brier": units.figure(total / n, brier),
    }
    return Report("calibration", figures, {"pairs": n})


def _checked(probabilities: Any, same: Any) -> tuple[_Floats, NDArray[np.bool_]]:
    values, alike = pair_arrays(probabilities, same, "probabilities")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"probabilities must lie in [0, 1]; found {values.min():g} to {values.max():g}; "
            "a distance becomes one through platt or isotonic"
        )
    return values, alike


def _bin_sums(values: _Floats, alike: NDArray[np.bool_], bins: int) -> _Floats:
    """Per bin the sum of probabilities, of alike pairs, and of pairs, (3, bins)."""
    place = np.minimum((values * bins).astype(np.int64), bins - 1)
    rows = [np.bincount(place, weights=w, minlength=bins) for w in (values, alike, np.ones(len(values)))]
    return np.stack(rows).astype(np.float64)


def _ece(sums: _Floats) -> float:
    return _ratio(float(np.abs(sums[0] - sums[1]).sum()), float(sums[2].sum()))


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _rate(value: float, name: str) -> float:
    if not 0 < value < 1:
        raise InputError(f"{name} must lie between 0 and 1; found {value!r}")
    return float(value)
