"""RCA: whiten what varies within groups known to be alike."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.matrices import signed_columns
from likewise.linear.scatter import class_scatter, spectrum, whitened
from likewise.linear.supervision import joined_by, known_chunklets, known_pairs
from likewise.relations import Chunklets, Pairs

__all__ = ["RCA"]


class RCA(MahalanobisLearner):
    """Relevant component analysis: ``M = C^-1``, ``C = (1/n) sum_j sum_i (x_ji - m_j)(x_ji - m_j)'``.

    The sums go over chunklets j and their rows i, n rows in all; m_j is a chunklet's mean.

    Parameters
    ----------
    n_components : int, optional
        k; by default d. Fewer keep the directions in which rows vary most compared with chunklets.
    regularization : float >= 0
        In each direction the variance within chunklets counts as at least this part of the rows' variance
        there. 0 is exact and refuses a singular C.
    chunk_size : int >= 2, optional
        From labels: cut classes at random into chunklets of so many rows. By default each class is one.
    random_state : int, RandomState, optional
        Of that cut.

    Notes
    -----
    Bar-Hillel, Hertz, Shental, Weinshall, Learning a Mahalanobis metric from equivalence constraints,
    JMLR 2005, section 3. Where the rows lie in a subspace, M is zero outside it.

    >>> learner = RCA().fit([[0.0, 0.0], [2.0, 0.0], [5.0, 0.0], [5.0, 4.0]], chunklets=[0, 0, 1, 1])
    >>> learner.get_mahalanobis_matrix().round(4) + 0.0
    array([[2. , 0. ],
           [0. , 0.5]])
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        regularization: float = 1e-3,
        chunk_size: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.regularization = regularization
        self.chunk_size = chunk_size
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, chunklets: Chunklets | None = None, pairs: Pairs | None = None
    ) -> Self:
        """Learn from rows and labels, or chunklets, or pairs (those alike are joined to chunklets)."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        if pairs is not None and chunklets is None:
            groups = joined_by(known_pairs(len(rows), None, pairs, unlike=0), len(rows))
        else:
            groups = known_chunklets(
                len(rows), y, chunklets, chunk_size=self.chunk_size, random_state=self.random_state
            )
        white = whitened(rows)
        values, vectors = spectrum(class_scatter(white.rows, groups), self.regularization, "within chunklets")
        found = signed_columns(((vectors / np.sqrt(values)).T @ white.map).T).T
        components = np.zeros((k, rows.shape[1]))
        components[: min(k, len(found))] = found[:k]
        return self._keep(rows, Solution(components, ()))
