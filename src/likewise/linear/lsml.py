"""LSML: one pair nearer than another, as comparisons, by least squared residuals."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.descent import check_descent, descend
from likewise.linear.matrices import components_from_root
from likewise.linear.options import number
from likewise.linear.priors import prior_root
from likewise.linear.start import scaled
from likewise.linear.supervision import known_quadruplets
from likewise.relations import Quadruplets

__all__ = ["LSML"]

_Array = NDArray[np.float64]

_FINER = 8.0  # L-BFGS begins with a step of length 1, which on L itself could end on a singular matrix


class LSML(MahalanobisLearner):
    r"""Least squared-residual metric learning from comparisons of two pairs. Convex.

    ``min_M (1/m) sum [sqrt(d_M(a, b)) - sqrt(d_M(c, d))]_+^2 + lambda D(M, M0)`` over m comparisons that
    say ``d(a, b) < d(c, d)``; d_M is squared, and ``D(M, M0) = tr(M M0^-1) - logdet(M M0^-1) - d``.

    Parameters
    ----------
    regularization : float > 0
        lambda.
    prior : "identity", "covariance" or array (d, d)
        M0: I for rows divided by the root of their features' mean variance, the inverse covariance, or a
        positive definite matrix for rows as given.
    n_quadruplets : int, optional
        Drawn from labels, an alike against an unlike pair each; by default ``20 C^2``.
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of M.
    max_iter : int >= 1
        Steps of L-BFGS at most.
    tol : float >= 0
        Stop when a step gains less than this part of the objective.
    warm_start : bool
        Begin where the last ``fit`` ended.
    verbose : bool
        Print the objective after each step.
    random_state : int, RandomState, optional
        Of the comparisons drawn from labels.

    Notes
    -----
    Liu, Guo, Zhou, Pu, Metric learning from relative comparisons by minimizing squared residual, ICDM
    2012, equations 4 and 5. M is positive definite. A comparison with a far pair of equal rows can't be
    met; it pulls its near pair together.

    >>> X = [[0.0, 0.0], [0.0, 2.0], [1.0, 0.0]]
    >>> learner = LSML(regularization=0.01).fit(X, quadruplets=Quadruplets([0], [1], [0], [2]))
    >>> bool(learner.pair_distance([X[0]], [X[1]]) < 1.1 * learner.pair_distance([X[0]], [X[2]]))
    True
    """

    def __init__(
        self,
        *,
        regularization: float = 1.0,
        prior: Literal["identity", "covariance"] | Any = "identity",
        n_quadruplets: int | None = None,
        n_components: int | None = None,
        max_iter: int = 500,
        tol: float = 1e-10,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.regularization = regularization
        self.prior = prior
        self.n_quadruplets = n_quadruplets
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, quadruplets: Quadruplets | None = None) -> Self:
        """Learn from rows and labels, or rows and comparisons. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        check_descent(self.max_iter, self.tol)
        weight = number("regularization", self.regularization, above=0)
        known = known_quadruplets(
            len(rows), y, quadruplets, n_quadruplets=self.n_quadruplets, random_state=self.random_state
        )
        space = scaled(rows)
        root = prior_root(self.prior, space)
        # M0 = root'root, so in the rows' image under root the prior is the identity.
        seen = space.rows @ root.T
        near = seen[known.left.numpy()] - seen[known.right.numpy()]
        far = seen[known.far_left.numpy()] - seen[known.far_right.numpy()]
        start = np.eye(len(root))
        if self.warm_start and hasattr(self, "components_"):
            if self.components_.shape != start.shape:
                raise InputError("warm_start needs a fit with all components; fit a clone")
            start = self.components_ @ np.linalg.inv(root) * space.unit

        def finer(components: _Array) -> tuple[float, _Array]:
            value, gradient = _residuals(components / _FINER, near, far, weight)
            return value, gradient / _FINER

        found = descend(
            finer,
            _FINER * start,
            max_iter=self.max_iter,
            tol=self.tol,
            progress=self._progress(),
        )
        components = components_from_root(found.components @ root / (_FINER * space.unit), k)
        return self._keep(rows, Solution(components, found.objective, found.converged, found.n_iter))


def _residuals(components: _Array, near: _Array, far: _Array, weight: float) -> tuple[float, _Array]:
    """The objective for M0 = I, and its gradient by L (d, d)."""
    near_mapped, far_mapped = near @ components.T, far @ components.T
    a = np.sqrt(np.einsum("ij,ij->i", near_mapped, near_mapped))
    b = np.sqrt(np.einsum("ij,ij->i", far_mapped, far_mapped))
    broken = a > b
    gap = np.where(broken, a - b, 0.0)
    value = float(gap @ gap) / len(near)
    tiny = np.finfo(np.float64).tiny
    by_near, by_far = gap / np.maximum(a, tiny), np.where(b > 0, -gap / np.maximum(b, tiny), 0.0)
    gradient = (near_mapped * by_near[:, None]).T @ near + (far_mapped * by_far[:, None]).T @ far
    _, logdet = np.linalg.slogdet(components)
    if not np.isfinite(logdet):
        return np.inf, gradient
    value += weight * (float(np.sum(components**2)) - 2 * float(logdet) - len(components))
    gradient = 2 * gradient / len(near) + 2 * weight * (components - np.linalg.inv(components).T)
    return value, gradient
