"""SchultzJoachims: a weighted distance from relative comparisons, by quadratic programming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.matrices import components_from_matrix
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_triplets
from likewise.relations import Triplets

__all__ = ["HingeProgram", "ProgramSolution", "SchultzJoachims"]

_Array = NDArray[np.float64]

_MOST_BASIS_ROWS = 2000
_BEGIN_AGAIN = 0.1  # the part of the objective that the gap still is where another solution begins
_SLACK_PRICES = (1e-10, 1e10)  # beyond these the answer no longer moves, but rounding grows


class SchultzJoachims(MahalanobisLearner):
    """Weights of features, or of projections, that put each triplet's positive nearer than its negative.

    ``min 1/2 ||A||_F^2 + C sum_t xi_t`` subject to ``d_A(a, n) - d_A(a, p) >= 1 - xi_t``, ``xi >= 0`` and
    ``A = M' diag(w) M`` with ``w >= 0``: a convex quadratic program in w, (Schultz and
    Joachims), solved by a primal-dual interior point method to ``tol``.

    Parameters
    ----------
    C : float > 0
        The price of a triplet's slack. Distances are squared and in the units of X: scale X first.
    basis : None, "data" or array (r, d)
        M: the identity (a weight a feature), the rows of X themselves (a full matrix A of rank up to n, at
        most 2,000 rows), or any projections.
    n_components : int, optional
        Keep the best approximation of this rank.
    n_triplets : int, optional
        Triplets drawn from labels: by default 20 a row, at most 100,000.
    tol : float > 0
        The duality gap to reach, relative to the objective.
    max_iter : int >= 1
        Most Newton steps; 20 are usual.
    warm_start : bool
        Begin from a point that the last ``fit`` came through, where it had as many triplets and weights: its
        last, or one before the gap was a tenth of the objective. From a solution itself, which lies on
        its bounds, an interior point method gets nowhere.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of triplets.

    Attributes
    ----------
    weights_ : float64 array (r,)
        w, all >= 0; all zero where no weighting agrees with any triplet.

    Notes
    -----
    M. Schultz, T. Joachims, Learning a distance metric from relative comparisons, 2003. Numbers of any
    scale are taken: the price of slack, measured in the units of the program, is held within 1e-10 and
    1e10.

    >>> X = [[0.0, 0.0], [0.0, 3.0], [1.0, 0.0]]
    >>> learner = SchultzJoachims(C=10).fit(X, triplets=Triplets([0], [1], [2]))
    >>> learner.weights_.round(6)  # the first feature tells row 2 from row 0; the second misleads
    array([1., 0.])
    """

    _last: _Interior

    def __init__(
        self,
        *,
        C: float = 1.0,
        basis: Any = None,
        n_components: int | None = None,
        n_triplets: int | None = None,
        tol: float = 1e-10,
        max_iter: int = 100,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.C = C
        self.basis = basis
        self.n_components = n_components
        self.n_triplets = n_triplets
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Learn from labels, or from ``triplets=``. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        price, tol = number("C", self.C, above=0), number("tol", self.tol, above=0)
        steps = whole("max_iter", self.max_iter)
        k = self._dimension(rows.shape[1], self.n_components)
        known = known_triplets(
            len(rows), y, triplets, n_triplets=self.n_triplets, random_state=self.random_state
        )
        basis = self._basis(rows)
        program = HingeProgram(_squares(basis), _differences(rows, known, basis), price)
        last = self._last if self.warm_start and hasattr(self, "_last") else None
        found = program.solve(tol=tol, max_iter=steps, progress=self._progress(), start=last)
        self.weights_, self._last = found.weights, found.interior
        components = np.sqrt(found.weights)[:, None] * (np.eye(rows.shape[1]) if basis is None else basis)
        if len(components) != k:
            components = components_from_matrix(components.T @ components, k)
        return self._keep(rows, Solution(components, found.objective, converged=found.converged))

    def _basis(self, rows: _Array) -> _Array | None:
        """M (r, d), or None for the identity."""
        if self.basis is None:
            return None
        if isinstance(self.basis, str):
            if self.basis != "data":
                raise InputError(f'basis must be None, "data" or an array (r, d); found {self.basis!r}')
            basis = rows
        else:
            basis = np.asarray(self.basis, dtype=np.float64)
        if basis.ndim != 2 or basis.shape[1] != rows.shape[1] or not np.isfinite(basis).all():
            raise InputError(
                f"basis must be finite, of shape (r, {rows.shape[1]}); found shape {basis.shape}"
            )
        if len(basis) > _MOST_BASIS_ROWS:
            raise InputError(
                f"basis must have at most {_MOST_BASIS_ROWS} rows, as the program is r x r; found "
                f"{len(basis)}; give a part of the rows"
            )
        return basis


def _squares(basis: _Array | None) -> _Array | None:
    """H with ``||M' diag(w) M||_F^2 = w' H w``: None stands for the identity."""
    if basis is None:
        return None
    gram = basis @ basis.T
    squares: _Array = gram * gram
    return squares


def _differences(rows: _Array, known: Triplets, basis: _Array | None) -> _Array:
    """Z (m, r): for each triplet the squared distances to the negative less those to the positive."""
    anchor, positive, negative = (part.numpy() for part in (known.anchor, known.positive, known.negative))
    far, near = rows[anchor] - rows[negative], rows[anchor] - rows[positive]
    if basis is not None:
        far, near = far @ basis.T, near @ basis.T
    differences: _Array = far * far - near * near
    return differences


@dataclass(frozen=True)
class _Interior:
    """A point well within the bounds of a program, in no program's units.

    weights (r,) are those of the solution, bounds (r,) their multipliers and parts (m,) the dual variables as
    parts of the price; above and below (m,) are the slacks of the hinges.
    """

    weights: _Array
    bounds: _Array
    parts: _Array
    above: _Array
    below: _Array


@dataclass(frozen=True)
class ProgramSolution:
    """Weights (r,), the dual variables (m,), the objective after each step, and whether ``tol`` was met.

    ``interior`` is where the solution of a program like this one may begin.
    """

    weights: _Array
    duals: _Array
    objective: list[float]
    converged: bool
    interior: _Interior


@dataclass
class _Point:
    """An interior point: w and its bound's multipliers, the duals of the hinges, their slacks either way."""

    weights: _Array
    bounds: _Array
    duals: _Array
    above: _Array
    below: _Array

    def values(self) -> Iterator[_Array]:
        yield from (self.weights, self.bounds, self.duals, self.above, self.below)


class HingeProgram:
    """``min 1/2 w' H w + C sum_t max(0, 1 - z_t . w)`` over ``w >= 0``, for H (r, r) and Z (m, r).

    Mehrotra's predictor and corrector; a step solves one positive definite system of size r, so it costs
    ``m r^2``. Z and H are scaled to one first, which leaves the price C in units of the program.

    Parameters
    ----------
    quadratic : array (r, r) or None
        H, positive semidefinite; None is the identity.
    differences : array (m, r)
        Z.
    price : float > 0
        C.

    >>> HingeProgram(None, np.array([[2.0, -1.0]]), 1.0).solve().weights.round(6)
    array([0.5, 0. ])
    """

    def __init__(self, quadratic: _Array | None, differences: _Array, price: float) -> None:
        self._unit = float(np.abs(differences).max(initial=0.0)) or 1.0
        self._height = 1.0 if quadratic is None else float(np.abs(quadratic).max()) or 1.0
        self._Z = differences / self._unit
        r = differences.shape[1]
        # A basis may be dependent; the ridge keeps its system solvable where the bounds are all inactive.
        self._H = np.eye(r) if quadratic is None else quadratic / self._height + 1e-13 * np.eye(r)
        with np.errstate(over="ignore", under="ignore"):
            wanted = np.float64(price) * self._unit * (self._unit / self._height)
        self._price = float(np.clip(wanted, *_SLACK_PRICES))

    def solve(
        self,
        *,
        tol: float = 1e-10,
        max_iter: int = 100,
        progress: Progress | None = None,
        start: _Interior | None = None,
    ) -> ProgramSolution:
        """The solution, by at most ``max_iter`` steps, to a relative duality gap of ``tol``.

        ``start``, of another solution, is begun from where it is of this program's size.
        """
        m, r = self._Z.shape
        ones = np.ones(m)
        point = _Point(np.ones(r), np.ones(r), 0.5 * self._price * ones, ones.copy(), ones.copy())
        if start is not None and (len(start.weights), len(start.parts)) == (r, m):
            point = self._from(start)
        interior = point
        history: list[float] = []
        converged = False
        for _ in range(max_iter):
            value = self._objective(point.weights)
            history.append(value * (self._height / self._unit) / self._unit)
            if progress is not None:
                progress.add(history[-1])
            slope = self._H @ point.weights - self._Z.T @ point.duals - point.bounds
            breach = self._Z @ point.weights + point.below - 1 - point.above
            gap = self._gap(point)
            if (
                gap <= tol * value
                and np.abs(slope).max() <= tol * max(1.0, self._price)
                and np.abs(breach).max() <= tol
            ):
                converged = True
                break
            point = self._advance(point, slope, breach, gap)
            if gap > _BEGIN_AGAIN * value:
                interior = point
        # The interior point leaves unused weights at the size of tol; they are zero in the answer. Before
        # the end none is known to be unused.
        used = (point.weights > point.bounds) | (not converged)
        weights = np.where(used, point.weights, 0.0) / self._unit
        return ProgramSolution(weights, point.duals, history, converged, self._kept(interior))

    def _from(self, start: _Interior) -> _Point:
        """A point of another program in the units of this one."""
        return _Point(
            start.weights * self._unit,
            start.bounds * self._price,
            start.parts * self._price,
            start.above.copy(),
            start.below.copy(),
        )

    def _kept(self, point: _Point) -> _Interior:
        return _Interior(
            point.weights / self._unit,
            point.bounds / self._price,
            point.duals / self._price,
            point.above,
            point.below,
        )

    def _objective(self, weights: _Array) -> float:
        hinges = np.maximum(0.0, 1 - self._Z @ weights).sum()
        return float(0.5 * weights @ self._H @ weights + self._price * hinges)

    def _gap(self, point: _Point) -> float:
        """Complementarity, which is the duality gap of a feasible point."""
        rest = self._price - point.duals
        return float(point.duals @ point.above + rest @ point.below + point.weights @ point.bounds)

    def _advance(self, point: _Point, slope: _Array, breach: _Array, gap: float) -> _Point:
        rest = self._price - point.duals
        stiffness = point.below / rest + point.above / point.duals
        system = self._H + (self._Z.T / stiffness) @ self._Z
        system[np.diag_indices_from(system)] += point.bounds / point.weights
        factor = scipy.linalg.cho_factor(system, check_finite=False)

        def direction(above: _Array, below: _Array, bound: _Array) -> _Point:
            """Newton's step for the wanted changes of the three products."""
            pull = -breach - below / rest + above / point.duals
            right = -slope + self._Z.T @ (pull / stiffness) + bound / point.weights
            weights = scipy.linalg.cho_solve(factor, right, check_finite=False)
            duals = (pull - self._Z @ weights) / stiffness
            return _Point(
                weights,
                (bound - point.bounds * weights) / point.weights,
                duals,
                (above - point.above * duals) / point.duals,
                (below + point.below * duals) / rest,
            )

        own = (-point.duals * point.above, -rest * point.below, -point.weights * point.bounds)
        first = direction(*own)
        after = self._moved(point, first, self._reach(point, first))
        size = 2 * len(rest) + len(point.weights)
        centre = (self._gap(after) / gap) ** 3 * gap / size
        second = direction(
            centre + own[0] - first.duals * first.above,
            centre + own[1] + first.duals * first.below,
            centre + own[2] - first.weights * first.bounds,
        )
        return self._moved(point, second, min(1.0, 0.995 * self._reach(point, second)))

    def _reach(self, point: _Point, step: _Point) -> float:
        """The longest step up to 1 that keeps everything positive."""
        pairs = [*zip(point.values(), step.values(), strict=True), (self._price - point.duals, -step.duals)]
        reach = 1.0
        for value, change in pairs:
            falling = change < 0
            if falling.any():
                reach = min(reach, float((value[falling] / -change[falling]).min()))
        return reach

    @staticmethod
    def _moved(point: _Point, step: _Point, length: float) -> _Point:
        moved = (value + length * change for value, change in zip(point.values(), step.values(), strict=True))
        return _Point(*moved)
