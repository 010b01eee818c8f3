"""GradientBoostedLMNN: a non-linear map, grown tree by tree down the slope of LMNN's objective."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.lmnn import LMNN, LargeMargin
from likewise.linear.options import number, whole
from likewise.linear.start import scaled
from likewise.linear.supervision import class_codes

__all__ = ["GradientBoostedLMNN"]

_Array = NDArray[np.float64]


class GradientBoostedLMNN(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """``phi(x) = Lx + sum_t a_t h_t(x)``: LMNN's L, then regression trees fitted to minus its gradient.

    Each tree h_t (one, with k outputs) is fitted to minus the gradient of LMNN's objective by the mapped
    rows, and a_t is the longest of ``learning_rate`` times 1, 1/2, 1/4, ... that lowers the objective, in
    units of the shift that would move rows by one standard deviation. Target neighbours are those of Lx.
    Where L is next to zero, as no linear map helps, the trees begin on scaled rows instead.

    There is no global matrix: ``pair_distance`` and ``transform`` go through the trees.

    Parameters
    ----------
    n_trees : int >= 1
    learning_rate : float > 0
    max_depth : int >= 1
        Of a tree.
    n_neighbors, regularization, n_components :
        Of the linear :class:`LMNN` that begins, and of the objective.
    max_iter, tol :
        Of the linear LMNN; the trees end where none lowers the objective by a part of ``tol``.
    warm_start : bool
        Keep L and the trees of the last ``fit`` and add more, until there are ``n_trees``.
    verbose : bool
    random_state : int, RandomState, optional
        Of the trees' ties.

    Attributes
    ----------
    components_ : float64 array (k, d)
        L, the linear part.
    trees_ : list of fitted trees
    steps_ : float64 array (n_trees,)
        The a_t.
    objective_ : float64 array
        The objective before the first tree that this ``fit`` grew, and after each.

    Notes
    -----
    D. Kedem, S. Tyree, K. Weinberger, F. Sha, G. Lanckriet, Non-linear metric learning, NIPS 2012. The
    paper takes one constant rate; the halving here keeps each step downhill.

    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> learner = GradientBoostedLMNN(n_neighbors=1, max_depth=2, n_trees=20).fit(X, [0, 1, 1, 0])
    >>> bool(learner.objective_[-1] < learner.objective_[0])  # 0 and 3 alike, with 1 and 2 in between
    True
    """

    components_: _Array
    trees_: list[DecisionTreeRegressor]
    steps_: _Array
    _seeds: Any

    def __init__(
        self,
        *,
        n_trees: int = 100,
        learning_rate: float = 0.3,
        max_depth: int = 4,
        n_neighbors: int = 3,
        regularization: float = 0.5,
        n_components: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-5,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_trees = n_trees
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.n_neighbors = n_neighbors
        self.regularization = regularization
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        count, depth = whole("n_trees", self.n_trees), whole("max_depth", self.max_depth)
        rate = number("learning_rate", self.learning_rate, above=0)
        codes, self.classes_ = class_codes(y, len(rows))
        if self.warm_start and hasattr(self, "trees_"):
            self._check_last(count, rows.shape[1])
        else:
            self._begin(rows, y)
        order = np.argsort(codes, kind="stable")
        targets_from = rows @ self.components_.T
        problem = LargeMargin.of(targets_from, codes, self.n_neighbors, float(self.regularization))
        progress = self._progress()
        mapped = self._mapped(rows)
        value, gradient = problem.at(mapped[order])
        progress.add(value)
        converged = False
        for _ in range(count - len(self.trees_)):
            tree = DecisionTreeRegressor(max_depth=depth, random_state=self._seeds)
            wanted = np.empty_like(mapped)
            wanted[order] = -gradient
            size = float(np.abs(wanted).max())
            if size == 0:
                converged = True
                break
            shift = np.asarray(tree.fit(rows, wanted / size).predict(rows)).reshape(mapped.shape)
            found = _step(problem, order, mapped, shift, rate, value)
            if found is None or value - found[1] <= self.tol * value:
                converged = True
                break
            length, value, gradient = found
            mapped = mapped + length * shift
            self.trees_.append(tree)
            self.steps_ = np.append(self.steps_, length)
            progress.add(value)
        self._record(progress.values, converged=converged)
        return self

    def _begin(self, rows: _Array, y: Any) -> None:
        """L, and no trees."""
        linear = LMNN(
            n_neighbors=self.n_neighbors,
            regularization=self.regularization,
            n_components=self.n_components,
            max_iter=self.max_iter,
            tol=self.tol,
        ).fit(rows, y)
        self.components_ = linear.components_
        space = scaled(rows)
        if np.abs(self.components_).max() * space.unit < 1e-3:
            # No linear map tells the classes apart, and the best one sees nothing; trees need rows apart.
            self.components_ = np.eye(len(self.components_), rows.shape[1]) / space.unit
        self.trees_ = []
        self.steps_ = np.empty(0)
        # Kept, so that trees added later are those that one longer fit would have grown.
        self._seeds = (
            np.random.RandomState(self.random_state) if _is_seed(self.random_state) else self.random_state
        )

    def _check_last(self, n_trees: int, n_features: int) -> None:
        self._beginning(None, self._dimension(n_features, self.n_components), n_features)
        if n_trees < len(self.trees_):
            raise InputError(
                f"n_trees must be at least {len(self.trees_)}, as warm_start adds to the trees that are "
                f"there; found {n_trees}; fit a clone"
            )

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped by phi to (n, k), where Euclidean distance is the learned one."""
        check_is_fitted(self)
        return self._mapped(self._rows(X, reset=False, least=1))

    def _mapped(self, rows: _Array) -> _Array:
        mapped: _Array = rows @ self.components_.T
        for length, tree in zip(self.steps_, self.trees_, strict=True):
            mapped = mapped + length * np.asarray(tree.predict(rows)).reshape(mapped.shape)
        return mapped

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``||phi(a) - phi(b)||`` row by row: A (n, d) and B (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        distances: _Array = np.linalg.norm(self._mapped(first) - self._mapped(second), axis=1)
        return distances

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])


def _is_seed(random_state: Any) -> bool:
    return random_state is None or isinstance(random_state, (int, np.integer))


def _step(
    problem: LargeMargin, order: NDArray[np.int64], mapped: _Array, shift: _Array, rate: float, value: float
) -> tuple[float, float, _Array] | None:
    """The longest of rate, rate/2, ... that lowers the objective; with its value and gradient."""
    spread, reach = float(mapped.std()), float(np.abs(shift).max())
    if reach == 0:
        return None
    length = rate * (spread or 1.0) / reach
    for _ in range(12):
        found, gradient = problem.at((mapped + length * shift)[order])
        if found < value:
            return length, found, gradient
        length *= 0.5
    return None
