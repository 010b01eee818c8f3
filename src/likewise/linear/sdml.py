"""SDML: a sparse matrix, near to a prior, that draws alike pairs together and unlike ones apart."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.descent import check_descent
from likewise.linear.matrices import components_from_matrix, symmetric
from likewise.linear.options import number
from likewise.linear.priors import prior_root
from likewise.linear.scatter import mean_outer
from likewise.linear.start import scaled
from likewise.linear.supervision import known_pairs
from likewise.relations import Pairs

__all__ = ["SDML", "sparse_inverse"]

_Array = NDArray[np.float64]

_LEAST = 0.01


class SDML(MahalanobisLearner):
    r"""Sparse determinant metric learning: ``min_M tr(P M) - logdet M + lambda |M|_1``, off the diagonal.

    ``P = M0^-1 + eta (S - D)``, S and D the means of ``(x - z)(x - z)'`` over alike and unlike pairs.
    Convex; many entries of M are exactly zero.

    Parameters
    ----------
    balance : float >= 0
        eta, the weight of pairs against the prior.
    sparsity : float >= 0
        lambda.
    prior : "identity", "covariance" or array (d, d)
        M0: I for rows divided by the root of their features' mean variance, the inverse covariance, or a
        positive definite matrix for rows as given.
    n_pairs : int, optional
        From labels: so many pairs alike and unlike; by default ``20 C^2`` of each.
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of M.
    max_iter : int >= 1
        Steps at most.
    tol : float >= 0
        Stop when no entry breaks the conditions of the optimum by more.
    warm_start : bool
        Begin from the last result.
    verbose : bool
        Print the objective every ten steps.
    random_state : int, RandomState, optional
        Of the pairs drawn from labels.

    Attributes
    ----------
    balance_ : float
        eta as used. Where unlike pairs outweigh the prior in some direction, the objective has no lower
        end; then eta is lowered until the smallest eigenvalue of P is 0.01 of the prior's.

    Notes
    -----
    Qi, Tang, Zha, Chua, Zhang, An efficient sparse metric learning in high-dimensional space via
    l1-penalized log-determinant regularization, ICML 2009, equation 4; they sum over pairs where we
    average. lambda is in units of rows divided by the root of their mean variance. Solved by ADMM.

    >>> X = [[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    >>> learner = SDML(sparsity=0.1).fit(X, [0, 0, 1, 1])
    >>> M = learner.get_mahalanobis_matrix()
    >>> bool(M[0, 0] > 2 * M[1, 1]), bool(abs(M[0, 1]) < 1e-9)
    (True, True)
    """

    def __init__(
        self,
        *,
        balance: float = 0.5,
        sparsity: float = 0.01,
        prior: Literal["identity", "covariance"] | Any = "identity",
        n_pairs: int | None = None,
        n_components: int | None = None,
        max_iter: int = 2000,
        tol: float = 1e-6,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.balance = balance
        self.sparsity = sparsity
        self.prior = prior
        self.n_pairs = n_pairs
        self.n_components = n_components
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
        balance = number("balance", self.balance, least=0)
        sparsity = number("sparsity", self.sparsity, least=0)
        known = known_pairs(
            len(rows), y, pairs, n_pairs=self.n_pairs, random_state=self.random_state, alike=0, unlike=0
        )
        space = scaled(rows)
        root = prior_root(self.prior, space)
        same = known.same.numpy()
        differences = space.rows[known.left.numpy()] - space.rows[known.right.numpy()]
        loss = mean_outer(differences[same]) - mean_outer(differences[~same])
        smallest = float(scipy.linalg.eigh(root @ loss @ root.T, eigvals_only=True)[0])
        self.balance_ = balance if smallest >= 0 else min(balance, (1 - _LEAST) / -smallest)
        back = np.linalg.inv(root)
        target = symmetric(back @ back.T + self.balance_ * loss)
        start = np.eye(len(root))
        if self.warm_start and hasattr(self, "components_"):
            start = self.get_mahalanobis_matrix() * space.unit**2
        progress = self._progress()
        matrix, converged, steps = sparse_inverse(
            target, sparsity, start, max_iter=self.max_iter, tol=self.tol, progress=progress
        )
        components = components_from_matrix(matrix, k) / space.unit
        return self._keep(rows, Solution(components, progress.values, converged, steps))


def sparse_inverse(
    target: _Array, sparsity: float, start: _Array, *, max_iter: int, tol: float, progress: Progress
) -> tuple[_Array, bool, int]:
    """``argmin_M tr(P M) - logdet M + lambda sum_{i != j} |M_ij|``, whether reached, and the steps.

    ADMM, whose sparse half is returned; ``tol`` is for the conditions of the optimum:
    ``P - M^-1 = -lambda sign(M)`` off the diagonal where M isn't zero, within lambda where it is, and
    ``P - M^-1 = 0`` on the diagonal.
    """
    d = len(target)
    off = ~np.eye(d, dtype=bool)
    sparse, dual, penalty = start.copy(), np.zeros((d, d)), 1.0
    best = start
    for step in range(1, max_iter + 1):
        values, vectors = scipy.linalg.eigh(penalty * (sparse - dual) - target, check_finite=False)
        values = (values + np.sqrt(values**2 + 4 * penalty)) / (2 * penalty)
        smooth = (vectors * values) @ vectors.T
        before = sparse
        sparse = symmetric(smooth + dual)
        shrunk = np.sign(sparse) * np.maximum(np.abs(sparse) - sparsity / penalty, 0)
        sparse = np.where(off, shrunk, sparse)
        dual = dual + smooth - sparse
        if step % 10 == 0 or step == max_iter:
            best, broken = _judged(sparse, smooth, target, sparsity, off, progress)
            if broken <= tol:
                return best, True, step
            # Both residuals should fall together.
            apart = float(np.linalg.norm(smooth - sparse))
            moved = penalty * float(np.linalg.norm(sparse - before))
            factor = 2.0 if apart > 5 * moved else 0.5 if moved > 5 * apart else 1.0
            penalty, dual = penalty * factor, dual / factor
    return best, False, max_iter


def _judged(
    sparse: _Array, smooth: _Array, target: _Array, sparsity: float, off: _Array, progress: Progress
) -> tuple[_Array, float]:
    """The sparse iterate where it is positive definite, else the smooth one, and what it breaks."""
    try:
        root = scipy.linalg.cholesky(sparse, lower=True)
        matrix = sparse
    except scipy.linalg.LinAlgError:
        root, matrix = scipy.linalg.cholesky(symmetric(smooth), lower=True), symmetric(smooth)
    inverse = scipy.linalg.cho_solve((root, True), np.eye(len(target)))
    gradient = target - inverse
    free = np.maximum(np.abs(gradient) - sparsity, 0)
    bound = np.abs(gradient + sparsity * np.sign(matrix))
    broken = np.where(off, np.where(matrix == 0, free, bound), np.abs(gradient))
    value = float(np.sum(target * matrix)) - 2 * float(np.log(np.diag(root)).sum())
    progress.add(value + sparsity * float(np.abs(matrix[off]).sum()))
    return matrix, float(broken.max())
