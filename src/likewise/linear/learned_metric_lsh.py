"""LearnedMetricLSH: locality-sensitive hashing under a learned metric, for search without a full scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from likewise.linear.base import Learner, MahalanobisLearner
from likewise.linear.inner import inner_learner
from likewise.linear.options import whole
from likewise.linear.tuples import generator_from
from likewise.model import Model

__all__ = ["LearnedMetricLSH", "Neighbours"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of some queries, nearest first.

    distances : float64 array (n, k), infinity where fewer than k rows were candidates.
    positions : int64 array (n, k), rows of the fitted X, -1 where there are none.
    candidates : int64 array (n,), how many rows each query was compared with.
    """

    distances: _Array
    positions: _Codes
    candidates: _Codes


class LearnedMetricLSH(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """Hash tables of random hyperplanes on ``Lx``, so that near rows under ``L'L`` share buckets.

    A bit is ``r'L(x - c) >= 0`` with r normal; two rows agree in it with probability ``1 - theta / pi``,
    theta being the angle between ``L(x - c)`` and ``L(z - c)`` (Kulis, Jain and Grauman). A
    table's bucket is ``n_bits`` bits; a query's candidates are the rows in its bucket in any table, and these
    alone are compared with it by their exact distance. ``pair_distance`` and ``transform`` are the learner's.

    Parameters
    ----------
    estimator : Mahalanobis learner, optional
        Cloned; by default ``LDA()``.
    n_tables : int >= 1
        More tables find more neighbours, and more candidates.
    n_bits : int from 1 to 62
        More bits make smaller buckets: fewer candidates, and fewer neighbours found.
    n_probes : int >= 0
        Also look into as many buckets a table that differ in the one bit which the query is nearest to the
        other side of, then the next.
    center : bool
        Take c as the mean of the rows, so that angles tell rows apart; else the origin.
    warm_start : bool
        Go on with the metric of the last ``fit``, where the estimator has a ``warm_start``, and keep the
        hyperplanes, where as many are asked for.
    verbose : bool
        Warn where the estimator didn't converge; it has a ``verbose`` of its own.
    random_state : None, int or RandomState
        For the hyperplanes.

    Attributes
    ----------
    estimator_ : the fitted learner
    components_ : float64 array (k, d)
        Its L.
    hyperplanes_ : float64 array (n_tables, n_bits, k)

    Notes
    -----
    B. Kulis, P. Jain, K. Grauman, Fast similarity search for learned metrics, 2009.

    >>> X, y = [[0.0, 0], [0.1, 0], [5, 5], [5.1, 5]], [0, 0, 1, 1]
    >>> learner = LearnedMetricLSH(n_bits=2, random_state=0).fit(X, y)
    >>> learner.kneighbors([[5.0, 5.2]], n_neighbors=2).positions
    array([[2, 3]])
    """

    components_: _Array
    estimator_: MahalanobisLearner
    hyperplanes_: _Array

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_tables: int = 16,
        n_bits: int = 12,
        n_probes: int = 0,
        center: bool = True,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_tables = n_tables
        self.n_bits = n_bits
        self.n_probes = n_probes
        self.center = center
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, **supervision: Any) -> Self:
        """Learn the metric from labels, or from the relations that the learner takes, and hash the rows.

        See :meth:`Learner.fit`.
        """
        rows = self._rows(X)
        tables, bits = whole("n_tables", self.n_tables), whole("n_bits", self.n_bits, most=62)
        whole("n_probes", self.n_probes, least=0, most=bits)
        warm = bool(self.warm_start)
        wrapped = inner_learner(self.estimator, getattr(self, "estimator_", None), warm_start=warm)
        self.estimator_ = wrapped.fit(rows, y, **supervision)
        self.components_ = wrapped.components_
        if isinstance(getattr(wrapped, "classes_", None), np.ndarray):
            self.classes_ = wrapped.classes_
        shape = (tables, bits, len(self.components_))
        if not warm or not hasattr(self, "hyperplanes_") or self.hyperplanes_.shape != shape:
            self.hyperplanes_ = generator_from(self.random_state).standard_normal(shape)
        self._offset = rows.mean(axis=0) if self.center else np.zeros(rows.shape[1])
        self._record(wrapped.objective_.tolist(), n_iter=wrapped.n_iter_, converged=wrapped.converged_)
        return self._index(rows)

    def _index(self, rows: _Array) -> Self:
        """Hash rows into the tables: codes in order, and the rows they belong to."""
        self._indexed = self._mapped(rows)
        codes = _packed(self._heights(self._indexed) >= 0)
        self._order = np.argsort(codes, axis=1, kind="stable")
        self._codes = np.take_along_axis(codes, self._order, axis=1)
        return self

    def index(self, X: Any) -> Self:
        """Replace the rows that are searched by others (n, d), under the metric that was learned."""
        check_is_fitted(self)
        return self._index(self._rows(X, reset=False, least=1))

    def _mapped(self, rows: _Array) -> _Array:
        mapped: _Array = (rows - self._offset) @ self.components_.T
        return mapped

    def _heights(self, mapped: _Array) -> _Array:
        """Heights above the hyperplanes: (n, k) give (n_tables, n, n_bits)."""
        heights: _Array = mapped @ self.hyperplanes_.transpose(0, 2, 1)
        return heights

    def bits(self, X: Any) -> NDArray[np.bool_]:
        """The bits of rows (n, d) in every table: (n, n_tables, n_bits)."""
        check_is_fitted(self)
        heights = self._heights(self._mapped(self._rows(X, reset=False, least=1)))
        return np.ascontiguousarray((heights >= 0).transpose(1, 0, 2))

    def candidates(self, X: Any) -> list[_Codes]:
        """For each query of (n, d) the rows that share a bucket with it, ascending."""
        check_is_fitted(self)
        return self._candidates(self._mapped(self._rows(X, reset=False, least=1)))

    def _candidates(self, mapped: _Array) -> list[_Codes]:
        heights = self._heights(mapped)
        codes = _packed(heights >= 0)[:, :, None]
        if self.n_probes:
            nearest = np.argsort(np.abs(heights), axis=2)[:, :, : self.n_probes]
            codes = np.concatenate([codes, codes ^ (np.int64(1) << nearest)], axis=2)
        begin, end = np.empty_like(codes), np.empty_like(codes)
        for table, known in enumerate(self._codes):
            begin[table] = np.searchsorted(known, codes[table])
            end[table] = np.searchsorted(known, codes[table], side="right")
        found = []
        for query in range(len(mapped)):
            parts = [
                order[start:stop]
                for order, starts, stops in zip(self._order, begin[:, query], end[:, query], strict=True)
                for start, stop in zip(starts, stops, strict=True)
            ]
            found.append(np.unique(np.concatenate(parts)))
        return found

    def kneighbors(self, X: Any, *, n_neighbors: int = 5) -> Neighbours:
        """The nearest candidates of queries (n, d) by the learned distance; equal ones by position."""
        check_is_fitted(self)
        k = whole("n_neighbors", n_neighbors)
        mapped = self._mapped(self._rows(X, reset=False, least=1))
        distances = np.full((len(mapped), k), np.inf)
        positions = np.full((len(mapped), k), -1, dtype=np.int64)
        candidates = self._candidates(mapped)
        for query, rows in enumerate(candidates):
            own = np.linalg.norm(self._indexed[rows] - mapped[query], axis=1)
            nearest = np.argsort(own, kind="stable")[:k]
            distances[query, : len(nearest)], positions[query, : len(nearest)] = own[nearest], rows[nearest]
        counts = np.array([len(rows) for rows in candidates], dtype=np.int64)
        return Neighbours(distances, positions, counts)

    def collision_probability(self, A: Any, B: Any) -> _Array:
        """``1 - theta / pi`` row by row: how probably A (n, d) and B (n, d) agree in one bit, (n,)."""
        first, second = (self._mapped(rows) for rows in self._row_pairs(A, B))
        first, second = (_unit_rows(rows) for rows in (first, second))
        # By both half-angles, as arccos is blind near one.
        apart, along = (np.linalg.norm(first + sign * second, axis=1) for sign in (-1, 1))
        probability: _Array = 1 - 2 * np.arctan2(apart, along) / np.pi
        return probability

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped by L to (n, k). See :meth:`MahalanobisLearner.transform`."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False, least=1)
        mapped: _Array = rows @ self.components_.T
        return mapped

    def get_mahalanobis_matrix(self) -> _Array:
        """``M = L'L``, (d, d)."""
        check_is_fitted(self)
        matrix: _Array = self.components_.T @ self.components_
        return matrix

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """The learned distances row by row: A (n, d) and B (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        mapped = (first - second) @ self.components_.T
        distances: _Array = np.sqrt(np.einsum("ij,ij->i", mapped, mapped))
        return distances

    def to_model(self) -> Model:
        """The learned metric as a :class:`~likewise.model.Model`, without the tables."""
        check_is_fitted(self)
        model: Model = self.estimator_.to_model()
        return model

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])


def _packed(bits: NDArray[np.bool_]) -> _Codes:
    """Bits (..., n_bits) as whole numbers, the first bit the lowest."""
    powers = np.int64(1) << np.arange(bits.shape[-1], dtype=np.int64)
    return np.asarray(bits @ powers, dtype=np.int64)


def _unit_rows(rows: _Array) -> _Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0))
