"""KISSME: how much likelier a difference is among unlike pairs than among alike ones."""

from __future__ import annotations

from typing import Any, Self

from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import components_from_matrix
from likewise.linear.pair_scatters import ScatterPowers, known_scatters
from likewise.linear.scatter import whitened
from likewise.relations import Pairs

__all__ = ["KISSME"]


class KISSME(MahalanobisLearner):
    """Keep it simple and straightforward: ``M`` is the positive part of ``S^-1 - D^-1``.

    S and D are the means of ``(x - z)(x - z)'`` over pairs alike and unlike; ``v'(S^-1 - D^-1)v`` is, up to
    a constant, twice the log-likelihood ratio of unlike to alike for Gaussian differences v.

    Parameters
    ----------
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of M.
    regularization : float >= 0
        In each direction S and D count as at least this part of the rows' variance there.

    Notes
    -----
    Koestinger, Hirzer, Wohlhart, Roth, Bischof, Large scale metric learning from equivalence constraints,
    CVPR 2012, equation 15. From labels all pairs are used, exactly and without drawing. M is zero in every
    direction in which unlike pairs are nearer than alike ones.

    >>> learner = KISSME().fit([[0.0], [1.0], [2.0]], pairs=Pairs([0, 0], [1, 2], [True, False]))
    >>> learner.get_mahalanobis_matrix().round(6)  # 1/1 - 1/4
    array([[0.75]])
    """

    def __init__(self, *, n_components: int | None = None, regularization: float = 1e-3) -> None:
        self.n_components = n_components
        self.regularization = regularization

    def fit(self, X: Any, y: Any = None, *, pairs: Pairs | None = None) -> Self:
        """Learn from rows and labels (all pairs), or rows and pairs. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        white = whitened(rows)
        scatters = known_scatters(white.rows, y, pairs)
        alike = ScatterPowers(scatters[0], self.regularization, "of alike pairs")
        unlike = ScatterPowers(scatters[1], self.regularization, "of unlike pairs")
        matrix = white.map.T @ (alike.inverse - unlike.inverse) @ white.map
        return self._keep(rows, Solution(components_from_matrix(matrix, k), ()))
