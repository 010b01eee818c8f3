"""Covariance: the Mahalanobis distance of 1936, which learns from the rows alone."""

from __future__ import annotations

from typing import Any, Self

from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import inverse_root

__all__ = ["Covariance"]


class Covariance(MahalanobisLearner):
    """``M`` is the pseudo-inverse of the covariance of all rows: the distance after whitening.

    Rows are whitened on the directions in which they vary, and the other directions are dropped: there M
    is zero. With ``n_components`` the directions of largest variance are kept (PCA whitening).

    Parameters
    ----------
    n_components : int, optional
        k; by default d.

    Notes
    -----
    P. C. Mahalanobis, On the generalised distance in statistics, 1936. The covariance is that of a sample,
    divided by n - 1.

    >>> learner = Covariance().fit([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    >>> learner.get_mahalanobis_matrix().round(4)
    array([[0.75  , 0.    ],
           [0.    , 0.1875]])
    """

    _needs_labels = False

    def __init__(self, *, n_components: int | None = None) -> None:
        self.n_components = n_components

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Learn from rows (n, d); labels are not read. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        centred = rows - rows.mean(axis=0)
        components = inverse_root(centred, k, weight=1 / (len(rows) - 1))
        return self._keep(rows, Solution(components, ()))
