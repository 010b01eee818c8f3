"""MLKR: the map under which kernel regression predicts best, leaving one out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.descent import DescentLearner, check_descent, shortened
from likewise.linear.neighbours import Pull, neighbour_blocks
from likewise.linear.start import Init, scaled
from likewise.linear.supervision import targets_of

__all__ = ["MLKR", "regression_error"]

_Array = NDArray[np.float64]


class MLKR(DescentLearner):
    r"""Metric learning for kernel regression: ``min_L sum_i (y_i - yhat_i)^2``.

    ``yhat_i = sum_{j != i} k_ij y_j / sum_{j != i} k_ij`` with ``k_ij = exp(-||L x_i - L x_j||^2)``. Not
    convex: the end depends on the beginning.

    Parameters
    ----------
    n_components : int, optional
        k, the rows of L; by default d.
    init : "auto", "identity", "pca", "random" or array (k, d)
        See :func:`~likewise.linear.start.starting_components`. "auto" also tries, for ten steps, an L so
        short that rows' mean squared distance is 20, and goes on from the lower of the two.
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
    Weinberger, Tesauro, Metric learning for kernel regression, AISTATS 2007, equations 4 to 6. Sums are
    float64; neighbours that together hold less than 1e-12 of a row's weight are left out. Time O(n^2 k) a
    step, memory linear in n.

    >>> X = [[0.0, 5.0], [0.0, 1.0], [2.0, 5.1], [2.0, 1.1]]
    >>> learner = MLKR().fit(X, [0.0, 0.0, 1.0, 1.0])  # the first feature decides
    >>> bool(learner.objective_[-1] < 1e-3)
    True
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        init: Init = "auto",
        max_iter: int = 200,
        tol: float = 1e-8,
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
        """Learn from rows (n, d) and numbers to predict (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        targets = targets_of(y, len(rows))
        check_descent(self.max_iter, self.tol)
        k = self._dimension(rows.shape[1], self.n_components)
        largest = float(np.abs(targets - targets.mean()).max())
        if largest == 0:
            raise InputError("y must vary: all its numbers are equal")
        spread = largest * float(np.std(targets / largest))
        standard = (targets - targets.mean()) / spread
        space = scaled(rows)
        return self._descend(
            rows,
            space,
            None,
            k,
            lambda L: regression_error(L, space.rows, standard),
            beginning=shortened,
            told=lambda value: value * spread**2,
        )


def regression_error(components: _Array, rows: _Array, targets: _Array) -> tuple[float, _Array]:
    """``sum_i (y_i - yhat_i)^2`` and its gradient by L (k, d), for centred rows (n, d)."""
    mapped = rows @ components.T
    pull = Pull(mapped)
    value = 0.0
    for block in neighbour_blocks(mapped):
        own, others = targets[block.start : block.stop], block.of_columns(targets)
        predicted = block.table() @ targets / block.sums
        error = own - predicted
        value += float(error @ error)
        block.weights *= others - block.of_rows(predicted)
        pull.add(block.start, block.table(), 2 * error / block.sums)
    return value, pull.gradient().T @ rows
