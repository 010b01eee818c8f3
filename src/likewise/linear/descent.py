"""Quasi-Newton descent (L-BFGS) on the entries of L, with a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from likewise.linear.base import Progress, Solution
from likewise.linear.options import number, whole

__all__ = ["check_descent", "descend"]

_Array = NDArray[np.float64]


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
