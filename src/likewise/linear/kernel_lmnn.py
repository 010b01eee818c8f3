"""KernelLMNN: large margin nearest neighbours in the feature space of a kernel."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from likewise.linear.base import Learner
from likewise.linear.kpca_trick import KPCATrick
from likewise.linear.lmnn import LMNN

__all__ = ["KernelLMNN"]

_Array = NDArray[np.float64]


class KernelLMNN(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """:class:`LMNN` on the kernel principal coordinates of all rows: ``KPCATrick(LMNN())``, under its name.

    LMNN sees rows by their inner products alone, so on coordinates of full rank this is LMNN in the
    feature space. There is no global matrix of X: ``pair_distance`` and ``transform`` go through the kernel.

    Parameters
    ----------
    kernel, gamma, degree, coef0, n_coordinates, max_rows :
        See :class:`KPCATrick`; more than ``max_rows`` rows are refused, as tables are n x n.
    n_neighbors, regularization, n_components, max_iter, tol, verbose :
        See :class:`LMNN`. ``n_components`` rows of L keep it small; by default as many as coordinates.
    warm_start : bool
        Keep the coordinates of the last ``fit``, also for other rows, and begin from its L.

    Attributes
    ----------
    components_ : float64 array (k, n_coordinates)
        L, on the coordinates.

    Notes
    -----
    K. Weinberger, L. Saul, Distance metric learning for large margin nearest neighbor classification, JMLR
    2009; R. Chatpatanasiri et al., A new kernelization framework, 2010.

    >>> learner = KernelLMNN(gamma=1.0, n_neighbors=1).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    >>> near, far = learner.pair_distance([[0.0], [1.0]], [[1.0], [3.0]]) ** 2
    >>> bool(far > near + 0.9)
    True
    """

    components_: _Array
    _trick: KPCATrick

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        gamma: Any = "scale",
        degree: int = 3,
        coef0: float = 1.0,
        n_coordinates: int | None = None,
        max_rows: int = 4000,
        n_neighbors: int = 3,
        regularization: float = 0.5,
        n_components: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-5,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.n_coordinates = n_coordinates
        self.max_rows = max_rows
        self.n_neighbors = n_neighbors
        self.regularization = regularization
        self.n_components = n_components
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        wrapped = LMNN(
            n_neighbors=self.n_neighbors,
            regularization=self.regularization,
            n_components=self.n_components,
            max_iter=self.max_iter,
            tol=self.tol,
            verbose=self.verbose,
        )
        going_on = bool(self.warm_start) and hasattr(self, "_trick")
        trick = self._trick if going_on else KPCATrick()
        trick.set_params(
            estimator=wrapped,
            kernel=self.kernel,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
            n_coordinates=self.n_coordinates,
            max_rows=self.max_rows,
            warm_start=going_on,
        ).fit(rows, y)
        self._trick = trick
        self.components_, self.classes_ = trick.components_, trick.classes_
        self._record(trick.objective_.tolist(), n_iter=trick.n_iter_, converged=trick.converged_)
        return self

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped to (n, k), where Euclidean distance is the learned one."""
        check_is_fitted(self)
        mapped: _Array = self._trick.transform(self._rows(X, reset=False, least=1))
        return mapped

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """The learned distances row by row: A (n, d) and B (n, d) give (n,)."""
        first, second = self._row_pairs(A, B)
        distances: _Array = self._trick.pair_distance(first, second)
        return distances

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])
