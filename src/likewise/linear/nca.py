"""NCA: the chance that a random neighbour is of one's own class, as large as a linear map makes it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.descent import DescentLearner, annealed, check_descent
from likewise.linear.neighbours import Pull, class_ranges, neighbour_blocks
from likewise.linear.start import Init, scaled
from likewise.linear.supervision import class_codes

__all__ = ["NCA", "nca_objective"]

_Array = NDArray[np.float64]

_LEAST = 1e-290  # a smaller chance has no inverse


class NCA(DescentLearner):
    r"""Neighbourhood components analysis: ``max_L sum_i p_i``, ``p_i = sum_{j in C_i} p_ij``.

    ``p_ij = exp(-||L x_i - L x_j||^2) / sum_{k != i} exp(-||L x_i - L x_k||^2)``, and C_i the other rows of
    the class of row i. Not convex: the end depends on the beginning.

    Parameters
    ----------
    n_components : int, optional
        k, the rows of L; by default d. Fewer guard against over-fitting.
    init : "auto", "identity", "pca", "lda", "random" or array (k, d)
        See :func:`~likewise.linear.start.starting_components`. "auto" anneals first where rows are
        far apart (as in many dimensions): their mean squared distance under L is held at 20, 40, 80 and
        160, ten steps each, so that no row settles on one neighbour before the others were weighed. From the
        others the descent is plain.
    max_iter : int >= 1
        Steps of L-BFGS at most.
    tol : float >= 0
        Stop when a step gains less than this part of the objective.
    warm_start : bool
        Begin where the last ``fit`` ended.
    verbose : bool
        Print the objective after each step.
    random_state : int, RandomState, optional
        Of ``init="random"``.

    Notes
    -----
    Goldberger, Roweis, Hinton, Salakhutdinov, Neighbourhood components analysis, NIPS 2004, equations 1 to
    5. ``objective_`` is ``-sum_i p_i``. Sums are float64; neighbours that together hold less than 1e-12 of
    a row's probability are left out. Time O(n^2 k) a step, memory linear in n. A row alone in its class
    repels others and adds 0.

    >>> X = [[0.0, 0.0], [0.1, 3.0], [1.0, 0.1], [1.1, 3.1]]
    >>> learner = NCA().fit(X, [0, 0, 1, 1])  # the first feature tells the class
    >>> bool(learner.objective_[-1] < -3.99)
    True
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        init: Init = "auto",
        max_iter: int = 100,
        tol: float = 1e-7,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        codes, self.classes_ = class_codes(y, len(rows))
        check_descent(self.max_iter, self.tol)
        k = self._dimension(rows.shape[1], self.n_components)
        if len(self.classes_) == len(rows):
            raise InputError("y must give some class two rows; every row is alone in its class")
        space = scaled(rows)
        return self._descend(
            rows, space, codes, k, lambda L: nca_objective(L, space.rows, codes), beginning=annealed
        )


def nca_objective(components: _Array, rows: _Array, codes: NDArray[np.int64]) -> tuple[float, _Array]:
    """``-sum_i p_i`` and its gradient by L (k, d), for centred rows (n, d)."""
    order = np.argsort(codes, kind="stable")
    rows, ranges = rows[order], class_ranges(codes[order])
    mapped = rows @ components.T
    pull = Pull(mapped)
    value = 0.0
    for block in neighbour_blocks(mapped):
        own = block.own_class(ranges) / block.sums
        value -= float(own.sum())
        # The slopes, p_ij ([j in C_i] - p_i), are -p_i p_ij (1 - [j in C_i] / p_i).
        factor = np.where(own > _LEAST, 1 - 1 / np.maximum(own, _LEAST), 0.0)
        block.scale_own_class(ranges, factor)
        pull.add(block.start, block.table(), -own / block.sums)
    return value, pull.gradient().T @ rows
