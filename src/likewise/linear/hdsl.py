"""HDSL: a sparse similarity for very many features, grown by one pair of features a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from likewise.linear.base import Progress
from likewise.linear.bilinear import BilinearLearner
from likewise.linear.matrices import components_from_matrix
from likewise.linear.options import number, whole
from likewise.linear.supervision import known_triplets
from likewise.linear.tuples import generator_from
from likewise.relations import Triplets

__all__ = ["HDSL"]

_Array = NDArray[np.float64]

_DENSE = 1000  # W is kept as an array up to this many features


class HDSL(BilinearLearner):
    """``S(x, z) = x'Mz`` with M a convex sum of ``scale (e_i +- e_j)(e_i +- e_j)'``, by Frank-Wolfe.

    ``min mean_t h(1 - S(a, p) + S(a, n))`` over the hull of these matrices of four numbers, with the
    smoothed hinge ``h(c) = 0, c^2/2, c - 1/2`` for ``c <= 0``, in between, and ``c >= 1`` (Liu, Bellet and
    Sha). Step k finds the matrix with the largest product with minus the slope, exactly,
    and moves M to it by ``2 / (k + 2)``, or by the best length where ``line_search``. M is symmetric,
    positive semidefinite, of trace ``2 scale``, and holds at most one more pair of features than steps.

    Parameters
    ----------
    scale : float > 0, optional
        The size of M (lambda); by default d/2, which gives M the trace of the identity.
    n_components : int, optional
        Rank of ``components_``; by default a row a pair of features, or d where that is fewer.
    n_triplets : int, optional
        Triplets drawn from labels: by default 20 a row, at most 100,000.
    max_iter : int >= 1
        Most steps, which bounds the pairs of features.
    tol : float >= 0
        Stop where the Frank-Wolfe gap, which bounds how far the objective is from its minimum, is at most
        this.
    batch_size : int, optional
        Take the slope on as many drawn triplets a step; by default on all.
    line_search : bool
    warm_start : bool
        ``fit`` goes on from where it stands.
    verbose : bool
    random_state : None, int or RandomState
        For the draws of triplets.

    Attributes
    ----------
    weight_ : float64 array (d, d), or CSR where X is sparse or has more than 1,000 features
        M.
    pairs_ : int64 array (k, 3)
        The pairs of features i, j and the sign between them.
    pair_weights_ : float64 array (k,)
        Their weights, which sum to 1.
    gap_ : float
        The Frank-Wolfe gap at the end, of the last batch where there are batches.

    Notes
    -----
    K. Liu, A. Bellet, F. Sha, Similarity learning for high-dimensional sparse data, 2015. A step costs what
    the product of the active triplets' sparse rows costs, and never ``d x d`` where rows are sparse.

    >>> X = [[1.0, 1, 0], [1.0, 0, 1], [0, 1.0, 1]]  # rows 0 and 1 share the first feature only
    >>> learner = HDSL(scale=1.0, max_iter=1).fit(X, triplets=Triplets([0], [1], [2]))
    >>> learner.pairs_, learner.weight_.tolist()
    (array([[0, 2, 1]]), [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    """

    pairs_: NDArray[np.int64]
    pair_weights_: _Array

    _takes_sparse = True

    def __init__(
        self,
        *,
        scale: float | None = None,
        n_components: int | None = None,
        n_triplets: int | None = None,
        max_iter: int = 200,
        tol: float = 1e-4,
        batch_size: int | None = None,
        line_search: bool = False,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.scale = scale
        self.n_components = n_components
        self.n_triplets = n_triplets
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.line_search = line_search
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Learn from labels, or from ``triplets=``; X may be sparse. See :meth:`Learner.fit`."""
        going_on = bool(self.warm_start) and hasattr(self, "pairs_")
        rows = self._rows(X, reset=not going_on)
        d = rows.shape[1]
        self._dimension(d, self.n_components)
        scale = d / 2 if self.scale is None else number("scale", self.scale, above=0)
        steps, tol = whole("max_iter", self.max_iter), number("tol", self.tol, least=0)
        batch = None if self.batch_size is None else whole("batch_size", self.batch_size)
        known = known_triplets(
            rows.shape[0], y, triplets, n_triplets=self.n_triplets, random_state=self.random_state
        )
        problem = _Problem(rows, known, scale, generator_from(self.random_state), batch)
        held: dict[_Pair, float] = {}
        if going_on:
            held = {_Pair(*pair): w for pair, w in zip(self.pairs_.tolist(), self.pair_weights_, strict=True)}
        found = problem.solve(held, steps, tol, bool(self.line_search), self._progress())
        chosen = sorted(held, key=lambda pair: (-held[pair], pair.first, pair.second))
        self.pairs_ = np.array([(pair.first, pair.second, pair.sign) for pair in chosen])
        self.pair_weights_ = np.array([held[pair] for pair in chosen])
        self._scale, self.gap_ = scale, found.gap
        rows_of_l = self._pair_rows()
        weight = (rows_of_l.T @ rows_of_l).tocsr()
        self.weight_ = weight.toarray() if isinstance(rows, np.ndarray) and d <= _DENSE else weight
        self._record(found.objective, converged=found.gap <= tol)
        return self

    def _pair_rows(self) -> Any:
        """L as CSR (k, d), a row ``sqrt(scale w)(e_i +- e_j)`` a pair of features."""
        k, length = len(self.pairs_), np.sqrt(self._scale * self.pair_weights_)
        first, second, sign = self.pairs_.T
        if self.n_features_in_ == 1:  # the one matrix there is, of the same trace
            return scipy.sparse.csr_array(np.sqrt(2) * length[:, None])
        place = (np.tile(np.arange(k), 2), np.concatenate([first, second]))
        values = np.concatenate([length, sign * length])
        return scipy.sparse.csr_array((values, place), shape=(k, self.n_features_in_))

    @property
    def components_(self) -> _Array:
        """L (k, d) with ``L'L = M``, exactly where ``n_components`` is None."""
        check_is_fitted(self)
        k = self._n_features_out
        if self.n_components is None and k == len(self.pairs_):
            rows: _Array = self._pair_rows().toarray()
            return rows
        return components_from_matrix(self._dense_weight(), k)

    @property
    def _n_features_out(self) -> int:
        if self.n_components is None:
            return min(len(self.pairs_), self.n_features_in_)
        return self._dimension(self.n_features_in_, self.n_components)


@dataclass(frozen=True)
class _Pair:
    """Two features, first < second, and the sign between them."""

    first: int
    second: int
    sign: int


@dataclass(frozen=True)
class _Found:
    gap: float
    objective: list[float]


class _Problem:
    """The smoothed hinges of some triplets, over the hull of the scaled pair matrices."""

    def __init__(
        self, rows: Any, known: Triplets, scale: float, generator: np.random.Generator, batch: int | None
    ) -> None:
        self._rows, self._scale, self._generator = rows, scale, generator
        self._anchor, self._positive, self._negative = (
            part.numpy() for part in (known.anchor, known.positive, known.negative)
        )
        self._batch = None if batch is None or batch >= len(self._anchor) else batch
        self._columns = rows if isinstance(rows, np.ndarray) else rows.tocsc()

    def solve(
        self, held: dict[_Pair, float], max_iter: int, tol: float, line_search: bool, progress: Progress
    ) -> _Found:
        """Frank-Wolfe from the pairs that are held, which it changes."""
        margins = np.zeros(len(self._anchor))
        for pair, weight in held.items():
            margins += weight * self._margins(pair)
        begun = len(held)  # steps go on getting shorter where they stood
        gap = np.inf
        for step in range(max_iter):
            slopes = np.clip(1 - margins, 0, 1)
            sample = self._sampled(slopes)
            pair, product = self._best(slopes, sample)
            towards = self._margins(pair)
            gap = product - float((slopes * margins)[sample].mean())
            if held and gap <= tol:
                break
            length = 2 / (step + begun + 2) if held else 1.0
            if line_search and held:
                length = _best_length(margins, towards - margins)
            margins += length * (towards - margins)
            for other in held:
                held[other] *= 1 - length
            held[pair] = held.get(pair, 0.0) + length
            progress.add(_hinge(1 - margins))
        for pair in [pair for pair, weight in held.items() if weight <= 0]:
            del held[pair]
        return _Found(gap, progress.values or [_hinge(1 - margins)])

    def _sampled(self, slopes: _Array) -> Any:
        if self._batch is None:
            return slice(None)
        return self._generator.choice(len(slopes), self._batch, replace=False)

    def _margins(self, pair: _Pair) -> _Array:
        """``S(a, p) - S(a, n)`` of each triplet, for the one matrix of a pair."""
        if self._rows.shape[1] == 1:
            value = np.sqrt(2) * self._column(0)
        else:
            value = self._column(pair.first) + pair.sign * self._column(pair.second)
        margins: _Array = self._scale * value[self._anchor] * (value[self._positive] - value[self._negative])
        return margins

    def _column(self, number: int) -> _Array:
        if isinstance(self._columns, np.ndarray):
            column: _Array = self._columns[:, number]
            return column
        return np.asarray(self._columns[:, [number]].toarray()).ravel()

    def _best(self, slopes: _Array, sample: Any) -> tuple[_Pair, float]:
        """The pair whose matrix has the largest product with minus the slope, and that product."""
        n, d = self._rows.shape
        chosen = slopes[sample]
        active = np.flatnonzero(chosen)
        size, weights = len(chosen), chosen[active]
        a, p, m = (part[sample][active] for part in (self._anchor, self._positive, self._negative))
        # Anchors times the weighted sums of their gaps: n products, however many triplets.
        place = (np.concatenate([a, a]), np.concatenate([p, m]))
        gaps = scipy.sparse.csr_array((np.concatenate([weights, -weights]) / size, place), shape=(n, n))
        used = np.unique(a)
        products = self._rows[used].T @ (gaps[used] @ self._rows)
        if d == 1:
            only = products if isinstance(products, np.ndarray) else products.toarray()
            return _Pair(0, 0, 1), float(2 * self._scale * only[0, 0])
        both = products + products.T
        if isinstance(both, np.ndarray):
            own = 0.5 * np.diagonal(both)
            gains = np.abs(both) + own[:, None] + own[None, :]
            np.fill_diagonal(gains, -np.inf)
            first, second = sorted(int(i) for i in np.unravel_index(int(gains.argmax()), gains.shape))
            sign = 1 if both[first, second] >= 0 else -1
            return _Pair(first, second, sign), float(self._scale * gains[first, second])
        entries = scipy.sparse.triu(both, k=1).tocoo()
        own = 0.5 * both.diagonal()
        top = sorted(int(i) for i in np.argpartition(-own, 1)[:2])
        best, gain = _Pair(top[0], top[1], 1), float(own[top].sum())
        if entries.nnz:
            gains = np.abs(entries.data) + own[entries.row] + own[entries.col]
            i = int(gains.argmax())
            if gains[i] > gain:
                gain = float(gains[i])
                best = _Pair(int(entries.row[i]), int(entries.col[i]), 1 if entries.data[i] >= 0 else -1)
        return best, self._scale * gain


def _hinge(lacking: _Array) -> float:
    """The mean smoothed hinge."""
    inside = np.clip(lacking, 0, 1)
    return float((inside * (lacking - 0.5 * inside))[lacking > 0].sum() / len(lacking))


def _best_length(margins: _Array, change: _Array) -> float:
    """The step in [0, 1] with the smallest objective, by bisection of its rising slope."""
    low, high = 0.0, 1.0
    if float(np.clip(1 - margins - change, 0, 1) @ change) >= 0:
        return 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if float(np.clip(1 - margins - middle * change, 0, 1) @ change) > 0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
