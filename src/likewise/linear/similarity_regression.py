"""Regression on pairs: a bilinear similarity, or a Mahalanobis distance, that predicts a real score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.bilinear import BilinearLearner, rowwise_similarity
from likewise.linear.matrices import components_from_matrix, positive_part, scale_of
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_pairs, known_scores
from likewise.relations import Scores

__all__ = ["DistanceRegression", "SimilarityRegression"]

_Array = NDArray[np.float64]

_PENALTIES = (1e-12, 1e12)
_LARGEST_SOLVED = 1000  # features whose moments are worth an eigendecomposition


class SimilarityRegression(BilinearLearner):
    """``s(x, z) = x'Wz + b`` fitted to the scores of pairs by least squares.

    ``min 1/2 mean_t (x_t' W z_t + b - s_t)^2 + alpha/2 ||W||_F^2`` over any W (d, d) and b: the first of the
    four set-ups of similarity learning. It is convex, and solved by conjugate gradients until the slope is
    ``tol`` of what it was at zero. From labels the score of a pair is 1 within a class and 0 across.

    Parameters
    ----------
    alpha : float > 0
        The price of W. Products of rows are in the units of X: scale X first.
    symmetric : bool
        Each pair holds in both directions, which makes W symmetric.
    n_components : int, optional
        Rank of ``components_`` alone.
    n_pairs : int, optional
        Pairs of each kind drawn from labels: by default ``20 C^2`` of C classes, at most 100,000.
    tol : float > 0
    max_iter : int >= 1
        Most products with the pairs.
    warm_start : bool
        Begin at the last W.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of pairs.

    Attributes
    ----------
    weight_ : float64 array (d, d)
        W.
    intercept_ : float
        b.

    Notes
    -----
    X may be sparse (CSR); W is dense. The price, in units of the largest entry of X, is held within 1e-12
    and 1e12.

    >>> X = [[1.0], [2.0], [3.0]]
    >>> scores = Scores([0, 1, 0], [1, 2, 2], [3.0, 7.0, 4.0])
    >>> learner = SimilarityRegression(alpha=1e-9).fit(X, scores=scores)
    >>> learner.pair_score(X, X).round(3)  # x z + 1
    array([ 2.,  5., 10.])
    """

    _takes_sparse = True

    def __init__(
        self,
        *,
        alpha: float = 1e-3,
        symmetric: bool = False,
        n_components: int | None = None,
        n_pairs: int | None = None,
        tol: float = 1e-6,
        max_iter: int = 500,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.symmetric = symmetric
        self.n_components = n_components
        self.n_pairs = n_pairs
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, scores: Scores | None = None) -> Self:
        """Learn from labels, or from ``scores=``. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        d = rows.shape[1]
        self._dimension(d, self.n_components)
        alpha, tol = number("alpha", self.alpha, above=0), number("tol", self.tol, above=0)
        steps = whole("max_iter", self.max_iter)
        known = _scored(rows.shape[0], y, scores, self.n_pairs, self.random_state)
        left, right, score = (part.numpy() for part in (known.left, known.right, known.score))
        if self.symmetric:
            left, right = np.concatenate([left, right]), np.concatenate([right, left])
            score = np.tile(score, 2)
        unit = _unit(rows)
        price = _price(alpha, unit)
        operator = _Products(rows / unit, left, right)
        start = np.zeros((d, d))
        if self.warm_start and hasattr(self, "weight_"):
            start = self.weight_ * unit * unit
        found = _least_squares(operator, score, price, tol, steps, self._progress(), start)
        with np.errstate(over="ignore", under="ignore"):
            self.weight_ = found.weight / unit / unit
        if not np.isfinite(self.weight_).all():
            raise InputError("SimilarityRegression left float64's range; scale the features before fit")
        self.intercept_ = found.intercept
        self._record(found.objective, converged=found.converged)
        return self

    def pair_score(self, A: Any, B: Any) -> _Array:
        """The predicted scores row by row, (n,): larger is more alike."""
        return self.intercept_ - self.pair_distance(A, B)


class DistanceRegression(MahalanobisLearner):
    """``s(x, z) = b - (x - z)' M (x - z)`` with M positive semidefinite, fitted to the scores of pairs.

    ``min 1/2 mean_t (b - v_t' M v_t - s_t)^2 + alpha/2 ||M||_F^2``: convex, solved by accelerated projected
    gradients with restarts, until what a projected step changes is ``tol`` of what the first one did. From
    labels the score of a pair is 1 within a class and 0 across.

    Parameters
    ----------
    alpha : float > 0
        The price of M. Squared distances are in the units of X: scale X first.
    n_components : int, optional
        Keep the best approximation of this rank.
    n_pairs : int, optional
        Pairs of each kind drawn from labels: by default ``20 C^2`` of C classes, at most 100,000.
    tol : float > 0
    max_iter : int >= 1
    warm_start : bool
        Begin at the last M, of its rank.
    verbose : bool
    random_state : None, int or RandomState
        For the draw of pairs.

    Attributes
    ----------
    intercept_ : float
        b, the score of two equal rows.

    >>> X = [[0.0], [1.0], [3.0]]
    >>> scores = Scores([0, 1, 0], [1, 2, 2], [3.0, -3.0, -13.0])
    >>> learner = DistanceRegression(alpha=1e-9).fit(X, scores=scores)
    >>> np.round(learner.get_mahalanobis_matrix(), 3), round(learner.intercept_, 3)
    (array([[2.]]), 5.0)
    """

    def __init__(
        self,
        *,
        alpha: float = 1e-3,
        n_components: int | None = None,
        n_pairs: int | None = None,
        tol: float = 1e-5,
        max_iter: int = 500,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.n_components = n_components
        self.n_pairs = n_pairs
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, scores: Scores | None = None) -> Self:
        """Learn from labels, or from ``scores=``. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        alpha, tol = number("alpha", self.alpha, above=0), number("tol", self.tol, above=0)
        steps = whole("max_iter", self.max_iter)
        known = _scored(len(rows), y, scores, self.n_pairs, self.random_state)
        differences = rows[known.left.numpy()] - rows[known.right.numpy()]
        unit = scale_of(differences)
        start = None
        if self.warm_start and hasattr(self, "components_"):
            begun = self.components_ * unit
            start = begun.T @ begun
        price = _price(alpha, unit)
        found = _projected(
            differences / unit, known.score.numpy(), price, tol, steps, self._progress(), start
        )
        self.intercept_ = found.intercept
        components = components_from_matrix(found.weight, k) / unit
        return self._keep(rows, Solution(components, found.objective, converged=found.converged))

    def pair_score(self, A: Any, B: Any) -> _Array:
        """The predicted scores row by row, (n,): larger is more alike."""
        return self.intercept_ - self.pair_distance(A, B) ** 2


@dataclass(frozen=True)
class _Fitted:
    weight: _Array
    intercept: float
    objective: list[float]
    converged: bool


def _scored(n_rows: int, y: Any, scores: Scores | None, n_pairs: int | None, random_state: Any) -> Scores:
    if scores is not None:
        return known_scores(n_rows, scores)
    pairs = known_pairs(n_rows, y, None, n_pairs=n_pairs, random_state=random_state)
    return Scores(pairs.left, pairs.right, pairs.same)


def _unit(rows: Any) -> float:
    return scale_of(rows if isinstance(rows, np.ndarray) else rows.data)


def _price(alpha: float, unit: float) -> float:
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        return float(np.clip(np.float64(alpha) / unit / unit / unit / unit, *_PENALTIES))


class _Products:
    """The linear map from W (d, d) to the products ``x_t' W z_t`` (m,), and its adjoint."""

    def __init__(self, rows: Any, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
        self._rows, self._left, self._right = rows, left, right

    def __call__(self, weight: _Array) -> _Array:
        return rowwise_similarity(self._rows[self._left], weight, self._rows[self._right])

    def adjoint(self, values: _Array) -> _Array:
        n = self._rows.shape[0]
        table = scipy.sparse.csr_array((values, (self._left, self._right)), shape=(n, n))
        product = self._rows.T @ (table @ self._rows)
        out: _Array = product if isinstance(product, np.ndarray) else product.toarray()
        return out

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows.shape[1], self._rows.shape[1]

    def preconditioner(self, price: float) -> Callable[[_Array], _Array]:
        """Nearly the inverse of the curvature: exact where left and right rows are drawn independently."""
        if self._rows.shape[1] > _LARGEST_SOLVED:
            return lambda slope: slope
        sides = []
        for chosen in (self._left, self._right):
            rows = self._rows[chosen]
            moments = rows.T @ rows
            dense = moments if isinstance(moments, np.ndarray) else moments.toarray()
            sides.append(scipy.linalg.eigh(dense / len(chosen), check_finite=False))
        (left, u), (right, v) = sides
        scale = (
            np.maximum(np.outer(np.maximum(left, 0), np.maximum(right, 0)), 1e-6 * left[-1] * right[-1])
            + price
        )
        return lambda slope: np.asarray(u @ ((u.T @ slope @ v) / scale) @ v.T)


def _least_squares(
    operator: _Products,
    score: _Array,
    price: float,
    tol: float,
    max_iter: int,
    progress: Progress,
    start: _Array,
) -> _Fitted:
    """Conjugate gradients on the normal equations, with the intercept eliminated by centring."""
    m, mean = len(score), score.mean()
    target = score - mean
    weight, products = start, operator(start)

    def value_and_descent() -> tuple[float, _Array]:
        """The objective, and minus its slope; taken anew, as rounding could make a running one too small."""
        error = products - products.mean() - target
        value = 0.5 * float(error @ error) / m + 0.5 * price * float((weight * weight).sum())
        return value, -(operator.adjoint(error) / m + price * weight)

    first = float(np.linalg.norm(operator.adjoint(target))) / m  # the slope's size at zero
    value, residual = value_and_descent()
    converged = float(np.linalg.norm(residual)) <= tol * first
    if converged and start.any():
        progress.add(value)
    eased = operator.preconditioner(price)
    direction = eased(residual)
    product = float((residual * direction).sum())
    for _ in range(max_iter):
        if converged:
            break
        moved = operator(direction)
        centred = moved - moved.mean()
        curvature = float(centred @ centred) / m + price * float((direction * direction).sum())
        length = product / curvature
        weight = weight + length * direction
        products += length * moved
        value, residual = value_and_descent()
        step = eased(residual)
        previous, product = product, float((residual * step).sum())
        direction = step + (product / previous) * direction
        progress.add(value)
        converged = float(np.linalg.norm(residual)) <= tol * first
    return _Fitted(weight, float(mean - products.mean()), progress.values, converged)


def _projected(
    differences: _Array,
    score: _Array,
    price: float,
    tol: float,
    max_iter: int,
    progress: Progress,
    start: _Array | None,
) -> _Fitted:
    """Accelerated projected gradients over positive semidefinite M, the intercept eliminated."""
    m, d = differences.shape
    values, vectors = scipy.linalg.eigh(differences.T @ differences / m, check_finite=False)
    # Steps are taken on T' M T with T'v of unit covariance, which bends alike in all directions; the cone
    # is the same cone there. Directions with hardly any variance are not blown up.
    widths = np.sqrt(np.maximum(values, 1e-4 * max(float(values[-1]), np.finfo(np.float64).tiny)))
    differences, shrunk = (differences @ vectors) / widths, 1 / np.outer(widths, widths) ** 2

    def error_of(matrix: _Array) -> tuple[_Array, float]:
        distances = np.einsum("ij,ij->i", differences @ matrix, differences)
        intercept = float((distances + score).mean())
        return intercept - distances - score, intercept

    def slope_of(matrix: _Array, error: _Array) -> _Array:
        slope: _Array = price * shrunk * matrix - (differences.T * (error / m)) @ differences
        return slope

    def value_of(matrix: _Array, error: _Array) -> float:
        return float(0.5 * float(error @ error) / m) + 0.5 * price * float((shrunk * matrix * matrix).sum())

    squares = np.einsum("ij,ij->i", differences, differences)
    # The curvature along M is at most mean |v|^4; halved while a step then keeps its promise.
    stiffness = float((squares * squares).mean()) + price * float(shrunk.max())
    matrix, pace, first = np.zeros((d, d)), 1.0, 0.0
    if start is not None:
        # What a step changes is compared with the first one from zero, wherever this descent begins.
        first = stiffness * float(
            np.linalg.norm(positive_part(-slope_of(matrix, error_of(matrix)[0]) / stiffness))
        )
        matrix = (vectors * widths).T @ start @ (vectors * widths)
    ahead = matrix
    error, intercept = error_of(matrix)
    value, converged = value_of(matrix, error), False
    for step in range(max_iter):
        ahead_error, _ = error_of(ahead)
        slope, ahead_value = slope_of(ahead, ahead_error), value_of(ahead, ahead_error)
        stiffness *= 0.8
        while True:
            moved = positive_part(ahead - slope / stiffness)
            change = moved - ahead
            moved_error, moved_intercept = error_of(moved)
            moved_value = value_of(moved, moved_error)
            promised = ahead_value + (slope * change).sum() + 0.5 * stiffness * (change * change).sum()
            if moved_value <= promised + 1e-12 * abs(ahead_value):
                break
            stiffness *= 2
        size = stiffness * float(np.linalg.norm(change))
        first = first or size
        if moved_value > value and pace > 1:
            ahead, pace = matrix, 1.0  # the momentum overshot: begin it anew
            continue
        previous, matrix, value, intercept = matrix, moved, moved_value, moved_intercept
        progress.add(value)
        following = 0.5 * (1 + np.sqrt(1 + 4 * pace * pace))
        ahead, pace = matrix + ((pace - 1) / following) * (matrix - previous), following
        converged = size <= tol * first
        if (converged and step > 0) or first == 0:
            converged = True
            break
    learned = (vectors / widths) @ matrix @ (vectors / widths).T
    return _Fitted(learned, intercept, progress.values, converged)
