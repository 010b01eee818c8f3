"""LMNN: each row's target neighbours nearer than every row of another class, by a margin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from likewise.errors import InputError
from likewise.linear.descent import DescentLearner, check_descent
from likewise.linear.neighbours import Products, Pull, class_parts, class_ranges, squared_distances
from likewise.linear.options import number, whole
from likewise.linear.screening import Screen
from likewise.linear.start import Init, scaled
from likewise.linear.supervision import class_codes

__all__ = ["LMNN", "LargeMargin"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]


class LMNN(DescentLearner):
    r"""Large margin nearest neighbours, as a function of L.

    ``(1 - mu) sum_{j~>i} d(i, j) + mu sum_{j~>i} sum_{l: y_l != y_i} [1 + d(i, j) - d(i, l)]_+``

    with ``d(i, j) = ||L x_i - L x_j||^2``, and ``j ~> i`` the target neighbours of i: the nearest rows of
    its class in X, chosen once.

    Parameters
    ----------
    n_neighbors : int >= 1
        Target neighbours a row; in a class of so many rows or fewer, all the others.
    regularization : float in (0, 1)
        mu, the weight of the margin.
    n_components : int, optional
        k, the rows of L; by default d.
    init : "auto", "identity", "pca", "lda", "random" or array (k, d)
        See :func:`~likewise.linear.start.starting_components`.
    max_iter : int >= 1
        Steps of L-BFGS at most.
    tol : float >= 0
        Stop when a step gains less than this part of the objective.
    warm_start : bool
        Begin where the last ``fit`` ended.
    verbose : bool
        Print the objective after each step.
    random_state : int, RandomState, optional
        Of ``init="random"``.

    Notes
    -----
    Weinberger, Saul, Distance metric learning for large margin nearest neighbor classification, JMLR 2009,
    equations 11 to 13. Every impostor is looked at in every step: the objective is exact. Time O(n^2 k) a
    step, memory linear in n. With k = d the problem is convex in ``L'L``.

    >>> learner = LMNN(n_neighbors=1).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    >>> learner.get_mahalanobis_matrix().round(3)  # 1 + M = 4 M: the nearest impostor is just beyond
    array([[0.333]])
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 3,
        regularization: float = 0.5,
        n_components: int | None = None,
        init: Init = "auto",
        max_iter: int = 100,
        tol: float = 1e-5,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.regularization = regularization
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        codes, self.classes_ = class_codes(y, len(rows))
        check_descent(self.max_iter, self.tol)
        n_neighbors = whole("n_neighbors", self.n_neighbors)
        weight = number("regularization", self.regularization, above=0)
        if weight >= 1:
            raise InputError(f"regularization must be below 1; found {weight}")
        k = self._dimension(rows.shape[1], self.n_components)
        space = scaled(rows)
        problem = LargeMargin.of(space.rows, codes, n_neighbors, weight)
        return self._descend(rows, space, codes, k, problem.value)


@dataclass(frozen=True)
class LargeMargin:
    """The objective of LMNN for rows in order of class.

    Parameters
    ----------
    rows : float64 array (n, d)
        Centred, sorted by class.
    ends : int array (n, 2)
        Where each row's class begins and ends.
    targets : int array (n, k)
        Target neighbours, padded with the row itself.
    valid : bool array (n, k)
        False where padded.
    weight : float
        mu.
    """

    rows: _Array
    ends: _Codes
    targets: _Codes
    valid: NDArray[np.bool_]
    weight: float

    @classmethod
    def of(cls, rows: _Array, codes: _Codes, n_neighbors: int, weight: float) -> LargeMargin:
        """Choose target neighbours by Euclidean distance.

        Raises
        ------
        InputError
            One class, or every row alone in its class.
        """
        order = np.argsort(codes, kind="stable")
        rows, codes = rows[order], codes[order]
        ends = class_ranges(codes)
        counts = ends[:, 1] - ends[:, 0]
        if counts[0] == len(rows) or counts.max() < 2:
            what = "1 class" if counts[0] == len(rows) else "every row alone in its class"
            raise InputError(f"y must name two classes or more, one of them with two rows; found {what}")
        width = min(n_neighbors, int(counts.max()) - 1)
        targets = np.repeat(np.arange(len(rows))[:, None], width, axis=1)
        valid = np.arange(width) < (counts - 1)[:, None]
        for begin, end in np.unique(ends, axis=0):
            k = min(width, end - begin - 1)
            if k:
                search = NearestNeighbors(n_neighbors=k).fit(rows[begin:end])
                targets[begin:end, :k] = begin + search.kneighbors(return_distance=False)
        return cls(rows, ends, targets, valid, weight)

    def value(self, components: _Array) -> tuple[float, _Array]:
        """The objective, and its gradient by L (k, d)."""
        value, gradient = self.at(self.rows @ components.T)
        return value, gradient.T @ self.rows

    def at(self, mapped: _Array) -> tuple[float, _Array]:
        """The objective of mapped rows (n, k), and its gradient by them (n, k)."""
        n, width = self.targets.shape
        own = squared_distances(mapped, np.repeat(np.arange(n)[:, None], width, axis=1), self.targets)
        reach = 1 + np.where(self.valid, own, -np.inf).max(axis=1)
        pull = Pull(mapped)
        active = np.zeros((n, width))
        hinges = 0.0
        for start, stop, local, columns, squares in self._impostors(mapped, reach):
            slopes = np.zeros(len(columns))
            for j in range(width):
                hinge = 1 + own[start + local, j] - squares
                hinge[~self.valid[start + local, j]] = 0
                hit = hinge > 0
                hinges += float(hinge[hit].sum())
                slopes -= hit
                active[start:stop, j] = np.bincount(local[hit], minlength=stop - start)
            begin = np.searchsorted(local, np.arange(stop - start + 1))
            table = scipy.sparse.csr_array((self.weight * slopes, columns, begin), shape=(stop - start, n))
            pull.add(start, table)
        kept = np.where(self.valid, 1 - self.weight + self.weight * active, 0.0)
        begin = np.arange(0, n * width + 1, width)
        pull.add(0, scipy.sparse.csr_array((kept.ravel(), self.targets.ravel(), begin), shape=(n, n)))
        value = (1 - self.weight) * float(own[self.valid].sum()) + self.weight * hinges
        return value, pull.gradient()

    def _impostors(
        self, mapped: _Array, reach: _Array
    ) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any], _Array]]:
        """Rows of other classes within reach, by blocks from start to stop.

        Each gives the row in the block, the column, and the squared distance, in order of row and column.
        """
        screen = Screen.of(mapped, self.ends)
        products: Products | None = None
        start = 0
        while start < len(mapped):
            if screen is not None:
                stop = screen.end(start)
                near = screen.near(start, stop, reach=reach[start:stop])
                if near is None:  # the other blocks have many impostors too
                    screen = None
                    continue
                local, columns = near
                squares = squared_distances(mapped, start + local, columns)
            else:
                products = products or Products(mapped)
                stop = products.end(start)
                local, columns, squares = self._by_products(mapped, products, start, stop, reach)
            yield start, stop, local, columns, squares
            start = stop

    def _by_products(
        self, mapped: _Array, products: Products, start: int, stop: int, reach: _Array
    ) -> tuple[NDArray[Any], NDArray[Any], _Array]:
        cells = products.nearness(start, stop)
        for inside, alike in class_parts(self.ends, start, stop):
            cells[inside, alike] = -np.inf
        room = products.rounding(start, stop) if products.coarse else 0.0
        flat = np.flatnonzero(cells > -(reach[start:stop] + room)[:, None])
        local, columns = np.divmod(flat, cells.shape[1])
        if products.coarse:
            return local, columns, squared_distances(mapped, start + local, columns)
        return local, columns, -cells.ravel()[flat]
