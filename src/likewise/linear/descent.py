"""Quasi-Newton descent (L-BFGS) on the entries of L, with a history."""

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

__all__ = ["DescentLearner", "check_descent", "descend"]

_Array = NDArray[np.float64]


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
        function: Callable[[_Array], tuple[float, _Array]],
        *,
        told: Callable[[float], float] = float,
    ) -> Self:
        """Take where :func:`descend` ends from ``init`` or the last L; ``function`` is for scaled rows."""
        start = starting_components(
            self._beginning(self.init, n_components, rows.shape[1]),
            space,
            codes,
            n_components,
            random_state=self.random_state,
        )
        found = descend(
            function, start, max_iter=self.max_iter, tol=self.tol, progress=self._progress(), told=told
        )
        return self._keep(rows, replace(found, components=found.components / space.unit))


def descend(
    function: Callable[[_Array], tuple[float, _Array]],
    start: _Array,
    *,
    max_iter: int,
    tol: float,
    progress: Progress,
    told: Callable[[float], float] = float,
) -> Solution:
    """Minimise a function of L (k, d) that gives its value and gradient (k, d).

    It stops when a step lowers the value by less than ``tol`` of it, when the gradient is within rounding
    of zero, or after ``max_iter`` steps. ``told`` turns a value into the objective of the history.
    """
    shape = start.shape

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
        options={"maxiter": int(max_iter), "ftol": float(tol), "gtol": 1e-12, "maxcor": 10},
    )
    values = progress.values or [told(float(found.fun))]
    return Solution(
        np.asarray(found.x).reshape(shape), values, converged=found.status != 1, n_iter=max(1, int(found.nit))
    )


def check_descent(max_iter: Any, tol: Any) -> None:
    """Refuse steps and tolerances out of range."""
    whole("max_iter", max_iter)
    number("tol", tol, least=0)
