"""DCA: chunklets pulled together, and chunklets known to differ pushed apart."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Solution
from likewise.linear.discriminant import discriminant_directions
from likewise.linear.scatter import class_means, class_scatter, mean_outer, whitened
from likewise.linear.supervision import joined_by, known_chunklets, known_pairs
from likewise.relations import Chunklets, Pairs

__all__ = ["DCA"]


class DCA(MahalanobisLearner):
    """Discriminative component analysis: ``max_L |L C_b L'| / |L C_w L'|``, with ``L C_w L' = I``.

    ``C_w`` is RCA's scatter within chunklets, and ``C_b`` the mean of ``(m_i - m_j)(m_i - m_j)'`` over
    pairs of chunklets known to differ.

    Parameters
    ----------
    n_components : int, optional
        k; by default the smaller of d and J - 1 for J chunklets.
    regularization : float >= 0
        In each direction the variance within chunklets counts as at least this part of the rows' variance
        there. 0 is exact and refuses a singular C_w.

    Notes
    -----
    Hoi, Liu, Lyu, Ma, Learning distance metrics with contextual constraints for image retrieval, CVPR 2006.
    The paper first restricts L to the range of C_b; here the ratio is maximised over all directions, which
    is never worse.

    >>> X = [[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]]
    >>> DCA(regularization=0.01).fit(X, chunklets=[0, 0, 1, 1]).components_
    array([[5., 0.]])
    """

    def __init__(self, *, n_components: int | None = None, regularization: float = 1e-3) -> None:
        self.n_components = n_components
        self.regularization = regularization

    def fit(
        self, X: Any, y: Any = None, *, chunklets: Chunklets | None = None, pairs: Pairs | None = None
    ) -> Self:
        """Learn from rows and labels, chunklets, pairs, or chunklets and pairs.

        Pairs alike are joined to chunklets where none are given; pairs unlike say which chunklets differ.
        Without pairs all chunklets differ.
        """
        rows = self._rows(X)
        if pairs is None:
            groups = known_chunklets(len(rows), y, chunklets)
            differ = np.stack(np.triu_indices(groups.max() + 1, k=1))
        else:
            known = known_pairs(len(rows), None, pairs, alike=1 if chunklets is None else 0)
            given = chunklets is not None
            groups = known_chunklets(len(rows), None, chunklets) if given else joined_by(known, len(rows))
            differ = _differing(groups, known)
        if not differ.shape[1]:
            raise InputError("too few chunklets: no two chunklets of two rows or more are known to differ")
        white = whitened(rows)
        assigned = groups >= 0
        means = class_means(white.rows[assigned], groups[assigned])
        between = mean_outer(means[differ[0]] - means[differ[1]])
        k = self._dimension(rows.shape[1], self.n_components)
        if self.n_components is None:
            k = min(k, int(groups.max()))
        components, ratios = discriminant_directions(
            white, class_scatter(white.rows, groups), between, k, least=self.regularization
        )
        return self._keep(rows, Solution(components, [-float(np.sum(ratios))]))


def _differing(groups: NDArray[np.int64], pairs: Pairs) -> NDArray[np.int64]:
    """Pairs of chunklets (2, m) that an unlike pair of rows says to differ, each once."""
    unlike = ~pairs.same.numpy()
    ends = np.sort(groups[np.stack([pairs.left.numpy()[unlike], pairs.right.numpy()[unlike]])], axis=0)
    if (contrary := (ends[0] == ends[1]) & (ends[0] >= 0)).any():
        raise InputError(
            f"pairs contradict each other: pair {int(np.flatnonzero(unlike)[contrary.argmax()])} calls two "
            "rows of one chunklet unlike; drop it"
        )
    return np.unique(ends[:, ends[0] >= 0], axis=1)
