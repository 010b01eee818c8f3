"""The generalised eigenproblem of LDA, DCA and LFDA, safe where a scatter is singular."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from likewise.linear.matrices import signed_columns, symmetric
from likewise.linear.scatter import Whitened, spectrum

__all__ = ["discriminant_directions"]

_Array = NDArray[np.float64]


def discriminant_directions(
    white: Whitened, within: _Array, between: _Array, n_components: int, *, least: float
) -> tuple[_Array, _Array]:
    """Directions (k, d) of the largest ``w'S_b w / w'S_w w``, each with ``w'S_w w = 1``, and the ratios (k,).

    Both scatters are given in whitened coordinates, where eigenvalues of ``S_w`` count as at least
    ``least``. Directions beyond the rank of the rows are zero, with ratio 0.
    """
    values, vectors = spectrum(within, least, "within classes")
    root = vectors / np.sqrt(values)
    ratios, turn = scipy.linalg.eigh(symmetric(root.T @ between @ root))
    count = min(n_components, len(ratios))
    found = (root @ turn[:, ::-1][:, :count]).T @ white.map
    components = np.zeros((n_components, white.map.shape[1]))
    components[:count] = signed_columns(found.T).T
    kept = np.zeros(n_components)
    kept[:count] = np.maximum(ratios[::-1][:count], 0)
    return components, kept
