"""LowRankITML: information-theoretic metric learning in a small subspace of very many features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.bregman import BoundedPairs, solve_dual
from likewise.linear.descent import check_descent
from likewise.linear.itml import default_bounds
from likewise.linear.options import number, one_of, whole
from likewise.linear.supervision import known_pairs
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs

__all__ = ["LowRankITML"]

_Array = NDArray[np.float64]

_MOST_FOR_IDENTITY = 5000


class LowRankITML(MahalanobisLearner):
    """:class:`ITML` on an r-dimensional basis U: ``A = U B U'``, or ``I + U (B - I) U'`` with ``identity``.

    The LogDet divergence of such A from ``U U'`` (or from I) is that of B (r, r) from I, so the problem is
    r x r however many features there are (Davis and Dhillon). What a difference has outside of the
    basis is dropped, or, with ``identity``, stays in its distance, where no B can change it.

    Parameters
    ----------
    rank : int >= 1
        r; at most the number of features and of rows.
    basis : "pca", "data" or array (r, d)
        U: leading singular directions of X as it is (centred where it isn't sparse), r rows drawn, or
        given; made orthonormal.
    identity : bool
        Keep the identity outside of U; then ``components_`` is (d, d), and at most 5,000 features are taken.
    gamma : float > 0
        Weight of keeping the bounds; ``inf`` keeps them exactly.
    bounds : (u, l), optional
        Squared distances; by default percentiles of those within the basis, as for ITML.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike; by default ``20 C^2`` of each.
    max_iter, tol, warm_start, verbose, random_state :
        As for :class:`ITML`; ``random_state`` also draws the basis.

    Attributes
    ----------
    basis_ : float64 array (r, d)
        U', orthonormal rows.
    bounds_ : tuple of float
    multipliers_ : float64 array (m,)

    Notes
    -----
    J. V. Davis, I. S. Dhillon, Structured metric learning for high dimensional problems, KDD 2008. X may be
    sparse.

    >>> pairs = Pairs([0, 0], [1, 2], [True, False])
    >>> learner = LowRankITML(rank=1, basis=[[1.0, 0.0]], gamma=float("inf"), bounds=(1.0, 8.0))
    >>> learner.fit([[0.0, 0.0], [2.0, 0.0], [9.0, 2.0]], pairs=pairs).get_mahalanobis_matrix().round(6)
    array([[0.25, 0.  ],
           [0.  , 0.  ]])
    """

    _takes_sparse = True

    multipliers_: _Array

    def __init__(
        self,
        *,
        rank: int = 10,
        basis: Any = "pca",
        identity: bool = False,
        gamma: float = 1.0,
        bounds: tuple[float, float] | None = None,
        n_pairs: int | None = None,
        max_iter: int = 200,
        tol: float = 1e-6,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.rank = rank
        self.basis = basis
        self.identity = identity
        self.gamma = gamma
        self.bounds = bounds
        self.n_pairs = n_pairs
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from labels, or from ``pairs=``; X may be sparse. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        check_descent(self.max_iter, self.tol)
        gamma = np.inf if self.gamma == np.inf else number("gamma", self.gamma, above=0)
        if self.identity and rows.shape[1] > _MOST_FOR_IDENTITY:
            raise InputError(
                f"identity=True keeps d x d numbers: X must have at most {_MOST_FOR_IDENTITY} features; "
                f"found {rows.shape[1]}; take identity=False"
            )
        known = known_pairs(
            rows.shape[0], y, pairs, n_pairs=self.n_pairs, random_state=self.random_state, alike=0, unlike=0
        )
        self.basis_ = self._basis(rows)
        mapped = np.asarray(rows @ self.basis_.T)
        left, right, same = (part.numpy() for part in (known.left, known.right, known.same))
        differences = mapped[left] - mapped[right]
        rest = self._outside(rows, left, right) if self.identity else np.zeros(len(left))
        self.bounds_ = self._bounds(mapped)
        bounds = np.where(same, *self.bounds_)
        squares = np.einsum("ij,ij->i", differences, differences)
        largest = float(squares.max(initial=0.0))
        apart = squares > 1e-24 * largest
        if not apart.any():
            raise InputError("too few pairs: no pair of two rows that differ within the basis")
        bounded = BoundedPairs(
            (differences / np.sqrt(bounds)[:, None])[apart],
            np.where(same, 1.0, -1.0)[apart],
            gamma,
            (rest / bounds)[apart],
        )
        last = getattr(self, "multipliers_", None) if self.warm_start else None
        start = np.zeros(int(apart.sum())) if last is None or last.shape != same.shape else last[apart]
        progress = self._progress()
        dual, converged = solve_dual(bounded, start, max_iter=self.max_iter, tol=self.tol, progress=progress)
        self.multipliers_ = np.zeros(len(same))
        self.multipliers_[apart] = dual.u
        r = len(self.basis_)
        root = scipy.linalg.solve_triangular(dual.root, np.eye(r), lower=True)  # root' root = B
        components = root @ self.basis_
        if self.identity:
            # B^(1/2) within the basis and I without it; the symmetric root is the one that joins them.
            values, vectors = scipy.linalg.eigh(root.T @ root)
            half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
            components = np.eye(rows.shape[1]) + self.basis_.T @ (half - np.eye(r)) @ self.basis_
        return self._keep(rows, Solution(components, progress.values or [dual.value], converged))

    def _basis(self, rows: Any) -> _Array:
        """Orthonormal rows (r, d); fewer than asked for where rows span less."""
        n, d = rows.shape
        if isinstance(self.basis, str):
            one_of("basis", self.basis, ["pca", "data"])
            r = min(whole("rank", self.rank), n, d)
            generator = generator_from(self.random_state)
            if self.basis == "data":
                chosen = rows[np.sort(generator.permutation(n)[:r])]
                given = chosen if isinstance(chosen, np.ndarray) else chosen.toarray()
            elif r < min(n, d) and not isinstance(rows, np.ndarray):
                start = generator.standard_normal(min(n, d))
                given = scipy.sparse.linalg.svds(rows, k=r, v0=start)[2][::-1]
            else:
                dense = rows - rows.mean(axis=0) if isinstance(rows, np.ndarray) else rows.toarray()
                given = scipy.linalg.svd(dense, full_matrices=False, check_finite=False)[2][:r]
        else:
            given = np.array(self.basis, dtype=np.float64)
            if given.ndim != 2 or given.shape[1] != d or not len(given) or not np.isfinite(given).all():
                raise InputError(f"basis must be finite, of shape (r, {d}); found shape {given.shape}")
        _, values, turned = scipy.linalg.svd(given, full_matrices=False, check_finite=False)
        kept = values > 1e-10 * values[0]
        if not kept.any():
            raise InputError("basis must span something; all its rows are zero")
        return np.ascontiguousarray(turned[kept])

    def _outside(self, rows: Any, left: NDArray[np.int64], right: NDArray[np.int64]) -> _Array:
        """Squared distances of pairs outside of the basis, (m,)."""
        dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
        differences = dense[left] - dense[right]
        differences = differences - (differences @ self.basis_.T) @ self.basis_
        return np.asarray(np.einsum("ij,ij->i", differences, differences))

    def _bounds(self, mapped: _Array) -> tuple[float, float]:
        if self.bounds is None:
            return default_bounds(mapped, self.random_state)
        try:
            near, far = self.bounds
        except (TypeError, ValueError) as error:
            raise InputError(f"bounds must be two numbers (u, l); found {self.bounds!r}") from error
        return number("bounds[0]", near, above=0), number("bounds[1]", far, above=0)
