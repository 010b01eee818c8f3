"""The matrix that a learner stays near to, for rows in a solver's scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.start import Scaled

__all__ = ["prior_root"]


def prior_root(prior: Any, space: Scaled) -> NDArray[np.float64]:
    """R (d, d) with ``R'R`` the prior for scaled rows.

    "identity" is I for scaled rows; "covariance" the inverse covariance, to which 1e-6 of the mean variance
    is added; an array holds for rows as given.

    Raises
    ------
    InputError
        Another name, or a matrix that isn't symmetric and positive definite.
    """
    n, d = space.rows.shape
    if isinstance(prior, str):
        if prior == "identity":
            return np.eye(d)
        if prior != "covariance":
            raise InputError(f"prior must be identity, covariance or an array (d, d); found {prior!r}")
        covariance = space.rows.T @ space.rows / n + 1e-6 * np.eye(d)
        return np.asarray(scipy.linalg.inv(scipy.linalg.cholesky(covariance, lower=True)))
    matrix = np.array(prior, dtype=np.float64)
    if matrix.shape != (d, d) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        raise InputError(f"prior must be symmetric and finite of shape ({d}, {d}); found {matrix.shape}")
    try:
        return np.asarray(scipy.linalg.cholesky(matrix)) * space.unit
    except scipy.linalg.LinAlgError as error:
        raise InputError("prior must be positive definite; found an eigenvalue of 0 or less") from error
