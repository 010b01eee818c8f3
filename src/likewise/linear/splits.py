"""Splits of pairs for cross-validation, in which no row is both learned from and tested on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from likewise.errors import InputError
from likewise.linear.options import one_of, whole
from likewise.linear.tuples import generator_from
from likewise.relations import Pairs

__all__ = ["PairSplit", "split_pairs"]

_Positions = NDArray[np.int64]


@dataclass(frozen=True)
class PairSplit:
    """One fold: rows and pairs to learn from, rows and pairs to test on.

    ``train`` speaks of positions in ``X[train_rows]`` and ``test`` of positions in ``X[test_rows]``; no row
    is in both. ``n_dropped`` pairs have one row on either side and are in neither.
    """

    train_rows: _Positions
    train: Pairs
    test_rows: _Positions
    test: Pairs
    n_dropped: int


def split_pairs(
    pairs: Pairs, n_splits: int = 5, *, by: str = "rows", random_state: Any = None
) -> Iterator[PairSplit]:
    """Cross-validation folds of pairs that share no row.

    Splitting the pairs themselves leaks: a row of a test pair is also in training pairs, and what was learned
    of it there helps here. So rows are dealt to folds at random, each fold tests on the pairs within
    it, and learns from the pairs without it; pairs between the two are dropped. Of m random pairs about ``m
    / n_splits^2`` are tested in a fold.

    Parameters
    ----------
    pairs : Pairs
    n_splits : int >= 2
    by : "rows" or "components"
        Deal out single rows, or whole connected groups of rows: then no pair is dropped, but there must be
        at least ``n_splits`` groups.
    random_state : None, int or RandomState

    Returns
    -------
    iterator of PairSplit

    Raises
    ------
    InputError
        Too few rows or groups, or a fold without a pair on one of its sides.

    >>> pairs = Pairs([0, 2, 4, 6], [1, 3, 5, 7], [1, 0, 1, 0])
    >>> [split.test_rows.tolist() for split in split_pairs(pairs, 2, by="components", random_state=0)]
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    whole("n_splits", n_splits, least=2)
    one_of("by", by, ["rows", "components"])
    if not isinstance(pairs, Pairs):
        raise InputError(f"pairs must be likewise.relations.Pairs; found {type(pairs).__name__}")
    left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
    rows, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    i, j = places[: len(left)], places[len(left) :]
    units, name = np.arange(len(rows)), "rows"
    if by == "components":
        graph = scipy.sparse.coo_array((np.ones(len(i)), (i, j)), shape=(len(rows), len(rows)))
        units, name = connected_components(graph, directed=False)[1].astype(np.int64), "groups of rows"
    n_units = int(units.max(initial=-1)) + 1
    if n_units < n_splits:
        raise InputError(
            f"n_splits must be at most {n_units}, the number of {name} in pairs; found {n_splits}"
        )
    folds = _dealt(np.bincount(units), n_splits, random_state)[units]
    return (_split(rows, i, j, same, folds == fold, fold) for fold in range(n_splits))


def _dealt(sizes: _Positions, n_splits: int, random_state: Any) -> _Positions:
    """A fold for each unit: in random order, largest first, each to the fold with the fewest rows."""
    order = generator_from(random_state).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    folds, held = np.empty(len(sizes), dtype=np.int64), np.zeros(n_splits, dtype=np.int64)
    for unit in order:
        folds[unit] = held.argmin()
        held[folds[unit]] += sizes[unit]
    return folds


def _split(
    rows: _Positions,
    i: _Positions,
    j: _Positions,
    same: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    fold: int,
) -> PairSplit:
    inside, outside = tested[i] & tested[j], ~tested[i] & ~tested[j]
    sides = []
    for name, chosen, held in (("learn from", outside, ~tested), ("test on", inside, tested)):
        if not chosen.any():
            raise InputError(
                f'fold {fold} has no pair to {name}; take fewer splits, more pairs, or by="components"'
            )
        place = np.cumsum(held) - 1
        sides.append((rows[held], Pairs(place[i[chosen]], place[j[chosen]], same[chosen])))
    (train_rows, train), (test_rows, test) = sides
    return PairSplit(train_rows, train, test_rows, test, int(len(i) - inside.sum() - outside.sum()))
