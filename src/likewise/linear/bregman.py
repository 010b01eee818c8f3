"""The dual of LogDet learning with bounds on pairs, by a projected Newton method.

The problem is ITML's: the matrix nearest to a prior in LogDet divergence whose squared distances keep to
bounds, with slack. Cyclic Bregman projections, the paper's solver, climb this dual one pair at a time; here
all pairs move at once, to the same and only optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.linear.base import Progress

__all__ = ["BoundedPairs", "Dual", "solve_dual"]

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class BoundedPairs:
    """Pairs with bounds, in units of their bounds.

    Parameters
    ----------
    differences : float64 array (m, d)
        ``R'^-1 (x - z) / sqrt(bound)`` for the prior ``A0 = (R R')^-1``: in these coordinates it is I.
    sign : float64 array (m,)
        +1 for an upper bound (alike), -1 for a lower bound (unlike).
    gamma : float
        Weight of slack; infinity for none.
    offset : float64 array (m,), optional
        What stands in each distance besides ``w'Aw``, in units of the bound; by default nothing.
    """

    differences: _Array
    sign: _Array
    gamma: float
    offset: _Array | None = None


class Dual:
    """Minus the dual at multipliers u (m,), in units of 1 / bound, and what Newton's step needs.

    ``f(u) = -logdet(I + sum_i s_i u_i w_i w_i') - gamma sum_i log(1 - s_i u_i / gamma) - sum_i s_i u_i
    offset_i``; where it isn't defined, ``value`` is infinity.
    """

    def __init__(self, pairs: BoundedPairs, u: _Array) -> None:
        self.pairs, self.u = pairs, u
        self.value = np.inf
        gamma = pairs.gamma
        room = 1 - pairs.sign * u / gamma
        if room.min(initial=1.0) <= 0:
            return
        w = pairs.differences
        try:
            inverse = np.eye(w.shape[1]) + (w * (pairs.sign * u)[:, None]).T @ w
            self.root = scipy.linalg.cholesky(inverse, lower=True, check_finite=False)
        except scipy.linalg.LinAlgError:
            return
        self.bound = 1 / room
        slack = gamma * np.log(room).sum() if np.isfinite(gamma) else -float(pairs.sign @ u)
        self.value = -2 * float(np.log(np.diag(self.root)).sum()) - float(slack)
        if pairs.offset is not None:
            self.value -= float((pairs.sign * u) @ pairs.offset)

    def prepare(self) -> None:
        """The distances, gradient and residual at u."""
        sign, gamma = self.pairs.sign, self.pairs.gamma
        self.z = scipy.linalg.solve_triangular(self.root, self.pairs.differences.T, lower=True).T
        self.distances = np.einsum("ij,ij->i", self.z, self.z)
        offset = 0.0 if self.pairs.offset is None else self.pairs.offset
        self.gradient = -sign * (self.distances + offset - self.bound)
        self.own = self.bound**2 / gamma if np.isfinite(gamma) else np.zeros_like(self.bound)
        # A multiplier at zero may stay there while its bound is kept.
        moving = np.where(self.u > 0, self.gradient, np.minimum(self.gradient, 0))
        self.residual = float(np.abs(moving).max(initial=0.0))

    def curvature(self, free: NDArray[np.bool_]) -> Callable[[_Array], _Array]:
        """The product with the Hessian of the free multipliers."""
        z, sign, own = self.z[free], self.pairs.sign[free], self.own[free]
        if len(z) <= 4 * z.shape[1]:  # the table of few pairs is cheaper than their coordinates
            table = (z @ z.T) ** 2 * np.outer(sign, sign)
            return lambda x: np.asarray(table @ x + own * x)

        def product(x: _Array) -> _Array:
            middle = (z * (sign * x)[:, None]).T @ z
            return np.asarray(sign * np.einsum("ij,ij->i", z @ middle, z) + own * x)

        return product


def solve_dual(
    pairs: BoundedPairs, start: _Array, *, max_iter: int, tol: float, progress: Progress
) -> tuple[Dual, bool]:
    """Multipliers with a residual of at most ``tol``, and whether they were reached in ``max_iter`` steps.

    The residual is the largest ``|d - bound| / bound`` of pairs with a multiplier, and the largest
    ``(d - bound) / bound`` by which another pair breaks its bound.
    """
    point = Dual(pairs, start)
    if not np.isfinite(point.value):
        point = Dual(pairs, np.zeros_like(start))
    point.prepare()
    for _ in range(max_iter):
        if point.residual <= tol:
            return point, True
        free = (point.u > 0) | (point.gradient < 0)
        step = np.zeros_like(point.u)
        step[free] = _conjugate_gradients(point, free)
        moved = _line_search(point, step)
        if moved is None:
            break
        point = moved
        progress.add(point.value)
    return point, point.residual <= tol


def _conjugate_gradients(point: Dual, free: NDArray[np.bool_]) -> _Array:
    """Newton's step on the free multipliers, as exact as the residual deserves."""
    residual = -point.gradient[free]
    diagonal = point.distances[free] ** 2 + point.own[free] + 1e-12
    x: _Array = np.zeros_like(residual)
    scaled = residual / diagonal
    direction = scaled.copy()
    product = float(residual @ scaled)
    goal = product * min(0.01, point.residual) ** 2
    curvature = point.curvature(free)
    for _ in range(250):
        bent = curvature(direction) + 1e-12 * diagonal * direction
        length = product / float(direction @ bent)
        x += length * direction
        residual -= length * bent
        scaled = residual / diagonal
        before, product = product, float(residual @ scaled)
        if product <= goal:
            break
        direction = scaled + (product / before) * direction
    return x


def _line_search(point: Dual, step: _Array) -> Dual | None:
    """The first halving of a step, projected on u >= 0, that lowers the value enough.

    Where values can't tell steps apart any more, one that halves the residual will do.
    """
    length = 1.0
    noise = 1e-13 * max(1.0, abs(point.value)) * np.sqrt(len(step))
    for _ in range(60):
        u = np.maximum(point.u + length * step, 0)
        found = Dual(point.pairs, u)
        if found.value <= point.value + 1e-4 * float(point.gradient @ (u - point.u)):
            found.prepare()
            return found
        if found.value <= point.value + noise:
            found.prepare()
            if found.residual <= 0.5 * point.residual:
                return found
        length *= 0.5
    return None
