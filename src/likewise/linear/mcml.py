"""MCML: a distance under which each row's neighbours are as if its class were one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.descent import DescentLearner, check_descent
from likewise.linear.matrices import symmetric
from likewise.linear.neighbours import Pull, neighbour_blocks
from likewise.linear.scatter import class_means
from likewise.linear.start import Init, scaled
from likewise.linear.supervision import class_codes

__all__ = ["MCML", "Collapse"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]


class MCML(DescentLearner):
    r"""Maximally collapsing metric learning: ``min_{A >= 0} sum_i KL(p0_i || p_i)``.

    ``p_ij`` is proportional to ``exp(-d_A(i, j))``, and ``p0_i`` uniform on the other rows of the class of
    i; so up to a constant ``sum_i (1/|C_i|) sum_{j in C_i} d_A(i, j) + sum_i log sum_{k != i}
    exp(-d_A(i, k))``. Convex in A.

    Parameters
    ----------
    n_components : int, optional
        k, the rows of L with ``A = L'L``; by default d. With fewer the problem isn't convex.
    init : "auto", "identity", "pca", "lda", "random" or array (k, d)
        See :func:`~likewise.linear.start.starting_components`.
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
    Globerson, Roweis, Metric learning by collapsing classes, NIPS 2005, equations 3 to 6. The paper takes
    gradient steps on A and projects; we descend on L, which for k = d has no other local minimum.
    ``objective_`` is the divergence itself, at least 0. A row alone in its class has no p0 and adds
    nothing, but repels others. Time O(n^2 k) a step, memory linear in n.

    >>> learner = MCML().fit([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]], [0, 0, 1, 1])
    >>> bool(learner.objective_[-1] < 1e-3)
    True
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        init: Init = "auto",
        max_iter: int = 200,
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
        if len(self.classes_) in (1, len(rows)):
            what = "1 class" if len(self.classes_) == 1 else "every row alone in its class"
            raise InputError(f"y must name two classes or more, one of them with two rows; found {what}")
        space = scaled(rows)
        return self._descend(rows, space, codes, k, Collapse.of(space.rows, codes).value)


@dataclass(frozen=True)
class Collapse:
    """The objective of MCML.

    Parameters
    ----------
    rows : float64 array (n, d)
        Centred.
    counts : int array (n,)
        How many other rows each row's class has.
    within : float64 array (d, d)
        ``sum_i (1/|C_i|) sum_{j in C_i} (x_i - x_j)(x_i - x_j)'``.
    """

    rows: _Array
    counts: _Codes
    within: _Array

    @classmethod
    def of(cls, rows: _Array, codes: _Codes) -> Collapse:
        """The part that doesn't change with A, exactly: m rows' differences sum to 2 m their scatter."""
        sizes = np.bincount(codes)[codes]
        weight = np.where(sizes > 1, 2 * sizes / np.maximum(sizes - 1, 1), 0.0)
        inner = rows - class_means(rows, codes)[codes]
        return cls(rows, sizes - 1, symmetric(inner.T @ (inner * weight[:, None])))

    def value(self, components: _Array) -> tuple[float, _Array]:
        """The divergence, and its gradient by L (k, d)."""
        mapped = self.rows @ components.T
        moved = components @ self.within
        value = float(np.sum(components * moved))
        value -= float(np.log(self.counts[self.counts > 0]).sum())
        pull = Pull(mapped)
        for block in neighbour_blocks(mapped):
            has = self.counts[block.start : block.stop] > 0
            value += float(block.log_total[has].sum())
            pull.add(block.start, block.table(), np.where(has, -1 / block.sums, 0.0))
        return value, 2 * moved + pull.gradient().T @ self.rows
