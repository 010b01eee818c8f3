"""KPCATrick: any linear learner in the feature space of a kernel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner, MahalanobisLearner
from likewise.linear.inner import inner_learner
from likewise.linear.kernels import check_rows, kernel_for
from likewise.linear.options import number, whole

__all__ = ["KPCATrick"]

_Array = NDArray[np.float64]

_ROWS = 1024
_PART = 0.9  # of the variance, for discriminant analysis


class KPCATrick(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """Kernel principal coordinates of all rows, of full rank, and a linear learner on them.

    A learner whose objective depends on inner products alone finds on these coordinates just what it would
    find in the feature space (Chatpatanasiri, Korsrilabutr, Tangchanachaianan and Kijsirikul).
    There is no global matrix of X: ``pair_distance`` and ``transform`` go through the kernel.

    Parameters
    ----------
    estimator : Mahalanobis learner, optional
        Cloned; by default ``LDA()``, which makes kernel discriminant analysis.
    kernel : "linear", "rbf", "laplacian", "poly" or "cosine"
    gamma : "scale" or float > 0
        Of rbf, laplacian and poly; "scale" is ``1 / (d var(X))``.
    degree, coef0 :
        Of poly.
    n_coordinates : int, or float in (0, 1), optional
        Keep so many coordinates of largest variance, or the fewest that hold such a part of it; then the
        result is no longer exact. By default all; with the default estimator 0.9, as over all coordinates
        of an rbf kernel LDA tells any classes apart, also those of shuffled labels.
    max_rows : int >= 1
        The method holds n x n tables: more rows than this are refused.
    warm_start : bool
        Keep the coordinates of the last ``fit``, also for other rows, and go on there with its learner,
        where that has a ``warm_start``. ``verbose`` and ``random_state`` are those of the estimator.

    Attributes
    ----------
    estimator_ : the fitted learner
    components_ : float64 array (k, n_coordinates)
        Its L, on the coordinates.

    Notes
    -----
    R. Chatpatanasiri, T. Korsrilabutr, P. Tangchanachaianan, B. Kijsirikul, A new kernelization framework
    for Mahalanobis distance learning algorithms, 2010. Rows are centred in the feature space, which moves
    no distance.

    >>> rings = np.array([[1.0, 0], [-1, 0], [0, 1], [2, 0], [-2, 0], [0, 2]])
    >>> learner = KPCATrick(kernel="poly", degree=2).fit(rings, [0, 0, 0, 1, 1, 1])
    >>> inside, across = learner.pair_distance(rings[[0, 0]], rings[[1, 3]])
    >>> bool(across > 10 * inside)  # no linear map puts (1, 0) nearer to (-1, 0) than to (2, 0)
    True
    """

    components_: _Array
    estimator_: MahalanobisLearner
    _asked: tuple[Any, ...]

    def __init__(
        self,
        estimator: Any = None,
        *,
        kernel: str = "rbf",
        gamma: Any = "scale",
        degree: int = 3,
        coef0: float = 1.0,
        n_coordinates: int | float | None = None,
        max_rows: int = 4000,
        warm_start: bool = False,
    ) -> None:
        self.estimator = estimator
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.n_coordinates = n_coordinates
        self.max_rows = max_rows
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any = None, **supervision: Any) -> Self:
        """Learn from labels, or from the relations that the wrapped learner's ``fit`` takes.

        See :meth:`Learner.fit`.
        """
        rows = self._rows(X)
        check_rows(len(rows), self.max_rows)
        warm = bool(self.warm_start)
        wrapped = inner_learner(self.estimator, getattr(self, "estimator_", None), warm_start=warm)
        most: float = len(rows) if self.estimator is not None else _PART
        if isinstance(self.n_coordinates, float):
            most = number("n_coordinates", self.n_coordinates, above=0)
            if most >= 1:
                raise InputError(f"n_coordinates must be a whole number, or a part below 1; found {most}")
        elif self.n_coordinates is not None:
            most = whole("n_coordinates", self.n_coordinates)
        asked = (self.kernel, self.gamma, self.degree, self.coef0, self.n_coordinates)
        if warm and hasattr(self, "estimator_"):
            if asked != self._asked:
                raise InputError(
                    f"warm_start keeps kernel, gamma, degree, coef0 and n_coordinates {self._asked}; found "
                    f"{asked}; fit a clone"
                )
            coordinates = self._coordinates(rows)
        else:
            self._kernel = kernel_for(rows, self.kernel, self.gamma, self.degree, self.coef0)
            self._support, self._asked = rows, asked
            coordinates = self._set_coordinates(most)
        self.estimator_ = wrapped.fit(coordinates, y, **supervision)
        self.components_ = self.estimator_.components_
        if isinstance(getattr(wrapped, "classes_", None), np.ndarray):
            self.classes_ = wrapped.classes_
        self._record(wrapped.objective_.tolist(), n_iter=wrapped.n_iter_, converged=wrapped.converged_)
        return self

    def _set_coordinates(self, most: float) -> _Array:
        """Take the principal coordinates of the support, (n, r), and keep the map to them."""
        table = self._kernel(self._support, self._support)
        if not np.isfinite(table).all():
            raise InputError(f"kernel {self.kernel!r} left float64's range on these rows; scale the features")
        self._means = table.mean(axis=0)
        centred = table - self._means - self._means[:, None] + table.mean()
        values, vectors = scipy.linalg.eigh(centred, check_finite=False)
        values, vectors = values[::-1], vectors[:, ::-1]
        # Rounding in the table is of the size of its largest entry, not of its largest eigenvalue.
        noise = max(1e-12, 10 * len(values) * np.finfo(np.float64).eps)
        least = noise * max(float(np.abs(table).max()), float(values[0]))
        count = max(1, int((values > least).sum()))
        if most < 1:
            held = np.cumsum(values[:count])
            most = 1 + int(np.searchsorted(held, most * held[-1]))
        count = min(int(most), count)
        roots = np.sqrt(np.maximum(values[:count], 0))
        kernel_map = vectors[:, :count] / np.where(values[:count] > least, roots, np.inf)
        # Without a mean, it takes no notice of a constant in a row of kernel values, as centring wouldn't.
        self._map = kernel_map - kernel_map.mean(axis=0)
        coordinates: _Array = vectors[:, :count] * roots
        return coordinates

    def coordinates(self, X: Any) -> _Array:
        """Kernel principal coordinates of rows (n, d), (n, n_coordinates), before the learned map."""
        check_is_fitted(self)
        return self._coordinates(self._rows(X, reset=False, least=1))

    def _coordinates(self, rows: _Array) -> _Array:
        parts = []
        for start in range(0, len(rows), _ROWS):
            table = self._kernel(rows[start : start + _ROWS], self._support)
            parts.append((table - self._means) @ self._map)
        return np.concatenate(parts)

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped to (n, k), where Euclidean distance is the learned one."""
        mapped: _Array = self.coordinates(X) @ self.components_.T
        return mapped

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """The learned distances row by row: A (n, d) and B (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        distances: _Array = np.linalg.norm(
            (self._coordinates(first) - self._coordinates(second)) @ self.components_.T, axis=1
        )
        return distances

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])
