"""What a learner is told, checked: labels, targets, or relations between rows by position."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import scipy.sparse.csgraph
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from likewise.errors import InputError
from likewise.linear.options import whole
from likewise.linear.tuples import (
    chunklets_from_labels,
    generator_from,
    pairs_from_labels,
    quadruplets_from_labels,
    triplets_from_labels,
)
from likewise.relations import Chunklets, Pairs, Quadruplets, Scores, Triplets

__all__ = [
    "class_codes",
    "joined_by",
    "known_chunklets",
    "known_pairs",
    "known_quadruplets",
    "known_scores",
    "known_triplets",
    "targets_of",
]

_Codes = NDArray[np.int64]
_Known = TypeVar("_Known", Pairs, Triplets, Quadruplets, Scores, Chunklets)


def _vector(y: Any, n_rows: int) -> NDArray[Any]:
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None")
    try:
        labels: NDArray[Any] = column_or_1d(y, warn=True)
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from error
    if len(labels) != n_rows:
        raise InputError(f"X and y must have equally many rows; found {n_rows} and {len(labels)}")
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise InputError("y must be finite; found NaN or infinity")
    return labels


def class_codes(y: Any, n_rows: int) -> tuple[_Codes, NDArray[Any]]:
    """Codes 0 to C-1 of labels (n,), and the C classes in sorted order.

    Raises
    ------
    InputError
        No labels, another length, or continuous numbers.

    >>> class_codes(["b", "a", "b"], 3)
    (array([1, 0, 1]), array(['a', 'b'], dtype='<U1'))
    """
    labels = _vector(y, n_rows)
    if labels.dtype.kind == "c" or (labels.dtype.kind == "f" and (labels != np.floor(labels)).any()):
        raise InputError("Unknown label type: continuous; y must hold whole numbers or strings")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise InputError("y must hold whole numbers or strings, all of one kind") from error
    return codes.astype(np.int64), classes


def targets_of(y: Any, n_rows: int) -> NDArray[np.float64]:
    """Numbers to predict, (n,) float64.

    >>> targets_of([1, 2.5], 2)
    array([1. , 2.5])
    """
    targets = _vector(y, n_rows)
    try:
        return targets.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"y must be numbers; found {targets.dtype}") from error


def _of_kind(given: Any, kind: type[_Known], name: str) -> _Known:
    if not isinstance(given, kind):
        raise InputError(f"{name} must be likewise.relations.{kind.__name__}; found {type(given).__name__}")
    return given


def _check_positions(n_rows: int, **lists: Any) -> None:
    for name, positions in lists.items():
        if positions.numel() and int(positions.max()) >= n_rows:
            number = int((positions >= n_rows).nonzero()[0])
            raise InputError(
                f"{name} must name rows of X, from 0 to {n_rows - 1}; found {int(positions[number])} "
                f"in entry {number}"
            )


def _check_different(left: Any, right: Any, what: str) -> None:
    if bool((left == right).any()):
        number = int((left == right).nonzero()[0])
        raise InputError(
            f"{what} {number} names row {int(left[number])} twice; a row tells nothing of itself"
        )


def _enough(found: int, least: int, what: str) -> None:
    if found < least:
        raise InputError(f"too few {what}: at least {least} needed, found {found}")


def known_pairs(
    n_rows: int,
    y: Any,
    pairs: Pairs | None,
    *,
    n_pairs: int | None = None,
    random_state: Any = None,
    alike: int = 1,
    unlike: int = 1,
) -> Pairs:
    """The given pairs, each once, or pairs drawn from labels.

    From C classes ``n_pairs`` alike and as many unlike are drawn, by default ``20 C^2`` of each (at most
    100,000); all where there are fewer. See :func:`~likewise.linear.tuples.pairs_from_labels`.

    Raises
    ------
    InputError
        A row that doesn't exist, a row paired with itself, one pair as alike and as unlike, or fewer than
        ``alike`` and ``unlike`` pairs.

    >>> known_pairs(3, None, Pairs([0, 1, 0], [1, 0, 2], [1, 1, 0]))
    Pairs(2)
    """
    if pairs is None:
        codes, classes = class_codes(y, n_rows)
        count = min(20 * len(classes) ** 2, 100_000) if n_pairs is None else n_pairs
        whole("n_pairs", count)
        known = pairs_from_labels(codes, count, generator_from(random_state))
    else:
        known = _each_once(_of_kind(pairs, Pairs, "pairs"), n_rows)
    n_alike = int(known.same.sum())
    _enough(n_alike, alike, "pairs that are alike")
    _enough(known.n_entries - n_alike, unlike, "pairs that are unlike")
    return known


def _each_once(pairs: Pairs, n_rows: int) -> Pairs:
    _check_positions(n_rows, left=pairs.left, right=pairs.right)
    _check_different(pairs.left, pairs.right, "pair")
    left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
    keys = np.minimum(left, right) * n_rows + np.maximum(left, right)
    contrary = np.intersect1d(keys[same], keys[~same])
    if len(contrary):
        low, high = divmod(int(contrary[0]), n_rows)
        raise InputError(f"pairs contradict each other: rows {low} and {high} are alike and unlike; drop one")
    first = np.sort(np.unique(keys, return_index=True)[1])
    return Pairs(left[first], right[first], same[first])


def known_triplets(
    n_rows: int,
    y: Any,
    triplets: Triplets | None,
    *,
    n_triplets: int | None = None,
    random_state: Any = None,
    least: int = 1,
) -> Triplets:
    """The given triplets, or ``n_triplets`` drawn from labels (by default 20 a row, at most 100,000).

    See :func:`~likewise.linear.tuples.triplets_from_labels`.

    >>> known_triplets(4, [0, 0, 1, 1], None, n_triplets=6, random_state=0)
    Triplets(6)
    """
    if triplets is None:
        codes, _ = class_codes(y, n_rows)
        count = min(20 * n_rows, 100_000) if n_triplets is None else n_triplets
        whole("n_triplets", count)
        known = triplets_from_labels(codes, count, generator_from(random_state))
    else:
        known = _of_kind(triplets, Triplets, "triplets")
        _check_positions(n_rows, anchor=known.anchor, positive=known.positive, negative=known.negative)
        _check_different(known.anchor, known.positive, "triplet")
        _check_different(known.anchor, known.negative, "triplet")
        _check_different(known.positive, known.negative, "triplet")
    _enough(known.n_entries, least, "triplets (a class with two rows and another class make one)")
    return known


def known_quadruplets(
    n_rows: int,
    y: Any,
    quadruplets: Quadruplets | None,
    *,
    n_quadruplets: int | None = None,
    random_state: Any = None,
    least: int = 1,
) -> Quadruplets:
    """The given quadruplets, or drawn from labels (by default ``20 C^2``, at most 100,000).

    See :func:`~likewise.linear.tuples.quadruplets_from_labels`.

    >>> known_quadruplets(4, [0, 0, 1, 1], None, random_state=0)
    Quadruplets(80)
    """
    if quadruplets is None:
        codes, classes = class_codes(y, n_rows)
        count = min(20 * len(classes) ** 2, 100_000) if n_quadruplets is None else n_quadruplets
        whole("n_quadruplets", count)
        known = quadruplets_from_labels(codes, count, generator_from(random_state))
    else:
        known = _of_kind(quadruplets, Quadruplets, "quadruplets")
        names = ("left", "right", "far_left", "far_right")
        lists = (known.left, known.right, known.far_left, known.far_right)
        _check_positions(n_rows, **dict(zip(names, lists, strict=True)))
        _check_different(known.left, known.right, "quadruplet")
        _check_different(known.far_left, known.far_right, "quadruplet")
    _enough(known.n_entries, least, "quadruplets (a class with two rows and another class make one)")
    return known


def known_chunklets(
    n_rows: int, y: Any, chunklets: Any, *, chunk_size: int | None = None, random_state: Any = None
) -> _Codes:
    """Chunklets (n,) as codes 0 to J-1, with -1 for unassigned rows and for chunklets of one row.

    From labels each class is a chunklet, or is cut at random into chunklets of ``chunk_size`` rows.

    >>> known_chunklets(5, None, Chunklets([7, 7, -1, 3, 5]))
    array([ 0,  0, -1, -1, -1])
    """
    if chunklets is None:
        if chunk_size is not None:
            whole("chunk_size", chunk_size, least=2)
        codes, _ = class_codes(y, n_rows)
        known = chunklets_from_labels(codes, chunk_size, generator_from(random_state))
    else:
        known = chunklets if isinstance(chunklets, Chunklets) else Chunklets(chunklets)
        if known.n_items != n_rows:
            raise InputError(
                f"X and chunklets must have equally many rows; found {n_rows} and {known.n_items}"
            )
    values = known.chunklets.numpy().copy()
    numbers, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    values[(counts[inverse] < 2) | (numbers[inverse] < 0)] = -1
    assigned = values >= 0
    if not assigned.any():
        raise InputError("too few chunklets: no chunklet (or class) has two rows")
    values[assigned] = np.unique(values[assigned], return_inverse=True)[1]
    return values.astype(np.int64)


def joined_by(pairs: Pairs, n_rows: int) -> _Codes:
    """The group of each row (n,) when alike pairs are joined; -1 for a row in no alike pair.

    >>> joined_by(Pairs([0, 1, 0], [1, 2, 4], [True, True, False]), 5)
    array([ 0,  0,  0, -1, -1])
    """
    left, right = pairs.left[pairs.same].numpy(), pairs.right[pairs.same].numpy()
    links = scipy.sparse.coo_array((np.ones(len(left)), (left, right)), shape=(n_rows, n_rows))
    groups = scipy.sparse.csgraph.connected_components(links, directed=False)[1]
    alone = np.ones(n_rows, dtype=bool)
    alone[left] = alone[right] = False
    codes = np.unique(groups, return_inverse=True)[1]
    kept = np.unique(codes[~alone])
    return np.where(alone, -1, np.searchsorted(kept, codes)).astype(np.int64)


def known_scores(n_rows: int, scores: Any, *, least: int = 1) -> Scores:
    """The given scored pairs, checked.

    >>> known_scores(3, Scores([0], [2], [0.5]))
    Scores(1)
    """
    known = _of_kind(scores, Scores, "scores")
    _check_positions(n_rows, left=known.left, right=known.right)
    _check_different(known.left, known.right, "pair")
    _enough(known.n_entries, least, "scored pairs")
    return known
