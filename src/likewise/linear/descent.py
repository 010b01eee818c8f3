"""Quasi-Newton descent (L-BFGS) on the entries of L, with a history, and where it may better begin.

A softmax over neighbours has no slope left once each row has settled on one of them, as it has early where
L is long: in many dimensions the identity is. :func:`annealed` and :func:`shortened` let rows weigh their
neighbours while distances are short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.options import number, whole
from likewise.linear.start import Init, Scaled, starting_components

__all__ = ["DescentLearner", "annealed", "check_descent", "descend", "shortened"]

_Array = NDArray[np.float64]
_Function = Callable[[_Array], tuple[float, _Array]]
_Beginning = Callable[..., _Array]

_SPREADS = (20.0, 40.0, 80.0, 160.0)  # mean squared distances that annealing holds one after the other
_STEPS = 10  # of each
_GAIN = 1e-4  # the part of the objective that a step must gain


class DescentLearner(MahalanobisLearner):
    """A learner whose objective is a smooth function of L; its ``fit`` ends in :meth:`_descend`."""

    init: Init
    max_iter: int
    tol: float
    random_state: Any

    def _descend(
        self,
        rows: _Array,
        space: Scaled,
        codes: NDArray[np.int64] | None,
        n_components: int,
        function: _Function,
        *,
        beginning: _Beginning | None = None,
        told: Callable[[float], float] = float,
    ) -> Self:
        """Take where :func:`descend` ends from ``init`` or the last L; ``function`` is for scaled rows.

        With ``init="auto"`` it begins where ``beginning`` ends.
        """
        init = self._beginning(self.init, n_components, rows.shape[1])
        start = starting_components(init, space, codes, n_components, random_state=self.random_state)
        progress = self._progress()
        if beginning is not None and isinstance(init, str) and init == "auto":
            scatter = space.rows.T @ space.rows / len(rows)
            start = beginning(function, start, scatter, max_iter=self.max_iter, progress=progress, told=told)
        found = descend(function, start, max_iter=self.max_iter, tol=self.tol, progress=progress, told=told)
        return self._keep(rows, replace(found, components=found.components / space.unit))


def annealed(
    function: _Function,
    start: _Array,
    scatter: _Array,
    *,
    max_iter: int,
    progress: Progress,
    told: Callable[[float], float] = float,
) -> _Array:
    """L (k, d) after some steps with the mean squared distance of mapped rows held at 20, 40, 80 and 160.

    Where the spread of ``start`` isn't above 20, ``start`` itself: rows still weigh their neighbours there.
    Elsewhere its length doesn't matter. Rows have the ``scatter`` X'X / n (d, d). A spread has ten steps at
    most. None follows where L would rather be shorter: then nothing held it back.
    """
    if not _SPREADS[0] < _spread(start, scatter) < np.inf:
        return start
    for spread in _SPREADS:
        left = max_iter - len(progress.values)
        squares = _spread(start, scatter)
        if left < 1 or not 0 < squares < np.inf:
            break
        held = _Held(function, scatter, spread)
        found = descend(
            held,
            start * np.sqrt(spread / squares),
            max_iter=len(progress.values) + min(_STEPS, left),
            tol=_GAIN,
            progress=progress,
            told=told,
        ).components
        start = found * np.sqrt(spread / _spread(found, scatter))
        if held.along >= 0:
            break
    return start


def shortened(
    function: _Function,
    start: _Array,
    scatter: _Array,
    *,
    max_iter: int,
    progress: Progress,
    told: Callable[[float], float] = float,
) -> _Array:
    """L (k, d) after ten steps from ``start``, or from ``start`` at a spread of 20 where that ends lower.

    Where its spread isn't above 20, ``start`` itself.
    """
    spread = _spread(start, scatter)
    if not _SPREADS[0] < spread < np.inf:
        return start
    ends: list[tuple[float, _Array]] = []
    for ratio in (1.0, float(np.sqrt(_SPREADS[0] / spread))):
        most = min(max_iter, len(progress.values) + _STEPS)
        if len(progress.values) < most:
            found = descend(function, ratio * start, max_iter=most, tol=_GAIN, progress=progress, told=told)
            ends.append((found.objective[-1], found.components))
    return min(ends, key=lambda end: end[0])[1]


def _spread(components: _Array, scatter: _Array) -> float:
    """The mean squared distance of mapped rows."""
    return 2 * float(np.sum((components @ scatter) * components))


class _Held:
    """A function of L at L scaled to a spread; ``along`` is its slope by L's length where last asked."""

    def __init__(self, function: _Function, scatter: _Array, spread: float) -> None:
        self._function, self._scatter, self._held = function, scatter, spread
        self.along = 0.0

    def __call__(self, components: _Array) -> tuple[float, _Array]:
        squares = _spread(components, self._scatter)
        ratio = float(np.sqrt(self._held / squares))
        value, gradient = self._function(ratio * components)
        self.along = float(np.sum(gradient * components))
        across = gradient - (2 * self.along / squares) * (components @ self._scatter)
        return value, ratio * across


def descend(
    function: _Function,
    start: _Array,
    *,
    max_iter: int,
    tol: float,
    progress: Progress,
    told: Callable[[float], float] = float,
) -> Solution:
    """Minimise a function of L (k, d) that gives its value and gradient (k, d).

    It stops when a step lowers the value by less than ``tol`` of it, when the gradient is within rounding
    of zero, or when ``progress`` counts ``max_iter`` steps. ``told`` turns a value into the objective of the
    history.
    """
    shape = start.shape
    left = int(max_iter) - len(progress.values)
    if left < 1:
        return Solution(start, progress.values, converged=False)

    def flat(entries: _Array) -> tuple[float, _Array]:
        value, gradient = function(entries.reshape(shape))
        return value, gradient.ravel()

    def after_step(intermediate_result: Any) -> None:
        progress.add(told(float(intermediate_result.fun)))

    found = scipy.optimize.minimize(
        flat,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=after_step,
        options={"maxiter": left, "ftol": float(tol), "gtol": 1e-12, "maxcor": 10},
    )
    values = progress.values or [told(float(found.fun))]
    return Solution(np.asarray(found.x).reshape(shape), values, converged=found.status != 1)


def check_descent(max_iter: Any, tol: Any) -> None:
    """Refuse steps and tolerances out of range."""
    whole("max_iter", max_iter)
    number("tol", tol, least=0)
