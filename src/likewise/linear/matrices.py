"""Matrices that several learners need: roots, projections and their safe inverses."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = [
    "components_from_matrix",
    "components_from_root",
    "inverse_root",
    "positive_part",
    "scale_of",
    "signed_columns",
    "symmetric",
]

_Array = NDArray[np.float64]


def symmetric(matrix: _Array) -> _Array:
    """The symmetric part, (d, d)."""
    half: _Array = 0.5 * (matrix + matrix.T)
    return half


def positive_part(matrix: _Array) -> _Array:
    """The nearest positive semidefinite matrix in Frobenius norm: negative eigenvalues become zero.

    >>> positive_part(np.diag([2.0, -1.0]))
    array([[2., 0.],
           [0., 0.]])
    """
    values, vectors = scipy.linalg.eigh(symmetric(matrix), check_finite=False)
    if values[0] >= 0:
        return symmetric(matrix)
    kept = values > 0
    part = vectors[:, kept]
    return symmetric((part * values[kept]) @ part.T)


def components_from_matrix(matrix: _Array, n_components: int) -> _Array:
    """L (k, d) with ``L'L`` the best positive semidefinite approximation of rank k of a matrix (d, d).

    Rows are scaled eigenvectors by falling eigenvalue, each with its largest entry positive.

    >>> components_from_matrix(np.diag([1.0, 4.0]), 1)
    array([[0., 2.]])
    """
    d = len(matrix)
    values, vectors = scipy.linalg.eigh(symmetric(matrix), subset_by_index=[d - n_components, d - 1])
    values, vectors = values[::-1], signed_columns(vectors[:, ::-1])
    rows: _Array = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    return np.ascontiguousarray(rows) + 0.0


def components_from_root(root: _Array, n_components: int) -> _Array:
    """As :func:`components_from_matrix` of ``root'root``, for a root (r, d) of any r, without squaring it."""
    _, values, vectors = scipy.linalg.svd(root, full_matrices=False)
    count = min(n_components, len(values))
    out = np.zeros((n_components, root.shape[1]))
    out[:count] = values[:count, None] * signed_columns(vectors[:count].T).T
    return out + 0.0


def signed_columns(vectors: _Array) -> _Array:
    """Columns with their largest entry positive, so that results don't depend on the solver's signs."""
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    signed: _Array = vectors * np.where(largest < 0, -1.0, 1.0)
    return signed


def scale_of(rows: _Array) -> float:
    """A power of two near the largest absolute entry, by which rows can be divided without rounding."""
    largest = float(np.abs(rows).max(initial=0.0))
    return float(2.0 ** np.frexp(largest)[1]) if largest > 0 else 1.0


def inverse_root(rows: _Array, n_components: int, *, weight: float = 1.0) -> _Array:
    """L (k, d) with ``L'L`` the pseudo-inverse of ``weight * rows' rows``, by singular values of rows.

    Directions whose singular value is within rounding of zero (``max(n, d) eps`` of the largest) get zero:
    nothing was seen there. Rows of L go by falling variance, so the first k of them are PCA whitening.

    >>> inverse_root(np.array([[2.0, 0.0], [0.0, 0.0]]), 2)
    array([[0.5, 0. ],
           [0. , 0. ]])
    """
    scale = scale_of(rows)
    _, values, vectors = scipy.linalg.svd(rows / scale, full_matrices=False, check_finite=False)
    kept = values > max(rows.shape) * np.finfo(np.float64).eps * values.max(initial=0.0)
    out = np.zeros((n_components, rows.shape[1]))
    count = min(n_components, int(kept.sum()))
    out[:count] = signed_columns(vectors[:count].T).T / (values[:count, None] * scale * np.sqrt(weight))
    return out
