"""Scatter matrices of rows, classes, chunklets and pairs, and what to do where one is singular.

All closed forms here work in coordinates in which the rows' own covariance is the identity. Directions in
which no two rows differ are left out (the learned matrix is zero there), and "nearly singular" means the
same at every scale of the features: a small variance compared with the rows' variance in that direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.matrices import inverse_root, symmetric
from likewise.linear.options import number

__all__ = ["Whitened", "class_means", "class_scatter", "mean_outer", "spectrum", "whitened"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]

_SINGULAR = 1e-12


@dataclass(frozen=True)
class Whitened:
    """Rows in coordinates in which their covariance (divided by n) is the identity.

    Parameters
    ----------
    rows : float64 array (n, r)
        Centred; r is the rank of the rows.
    map : float64 array (r, d)
        From features to these coordinates.
    """

    rows: _Array
    map: _Array


def whitened(X: _Array) -> Whitened:
    """Whiten rows (n, d).

    Raises
    ------
    InputError
        All rows are equal.

    >>> whitened(np.array([[1.0, 5.0], [3.0, 5.0]])).rows
    array([[-1.],
           [ 1.]])
    """
    centred = X - X.mean(axis=0)
    root = inverse_root(centred, min(X.shape), weight=1 / len(X))
    root = root[np.abs(root).max(axis=1) > 0]
    if not len(root):
        raise InputError("X must vary: all its rows are equal")
    return Whitened(centred @ root.T, root)


def mean_outer(differences: _Array) -> _Array:
    """The mean of ``v v'`` over rows v, (d, d)."""
    return symmetric(differences.T @ differences) / max(1, len(differences))


def class_scatter(rows: _Array, codes: _Codes) -> _Array:
    """The mean over rows of ``(x - m)(x - m)'``, m the mean of the row's class; codes of -1 are left out.

    >>> class_scatter(np.array([[0.0], [2.0], [9.0]]), np.array([0, 0, -1]))
    array([[1.]])
    """
    assigned = codes >= 0
    rows, codes = rows[assigned], codes[assigned]
    return mean_outer(rows - class_means(rows, codes)[codes])


def class_means(rows: _Array, codes: _Codes) -> _Array:
    """Means (C, d) of classes 0 to C-1."""
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, codes, rows)
    means: _Array = sums / counts[:, None]
    return means


def spectrum(scatter: _Array, least: float, what: str) -> tuple[_Array, _Array]:
    """Eigenvalues (r,), rising and at least ``least``, and eigenvectors (r, r) of a scatter in whitened rows.

    Raises
    ------
    InputError
        ``least`` is out of range, or is 0 and the scatter is singular.

    >>> spectrum(np.diag([0.0, 1.0]), 0.01, "within classes")[0]
    array([0.01, 1.  ])
    """
    least = number("regularization", least, least=0)
    values, vectors = scipy.linalg.eigh(scatter)
    if least == 0 and values[0] <= _SINGULAR * max(1.0, values[-1]):
        singular = int((values <= _SINGULAR * max(1.0, values[-1])).sum())
        raise InputError(
            f"the scatter {what} is singular in {singular} of {len(values)} directions; "
            "give regularization > 0, or fewer features (PCA)"
        )
    return np.maximum(values, least), vectors
