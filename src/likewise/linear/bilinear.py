"""What learners of a similarity ``x'Wz`` share: W is a global matrix, but of no metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from likewise.distances import Bilinear
from likewise.encoders import MLP, Standardize
from likewise.errors import InputError
from likewise.linear.base import Learner
from likewise.linear.matrices import components_from_matrix
from likewise.model import Model

__all__ = ["BilinearLearner", "rowwise_similarity"]

_Array = NDArray[np.float64]

_BLOCK = 1024


def rowwise_similarity(A: Any, weight: Any, B: Any) -> _Array:
    """``a'Wb`` row by row, (n,): dense or CSR rows and W; sparse rows are never made dense.

    >>> rowwise_similarity(np.array([[1.0, 2.0]]), np.eye(2), np.array([[3.0, 1.0]]))
    array([5.])
    """
    out = np.empty(A.shape[0])
    for start in range(0, len(out), _BLOCK):
        rows = slice(start, start + _BLOCK)
        mapped = A[rows] @ weight
        if isinstance(B, np.ndarray):
            other = mapped if isinstance(mapped, np.ndarray) else mapped.toarray()
            out[rows] = np.einsum("ij,ij->i", other, B[rows])
        else:
            out[rows] = np.asarray(B[rows].multiply(mapped).sum(axis=1)).ravel()
    return out


class BilinearLearner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):  # type: ignore[misc]
    """A learned similarity ``S(x, z) = x'Wz``; ``pair_distance`` is ``-S``, as smaller is more alike.

    W need be neither symmetric nor definite, so there is no map under which S is a distance. What
    ``transform`` and ``components_`` give is the nearest there is: L with ``L'L`` the nearest positive
    semidefinite matrix to ``(W + W')/2``, so that inner products of mapped rows approximate S.

    Attributes
    ----------
    weight_ : float64 array (d, d)
        W.
    n_iter_, objective_, converged_, n_features_in_ :
        As for every learner.
    """

    weight_: Any
    n_components: int | None

    @property
    def components_(self) -> _Array:
        """L (k, d), taken from ``weight_`` at each call."""
        return components_from_matrix(self._dense_weight(), self._n_features_out)

    def transform(self, X: Any) -> _Array:
        """Rows (n, d) mapped by L to (n, k)."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False, least=1)
        mapped: _Array = np.asarray(rows @ self.components_.T)
        return mapped

    def get_mahalanobis_matrix(self) -> _Array:
        """The nearest positive semidefinite matrix to ``(W + W')/2``, (d, d), of rank ``n_components``."""
        check_is_fitted(self)
        components = self.components_
        matrix: _Array = components.T @ components
        return matrix

    def pair_distance(self, A: Any, B: Any) -> _Array:
        """``-a'Wb`` row by row: A (n, d) and B (n, d) give (n,); A holds the queries."""
        first, second = self._row_pairs(A, B)
        return -rowwise_similarity(first, self.weight_, second)

    def to_model(self) -> Model:
        """The same similarity as a :class:`~likewise.model.Model`: rows as they are, ``Bilinear``.

        Raises
        ------
        InputError
            The learned numbers leave float32's range.
        """
        check_is_fitted(self)
        weight = torch.from_numpy(np.ascontiguousarray(self._dense_weight())).to(torch.float32)
        if not bool(torch.isfinite(weight).all()):
            raise InputError("a model works in float32, which W leaves; scale the features before fit")
        d = self.n_features_in_
        encoder = MLP(d, dimension=d, hidden=(), shortcut=False)
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                parameter.copy_(torch.eye(d) if name.endswith("weight") else torch.zeros(d))
        options = self.get_params(deep=False)
        plain = {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}
        return Model(
            encoder,
            Bilinear(weight),
            Standardize((d,)),
            training={"estimator": type(self).__name__, "options": plain},
        )

    def _dense_weight(self) -> _Array:
        weight: _Array = self.weight_ if isinstance(self.weight_, np.ndarray) else self.weight_.toarray()
        return weight

    @property
    def _n_features_out(self) -> int:
        return self._dimension(self.n_features_in_, self.n_components)
