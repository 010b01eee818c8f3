"""ChiSquaredLMNN: large margin nearest neighbours for histograms, by a mapping that keeps them histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.descent import check_descent, descend
from likewise.linear.options import number, whole
from likewise.linear.supervision import class_codes

__all__ = ["ChiSquaredLMNN", "chi_squared"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]

_CELLS = 2**20
_AHEAD = 1.5  # impostors within so many reaches are followed through a descent


class ChiSquaredLMNN(Learner):
    r"""``d(x, z) = 1/2 sum_f [Gx - Gz]_f^2 / [Gx + Gz]_f`` with G (k, d) >= 0 whose columns sum to one.

    Such a G maps histograms to histograms. The objective is LMNN's with this distance and a margin below one:
    ``(1 - mu) sum_{j~>i} d(i, j) + mu sum_{j~>i} sum_{l: y_l != y_i} [margin + d(i, j) - d(i, l)]_+`` (Kedem
    et al.). G is the softmax of free numbers down each column, so the descent needs no constraint; it
    isn't convex. Impostors are found among all rows, again and again until a descent meets no new ones.

    Rows hold no negative number, and are divided by their sums first. d is between 0 and 1; there is no
    map under which it is Euclidean, so ``pair_distance`` is all there is.

    Parameters
    ----------
    n_neighbors : int >= 1
        Target neighbours a row: the nearest of its class by the plain chi-squared distance.
    margin : float in (0, 1)
    regularization : float in (0, 1)
        mu.
    n_components : int, optional
        k; by default d. Fewer begin with features folded onto each other in turn.
    max_rows : int >= 1
        All pairs of rows are looked at: more rows than this are refused.
    max_iter : int >= 1
        Steps of L-BFGS at most, over all rounds.
    tol : float >= 0
    warm_start : bool
        Begin with the G of the last ``fit``.
    verbose : bool

    Attributes
    ----------
    components_ : float64 array (k, d)
        G.

    Notes
    -----
    D. Kedem, S. Tyree, K. Weinberger, F. Sha, G. Lanckriet, Non-linear metric learning, NIPS 2012.

    >>> X = [[8.0, 1, 1], [7, 1, 2], [1, 8, 1], [1, 7, 2]]
    >>> learner = ChiSquaredLMNN(n_neighbors=1, margin=0.5).fit(X, [0, 0, 1, 1])
    >>> near, far = learner.pair_distance([X[0], X[0]], [X[1], X[2]])
    >>> bool(far > near + 0.4)
    True
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 3,
        margin: float = 0.1,
        regularization: float = 0.5,
        n_components: int | None = None,
        max_rows: int = 4000,
        max_iter: int = 200,
        tol: float = 1e-5,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.margin = margin
        self.regularization = regularization
        self.n_components = n_components
        self.max_rows = max_rows
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) without negative numbers and labels (n,). See :meth:`Learner.fit`."""
        rows = _histograms(self._rows(X))
        most = whole("max_rows", self.max_rows)
        if len(rows) > most:
            raise InputError(
                f"X must have at most {most} rows, as all pairs are looked at; found {len(rows)}; "
                "take a part of the rows, or raise max_rows"
            )
        check_descent(self.max_iter, self.tol)
        width = whole("n_neighbors", self.n_neighbors)
        margin, weight = (
            number(name, value, above=0, most=1 - 1e-9)
            for name, value in (("margin", self.margin), ("regularization", self.regularization))
        )
        k = self._dimension(rows.shape[1], self.n_components)
        codes, self.classes_ = class_codes(y, len(rows))
        counts = np.bincount(codes)
        if len(counts) < 2 or counts.max() < 2:
            found = "1 class" if len(counts) < 2 else "every row alone in its class"
            raise InputError(f"y must name two classes or more, one of them with two rows; found {found}")
        anchors, targets = _targets(rows, codes, width)
        d = rows.shape[1]
        begun = np.ones((k, d))
        begun[np.arange(d) % k, np.arange(d)] = 10.0 * k  # nearly the identity, none of it zero
        free = np.log(np.maximum(self._beginning(begun, k, d), np.finfo(np.float64).tiny))
        progress, left, converged = self._progress(), int(self.max_iter), False
        impostors = np.empty((2, 0), dtype=np.int64)
        while left > 0 and not converged:
            reach = _reach(rows @ _softmax(free).T, anchors, targets, margin)
            found_now = _within(rows @ _softmax(free).T, codes, _AHEAD * reach)
            both = np.concatenate([impostors, found_now], axis=1)
            impostors = np.unique(both, axis=1)
            problem = _Hinges(rows, anchors, targets, impostors, margin, weight)
            before = len(progress.values)
            ended = descend(problem.value, free, max_iter=left, tol=self.tol, progress=progress)
            left -= max(1, len(progress.values) - before)
            free = ended.components
            mapped = rows @ _softmax(free).T
            now = _within(mapped, codes, _reach(mapped, anchors, targets, margin))
            joined = np.unique(np.concatenate([impostors, now], axis=1), axis=1)
            converged = ended.converged and joined.shape[1] == impostors.shape[1]
        self.components_ = _softmax(free)
        self._record(progress.values or [problem.value(free)[0]], converged=converged)
        return self

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """The chi-squared distance of ``Ga`` and ``Gb`` row by row, (n,), in [0, 1]."""
        first, second = (_histograms(rows) for rows in self._row_pairs(A, B))
        check_is_fitted(self)
        distances: _Array = chi_squared(first @ self.components_.T, second @ self.components_.T)
        return distances


def chi_squared(p: _Array, q: _Array) -> _Array:
    """``1/2 sum_f (p_f - q_f)^2 / (p_f + q_f)`` along the last axis, with 0/0 = 0.

    >>> chi_squared(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    np.float64(1.0)
    """
    distances: _Array = 0.5 * ((p - q) * _ratios(p, q)).sum(axis=-1)
    return distances


def _ratios(p: _Array, q: _Array) -> _Array:
    total = p + q
    ratios: _Array = (p - q) / np.where(total > 0, total, 1.0)
    return ratios


def _histograms(rows: _Array) -> _Array:
    if rows.min() < 0:
        i, j = np.unravel_index(int(rows.argmin()), rows.shape)
        raise InputError(
            "Negative values in data passed to ChiSquaredLMNN: X must hold histograms, at least 0; found "
            f"{rows[i, j]:g} in row {i}"
        )
    largest = rows.max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1.0)
    total = rows.sum(axis=1, keepdims=True)
    return rows / np.where(total > 0, total, 1.0)


def _softmax(free: _Array) -> _Array:
    """Columns of positive numbers that sum to one."""
    raised = np.exp(free - free.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0))


def _targets(rows: _Array, codes: _Codes, width: int) -> tuple[_Codes, _Codes]:
    """Each row with its nearest rows of its class: anchors (t,) and targets (t,)."""
    anchors, targets = [], []
    for code in range(int(codes.max()) + 1):
        own = np.flatnonzero(codes == code)
        count = min(width, len(own) - 1)
        if not count:
            continue
        for start, table in _tables(rows[own], rows[own]):
            local = np.arange(len(table))
            table[local, start + local] = np.inf
            nearest = np.argsort(table, axis=1, kind="stable")[:, :count]
            anchors.append(np.repeat(own[start + local], count))
            targets.append(own[nearest].ravel())
    return np.concatenate(anchors), np.concatenate(targets)


def _tables(rows: _Array, others: _Array) -> Any:
    """All distances, some rows at a time: (first row, table)."""
    size = max(1, _CELLS // max(1, others.size))
    for start in range(0, len(rows), size):
        yield start, chi_squared(rows[start : start + size, None, :], others[None])


def _reach(mapped: _Array, anchors: _Codes, targets: _Codes, margin: float) -> _Array:
    """How near a row of another class must be to count, (n,): minus infinity for rows without targets."""
    reach = np.full(len(mapped), -np.inf)
    np.maximum.at(reach, anchors, margin + chi_squared(mapped[anchors], mapped[targets]))
    return reach


def _within(mapped: _Array, codes: _Codes, reach: _Array) -> _Codes:
    """Pairs of a row and one of another class within its reach, (2, p)."""
    found = []
    for start, table in _tables(mapped, mapped):
        rows = slice(start, start + len(table))
        near = (table < reach[rows, None]) & (codes[rows, None] != codes)
        local, columns = np.nonzero(near)
        found.append(np.stack([local + start, columns]))
    return np.concatenate(found, axis=1)


@dataclass(frozen=True)
class _Hinges:
    """The objective with listed impostors (2, p), sorted by row; all others are taken to be far."""

    rows: _Array
    anchors: _Codes
    targets: _Codes
    impostors: _Codes
    margin: float
    weight: float

    def value(self, free: _Array) -> tuple[float, _Array]:
        """The objective, and its gradient by the free numbers (k, d)."""
        G = _softmax(free)
        mapped = self.rows @ G.T
        i, far = self.impostors
        pulls = chi_squared(mapped[self.anchors], mapped[self.targets])
        pushes = chi_squared(mapped[i], mapped[far])
        # Impostors of an anchor stand together, so each target meets a stretch of them.
        begin, end = np.searchsorted(i, self.anchors), np.searchsorted(i, self.anchors, side="right")
        counts = end - begin
        which = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + begin[which]
        hinges = self.margin + pulls[which] - pushes[place]
        hit = hinges > 0
        value = (1 - self.weight) * pulls.sum() + self.weight * hinges[hit].sum()
        slopes = np.full(len(pulls), 1 - self.weight)
        slopes += self.weight * np.bincount(which[hit], minlength=len(pulls))
        away = -self.weight * np.bincount(place[hit], minlength=len(pushes))
        first = np.concatenate([self.anchors, i])
        second = np.concatenate([self.targets, far])
        by_row = self._by_row(mapped, first, second, np.concatenate([slopes, away]))
        by_entry = by_row.T @ self.rows
        return float(value), G * (by_entry - (G * by_entry).sum(axis=0))

    def _by_row(self, mapped: _Array, first: _Codes, second: _Codes, slopes: _Array) -> _Array:
        """The gradient by mapped rows (n, k) of ``sum slopes d(first, second)``."""
        used = slopes != 0
        first, second, slopes = first[used], second[used], slopes[used]
        ratios = _ratios(mapped[first], mapped[second])
        shape = (len(mapped), len(first))
        cells = np.arange(len(first))
        one = scipy.sparse.csr_array((slopes, (first, cells)), shape=shape)
        two = scipy.sparse.csr_array((slopes, (second, cells)), shape=shape)
        gradient = one @ (ratios - 0.5 * ratios**2) - two @ (ratios + 0.5 * ratios**2)
        return np.asarray(gradient)
