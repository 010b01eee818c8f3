"""What every learner shares: checked rows in, a learned distance out, scikit-learn's contract between.

A learner is one class an algorithm. Its ``fit`` takes labels, or the relations that the algorithm reads,
as keywords; the solver below it works on float64 rows and positions. How relations come from labels is in
:mod:`likewise.linear.tuples`.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import InputError
from likewise.linear.options import whole
from likewise.model import Model

__all__ = ["Learner", "MahalanobisLearner", "Progress", "Solution"]

_Array = NDArray[np.float64]

_LARGEST = 1e100  # squares of larger numbers, summed, leave float64


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Parameters
    ----------
    components : float64 array (k, d)
        L of ``d(x, z) = ||L (x - z)||``.
    objective : sequence of float
        The objective after each step, smaller is better.
    converged : bool
        The solver's own test was met before its steps ran out.
    n_iter : int, optional
        Steps taken, where that isn't the length of ``objective``.
    """

    components: _Array
    objective: Sequence[float]
    converged: bool = True
    n_iter: int | None = None


class Progress:
    """The history of an objective, printed as it grows when ``verbose``.

    >>> progress = Progress("NCA", verbose=True)
    >>> progress.add(2.5)
    NCA: step 1, objective 2.5
    >>> progress.values
    [2.5]
    """

    def __init__(self, name: str, *, verbose: bool | int) -> None:
        self.name, self.verbose = name, bool(verbose)
        self.values: list[float] = []

    def add(self, value: float) -> None:
        """Take the next value."""
        self.values.append(float(value))
        if self.verbose:
            print(f"{self.name}: step {len(self.values)}, objective {value:.10g}", flush=True)


class Learner(BaseEstimator, ABC):  # type: ignore[misc]
    """A learned comparison of rows: ``fit``, then ``pair_distance``.

    A learner without one global matrix (local, kernel or bilinear) derives from this class and offers
    ``pair_distance`` alone; the others derive from :class:`MahalanobisLearner`.
    """

    n_features_in_: int
    n_iter_: int
    objective_: _Array

    _needs_labels: ClassVar[bool] = True  # where no relation is given instead
    _takes_sparse: ClassVar[bool] = False

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows and labels, or from rows and the relations that are keywords of this method.

        Parameters
        ----------
        X : array or frame (n, d)
            Finite numbers, absolute values at most 1e100.
        y : (n,), optional
            Labels. Not read where a relation is given.

        Returns
        -------
        self

        Raises
        ------
        InputError
            NaN, a row that doesn't exist, too few labels or tuples, an option out of range.
        """

    @abstractmethod
    def pair_distance(self, A: Any, B: Any) -> _Array:
        """Distances row by row: A (n, d) and B (n, d) give (n,); smaller is more alike."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels
        tags.input_tags.sparse = self._takes_sparse
        return tags

    def _rows(self, X: Any, *, reset: bool = True, least: int = 2, name: str = "X") -> Any:
        """Checked float64 rows: an array (n, d), or CSR where the learner takes sparse rows."""
        last = getattr(self, "n_features_in_", None) if reset and getattr(self, "warm_start", False) else None
        try:
            rows = validate_data(
                self,
                X,
                reset=reset,
                dtype=np.float64,
                ensure_min_samples=least,
                accept_sparse="csr" if self._takes_sparse else False,
            )
        except ValueError as error:
            raise InputError(" ".join(str(error).split())) from error
        if last is not None and rows.shape[1] != last:
            self.n_features_in_ = last
            raise InputError(
                f"warm_start goes on with rows of {last} features; found {rows.shape[1]}; fit a clone"
            )
        values = rows if isinstance(rows, np.ndarray) else rows.data
        if values.size and max(float(values.max()), -float(values.min())) > _LARGEST:
            raise InputError(
                f"{name} must be within 1e100, so that squares can be summed; scale its features"
            )
        return rows

    def _row_pairs(self, A: Any, B: Any) -> tuple[Any, Any]:
        """Two checked blocks of equally many rows, of a fitted learner."""
        check_is_fitted(self)
        first, second = (
            self._rows(rows, reset=False, least=1, name=name) for rows, name in ((A, "A"), (B, "B"))
        )
        if first.shape[0] != second.shape[0]:
            raise InputError(
                f"A and B must have equally many rows; found {first.shape[0]} and {second.shape[0]}"
            )
        return first, second

    def _progress(self) -> Progress:
        return Progress(type(self).__name__, verbose=getattr(self, "verbose", False))

    def _record(
        self, objective: Sequence[float], *, n_iter: int | None = None, converged: bool = True
    ) -> None:
        """Set ``objective_``, ``n_iter_`` and ``converged_``; say so when ``verbose`` and not converged."""
        self.objective_ = np.asarray(objective, dtype=np.float64)
        self.n_iter_ = max(1, len(objective)) if n_iter is None else n_iter
        self.converged_ = converged
        if not converged and getattr(self, "verbose", False):
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} steps before it converged; "
                "raise max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _beginning(self, init: Any, n_components: int, n_features: int) -> Any:
        """What a descent on L starts from: with ``warm_start`` the last result, else ``init``."""
        last = getattr(self, "components_", None)
        if getattr(self, "warm_start", False) and last is not None:
            if last.shape != (n_components, n_features):
                raise InputError(
                    f"warm_start needs components_ of shape ({n_components}, {n_features}); "
                    f"found {last.shape}; fit a clone"
                )
            return last
        return init

    def _dimension(self, n_features: int, n_components: Any) -> int:
        """The checked number of components: ``None`` is all of them."""
        if n_components is None:
            return n_features
        return whole("n_components", n_components, most=n_features)


class MahalanobisLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """A learned linear map L: ``d(x, z) = ||L (x - z)||``, with ``M = L'L``.

    Attributes
    ----------
    components_ : float64 array (k, d)
        L.
    n_iter_ : int
        Steps of the solver; 1 for a closed form.
    objective_ : float64 array (n_steps,)
        The objective after each step, smaller is better; empty where a closed form has none.
    converged_ : bool
        Whether the solver's own test was met before its steps ran out.
    n_features_in_ : int
        d.
    feature_names_in_ : str array (d,)
        The columns' names, where X was a frame.
    """

    components_: _Array

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped to (n, k), where Euclidean distance is the learned one."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False, least=1)
        mapped: _Array = np.asarray(rows @ self.components_.T)
        return mapped

    def get_mahalanobis_matrix(self) -> _Array:
        """``M = L'L``, (d, d), symmetric and positive semidefinite."""
        check_is_fitted(self)
        matrix: _Array = self.components_.T @ self.components_
        return matrix

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``||L (a - b)||`` row by row, by subtraction first: A (n, d) and B (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        mapped = np.asarray((first - second) @ self.components_.T)
        distances: _Array = np.sqrt(np.einsum("ij,ij->i", mapped, mapped))
        return distances

    def to_model(self) -> Model:
        """The same distance as a :class:`~likewise.model.Model`: standardised rows, L, Euclidean.

        Rows are standardised first so that float32, in which a model works, keeps small differences.

        Raises
        ------
        InputError
            The learned numbers leave float32's range.
        """
        check_is_fitted(self)
        k, d = self.components_.shape
        preprocessing = Standardize((d,))
        encoder = MLP(d, dimension=k, hidden=(), shortcut=False)
        weight = torch.from_numpy(self.components_ * self._spread)
        with torch.no_grad():
            preprocessing.mean.copy_(torch.from_numpy(self._centre))
            preprocessing.scale.copy_(torch.from_numpy(self._spread))
            for name, parameter in encoder.named_parameters():
                parameter.copy_(weight if name.endswith("weight") else torch.zeros(k))
        arrays = [preprocessing.mean, preprocessing.scale, *encoder.parameters()]
        if not all(bool(torch.isfinite(array).all()) for array in arrays) or not preprocessing.scale.all():
            raise InputError("a model works in float32, which these rows leave; scale them before fit")
        classes = [label.item() for label in getattr(self, "classes_", np.empty(0))]
        return Model(
            encoder,
            Euclidean(),
            preprocessing,
            classes=tuple(label for label in classes if isinstance(label, (int, str))),
            training={"estimator": type(self).__name__, "options": self._plain_options()},
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def _plain_options(self) -> dict[str, Any]:
        options = self.get_params(deep=False)
        return {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}

    def _keep(self, rows: Any, solution: Solution) -> Self:
        """Take a solution of these rows as this learner's own."""
        if not np.isfinite(solution.components).all():
            raise InputError(
                f"{type(self).__name__} left float64's range on these rows; scale the features "
                "(StandardScaler) before fit"
            )
        self.components_ = solution.components
        if isinstance(rows, np.ndarray):
            self._centre = rows.mean(axis=0)
            spread = rows.std(axis=0)
            # A constant feature's deviation is not always exactly zero: rounding leaves a little.
            self._spread = np.where(spread <= 1e-7 * np.abs(self._centre), 1.0, spread)
        else:
            self._centre, self._spread = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        self._record(solution.objective, n_iter=solution.n_iter, converged=solution.converged)
        return self
