"""SCML: a metric as a sparse sum of local discriminative directions."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.linear.base import MahalanobisLearner, Progress, Solution
from likewise.linear.discriminant import discriminant_directions
from likewise.linear.matrices import components_from_root
from likewise.linear.neighbours import squared_distances
from likewise.linear.options import number, one_of, whole
from likewise.linear.scatter import class_means, class_scatter, mean_outer, whitened
from likewise.linear.start import scaled
from likewise.linear.supervision import class_codes, known_triplets
from likewise.linear.tuples import generator_from, near_triplets_from_labels
from likewise.relations import Triplets

__all__ = ["SCML", "sparse_weights"]

_Array = NDArray[np.float64]
_Codes = NDArray[np.int64]


class SCML(MahalanobisLearner):
    r"""Sparse compositional metric learning: ``M = sum_b w_b b b'``, ``w >= 0``.

    ``min_w (1/m) sum [1 + d_M(i, j) - d_M(i, k)]_+ + beta sum_b w_b`` over m triplets (i, j, k); d_M is
    squared. Directions b are unit vectors, found first: for labels by LDA in regions around drawn rows, for
    triplets as differences between anchors and negatives.

    Parameters
    ----------
    beta : float >= 0
        Weight of sparsity.
    n_basis : int, optional
        How many directions; by default 320, or 80 d where that is fewer.
    basis : "auto", "lda" or "differences"
        "auto" is "lda" from labels, else "differences".
    n_targets, n_impostors : int >= 1
        From labels: triplets of each row, its so many nearest rows of its class, and of other classes.
    learning_rate : float > 0
        Of the stochastic steps.
    batch_size : int >= 1
        Triplets a step.
    max_iter : int >= 1
        Steps.
    n_components : int, optional
        k; by default d. Fewer keep the largest eigenvalues of M.
    warm_start : bool
        Keep the directions and begin from the weights of the last ``fit``.
    verbose : bool
        Print the objective over all triplets ten times.
    random_state : int, RandomState, optional
        Of regions, directions and batches.

    Attributes
    ----------
    basis_ : float64 array (n_basis, d)
        Directions.
    weights_ : float64 array (n_basis,)
        w: the best by the objective over all triplets, looked at ten times.

    Notes
    -----
    Shi, Bellet, Sha, Sparse compositional metric learning, AAAI 2014, equation 2 (SCML-Global), solved as
    there by stochastic regularised dual averaging, with steps by coordinate (Duchi, Hazan, Singer, 2011).
    The problem in w is convex; ``converged_`` is whether the last tenth of the steps lowered the objective
    by less than a hundredth.

    >>> X = [[0.0, 0.0], [0.1, 3.0], [2.0, 0.1], [2.1, 3.1]]
    >>> M = SCML(random_state=0).fit(X, [0, 0, 1, 1]).get_mahalanobis_matrix()
    >>> bool(M[0, 0] > 10 * M[1, 1])
    True
    """

    basis_: _Array
    weights_: _Array

    def __init__(
        self,
        *,
        beta: float = 1e-5,
        n_basis: int | None = None,
        basis: Literal["auto", "lda", "differences"] = "auto",
        n_targets: int = 3,
        n_impostors: int = 10,
        learning_rate: float = 0.1,
        batch_size: int = 64,
        max_iter: int = 2000,
        n_components: int | None = None,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.beta = beta
        self.n_basis = n_basis
        self.basis = basis
        self.n_targets = n_targets
        self.n_impostors = n_impostors
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_components = n_components
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, triplets: Triplets | None = None) -> Self:
        """Learn from rows and labels, or rows and triplets. See :meth:`Learner.fit`."""
        rows = self._rows(X)
        k = self._dimension(rows.shape[1], self.n_components)
        space = scaled(rows)
        codes = None
        kind = one_of("basis", self.basis, ["auto", "lda", "differences"])
        if triplets is None:
            codes, self.classes_ = class_codes(y, len(rows))
            targets, impostors = whole("n_targets", self.n_targets), whole("n_impostors", self.n_impostors)
            triplets = near_triplets_from_labels(space.rows, codes, targets, impostors)
        elif kind == "lda":
            raise InputError("basis='lda' needs labels; take differences")
        known = known_triplets(len(rows), None, triplets)
        generator = generator_from(self.random_state)
        if self.warm_start and hasattr(self, "basis_"):
            basis, start = self.basis_, self.weights_ * space.unit**2
        else:
            limit = min(320, 80 * rows.shape[1])
            count = limit if self.n_basis is None else whole("n_basis", self.n_basis)
            if codes is not None and kind != "differences":
                basis = _local_directions(space.rows, codes, count, generator)
            else:
                basis = _differences(space.rows, known, count, generator)
            start = np.zeros(len(basis))
        progress = self._progress()
        weights = sparse_weights(
            space.rows @ basis.T,
            known,
            start,
            beta=number("beta", self.beta, least=0),
            learning_rate=number("learning_rate", self.learning_rate, above=0),
            batch_size=whole("batch_size", self.batch_size),
            max_iter=whole("max_iter", self.max_iter),
            generator=generator,
            progress=progress,
        )
        self.basis_, self.weights_ = basis, weights / space.unit**2
        values = progress.values
        settled = len(values) > 1 and values[-2] - values[-1] < 0.01 * abs(values[-1])
        components = components_from_root(np.sqrt(self.weights_)[:, None] * basis, k)
        return self._keep(rows, Solution(components, values, settled, self.max_iter))


def sparse_weights(
    mapped: _Array,
    triplets: Triplets,
    start: _Array,
    *,
    beta: float,
    learning_rate: float,
    batch_size: int,
    max_iter: int,
    generator: np.random.Generator,
    progress: Progress,
) -> _Array:
    """The weights w (n_basis,) of directions under which rows are ``mapped`` (n, n_basis)."""
    lists = [part.numpy() for part in (triplets.anchor, triplets.positive, triplets.negative)]
    told = _Objective(mapped, lists, beta)
    weights, best, least = start, start, told(start)
    squares, mean = np.full(len(start), 1e-12), np.zeros(len(start))
    look = max(1, max_iter // 10)
    compare = _Comparisons(mapped, batch_size)
    for step in range(1, max_iter + 1):
        chosen = generator.integers(len(lists[0]), size=batch_size)
        apart = compare(*(part[chosen] for part in lists))
        broken = 1 + apart @ weights > 0
        slope = broken @ apart / batch_size
        mean += (slope - mean) / step
        squares += slope * slope
        # The minimiser of the mean gradient, the penalty and a proximal term that grows by coordinate.
        weights = np.maximum(start - learning_rate * step * (mean + beta) / np.sqrt(squares), 0)
        if step % look == 0 or step == max_iter:
            value = told(weights)
            progress.add(value)
            if value <= least:
                best, least = weights, value
    return best


class _Comparisons:
    """``(b'(i - j))^2 - (b'(i - k))^2`` of a batch of triplets, (m, n_basis); holds until the next call.

    The arrays are kept: to be given new ones of this size by the system takes as long as to fill them.
    """

    def __init__(self, mapped: _Array, size: int) -> None:
        self._mapped = mapped
        self._own, self._near, self._far = np.empty((3, size, mapped.shape[1]))

    def __call__(self, anchor: _Codes, positive: _Codes, negative: _Codes) -> _Array:
        near, far = self._near, self._far
        for rows, out in ((anchor, self._own), (positive, near), (negative, far)):
            np.take(self._mapped, rows, axis=0, out=out, mode="clip")
        # The difference of two squares: (k - j) (2 i - j - k).
        np.multiply(self._own, 2, out=self._own)
        self._own -= near
        self._own -= far
        far -= near
        far *= self._own
        return far


class _Objective:
    """The objective over all triplets; a pair that several triplets share is measured once."""

    def __init__(self, mapped: _Array, lists: list[_Codes], beta: float) -> None:
        self._mapped, self._beta = mapped, beta
        anchor, positive, negative = lists
        keys = np.concatenate([anchor * len(mapped) + positive, anchor * len(mapped) + negative])
        pairs, self._number = np.unique(keys, return_inverse=True)
        self._left, self._right = np.divmod(pairs, len(mapped))

    def __call__(self, weights: _Array) -> float:
        used = np.flatnonzero(weights)
        seen = self._mapped[:, used] * np.sqrt(weights[used])
        near, far = np.split(squared_distances(seen, self._left, self._right)[self._number], 2)
        return float(np.maximum(1 + near - far, 0).mean() + self._beta * weights.sum())


def _differences(rows: _Array, triplets: Triplets, count: int, generator: np.random.Generator) -> _Array:
    chosen = generator.permutation(triplets.n_entries)[:count]
    vectors = rows[triplets.anchor.numpy()[chosen]] - rows[triplets.negative.numpy()[chosen]]
    return _unit(vectors)


def _local_directions(rows: _Array, codes: _Codes, count: int, generator: np.random.Generator) -> _Array:
    """LDA directions of the nearest 10, 20 and 50 rows of each class, around drawn rows; (count, d).

    Along each the rows deviate by 1: of collinear features LDA finds directions in which rows hardly
    differ, and at unit length no weight within reach would make those count.
    """
    n_classes = int(codes.max()) + 1
    members = [np.flatnonzero(codes == code) for code in range(n_classes)]
    each = max(1, min(n_classes - 1, rows.shape[1]))
    found: list[_Array] = []
    made = 0
    for number_of_region in range(3 * count):
        centre = rows[generator.integers(len(rows))]
        size = (10, 20, 50)[number_of_region % 3]
        near = np.concatenate([_nearest(rows, own, centre, size) for own in members])
        directions = _lda_directions(rows[near], codes[near], each)
        found.append(directions)
        made += len(directions)
        if made >= count:
            break
    if not made:
        raise InputError("X must vary: all its rows are equal")
    directions = np.concatenate(found)[:count]
    scaled_directions: _Array = directions / (rows @ directions.T).std(axis=0)[:, None]
    return scaled_directions


def _nearest(rows: _Array, own: _Codes, centre: _Array, size: int) -> _Codes:
    if len(own) <= size:
        return own
    differences = rows[own] - centre
    squares = np.einsum("ij,ij->i", differences, differences)
    return own[np.argpartition(squares, size)[:size]]


def _lda_directions(rows: _Array, codes: _Codes, count: int) -> _Array:
    if not np.ptp(rows, axis=0).any():
        return np.empty((0, rows.shape[1]))
    white = whitened(rows)
    codes = np.unique(codes, return_inverse=True)[1]
    between = mean_outer(class_means(white.rows, codes)[codes])
    within = class_scatter(white.rows, codes)
    return _unit(discriminant_directions(white, within, between, count, least=1e-2)[0])


def _unit(vectors: _Array) -> _Array:
    norms = np.linalg.norm(vectors, axis=1)
    directions: _Array = vectors[norms > 0] / norms[norms > 0][:, None]
    return directions
