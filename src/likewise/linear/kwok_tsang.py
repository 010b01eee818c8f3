"""KwokTsang: distances that fall for pairs that are alike and grow by a margin for the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.matrices import components_from_matrix
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_pairs
from likewise.relations import Pairs

__all__ = ["KwokTsang"]

_Array = NDArray[np.float64]

_PRICES = (1e-8, 1e6)


class KwokTsang(MahalanobisLearner):
    """Shrink distances of pairs that are alike, stretch those of others by a margin that is learned too.

    ``min 1/2 ||A||_F^2 + C_S/N_S sum_S xi + C_D/N_D sum_D xi - C_D nu gamma`` over ``A >= 0`` (positive
    semidefinite), ``gamma >= 0``, ``xi >= 0`` subject to ``d_A <= d_I + xi`` for alike and
    ``d_A >= d_I + gamma - xi`` for unlike pairs, d squared. Solved in the dual: with
    ``B = sum_D alpha v v' - sum_S alpha v v'`` and A its positive part, ``max -1/2 ||A||_F^2 + sum_D alpha
    d_I - sum_S alpha d_I`` over ``0 <= alpha <= C/N`` and ``sum_D alpha >= C_D nu``, whose last multiplier is
    gamma: L-BFGS-B inside of an augmented Lagrangian, until the duality gap is ``tol``.

    Parameters
    ----------
    C_alike, C_unlike : float > 0
        Prices of slack. Distances are squared and in the units of X: scale X first.
    nu : float in [0, 1)
        The part of unlike pairs that may miss the margin; 0 asks for no margin.
    n_components : int, optional
        Keep the best approximation of this rank.
    n_pairs : int, optional
        Pairs of each kind drawn from labels: by default ``20 C^2`` of C classes, at most 100,000.
    tol : float > 0
        The duality gap to reach, relative to the objective.
    max_iter : int >= 1
        Most outer steps.
    warm_start : bool
        Begin from the multipliers and the margin of the last ``fit``, where it had equally many pairs.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of pairs.

    Attributes
    ----------
    margin_ : float
        gamma.
    multipliers_ : float64 array (m,)
        alpha of each pair, as a part of C/N.
    gap_ : float
        The duality gap of the answer, relative to the objective.

    Notes
    -----
    J. T. Kwok, I. W. Tsang, Learning with idealized kernels, 2003. The paper doesn't ask that A be positive
    semidefinite, and its A need not be; here that is part of the problem, which stays convex. Prices,
    measured in units of the largest difference, are held within 1e-8 and 1e6.

    >>> X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> learner = KwokTsang(nu=0.0).fit(X, pairs=Pairs([0, 0], [1, 2], [True, False]))
    >>> np.round(learner.get_mahalanobis_matrix(), 4)  # the first feature keeps its distance of 1
    array([[1., 0.],
           [0., 0.]])
    """

    _last: _State

    def __init__(
        self,
        *,
        C_alike: float = 1.0,
        C_unlike: float = 1.0,
        nu: float = 0.5,
        n_components: int | None = None,
        n_pairs: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 30,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.C_alike = C_alike
        self.C_unlike = C_unlike
        self.nu = nu
        self.n_components = n_components
        self.n_pairs = n_pairs
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from labels, or from ``pairs=``. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        prices = (number("C_alike", self.C_alike, above=0), number("C_unlike", self.C_unlike, above=0))
        nu = number("nu", self.nu, least=0, most=1 - 1e-9)
        tol, steps = number("tol", self.tol, above=0), whole("max_iter", self.max_iter)
        k = self._dimension(rows.shape[1], self.n_components)
        known = known_pairs(len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state)
        differences = rows[known.left.numpy()] - rows[known.right.numpy()]
        dual = _Dual(differences, known.same.numpy(), prices, nu)
        last = self._last if self.warm_start and hasattr(self, "_last") else None
        if last is not None and len(last.parts) != len(differences):
            last = None
        found = dual.solve(tol, steps, self._progress(), last)
        self.margin_, self.gap_ = found.margin, found.gap
        self.multipliers_, self._last = found.at.parts, found.at
        components = components_from_matrix(found.matrix, k)
        return self._keep(
            rows,
            Solution(
                components, found.objective, converged=found.gap <= tol, n_iter=max(1, len(found.objective))
            ),
        )


@dataclass(frozen=True)
class _State:
    """Where the augmented Lagrangian stands.

    ``parts`` (m,) are alpha as parts of the largest allowed, ``multiplier`` is that of ``sum_D alpha >= C_D
    nu`` in units of X squared, and ``stiffness`` the weight of breaking it, in units of the program over the
    largest sum of alpha.
    """

    parts: _Array
    multiplier: float
    stiffness: float


@dataclass(frozen=True)
class _Found:
    matrix: _Array
    at: _State
    margin: float
    gap: float
    objective: list[float]


class _Dual:
    """The dual program of some pairs' differences (m, d), in units of the largest of them."""

    def __init__(
        self, differences: _Array, same: NDArray[np.bool_], prices: tuple[float, float], nu: float
    ) -> None:
        self._unit = float(np.abs(differences).max(initial=0.0)) or 1.0
        self._v, self._same, self._nu = differences / self._unit, same, nu
        with np.errstate(over="ignore", under="ignore"):
            alike, unlike = (
                float(np.clip(np.float64(C) * self._unit * self._unit, *_PRICES)) for C in prices
            )
        self._most = np.where(same, alike / max(int(same.sum()), 1), unlike / max(int((~same).sum()), 1))
        self._sign = np.where(same, -1.0, 1.0)
        self._plain = np.einsum("ij,ij->i", self._v, self._v)
        self._needed = unlike * nu

    def solve(self, tol: float, max_iter: int, progress: Progress, start: _State | None = None) -> _Found:
        """The learned matrix, by at most ``max_iter`` updates of the margin."""
        alpha, margin, weight = 0.5 * self._most, 0.0, 1.0 / self._most[~self._same].sum()
        if start is not None:
            alpha, weight = start.parts * self._most, start.stiffness * weight
            margin = start.multiplier / self._unit / self._unit
        best: _Found | None = None
        bounds = scipy.optimize.Bounds(np.zeros_like(self._most), self._most)
        for _ in range(max_iter):
            found = scipy.optimize.minimize(
                self._augmented, alpha, args=(margin, weight), jac=True, method="L-BFGS-B", bounds=bounds,
                options={"maxiter": 500, "maxfun": 1000, "maxcor": 20, "ftol": 1e-15, "gtol": 1e-9},
            )  # fmt: skip
            alpha = found.x
            lacking = self._needed - alpha[~self._same].sum()
            margin = max(0.0, margin + weight * lacking)
            best = self._judged(alpha, lacking, margin, weight, progress)
            if best.gap <= tol:
                break
            if lacking > 1e-3 * self._needed:
                weight *= 3
        assert best is not None
        return best

    def _matrix(self, alpha: _Array) -> _Array:
        """A: the positive part of B."""
        values, vectors = scipy.linalg.eigh((self._v.T * (self._sign * alpha)) @ self._v, check_finite=False)
        part = vectors[:, values > 0]
        positive: _Array = (part * values[values > 0]) @ part.T
        return positive

    def _changes(self, matrix: _Array) -> _Array:
        """By how much the learned distance exceeds the plain one, (m,)."""
        changes: _Array = np.einsum("ij,ij->i", self._v @ matrix, self._v) - self._plain
        return changes

    def _augmented(self, alpha: _Array, margin: float, weight: float) -> tuple[float, _Array]:
        """Minus the dual with the constraint on the margin priced, and its slope (m,)."""
        matrix = self._matrix(alpha)
        multiplier = max(0.0, margin + weight * (self._needed - alpha[~self._same].sum()))
        slope = self._sign * self._changes(matrix)
        slope[~self._same] -= multiplier
        value = 0.5 * (matrix * matrix).sum() - (self._sign * alpha) @ self._plain
        return float(value + (multiplier**2 - margin**2) / (2 * weight)), slope

    def _judged(
        self, alpha: _Array, lacking: float, multiplier: float, weight: float, progress: Progress
    ) -> _Found:
        """The primal point of some alpha with the best margin for it, and its true duality gap."""
        matrix = self._matrix(alpha)
        changes = self._changes(matrix)
        square = self._unit * self._unit
        unlike, price = np.sort(changes[~self._same]), self._most[~self._same].sum()
        # Best for this matrix is the nu-quantile: there as much slack is paid as the margin brings.
        margin = max(0.0, float(unlike[int(np.ceil(self._nu * len(unlike))) - 1])) if self._nu > 0 else 0.0
        slack = np.maximum(0.0, np.where(self._same, changes, margin - changes))
        primal = 0.5 * (matrix * matrix).sum() + self._most @ slack - price * self._nu * margin
        at = _State(alpha / self._most, multiplier * square, weight * price)
        if lacking > 0:  # a feasible alpha near this one bounds the objective from below
            room = np.where(self._same, 0.0, self._most - alpha)
            alpha = alpha + room * (lacking / room.sum())
        inner = self._matrix(alpha)
        dual = (self._sign * alpha) @ self._plain - 0.5 * (inner * inner).sum()
        gap = float((primal - dual) / max(abs(primal), np.finfo(np.float64).tiny))
        progress.add(primal)
        return _Found(matrix, at, margin * square, gap, progress.values)
