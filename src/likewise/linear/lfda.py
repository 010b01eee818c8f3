"""LFDA: Fisher's discriminant that lets a class lie in several clusters."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.discriminant import discriminant_directions
from likewise.linear.matrices import symmetric
from likewise.linear.options import one_of, whole
from likewise.linear.scatter import class_means, whitened
from likewise.linear.supervision import class_codes

__all__ = ["LFDA"]

_Array = NDArray[np.float64]

_BLOCK = 256


class LFDA(MahalanobisLearner):
    """Local Fisher discriminant analysis: the largest ``w'S_b w / w'S_w w`` for local scatters.

    ``S_w = 1/2 sum_ij W_ij (x_i - x_j)(x_i - x_j)'`` with ``W_ij = A_ij / n_c`` within class c, and ``S_b``
    with ``A_ij (1/n - 1/n_c)`` within a class and ``1/n`` between classes. The affinity is
    ``A_ij = exp(-||x_i - x_j||^2 / (s_i s_j))``, s_i the distance to the k-th neighbour in the class.

    Parameters
    ----------
    n_components : int, optional
        By default d.
    n_neighbors : int >= 1
        k of the affinity; in a class of k rows or fewer, all the others.
    embedding : "weighted", "plain" or "orthonormal"
        Rows of L: ``w'S_w w = 1`` times the root of their ratio, without it, or orthonormalised.
    regularization : float >= 0
        In each direction the local variance within classes counts as at least this part of the rows'
        variance there. 0 is exact and refuses a singular S_w.

    Notes
    -----
    M. Sugiyama, Dimensionality reduction of multimodal labeled data by local Fisher discriminant analysis,
    JMLR 2007, equations 9 to 13. Cost O(sum n_c^2 d), memory linear in n. Equal rows have affinity 1, also
    where s is zero.

    >>> X = [[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]]
    >>> (LFDA(n_components=1).fit(X, [0, 0, 1, 1]).components_ > 0).tolist()
    [[True, False]]
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        n_neighbors: int = 7,
        embedding: Literal["weighted", "plain", "orthonormal"] = "weighted",
        regularization: float = 1e-3,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.embedding = embedding
        self.regularization = regularization

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n, d) and labels (n,). See :meth:`Learner.fit`."""
        rows = self._rows(X)
        codes, self.classes_ = class_codes(y, len(rows))
        k = self._dimension(rows.shape[1], self.n_components)
        one_of("embedding", self.embedding, ["weighted", "plain", "orthonormal"])
        n_neighbors = whole("n_neighbors", self.n_neighbors)
        if len(self.classes_) < 2:
            raise InputError("y must name at least two classes; found 1 class")
        white = whitened(rows)
        within, between = _local_scatters(rows - rows.mean(axis=0), white.rows, codes, n_neighbors)
        components, ratios = discriminant_directions(white, within, between, k, least=self.regularization)
        if self.embedding == "weighted":
            components = components * np.sqrt(ratios)[:, None]
        elif self.embedding == "orthonormal":
            found = np.flatnonzero(np.abs(components).max(axis=1) > 0)
            components[found] = scipy.linalg.qr(components[found].T, mode="economic")[0].T
        return self._keep(rows, Solution(components, [-float(np.sum(ratios))]))


def _local_scatters(
    X: _Array, rows: _Array, codes: NDArray[np.int64], n_neighbors: int
) -> tuple[_Array, _Array]:
    """S_w and S_b divided by n, of ``rows``, with affinities by distances in ``X``."""
    n, r = rows.shape
    within, near = np.zeros((r, r)), np.zeros((r, r))
    for code in range(int(codes.max()) + 1):
        members = np.flatnonzero(codes == code)
        scatter = _affine_scatter(X[members], rows[members], n_neighbors)
        within += scatter / len(members)
        near += scatter / n
    # Pairs of two classes: all pairs less the pairs within classes, each weighted 1/n.
    counts = np.bincount(codes)
    means = class_means(rows, codes)
    inner = rows - means[codes]
    others = (n - counts)[codes][:, None] / n
    apart = inner.T @ (inner * others) + means.T @ (means * counts[:, None])
    return symmetric(within) / n, symmetric(apart + near - within) / n


def _affine_scatter(X: _Array, rows: _Array, n_neighbors: int) -> _Array:
    """``1/2 sum_ij A_ij (r_i - r_j)(r_i - r_j)'`` of one class, by blocks of rows."""
    r = rows.shape[1]
    scatter = np.zeros((r, r))
    if len(X) < 2:
        return scatter
    k = min(n_neighbors, len(X) - 1)
    spread = NearestNeighbors(n_neighbors=k).fit(X).kneighbors()[0][:, -1]
    norms = np.einsum("ij,ij->i", X, X)
    for start in range(0, len(X), _BLOCK):
        stop = start + _BLOCK
        squares = norms[start:stop, None] + norms[None, :] - 2 * X[start:stop] @ X.T
        # Products lose small distances, and rows that are equal must come out so.
        squares[squares < 1e-10 * (norms[start:stop, None] + norms[None, :])] = 0
        scales = np.maximum(spread[start:stop, None] * spread[None, :], np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):
            affinity = np.exp(-squares / scales)
        block = rows[start:stop]
        scatter += block.T @ (block * affinity.sum(axis=1)[:, None]) - block.T @ (affinity @ rows)
    return scatter
