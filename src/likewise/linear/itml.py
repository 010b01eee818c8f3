"""ITML: the matrix nearest to a prior, in information, that keeps alike pairs near and unlike pairs far."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.bregman import BoundedPairs, solve_dual
from likewise.linear.descent import check_descent
from likewise.linear.matrices import components_from_root
from likewise.linear.priors import prior_root
from likewise.linear.start import scaled
from likewise.linear.supervision import known_pairs
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs

__all__ = ["ITML", "default_bounds"]

_Array = NDArray[np.float64]

_SAMPLE = 100_000


class ITML(MahalanobisLearner):
    r"""Information-theoretic metric learning: ``min_A D(A, A0) + gamma D(xi, xi0)`` with bounds on pairs.

    Alike pairs: ``d_A <= xi``, from ``xi0 = u``; unlike pairs: ``d_A >= xi``, from ``xi0 = l``; d_A is
    squared, and ``D(A, A0) = tr(A A0^-1) - logdet(A A0^-1) - d`` is the LogDet divergence.

    Parameters
    ----------
    gamma : float > 0
        Weight of keeping the bounds; ``inf`` keeps them exactly, which pairs may make impossible.
    bounds : (u, l), optional
        Squared distances; by default the 5th and the 95th percentile under the prior, over pairs of rows
        (all, or 100,000 drawn).
    prior : "identity", "covariance" or array (d, d)
        A0: I, the inverse covariance of X, or a positive definite matrix.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike; by default ``20 C^2`` of each.
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of A.
    max_iter : int >= 1
        Newton steps at most.
    tol : float >= 0
        Stop when no pair with a multiplier is further than this part from its bound, and no other breaks
        its bound by more.
    warm_start : bool
        Begin from the multipliers of the last ``fit``, where it had equally many pairs.
    verbose : bool
        Print minus the dual after each step.
    random_state : int, RandomState, optional
        Of the pairs drawn from labels and for the bounds.

    Attributes
    ----------
    bounds_ : tuple of float
        u and l.
    multipliers_ : float64 array (m,)
        The dual variables of the pairs, in units of 1 / bound.

    Notes
    -----
    Davis, Kulis, Jain, Sra, Dhillon, Information-theoretic metric learning, ICML 2007, equation 2.2 and
    algorithm 1. The optimum is unique; we climb the dual by projected Newton steps, all pairs at once,
    where the paper projects on one pair after another. A is positive definite always. Equal rows are left
    out: their distance is 0 under every A.

    >>> pairs = Pairs([0, 0], [1, 2], [True, False])
    >>> learner = ITML(gamma=float("inf"), bounds=(1.0, 8.0))
    >>> learner.fit([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], pairs=pairs).get_mahalanobis_matrix().round(6)
    array([[0.25, 0.  ],
           [0.  , 2.  ]])
    """

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        bounds: tuple[float, float] | None = None,
        prior: Literal["identity", "covariance"] | Any = "identity",
        n_pairs: int | None = None,
        n_components: int | None = None,
        max_iter: int = 200,
        tol: float = 1e-6,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.gamma = gamma
        self.bounds = bounds
        self.prior = prior
        self.n_pairs = n_pairs
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from rows and labels, or rows and pairs. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        check_descent(self.max_iter, self.tol)
        gamma = self.gamma
        if isinstance(gamma, bool) or not isinstance(gamma, (int, float)) or not gamma > 0:
            raise InputError(f"gamma must be a number above 0, or inf; found {gamma!r}")
        known = known_pairs(
            len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state, alike=0, unlike=0
        )
        space = scaled(rows)
        root = prior_root(self.prior, space) / space.unit
        if isinstance(self.prior, str) and self.prior == "identity":
            root = np.eye(rows.shape[1])
        given = self.bounds is not None
        self.bounds_ = self._checked() if given else default_bounds(rows @ root.T, self.random_state)
        same = known.same.numpy()
        differences = rows[known.left.numpy()] - rows[known.right.numpy()]
        differences /= np.sqrt(np.where(same, *self.bounds_))[:, None]
        apart = np.abs(differences).max(axis=1, initial=0.0) > 0
        if not apart.any():
            raise InputError("too few pairs: no pair of two different rows")
        bounded = BoundedPairs(differences[apart] @ root.T, np.where(same, 1.0, -1.0)[apart], float(gamma))
        last = getattr(self, "multipliers_", None) if self.warm_start else None
        start = np.zeros(int(apart.sum()))
        if last is not None and last.shape == same.shape:
            start = last[apart]
        progress = self._progress()
        dual, converged = solve_dual(bounded, start, max_iter=self.max_iter, tol=self.tol, progress=progress)
        self.multipliers_ = np.zeros(len(same))
        self.multipliers_[apart] = dual.u
        turned = scipy.linalg.solve_triangular(dual.root, root, lower=True)
        solution = Solution(components_from_root(turned, k), progress.values or [dual.value], converged)
        return self._keep(rows, solution)

    def _checked(self) -> tuple[float, float]:
        try:
            upper, lower = (float(bound) for bound in self.bounds)  # type: ignore[union-attr]
        except (TypeError, ValueError) as error:
            raise InputError(f"bounds must be two numbers (u, l); found {self.bounds!r}") from error
        if not (0 < upper < np.inf and 0 < lower < np.inf):
            raise InputError(f"bounds must be above 0 and finite; found {self.bounds!r}")
        return upper, lower


def default_bounds(rows: _Array, random_state: Any) -> tuple[float, float]:
    """The 5th and 95th percentile of squared distances, over all pairs of rows or 100,000 drawn.

    Where the 5th is zero (many equal rows), the smallest distance above zero stands for it.

    Raises
    ------
    InputError
        All rows are equal.

    >>> default_bounds(np.array([[0.0], [1.0]]), 0)
    (1.0, 1.0)
    """
    n = len(rows)
    if n * (n - 1) // 2 <= _SAMPLE:
        left, right = np.triu_indices(n, k=1)
    else:
        left, right = generator_from(random_state).integers(n, size=(2, _SAMPLE))
        left, right = left[left != right], right[left != right]
    differences = rows[left] - rows[right]
    squares = np.einsum("ij,ij->i", differences, differences)
    positive = squares[squares > 0]
    if not len(positive):
        raise InputError("X must vary: all its rows are equal")
    low, high = np.percentile(squares, [5, 95])
    least = float(positive.min())
    return (float(low) if low > 0 else least), (float(high) if high > 0 else least)
