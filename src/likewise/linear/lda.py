"""LDA: Fisher's discriminant directions as a distance."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.discriminant import discriminant_directions
from likewise.linear.scatter import class_means, class_scatter, mean_outer, whitened
from likewise.linear.supervision import class_codes

__all__ = ["LDA"]


class LDA(MahalanobisLearner):
    """Linear discriminant analysis: ``max_L tr((L S_w L')^-1 L S_b L')``, with ``L S_w L' = I``.

    ``S_w`` is the mean scatter of rows around their class's mean, ``S_b`` that of the class means, weighted
    by class size. Rows of L go by falling ratio of between to within.

    Parameters
    ----------
    n_components : int, optional
        k; by default the smaller of d and C - 1, as no further direction separates the C class means.
    regularization : float >= 0
        In each direction the variance within classes counts as at least this part of the rows' variance
        there; with d > n it is what keeps the inverse finite. 0 is exact and refuses a singular scatter.

    Notes
    -----
    R. A. Fisher, The use of multiple measurements in taxonomic problems, 1936; C. R. Rao, 1948.
    ``objective_`` is minus the sum of the k ratios.

    >>> X = [[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0], [1.0, 1.0], [5.0, 1.0]]
    >>> LDA().fit(X, [0, 0, 1, 1, 0, 1]).components_.round(2) + 0.0
    array([[2.12, 0.  ]])
    """

    def __init__(self, *, n_components: int | None = None, regularization: float = 1e-3) -> None:
        self.n_components = n_components
        self.regularization = regularization

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        codes, self.classes_ = class_codes(y, len(rows))
        if len(self.classes_) < 2:
            raise InputError("y must name at least two classes; found 1 class")
        white = whitened(rows)
        between = class_means(white.rows, codes)[codes]
        k = self._dimension(rows.shape[1], self.n_components)
        if self.n_components is None:
            k = min(k, len(self.classes_) - 1)
        components, ratios = discriminant_directions(
            white, class_scatter(white.rows, codes), mean_outer(between), k, least=self.regularization
        )
        return self._keep(rows, Solution(components, [-float(np.sum(ratios))]))
