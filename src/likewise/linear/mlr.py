"""MLR: a metric under which relevant rows are ranked first, by a structural SVM over whole rankings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import components_from_matrix
from likewise.linear.options import number, one_of, whole
from likewise.linear.start import scaled
from likewise.linear.supervision import class_codes

__all__ = ["MLR", "worst_ranking"]

_Array = NDArray[np.float64]

_MEASURES = ("auc", "map", "mrr", "ndcg", "precision")


class MLR(MahalanobisLearner):
    r"""Metric learning to rank: every row as a query should rank the rows of its class before all others.

    ``min 1/2 ||W||_F^2 + trace tr(W) + C xi`` over ``W >= 0`` subject to ``<W, mean_q psi(q, y_q) - psi(q,
    y)> >= mean_q Delta(y_q, y) - xi`` for all rankings y at once (one slack for all, as Joachims, Finley
    and Yu have it). psi is the partial-order feature ``sum_{i relevant, j not} +-(phi(q, i) - phi(q, j)) /
    (|i| |j|)`` with ``phi(q, x) = -(q - x)(q - x)'``, and Delta one minus the measure of a ranking. Cutting
    planes: the rankings that break the constraint most are found exactly, by a dynamic program over
    interleavings of relevant and other rows, until none breaks it by more than ``tol``.

    Parameters
    ----------
    measure : "auc", "map", "mrr", "ndcg" or "precision"
        "ndcg" and "precision" look at the first ``n_top`` places.
    n_top : int >= 1
    C : float > 0
        The price of slack; rows are scaled to a mean variance of one first, so it has no unit.
    trace : float >= 0
        The price of the trace, which asks for a low rank.
    n_components : int, optional
        Keep the best approximation of this rank.
    max_rows : int >= 1
        Each row is ranked against all: more rows than this are refused.
    max_iter : int >= 1
        Most cutting planes.
    tol : float > 0
    warm_start : bool
        Keep the cutting planes of the last ``fit`` where rows, classes and measure are the same (the prices
        may be others); elsewhere begin from its matrix.
    verbose : bool

    Attributes
    ----------
    gap_ : float
        By how much the worst rankings break the constraint at the end: what the slack may be off by.

    Notes
    -----
    B. McFee, G. Lanckriet, Metric learning to rank, ICML 2010, who price the trace alone; the norm makes
    the answer unique and its dual smooth. A row alone in its class asks nothing. Time O(n^2 p) a plane with p
    rows a class.

    >>> X = [[0.0, 0.0], [0.1, 3.0], [1.0, 0.1], [1.1, 3.1]]
    >>> learner = MLR(C=100).fit(X, [0, 0, 1, 1])  # the first feature tells the class
    >>> matrix = learner.get_mahalanobis_matrix()
    >>> bool(matrix[0, 0] > 5 * matrix[1, 1])
    True
    """

    _planes: _Planes | None
    _asked: str

    def __init__(
        self,
        *,
        measure: str = "auc",
        n_top: int = 10,
        C: float = 100.0,
        trace: float = 0.0,
        n_components: int | None = None,
        max_rows: int = 4000,
        max_iter: int = 100,
        tol: float = 1e-3,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.measure = measure
        self.n_top = n_top
        self.C = C
        self.trace = trace
        self.n_components = n_components
        self.max_rows = max_rows
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        most = whole("max_rows", self.max_rows)
        if len(rows) > most:
            raise InputError(
                f"X must have at most {most} rows, as each is ranked against all; found {len(rows)}; "
                "take a part of the rows, or raise max_rows"
            )
        one_of("measure", self.measure, _MEASURES)
        top, steps = whole("n_top", self.n_top), whole("max_iter", self.max_iter)
        price, trace = number("C", self.C, above=0), number("trace", self.trace, least=0)
        tol = number("tol", self.tol, above=0)
        k = self._dimension(rows.shape[1], self.n_components)
        codes, self.classes_ = class_codes(y, len(rows))
        counts = np.bincount(codes)
        if len(counts) < 2 or counts.max() < 2:
            found = "1 class" if len(counts) < 2 else "every row alone in its class"
            raise InputError(f"y must name two classes or more, one of them with two rows; found {found}")
        space = scaled(rows)
        planes = _Planes(price, trace, rows.shape[1])
        progress, self.gap_ = self._progress(), np.inf
        matrix = np.zeros((rows.shape[1], rows.shape[1]))
        asked = _digest(rows, codes, self.measure, top)
        if self.warm_start and hasattr(self, "components_"):
            matrix = self.get_mahalanobis_matrix() * space.unit**2
            if self._planes is not None and self._asked == asked:
                matrix = planes.take(self._planes)
        for _ in range(steps):
            plane = _worst_plane(space.rows, codes, matrix, self.measure, top)
            slack = planes.slack(matrix)
            self.gap_ = plane.loss - float((matrix * plane.feature).sum()) - slack
            progress.add(planes.objective(matrix, slack + max(self.gap_, 0.0)))
            if self.gap_ <= tol:
                break
            matrix = planes.add(plane)
        # Each plane holds d x d numbers, so they are kept only where another fit will want them.
        self._planes, self._asked = (planes, asked) if self.warm_start else (None, "")
        components = components_from_matrix(matrix, k) / space.unit
        return self._keep(rows, Solution(components, progress.values, converged=self.gap_ <= tol))


def _digest(rows: _Array, codes: NDArray[np.int64], measure: str, top: int) -> str:
    """A name of what the rankings are of: planes of other rows say nothing."""
    digest = hashlib.sha256(f"{rows.shape} {measure} {top}".encode())
    for part in (rows, codes):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Plane:
    """One constraint: ``<W, feature> >= loss - xi``."""

    feature: _Array
    loss: float


class _Planes:
    """The program over the constraints found so far, solved in its dual.

    ``max sum_k a_k loss_k - 1/2 ||(sum_k a_k feature_k - trace I)_+||_F^2`` over ``a >= 0``, ``sum a <= C``;
    W is the positive part in it.
    """

    def __init__(self, price: float, trace: float, d: int) -> None:
        self._price, self._trace, self._eye = price, trace, np.eye(d)
        self._features = np.zeros((0, d * d))
        self._losses = np.zeros(0)
        self._duals = np.zeros(0)

    def slack(self, matrix: _Array) -> float:
        """Xi of W: the most that a known constraint is broken by."""
        if not len(self._losses):
            return 0.0
        return max(0.0, float((self._losses - self._features @ matrix.ravel()).max()))

    def objective(self, matrix: _Array, slack: float) -> float:
        norm = 0.5 * float((matrix * matrix).sum())
        return norm + self._trace * float(np.trace(matrix)) + self._price * slack

    def add(self, plane: _Plane) -> _Array:
        """Take one more constraint: the best W under all."""
        self._features = np.vstack([self._features, plane.feature.ravel()])
        self._losses = np.append(self._losses, plane.loss)
        self._duals = np.append(self._duals, 0.0)
        return self._best()

    def take(self, others: _Planes) -> _Array:
        """Take the constraints that another program has found: the best W under them."""
        self._features, self._losses = others._features, others._losses
        self._duals = others._duals * (self._price / others._price)
        return self._best() if len(self._losses) else self._matrix(self._duals)

    def _best(self) -> _Array:
        # In units of the price, so that the simplex is that of probabilities.
        found = scipy.optimize.minimize(
            self._value,
            self._duals / self._price,
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * len(self._duals),
            constraints=scipy.optimize.LinearConstraint(np.ones((1, len(self._duals))), -np.inf, 1.0),
            options={"maxiter": 300, "ftol": 1e-12},
        )
        self._duals = np.clip(found.x, 0, None) * self._price
        return self._matrix(self._duals)

    def _matrix(self, duals: _Array) -> _Array:
        d = len(self._eye)
        pulled = (duals @ self._features).reshape(d, d) - self._trace * self._eye
        values, vectors = scipy.linalg.eigh(pulled, check_finite=False)
        part = vectors[:, values > 0]
        matrix: _Array = (part * values[values > 0]) @ part.T
        return matrix

    def _value(self, parts: _Array) -> tuple[float, _Array]:
        """Minus the dual over the price squared, and its slope."""
        matrix = self._matrix(parts * self._price)
        value = 0.5 * float((matrix * matrix).sum()) - self._price * float(parts @ self._losses)
        slope = self._features @ matrix.ravel() - self._losses
        return value / self._price, slope


def _worst_plane(rows: _Array, codes: NDArray[np.int64], matrix: _Array, measure: str, top: int) -> _Plane:
    """The mean over queries of the constraint that W breaks most."""
    n = len(rows)
    values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
    mapped = rows @ (vectors * np.sqrt(np.maximum(values, 0)))
    norms = np.einsum("ij,ij->i", mapped, mapped)
    feature, loss, n_queries = np.zeros_like(matrix), 0.0, 0
    for code in range(int(codes.max()) + 1):
        own, others = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
        if len(own) < 2:
            continue
        scores = 2 * mapped[own] @ mapped.T - norms[own, None] - norms
        near = scores[:, own]
        near[np.arange(len(own)), np.arange(len(own))] = -np.inf  # the query itself comes last and is cut
        near_order = np.argsort(-near, axis=1, kind="stable")[:, :-1]
        far_order = np.argsort(-scores[:, others], axis=1, kind="stable")
        near, far = (
            np.take_along_axis(near, near_order, 1),
            np.take_along_axis(scores[:, others], far_order, 1),
        )
        before, losses = worst_ranking(near, far, measure, n_top=top)
        loss += float(losses.sum())
        n_queries += len(own)
        # psi(y_q) - psi(y) weighs phi(q, i) by twice the part of other rows before i, and so on.
        p, m = near.shape[1], far.shape[1]
        weights = np.zeros((len(own), n))
        np.put_along_axis(weights, own[near_order], 2 * before / (p * m), 1)
        np.put_along_axis(weights, others[far_order], -2 * (p - _above(before, m)) / (p * m), 1)
        feature -= _outer_differences(rows[own], rows, weights)
    return _Plane(feature / n_queries, loss / n_queries)


def _above(before: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """For each query and other row, how many relevant rows stand above it, (q, m)."""
    counts = np.zeros((len(before), m + 1), dtype=np.int64)
    np.add.at(counts, (np.arange(len(before))[:, None], before), 1)
    above: NDArray[np.int64] = counts.cumsum(axis=1)[:, :m]
    return above


def _outer_differences(queries: _Array, rows: _Array, weights: _Array) -> _Array:
    """``sum weights_qx (q - x)(q - x)'``, (d, d)."""
    crossed = queries.T @ (weights @ rows)
    out: _Array = (queries.T * weights.sum(axis=1)) @ queries + (rows.T * weights.sum(axis=0)) @ rows
    return out - crossed - crossed.T


def worst_ranking(
    near: _Array, far: _Array, measure: str, *, n_top: int = 10
) -> tuple[NDArray[np.int64], _Array]:
    """The rankings with the largest ``Delta(y_q, y) + <W, psi(q, y)>``, one a query.

    Relevant rows keep their order among themselves, and so do the others, so a ranking is how many others
    stand before each relevant row; all such interleavings are searched, by a dynamic program.

    Parameters
    ----------
    near, far : float64 arrays (q, p) and (q, m)
        Scores (minus squared distances) of relevant and other rows, each falling.
    measure : "auc", "map", "mrr", "ndcg" or "precision"
    n_top : int
        Places that "ndcg" and "precision" look at.

    Returns
    -------
    before : int64 array (q, p)
        Others before each relevant row, rising.
    losses : float64 array (q,)
        Delta: one minus the measure.

    >>> worst_ranking(np.array([[0.0]]), np.array([[-0.4, -0.6]]), "auc")  # 1/2 is asked, 0.4 there
    (array([[1]]), array([0.5]))
    """
    q, p = near.shape
    m = far.shape[1]
    others = np.arange(m + 1)
    gains = _gains(measure, p, m, n_top)
    # Best value with a relevant rows placed, the last after b others; and the b that it came from.
    best = np.zeros((q, m + 1))
    came = np.zeros((p, q, m + 1), dtype=np.int64)
    for a in range(p):
        if a:
            # Others placed between relevant rows a-1 and a: sign +1 for a of them, -1 for p - a.
            step = np.concatenate([np.zeros((q, 1)), -far * (2 * a - p) / (p * m)], axis=1).cumsum(axis=1)
            reached = best - step
            highest = np.maximum.accumulate(reached, axis=1)
            new = np.concatenate([np.ones((q, 1), dtype=bool), reached[:, 1:] > highest[:, :-1]], axis=1)
            came[a] = np.maximum.accumulate(np.where(new, others, 0), axis=1)
            best = highest + step
        else:
            best = np.concatenate([np.zeros((q, 1)), far / m], axis=1).cumsum(axis=1)
            came[a] = others
        best = best + near[:, a, None] * (m - 2 * others) / (p * m) - gains[a]
    last = np.concatenate([np.zeros((q, 1)), -far / m], axis=1).cumsum(axis=1)
    best = best + last[:, -1:] - last
    place = best.argmax(axis=1)
    before = np.empty((q, p), dtype=np.int64)
    for a in range(p - 1, -1, -1):
        before[:, a] = place
        place = came[a][np.arange(q), place]
    reached_gain = gains[np.arange(p)[None, :], before].sum(axis=1)
    return before, 1 - reached_gain


def _gains(measure: str, p: int, m: int, n_top: int) -> _Array:
    """What relevant row a (from 0) adds to the measure with b others before it, (p, m + 1)."""
    a, b = np.arange(p)[:, None], np.arange(m + 1)[None, :]
    rank = a + b + 1
    if measure == "auc":
        return np.broadcast_to((m - b) / (p * m), (p, m + 1))
    if measure == "map":
        return (a + 1) / rank / p
    if measure == "mrr":
        return np.where(a == 0, 1 / rank, 0.0)
    if measure == "precision":
        # Of the places there are relevant rows for, so that the best ranking has 1.
        return np.where(rank <= n_top, 1 / min(n_top, p), 0.0)
    discount = np.where(rank <= n_top, 1 / np.log2(rank + 1), 0.0)
    ideal = (1 / np.log2(np.arange(min(n_top, p)) + 2)).sum()
    return np.asarray(discount / ideal)
