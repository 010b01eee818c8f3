"""Where a descent on L begins, and the scale in which it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.discriminant import discriminant_directions
from likewise.linear.matrices import signed_columns
from likewise.linear.scatter import class_means, class_scatter, mean_outer, whitened
from likewise.linear.tuples import generator_from

__all__ = ["Init", "Scaled", "scaled", "starting_components"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]

Init: TypeAlias = Any  # a name of _NAMES, or an array (k, d)

_NAMES = ("auto", "identity", "pca", "lda", "random")


@dataclass(frozen=True)
class Scaled:
    """Rows centred and divided by one number, so that a solver sees the same at every scale.

    Parameters
    ----------
    rows : float64 array (n, d)
        ``(X - mean) / unit``.
    unit : float
        The root of the features' mean variance; 1 where nothing varies.
    """

    rows: _Array
    unit: float


def scaled(X: _Array) -> Scaled:
    """Centre rows and give their features a mean variance of 1.

    >>> scaled(np.array([[0.0], [20.0]])).unit
    10.0
    """
    centred = X - X.mean(axis=0)
    largest = float(np.abs(centred).max(initial=0.0))
    # Rows that are equal but for rounding don't vary.
    if largest <= 1e-14 * float(np.abs(X).max(initial=0.0)):
        return Scaled(np.zeros_like(X), 1.0)
    unit = largest * np.sqrt(np.mean((centred / largest) ** 2))
    return Scaled(centred / unit, float(unit))


def starting_components(
    init: Init, X: Scaled, codes: _Codes | None, n_components: int, *, random_state: Any
) -> _Array:
    """L (k, d) for scaled rows.

    "auto" is the identity for k = d, else LDA where there are more classes than k, else PCA; "pca" the
    principal directions; "lda" needs labels; "random" Gaussian of variance 1/d; "identity" and an array
    hold for rows as given, before scaling.

    Raises
    ------
    InputError
        Another name, LDA without labels, or an array of another shape.
    """
    d = X.rows.shape[1]
    if isinstance(init, str):
        if init not in _NAMES:
            raise InputError(f"init must be one of {', '.join(_NAMES)}, or an array (k, d); found {init!r}")
        if init == "auto":
            n_classes = 0 if codes is None else int(codes.max()) + 1
            if n_components == d:
                return np.eye(d)
            init = "lda" if n_components < n_classes else "pca"
        if init == "identity":
            return X.unit * np.eye(n_components, d)
        if init == "random":
            return generator_from(random_state).normal(scale=d**-0.5, size=(n_components, d))
        return _lda(X.rows, codes, n_components) if init == "lda" else _pca(X.rows, n_components)
    given = np.array(init, dtype=np.float64)
    if given.shape != (n_components, d) or not np.isfinite(given).all():
        raise InputError(
            f"init must be finite numbers of shape ({n_components}, {d}), components by features; "
            f"found {given.shape}"
        )
    return given * X.unit


def _pca(rows: _Array, n_components: int) -> _Array:
    vectors = scipy.linalg.svd(rows.T @ rows, check_finite=False)[0]
    return np.ascontiguousarray(signed_columns(vectors[:, :n_components]).T)


def _lda(rows: _Array, codes: _Codes | None, n_components: int) -> _Array:
    if codes is None:
        raise InputError("init='lda' needs labels; choose pca, identity or random")
    if codes.max() < 1:
        return _pca(rows, n_components)
    white = whitened(rows)
    between = mean_outer(class_means(white.rows, codes)[codes])
    within = class_scatter(white.rows, codes)
    return discriminant_directions(white, within, between, n_components, least=1e-3)[0]
