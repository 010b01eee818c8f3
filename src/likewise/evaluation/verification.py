"""Verification: are two things alike, decided by a threshold on their distance.

A pair is accepted when its distance is at most the threshold. The false-accept rate FAR is the part of
the unlike pairs that is accepted, the false-reject rate FRR the part of the alike pairs that is not;
TAR = 1 - FRR. Conventions:

- Thresholds are the distances that occur: pairs at equal distances are accepted together.
- ``eer``: where FAR and FRR meet, on the straight line between the two operating points around it.
- ``auc``: the chance that an alike pair is nearer than an unlike one, ties counting one half.
- ``frr@far=f``: FRR at the largest threshold whose FAR is at most f, without interpolation. It is
  "not measurable" where fewer than 10 / f unlike pairs are given: the threshold would then hang on a
  handful of pairs.

The intervals leave out one class at a time, with every pair that it is part of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.evaluation.curves import ErrorCurve, PairPart
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.pairs import PairUnits, pair_arrays, pair_units

__all__ = ["OperatingPoints", "operating_points", "threshold_at_eer", "threshold_at_far", "verification"]

_FALSE_ACCEPTS_NEEDED = 10
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoints:
    """The ROC and DET curves: FAR and FRR (t,) at each threshold that occurs, nothing accepted first."""

    thresholds: _Floats
    far: _Floats
    frr: _Floats


def verification(
    distances: Any,
    same: Any,
    *,
    left_classes: Any = None,
    right_classes: Any = None,
    fars: Sequence[float] = (0.1, 0.01, 0.001),
) -> Report:
    """Equal error rate, AUC, and FRR and TAR at given false-accept rates.

    Definitions stand at the head of this module.

    Parameters
    ----------
    distances : array or Tensor (n,)
        Smaller is more alike.
    same : booleans, or 0 and 1 (n,)
        Whether the two of a pair are alike.
    left_classes, right_classes : integers or strings (n,), optional
        The class (identity) of either side, over which the intervals are then. Without them pairs
        are taken as independent, which pairs of the same few things are not; the note says so.
    fars : sequence of float
        In (0, 1).

    Returns
    -------
    Report
        "eer", "auc", and "frr@far=f", "tar@far=f" for each f, with 95 % intervals.

    Raises
    ------
    DataError
        NaN, lengths that differ, or pairs of one kind only.

    >>> report = verification([0.1, 0.2, 0.9, 0.8], [True, True, False, False], fars=())
    >>> report["eer"].value, report["auc"].value
    (0.0, 1.0)
    """
    values, alike = pair_arrays(distances, same)
    for far in fars:
        if not 0 < far < 1:
            raise InputError(f"fars must lie between 0 and 1; found {far!r}")
    whole = ErrorCurve.of(values, alike)
    left_out = _LeftOut.of(values, alike, pair_units(len(values), left_classes, right_classes))
    figures = {
        "eer": left_out.units.figure(whole.eer(), [whole.eer(part) for part in left_out.parts]),
        "auc": left_out.units.figure(whole.auc(), [whole.auc(part) for part in left_out.parts]),
    }
    for far in fars:
        frr = _frr_figure(whole, left_out, far)
        tar = Figure(1 - frr.value, 1 - frr.high, 1 - frr.low, frr.unit, frr.n_units, frr.note)
        figures |= {f"frr@far={far:g}": frr, f"tar@far={far:g}": tar}
    counts = {"alike pairs": whole.n_alike, "unlike pairs": whole.n_unlike}
    return Report("verification", figures, counts)


def operating_points(distances: Any, same: Any) -> OperatingPoints:
    """FAR and FRR at every threshold that occurs, beginning with nothing accepted (-inf).

    >>> operating_points([0.1, 0.4, 0.3], [1, 1, 0]).far.tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    values, alike = pair_arrays(distances, same)
    curve = ErrorCurve.of(values, alike)
    far, frr = curve.accepted_unlike / curve.n_unlike, 1 - curve.accepted_alike / curve.n_alike
    return OperatingPoints(curve.thresholds, far, frr)


def threshold_at_eer(distances: Any, same: Any) -> float:
    """The least threshold at which FAR is no longer below FRR; midway to the next distance.

    >>> round(threshold_at_eer([0.1, 0.2, 0.9, 0.8], [1, 1, 0, 0]), 6)
    0.5
    """
    points = operating_points(distances, same)
    return _midway(points.thresholds, int(np.argmax(points.far >= points.frr)))


def threshold_at_far(distances: Any, same: Any, far: float) -> float:
    """The largest threshold at which at most ``far`` of the unlike pairs given are accepted.

    It lies midway to the next distance. It describes these pairs: for a promise about new classes
    take the guaranteed threshold of :mod:`likewise.evaluation.calibration`.
    """
    points = operating_points(distances, same)
    return _midway(points.thresholds, int(np.flatnonzero(points.far <= far)[-1]))


def _midway(thresholds: _Floats, i: int) -> float:
    if i + 1 == len(thresholds):
        return float(thresholds[i])
    if i == 0:
        return float(np.nextafter(thresholds[1], -np.inf))
    middle = float((thresholds[i] + thresholds[i + 1]) / 2)
    return middle if middle < thresholds[i + 1] else float(thresholds[i])


@dataclass(frozen=True)
class _LeftOut:
    """The pairs left out in turn, as sorted distances."""

    parts: list[PairPart]
    units: PairUnits

    @classmethod
    def of(cls, values: _Floats, alike: NDArray[np.bool_], units: PairUnits) -> _LeftOut:
        parts = []
        for members in units.members:
            distances, kinds = values[members], alike[members]
            parts.append(PairPart(np.sort(distances[kinds]), np.sort(distances[~kinds])))
        return cls(parts, units)


def _frr_figure(whole: ErrorCurve, left_out: _LeftOut, far: float) -> Figure:
    needed = math.ceil(_FALSE_ACCEPTS_NEEDED / far)
    if whole.n_unlike < needed:
        note = (
            f"not measurable with this many pairs: FAR {far:g} needs {needed:,} unlike pairs, "
            f"found {whole.n_unlike:,}"
        )
        return left_out.units.figure(math.nan, [math.nan] * len(left_out.parts), note)
    return left_out.units.figure(whole.frr_at(far), [whole.frr_at(far, part) for part in left_out.parts])
