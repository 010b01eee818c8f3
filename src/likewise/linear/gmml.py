"""GMML: the distance half-way between what pulls alike pairs together and what holds unlike ones apart."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.linalg

from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import components_from_root
from likewise.linear.options import number
from likewise.linear.pair_scatters import ScatterPowers, known_scatters
from likewise.linear.scatter import whitened
from likewise.relations import Pairs

__all__ = ["GMML"]


class GMML(MahalanobisLearner):
    """Geometric mean metric learning: ``min_{M>0} tr(M S) + tr(M^-1 D)``, so ``M = S^-1 # D``.

    S and D are the means of ``(x - z)(x - z)'`` over pairs alike and unlike, and ``A #_t B`` is
    ``A^1/2 (A^-1/2 B A^-1/2)^t A^1/2``; at t = 1/2 it solves ``M S M = D``.

    Parameters
    ----------
    t : float in [0, 1]
        0 looks at alike pairs alone (``S^-1``), 1 at unlike pairs alone (``D``).
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of M.
    regularization : float >= 0
        In each direction S and D count as at least this part of the rows' variance there.

    Notes
    -----
    Zadeh, Hosseini, Sra, Geometric mean metric learning, ICML 2016, equations 5, 9 and 13; they sum where
    we average, which scales M only. From labels all pairs are used, exactly and without drawing.
    ``objective_`` is ``tr(M S) + tr(M^-1 D)`` in the rows' own subspace. M doesn't follow a change of the
    features' units, so scale them first.

    >>> learner = GMML().fit([[0.0], [1.0], [4.0]], pairs=Pairs([0, 0], [1, 2], [True, False]))
    >>> learner.get_mahalanobis_matrix().round(6)  # M * 1 * M = 16
    array([[4.]])
    """

    def __init__(
        self, *, t: float = 0.5, n_components: int | None = None, regularization: float = 1e-3
    ) -> None:
        self.t = t
        self.n_components = n_components
        self.regularization = regularization

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from rows and labels (all pairs), or rows and pairs. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        t = number("t", self.t, least=0, most=1)
        white = whitened(rows)
        scatters = known_scatters(white.rows, y, pairs)
        alike = ScatterPowers(scatters[0], self.regularization, "of alike pairs")
        unlike = ScatterPowers(scatters[1], self.regularization, "of unlike pairs")
        # M isn't equivariant (it has no unit), so the mean is taken in the features' own lengths:
        # with S = R R', R = Q diag(lengths) alike^1/2, M is R'^-1 (R' D R)^t R^-1, by singular values.
        lengths = 1 / np.linalg.norm(white.map, axis=1)
        _, values, turn = scipy.linalg.svd((unlike.root * lengths**2) @ alike.root)
        root = (values[:, None] ** t * turn) @ (alike.inverse_root @ white.map)
        value = float((values ** (2 * t)).sum() + (values ** (2 - 2 * t)).sum())
        return self._keep(rows, Solution(components_from_root(root, k), [value]))
