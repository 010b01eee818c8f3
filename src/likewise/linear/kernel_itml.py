"""KernelITML: information-theoretic metric learning in the feature space of a kernel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.bregman import BoundedPairs, solve_dual
from likewise.linear.descent import check_descent
from likewise.linear.kernels import check_rows, kernel_for
from likewise.linear.options import number
from likewise.linear.supervision import class_codes, known_pairs
from likewise.relations import Pairs

__all__ = ["KernelITML"]

_Array = NDArray[np.float64]

_BLOCK = 64
_MOST_PAIRS = 1000
_ROWS = 1024


class KernelITML(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """The kernel nearest to a given one, in LogDet divergence, under which alike pairs are near.

    ``min D(K, K0) + slack D(xi, xi0)`` with ``K_ii + K_jj - 2 K_ij <= xi`` for alike pairs, from ``xi0 = u``,
    and ``>= xi`` for unlike pairs, from ``xi0 = l``: :class:`ITML` on the coordinates that the kernel gives
    to the rows which pairs name. Its answer is ``k_A(x, z) = k(x, z) + sum_ij S_ij k(x, x_i) k(x_j, z)``,
    which reaches rows that weren't there (Davis, Kulis, Jain, Sra and Dhillon).

    There is no global matrix: ``pair_distance`` is the learned distance of any two rows. ``transform`` maps
    to coordinates in the span of the rows that pairs name, where Euclidean distance is the learned one; what
    a new row has outside of that span, ``transform`` can't show.

    Parameters
    ----------
    kernel : "linear", "rbf", "laplacian", "poly" or "cosine"
    gamma : "scale" or float > 0
        Of rbf, laplacian and poly; "scale" is ``1 / (d var(X))``.
    degree, coef0 :
        Of poly.
    slack : float > 0
        Weight of keeping the bounds (gamma of the paper); ``inf`` keeps them exactly.
    bounds : (u, l), optional
        Squared distances in the feature space; by default the 5th and the 95th percentile over all
        pairs of the rows which pairs name.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike; by default ``20 C^2`` of C classes, at most 1,000.
    tol : float >= 0
        Stop when no pair with a multiplier is further than this part from its bound, and no other breaks
        its bound by more.
    max_iter : int >= 1
        Newton steps at most.
    max_rows : int >= 1
        The method holds n x n tables: more rows than this are refused.
    warm_start : bool
        Begin from the multipliers of the last ``fit``, where it had equally many pairs.
    verbose : bool
    random_state : None, int or RandomState
        For the draws of pairs.

    Attributes
    ----------
    support_ : float64 array (c, d)
        The rows that pairs name.
    coefficients_ : float64 array (c, c)
        S.
    multipliers_ : float64 array (m,)
        The dual variables of the pairs, in units of 1 / bound.
    bounds_ : tuple of float
        u and l.

    Notes
    -----
    J. V. Davis, B. Kulis, P. Jain, S. Sra, I. S. Dhillon, Information-theoretic metric learning, ICML 2007.
    S follows from the multipliers without an inverse of K0: with B the sum of ``+-dual (e_i - e_j)(e_i -
    e_j)'`` it is ``B K B - B``. Following S through the paper's projections instead needs ``S K0`` at each,
    and its rounding grows without bound.

    >>> X = [[0.0], [1.0], [3.0]]
    >>> pairs = Pairs([0, 0], [1, 2], [True, False])
    >>> learner = KernelITML(bounds=(0.25, 2.0), slack=float("inf")).fit(X, pairs=pairs)
    >>> learner.pair_distance([[0.0], [0.0]], [[1.0], [3.0]]).round(3)  # both on their bounds
    array([0.5  , 1.414])
    """

    multipliers_: _Array

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        gamma: Any = "scale",
        degree: int = 3,
        coef0: float = 1.0,
        slack: float = 1.0,
        bounds: tuple[float, float] | None = None,
        n_pairs: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 200,
        max_rows: int = 4000,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.slack = slack
        self.bounds = bounds
        self.n_pairs = n_pairs
        self.tol = tol
        self.max_iter = max_iter
        self.max_rows = max_rows
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from labels, or from ``pairs=``. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        check_rows(len(rows), self.max_rows)
        check_descent(self.max_iter, self.tol)
        slack = np.inf if self.slack == np.inf else number("slack", self.slack, above=0)
        known = self._known(len(rows), y, pairs)
        both = np.concatenate([known.left.numpy(), known.right.numpy()])
        used, places = np.unique(both, return_inverse=True)
        left, right = places[: known.n_entries], places[known.n_entries :]
        self.support_ = rows[used]
        self._kernel = kernel_for(rows, self.kernel, self.gamma, self.degree, self.coef0)
        table = self._kernel(self.support_, self.support_)
        if not np.isfinite(table).all():
            raise InputError(f"kernel {self.kernel!r} left float64's range on these rows; scale the features")
        root, inverse = _roots(table)
        self.bounds_ = _default_bounds(table) if self.bounds is None else self._checked()
        same = known.same.numpy()
        sign, bounds = np.where(same, 1.0, -1.0), np.where(same, *self.bounds_)
        differences = root[left] - root[right]
        # Equal rows can't be moved apart, nor nearer; rounding leaves them a little.
        squares = np.einsum("ij,ij->i", differences, differences)
        apart = squares > 1e-12 * np.diagonal(table).max()
        if not apart.any():
            raise InputError("too few pairs: no pair of two different rows")
        bounded = BoundedPairs((differences / np.sqrt(bounds)[:, None])[apart], sign[apart], slack)
        last = getattr(self, "multipliers_", None) if self.warm_start else None
        start = np.zeros(int(apart.sum())) if last is None or last.shape != same.shape else last[apart]
        progress = self._progress()
        dual, converged = solve_dual(bounded, start, max_iter=self.max_iter, tol=self.tol, progress=progress)
        self.multipliers_ = np.zeros(len(same))
        self.multipliers_[apart] = dual.u
        self.coefficients_ = _coefficients(root, left, right, sign * self.multipliers_ / bounds)
        self._map = inverse @ scipy.linalg.solve_triangular(dual.root, np.eye(root.shape[1]), lower=True).T
        self._record(progress.values or [dual.value], converged=converged)
        return self

    def _known(self, n_rows: int, y: Any, pairs: Pairs | None) -> Pairs:
        count = self.n_pairs
        if pairs is None and count is None:
            count = min(20 * len(class_codes(y, n_rows)[1]) ** 2, _MOST_PAIRS)
        known = known_pairs(
            n_rows, y, pairs, n_pairs=count, random_state=self.random_state, alike=0, unlike=0
        )
        if not known.n_entries:
            raise InputError("too few pairs: at least 1 needed, found 0")
        return known

    def _checked(self) -> tuple[float, float]:
        try:
            near, far = self.bounds  # type: ignore[misc]
        except (TypeError, ValueError) as error:
            raise InputError(f"bounds must be two numbers (u, l); found {self.bounds!r}") from error
        return number("bounds[0]", near, above=0), number("bounds[1]", far, above=0)

    def transform(self, X: Any) -> _Array:
        """Coordinates (n, r) of rows within the span of the support, r at most its number of rows."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False, least=1)
        parts = [
            self._kernel(rows[start : start + _ROWS], self.support_) @ self._map
            for start in range(0, len(rows), _ROWS)
        ]
        return np.concatenate(parts)

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``sqrt(k_A(a, a) + k_A(b, b) - 2 k_A(a, b))`` row by row: (n, d) and (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        out = np.empty(len(first))
        for start in range(0, len(first), _ROWS):
            a, b = first[start : start + _ROWS], second[start : start + _ROWS]
            gaps = self._kernel(a, self.support_) - self._kernel(b, self.support_)
            plain = self._kernel.own(a) + self._kernel.own(b) - 2 * _diagonal(self._kernel, a, b)
            learned = np.einsum("ij,ij->i", gaps @ self.coefficients_, gaps)
            out[start : start + _ROWS] = np.sqrt(np.maximum(plain + learned, 0))
        out[(first == second).all(axis=1)] = 0.0  # where rounding would leave a little
        return out

    @property
    def _n_features_out(self) -> int:
        return int(self._map.shape[1])


def _default_bounds(table: _Array) -> tuple[float, float]:
    """The 5th and 95th percentile of squared distances over all pairs; the smallest above zero for a zero."""
    left, right = np.triu_indices(len(table), k=1)
    own = np.diagonal(table)
    squares = own[left] + own[right] - 2 * table[left, right]
    positive = squares[squares > 1e-12 * own.max()]
    if not len(positive):
        raise InputError("too few pairs: no pair of two different rows")
    near, far = np.percentile(squares, [5, 95])
    least = float(positive.min())
    return max(float(near), least), max(float(far), least)


def _roots(table: _Array) -> tuple[_Array, _Array]:
    """R (c, r) with ``R R'`` the table (c, c), of full rank r, and the map of kernel values to such rows."""
    values, vectors = scipy.linalg.eigh(table, check_finite=False)
    noise = max(1e-13, 10 * len(values) * np.finfo(np.float64).eps)
    kept = values > noise * max(float(values[-1]), 0.0)
    if not kept.any():  # all rows are one point
        return np.zeros((len(values), 1)), np.zeros((len(values), 1))
    lengths = np.sqrt(values[kept])
    return vectors[:, kept] * lengths, vectors[:, kept] / lengths


def _coefficients(root: _Array, left: NDArray[np.int64], right: NDArray[np.int64], duals: _Array) -> _Array:
    """S (c, c) of signed duals, by ``S = B K B - B`` with ``B = sum dual (e_i - e_j)(e_i - e_j)'``.

    Following S from projection to projection needs ``S K0`` each time, whose rounding grows without bound.
    """
    c = len(root)
    place = (np.concatenate([left, right, left, right]), np.concatenate([left, right, right, left]))
    values = np.concatenate([duals, duals, -duals, -duals])
    forces = scipy.sparse.csr_array((values, place), shape=(c, c))
    inner = np.eye(root.shape[1]) + root.T @ (forces @ root)
    half = scipy.linalg.solve_triangular(
        scipy.linalg.cholesky(inner, lower=True), (forces @ root).T, lower=True
    )
    coefficients: _Array = half.T @ half - forces.toarray()
    return coefficients


def _diagonal(kernel: Any, a: _Array, b: _Array) -> _Array:
    """k(a, b) row by row."""
    out = np.empty(len(a))
    for start in range(0, len(a), _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = np.diagonal(kernel(a[rows], b[rows]))
    return out
