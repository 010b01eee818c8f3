"""Scatters of the differences of pairs alike and of pairs unlike, and their powers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.matrices import symmetric
from likewise.linear.scatter import class_means, mean_outer, spectrum
from likewise.linear.supervision import class_codes, known_pairs
from likewise.relations import Pairs

__all__ = ["ScatterPowers", "known_scatters", "pair_scatters"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]


def known_scatters(rows: _Array, y: Any, pairs: Pairs | None) -> tuple[_Array, _Array]:
    """The scatters of the given pairs, or of all pairs that labels imply."""
    if pairs is None:
        return pair_scatters(rows, class_codes(y, len(rows))[0])
    known = known_pairs(len(rows), None, pairs)
    differences = rows[known.left.numpy()] - rows[known.right.numpy()]
    same = known.same.numpy()
    return mean_outer(differences[same]), mean_outer(differences[~same])


def pair_scatters(rows: _Array, codes: _Codes) -> tuple[_Array, _Array]:
    """The means of ``(x - z)(x - z)'`` over all pairs of one class, and over all pairs of two.

    Exact and without listing pairs: the pairs of m rows sum to m times the rows' scatter around their mean.

    Raises
    ------
    InputError
        No class has two rows, or there is one class only.

    >>> pair_scatters(np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1]))
    (array([[1.]]), array([[6.5]]))
    """
    counts = np.bincount(codes)
    n_alike = int((counts * (counts - 1) // 2).sum())
    n_unlike = len(codes) * (len(codes) - 1) // 2 - n_alike
    if not n_alike or not n_unlike:
        raise InputError(
            "too few pairs: labels need a class with two rows, and two classes; found "
            f"{n_alike} pairs alike and {n_unlike} unlike"
        )
    means = class_means(rows, codes)
    within = rows - means[codes]
    alike = symmetric(within.T @ (within * counts[codes][:, None]))
    # Two classes a and b add n_b times a's scatter, n_a times b's, and n_a n_b times their means' difference.
    others = (len(codes) - counts)[codes][:, None]
    between = means - rows.mean(axis=0)
    unlike = symmetric(within.T @ (within * others))
    unlike += len(codes) * symmetric(between.T @ (between * counts[:, None]))
    return alike / n_alike, unlike / n_unlike


class ScatterPowers:
    """A scatter of whitened rows with its smallest eigenvalues raised to ``least``, and its powers."""

    def __init__(self, scatter: _Array, least: float, what: str) -> None:
        values, vectors = spectrum(scatter, least, what)
        self.matrix, self.inverse, self.root, self.inverse_root = (
            symmetric((vectors * values**power) @ vectors.T) for power in (1.0, -1.0, 0.5, -0.5)
        )
