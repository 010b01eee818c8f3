"""MultiMetricLMNN: large margin nearest neighbours with a metric for each class."""

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
from likewise.linear.lmnn import LMNN, LargeMargin
from likewise.linear.neighbours import squared_distances
from likewise.linear.options import number, whole
from likewise.linear.start import scaled
from likewise.linear.supervision import class_codes

__all__ = ["ClassMargins", "MultiMetricLMNN"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]

_ROWS = 1024


class MultiMetricLMNN(Learner):
    r"""LMNN with a matrix a class: the distance to a row is measured by the matrix of that row's class.

    ``(1 - mu) sum_{j~>i} d(i, j) + mu sum_{j~>i} sum_{l: y_l != y_i} [1 + d(i, j) - d(i, l)]_+`` with
    ``d(i, j) = ||L_{y_j} (x_i - x_j)||^2``: distances under different matrices are compared, which makes
    them comparable. The matrices begin as LMNN's one.

    There is no global matrix: ``pair_distance(A, B)`` measures by the classes of the rows of B, given as
    ``labels`` or else predicted, so it isn't symmetric.

    Parameters
    ----------
    n_neighbors : int >= 1
        Target neighbours a row, and neighbours that vote in ``predict``.
    regularization : float in (0, 1)
        mu.
    n_components : int, optional
        Rows of each L; by default d.
    max_iter, tol, verbose :
        As for :class:`LMNN`.
    warm_start : bool
        Begin with the matrices of the last ``fit``, which must have had the same classes.

    Attributes
    ----------
    components_ : float64 array (C, k, d)
        L of each class, in the order of ``classes_``.
    classes_ : array (C,)

    Notes
    -----
    K. Weinberger, L. Saul, Distance metric learning for large margin nearest neighbor classification, JMLR
    2009, with classes as clusters. Time O(n^2 k + n C d k) a step, memory that of a block of
    rows by a class.

    >>> learner = MultiMetricLMNN(n_neighbors=1).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    >>> learner.predict([[0.2], [3.4]])
    array([0, 1])
    """

    components_: _Array
    classes_: NDArray[Any]

    def __init__(
        self,
        *,
        n_neighbors: int = 3,
        regularization: float = 0.5,
        n_components: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-5,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.regularization = regularization
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        codes, classes = class_codes(y, len(rows))
        check_descent(self.max_iter, self.tol)
        n_neighbors = whole("n_neighbors", self.n_neighbors)
        weight = number("regularization", self.regularization, above=0)
        if weight >= 1:
            raise InputError(f"regularization must be below 1; found {weight}")
        k = self._dimension(rows.shape[1], self.n_components)
        space = scaled(rows)
        if self.warm_start and hasattr(self, "components_"):
            start = self._last(classes, k)
        else:
            begun = LMNN(
                n_neighbors=n_neighbors,
                regularization=weight,
                n_components=k,
                max_iter=self.max_iter,
                tol=self.tol,
            ).fit(rows, y)
            start = np.tile(begun.components_, (len(classes), 1))
        problem = ClassMargins.of(space.rows, codes, n_neighbors, weight)
        found = descend(
            problem.value, start * space.unit, max_iter=self.max_iter, tol=self.tol, progress=self._progress()
        )
        self.components_ = (found.components / space.unit).reshape(len(classes), k, rows.shape[1])
        self._known, self._codes, self.classes_ = rows, codes, classes
        self._record(found.objective, n_iter=found.n_iter, converged=found.converged)
        return self

    def _last(self, classes: NDArray[Any], n_components: int) -> _Array:
        """The matrices of the last fit, stacked by class (C k, d)."""
        if not np.array_equal(classes, self.classes_):
            raise InputError(
                f"warm_start goes on with the classes {self.classes_.tolist()}; found {classes.tolist()}; "
                "fit a clone"
            )
        wanted = (len(classes), n_components, self.n_features_in_)
        if self.components_.shape != wanted:
            raise InputError(
                f"warm_start needs components_ of shape {wanted}; found {self.components_.shape}; fit a clone"
            )
        return self.components_.reshape(-1, self.n_features_in_)

    def pair_distance(self, A: Any, B: Any, *, labels: Any = None) -> _Array:
        """``||L_c (a - b)||`` row by row with c the class of b: A (n, d) and B (n, d) give (n,).

        Parameters
        ----------
        A, B : arrays (n, d)
        labels : (n,), optional
            Classes of the rows of B; by default those that ``predict`` gives.
        """
        first, second = self._row_pairs(A, B)
        known = self._predicted(second) if labels is None else np.asarray(labels)
        places = np.searchsorted(self.classes_, known) if len(known) else np.empty(0, dtype=np.int64)
        places = np.minimum(places, len(self.classes_) - 1)
        if known.shape != (len(first),) or not (self.classes_[places] == known).all():
            raise InputError(f"labels must be {len(first)} of the classes that were learned")
        out = np.empty(len(first))
        for code, components in enumerate(self.components_):
            chosen = places == code
            out[chosen] = np.linalg.norm((first[chosen] - second[chosen]) @ components.T, axis=1)
        return out

    def predict(self, X: Any) -> NDArray[Any]:
        """Classes of rows (n, d), by vote of the ``n_neighbors`` nearest rows, each by its own metric."""
        check_is_fitted(self)
        return self._predicted(self._rows(X, reset=False, least=1))

    def _predicted(self, rows: _Array) -> NDArray[Any]:
        count = min(whole("n_neighbors", self.n_neighbors), len(self._known))
        votes = np.empty((len(rows), count), dtype=np.int64)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            squares = np.empty((len(part), len(self._known)))
            for code, components in enumerate(self.components_):
                own = self._codes == code
                mapped, others = (part @ components.T), (self._known[own] @ components.T)
                squares[:, own] = (
                    (mapped**2).sum(axis=1)[:, None] - 2 * mapped @ others.T + (others**2).sum(axis=1)
                )
            nearest = np.argsort(squares, axis=1, kind="stable")[:, :count]
            votes[start : start + _ROWS] = self._codes[nearest]
        counted = (votes[:, :, None] == np.arange(len(self.classes_))).sum(axis=1)
        predicted: NDArray[Any] = self.classes_[counted.argmax(axis=1)]
        return predicted


@dataclass(frozen=True)
class ClassMargins:
    """The objective for rows in order of class; as :class:`LargeMargin`, with L stacked by class (C k, d)."""

    rows: _Array
    targets: _Codes
    valid: NDArray[np.bool_]
    codes: _Codes
    weight: float

    @classmethod
    def of(cls, rows: _Array, codes: _Codes, n_neighbors: int, weight: float) -> ClassMargins:
        """Choose target neighbours by Euclidean distance."""
        plain = LargeMargin.of(rows, codes, n_neighbors, weight)
        return cls(plain.rows, plain.targets, plain.valid, np.sort(codes, kind="stable"), weight)

    def value(self, components: _Array) -> tuple[float, _Array]:
        """The objective, and its gradient by the stacked L (C k, d)."""
        n, width = self.targets.shape
        n_classes = int(self.codes[-1]) + 1
        stacked = components.reshape(n_classes, -1, self.rows.shape[1])
        ends = np.searchsorted(self.codes, np.arange(n_classes + 1))
        mapped = [self.rows @ own.T for own in stacked]
        own = np.zeros((n, width))
        for code in range(n_classes):
            part = slice(ends[code], ends[code + 1])
            places = np.repeat(np.arange(n)[part, None], width, axis=1)
            own[part] = squared_distances(mapped[code], places, self.targets[part])
        reach = 1 + np.where(self.valid, own, -np.inf).max(axis=1)
        active = np.zeros((n, width))
        hinges, gradient = 0.0, np.zeros_like(stacked)
        for code in range(n_classes):
            part = slice(int(ends[code]), int(ends[code + 1]))
            found, slopes = self._impostors(mapped[code], part, own, reach, active)
            hinges += found
            gradient[code] += self._pulled(mapped[code], slopes, part)
        kept = np.where(self.valid, 1 - self.weight + self.weight * active, 0.0)
        for code in range(n_classes):
            part = slice(int(ends[code]), int(ends[code + 1]))
            size = part.stop - part.start
            begin = np.arange(0, size * width + 1, width)
            near = (kept[part].ravel(), self.targets[part].ravel() - part.start, begin)
            slopes = scipy.sparse.csr_array(near, shape=(size, size))
            gradient[code] += self._pulled(mapped[code][part], slopes, part, rows=part)
        value = (1 - self.weight) * float(own[self.valid].sum()) + self.weight * hinges
        return value, gradient.reshape(components.shape)

    def _impostors(
        self, mapped: _Array, part: slice, own: _Array, reach: _Array, active: _Array
    ) -> tuple[float, Any]:
        """The hinges of rows of one class as impostors of all others, and their slopes (n, size of class)."""
        hinges, tables = 0.0, []
        others = mapped[part]
        norms = (others**2).sum(axis=1)
        for start in range(0, len(mapped), _ROWS):
            block = mapped[start : start + _ROWS]
            squares = (block**2).sum(axis=1)[:, None] - 2 * block @ others.T + norms
            squares[max(part.start - start, 0) : max(part.stop - start, 0)] = np.inf
            local, columns = np.nonzero(squares < reach[start : start + _ROWS, None])
            # By subtraction, as the products lose small distances.
            found = squared_distances(mapped, local + start, columns + part.start)
            slopes = np.zeros(len(columns))
            for j in range(own.shape[1]):
                hinge = 1 + own[start + local, j] - found
                hit = (hinge > 0) & self.valid[start + local, j]
                hinges += float(hinge[hit].sum())
                slopes -= hit
                active[start : start + _ROWS, j] += np.bincount(local[hit], minlength=len(block))
            shape = (len(block), len(others))
            tables.append(scipy.sparse.csr_array((self.weight * slopes, (local, columns)), shape=shape))
        return hinges, scipy.sparse.vstack(tables, format="csr")

    def _pulled(self, mapped: _Array, slopes: Any, part: slice, *, rows: slice | None = None) -> _Array:
        """The gradient by L of ``sum slopes_ij ||L (x_i - x_j)||^2`` with j in one class, (k, d)."""
        X, own = self.rows if rows is None else self.rows[rows], self.rows[part]
        others = mapped[part] if rows is None else mapped
        by_row, by_column = slopes @ np.ones(slopes.shape[1]), slopes.T @ np.ones(slopes.shape[0])
        drawn = by_row[:, None] * mapped - slopes @ others
        held = by_column[:, None] * others - slopes.T @ mapped
        gradient: _Array = 2 * (drawn.T @ X + held.T @ own)
        return gradient
