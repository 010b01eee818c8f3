"""Error rates at every threshold, with or without a part of the pairs.

What :mod:`likewise.evaluation.verification` and :mod:`likewise.evaluation.novelty` share: a figure of
two sorted samples of distances that can be taken again without some of them in logarithmic time, which
is what an interval over thousands of classes needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from likewise.evaluation.inputs import sorted_distinct

__all__ = ["NOTHING", "ErrorCurve", "PairPart"]

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PairPart:
    """Some of the pairs: sorted distances of the alike and the unlike ones."""

    alike: _Floats
    unlike: _Floats


NOTHING = PairPart(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class ErrorCurve:
    """How many pairs each threshold accepts; its methods give a figure without a part of the pairs."""

    thresholds: _Floats  # (t,) ascending, -inf first
    accepted_alike: _Integers  # (t,)
    accepted_unlike: _Integers  # (t,)
    whole: PairPart

    @classmethod
    def of(cls, values: _Floats, alike: NDArray[np.bool_]) -> ErrorCurve:
        """The curve of distances (n,) and which of them belong to alike pairs (n,)."""
        whole = PairPart(np.sort(values[alike]), np.sort(values[~alike]))
        thresholds = np.concatenate([[-np.inf], sorted_distinct(values)])
        accepted = [np.searchsorted(part, thresholds, "right") for part in (whole.alike, whole.unlike)]
        return cls(thresholds, accepted[0], accepted[1], whole)

    @property
    def n_alike(self) -> int:
        """How many alike pairs there are."""
        return len(self.whole.alike)

    @property
    def n_unlike(self) -> int:
        """How many unlike pairs there are."""
        return len(self.whole.unlike)

    def _rates(self, i: int, without: PairPart) -> tuple[float, float]:
        """FAR and FRR at threshold i without those pairs."""
        t = self.thresholds[i]
        unlike = self.accepted_unlike[i] - np.searchsorted(without.unlike, t, "right")
        alike = self.accepted_alike[i] - np.searchsorted(without.alike, t, "right")
        far = float(unlike / (self.n_unlike - len(without.unlike)))
        return far, 1 - float(alike / (self.n_alike - len(without.alike)))

    def _first(self, without: PairPart, reached: Callable[[float, float], bool]) -> int:
        """The first threshold at which ``reached(far, frr)``, which stays true from there on."""
        low, high = 0, len(self.thresholds)
        while low < high:
            middle = (low + high) // 2
            if reached(*self._rates(middle, without)):
                high = middle
            else:
                low = middle + 1
        return low

    def _exhausted(self, without: PairPart) -> bool:
        return len(without.alike) == self.n_alike or len(without.unlike) == self.n_unlike

    def eer(self, without: PairPart = NOTHING) -> float:
        """The rate at which FAR and FRR meet, on the line between the operating points around it."""
        if self._exhausted(without):
            return math.nan
        i = self._first(without, lambda far, frr: far >= frr)
        (far, frr), (far_before, frr_before) = self._rates(i, without), self._rates(i - 1, without)
        gap, gap_before = far - frr, far_before - frr_before  # gap_before < 0 <= gap
        return far_before + (far - far_before) * -gap_before / (gap - gap_before)

    def frr_at(self, far_asked: float, without: PairPart = NOTHING) -> float:
        """FRR at the largest threshold whose FAR is at most the one asked."""
        if self._exhausted(without):
            return math.nan
        return self._rates(self._first(without, lambda far, _: far > far_asked) - 1, without)[1]

    def auc(self, without: PairPart = NOTHING) -> float:
        """The chance that an alike pair is nearer than an unlike one, ties one half."""
        if self._exhausted(without):
            return math.nan
        alike, unlike = self.whole.alike, self.whole.unlike
        wins = self._total_wins - _wins(without.alike, unlike) - _wins(alike, without.unlike)
        wins += _wins(without.alike, without.unlike)
        pairs = (self.n_alike - len(without.alike)) * (self.n_unlike - len(without.unlike))
        return wins / pairs

    @cached_property
    def _total_wins(self) -> float:
        return _wins(self.whole.alike, self.whole.unlike)


def _wins(alike: _Floats, unlike: _Floats) -> float:
    """How often an alike pair is nearer than an unlike one, ties one half; searched from the shorter."""
    if len(alike) <= len(unlike):
        below = np.searchsorted(unlike, alike, "left") + np.searchsorted(unlike, alike, "right")
        return len(alike) * len(unlike) - float(below.sum()) / 2
    below = np.searchsorted(alike, unlike, "left") + np.searchsorted(alike, unlike, "right")
    return float(below.sum()) / 2
