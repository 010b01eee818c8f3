"""MMC: unlike pairs far apart in sum, while alike pairs stay together: learning with side information."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.descent import check_descent, descend
from likewise.linear.matrices import components_from_root
from likewise.linear.scatter import mean_outer, spectrum, whitened
from likewise.linear.supervision import known_pairs
from likewise.relations import Pairs

__all__ = ["MMC"]

_Array = NDArray[np.float64]

_SMALLEST = 1e-12  # of a feature's weight, of a sum of 1: at 0 the root's slope has no end


class MMC(MahalanobisLearner):
    r"""Mahalanobis metric for clustering: ``max_A sum_D sqrt(d_A)`` with ``sum_S d_A <= 1``, ``A >= 0``.

    S and D are the alike and the unlike pairs, d_A the squared distance; the root keeps the optimum from
    rank one. With ``diagonal`` A is diagonal: weights of features.

    Parameters
    ----------
    diagonal : bool
        Learn weights of features only.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike; by default ``20 C^2`` of each.
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of A.
    regularization : float >= 0
        In each direction alike pairs count as at least this far apart, as a part of the rows' variance
        there; where alike pairs don't differ at all, the problem has no end otherwise.
    max_iter : int >= 1
        Steps of L-BFGS at most.
    tol : float >= 0
        ``converged_`` says that the objective is within this part of the optimum.
    warm_start : bool
        Begin from the last result; not with ``diagonal``.
    verbose : bool
        Print the objective after each step.
    random_state : int, RandomState, optional
        Of the pairs drawn from labels.

    Attributes
    ----------
    gap_ : float
        By what part at most the optimum is larger: a bound from the dual, not an estimate.

    Notes
    -----
    Xing, Ng, Jordan, Russell, Distance metric learning with application to clustering with
    side-information, NIPS 2002, equations 3 to 8. The paper ascends and projects. We descend on L in
    coordinates in which ``sum_S d_A`` is ``||L||^2``; for A diagonal the problem is the paper's, by bounded
    L-BFGS instead of Newton. ``objective_`` is ``-sum_D sqrt(d_A)``. Unlike pairs of equal rows are left
    out: their distance is 0 under every A.

    >>> pairs = Pairs([0, 0, 0, 1], [1, 2, 3, 3], [True, True, False, False])
    >>> X = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]
    >>> learner = MMC(diagonal=True).fit(X, pairs=pairs)
    >>> learner.get_mahalanobis_matrix().trace().round(6)  # sum_S d_A
    np.float64(1.0)
    """

    def __init__(
        self,
        *,
        diagonal: bool = False,
        n_pairs: int | None = None,
        n_components: int | None = None,
        regularization: float = 1e-3,
        max_iter: int = 500,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.diagonal = diagonal
        self.n_pairs = n_pairs
        self.n_components = n_components
        self.regularization = regularization
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from rows and labels, or rows and pairs. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        check_descent(self.max_iter, self.tol)
        known = known_pairs(len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state)
        white = whitened(rows)
        same = known.same.numpy()
        spaces = rows if self.diagonal else white.rows
        differences = spaces[known.left.numpy()] - spaces[known.right.numpy()]
        alike, unlike = differences[same], differences[~same]
        unlike = unlike[np.abs(unlike).max(axis=1) > 0]
        if not len(unlike):
            raise InputError("too few pairs: no unlike pair of two different rows")
        if self.diagonal:
            return self._keep(rows, self._by_feature(rows, alike, unlike, k))
        values, vectors = spectrum(mean_outer(alike), self.regularization, "of alike pairs")
        # In these coordinates sum_S d_A is ||L||^2.
        turn = vectors / np.sqrt(values * len(alike))
        start = np.eye(len(values))
        if self.warm_start and hasattr(self, "components_"):
            back = np.linalg.lstsq((turn.T @ white.map).T, self.components_.T, rcond=None)[0].T
            # A little of everything, so that directions the last result had dropped can come back.
            start = components_from_root(back.astype(np.float64), len(values)) + 1e-6 * start
        found = descend(
            lambda components: _spread(components, unlike @ turn),
            start,
            max_iter=self.max_iter,
            tol=1e-3 * self.tol**2,
            progress=self._progress(),
            told=lambda value: -float(np.exp(-value)),
        )
        root = found.components / float(np.linalg.norm(found.components))
        self.gap_ = _gap(root, unlike @ turn)
        components = components_from_root(root @ turn.T @ white.map, k)
        return self._keep(rows, Solution(components, found.objective, self.gap_ <= self.tol, found.n_iter))

    def _by_feature(self, rows: _Array, alike: _Array, unlike: _Array, k: int) -> Solution:
        variance = rows.var(axis=0)
        live = variance > 0
        sums = np.maximum((alike**2).sum(axis=0), self.regularization * len(alike) * variance)[live]
        if not (sums > 0).all():
            raise InputError("alike pairs don't differ in some feature; give regularization > 0")
        squares = unlike[:, live] ** 2 / sums
        squares = squares[squares.max(axis=1) > 0]
        weights, solution = _diagonal(squares, self.max_iter, self.tol, self._progress())
        distances = np.sqrt(squares @ weights)
        gradient = 0.5 * (squares / distances[:, None]).sum(axis=0)
        self.gap_ = float(gradient.max() / (gradient @ weights) - 1) / 2
        scales = np.zeros(rows.shape[1])
        scales[live] = np.sqrt(weights / sums)
        components = components_from_root(np.diag(scales), k)
        return Solution(components, solution.objective, self.gap_ <= self.tol, solution.n_iter)


def _spread(components: _Array, unlike: _Array) -> tuple[float, _Array]:
    """``-log(sum_D ||L z|| / ||L||)`` and its gradient."""
    mapped = unlike @ components.T
    lengths = np.sqrt(np.einsum("ij,ij->i", mapped, mapped))
    total, norm = float(lengths.sum()), float(np.linalg.norm(components))
    directions = mapped / np.maximum(lengths, np.finfo(np.float64).tiny)[:, None]
    return float(np.log(norm) - np.log(total)), components / norm**2 - directions.T @ unlike / total


def _gap(root: _Array, unlike: _Array) -> float:
    """By what part the optimum can be larger, for a root of norm 1.

    The sum is concave in A, so by its gradient G it is at most ``h + max_{tr B <= 1} <G, B> - <G, A>``, and
    ``<G, A> = h / 2``.
    """
    mapped = unlike @ root.T
    lengths = np.sqrt(np.einsum("ij,ij->i", mapped, mapped))
    weighted = unlike / np.sqrt(np.maximum(lengths, np.finfo(np.float64).tiny))[:, None]
    largest = float(np.linalg.eigvalsh(0.5 * weighted.T @ weighted)[-1])
    total = float(lengths.sum())
    return (largest - total / 2) / total


def _diagonal(squares: _Array, max_iter: int, tol: float, progress: Progress) -> tuple[_Array, Solution]:
    """Weights (d,) >= 0 of sum 1 with the largest ``sum_D sqrt(squares @ weights)``."""

    def function(weights: _Array) -> tuple[float, _Array]:
        lengths = np.sqrt(np.maximum(squares @ weights, np.finfo(np.float64).tiny))
        total = float(lengths.sum())
        return float(weights.sum() - np.log(total)), 1 - 0.5 * (squares / lengths[:, None]).sum(
            axis=0
        ) / total

    def after_step(intermediate_result: Any) -> None:
        weights = intermediate_result.x
        progress.add(-float(np.sqrt(squares @ (weights / weights.sum())).sum()))

    d = squares.shape[1]
    found = scipy.optimize.minimize(
        function,
        np.full(d, 0.5 / d),
        jac=True,
        method="L-BFGS-B",
        bounds=[(_SMALLEST, None)] * d,
        callback=after_step,
        options={
            "maxiter": int(max_iter),
            "maxfun": 10 * int(max_iter),
            "ftol": 1e-3 * tol**2,
            "gtol": 1e-10,
        },
    )
    weights = np.maximum(found.x, 0)
    weights /= weights.sum()
    values = progress.values or [-float(np.sqrt(squares @ weights).sum())]
    return weights, Solution(np.diag(weights), values, n_iter=max(1, int(found.nit)))
