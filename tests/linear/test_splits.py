"""split_pairs: no row on both sides, and nothing lost that needn't be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from likewise.errors import InputError
from likewise.linear import ITML, split_pairs
from likewise.relations import Pairs


def named(split, side):
    """The pairs of one side as {(row, row, same)} in positions of the whole X."""
    rows, pairs = (split.train_rows, split.train) if side == "train" else (split.test_rows, split.test)
    return {
        (int(rows[i]), int(rows[j]), bool(s))
        for i, j, s in zip(pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy(), strict=True)
    }


@settings(deadline=None, max_examples=25)
@given(st.integers(20, 60), st.integers(100, 300), st.integers(2, 4), st.integers(0, 99))
def test_no_row_is_on_both_sides_and_every_pair_is_accounted_for(n, count, splits, seed):
    generator = np.random.default_rng(seed)
    i, j = np.triu_indices(n, k=1)
    chosen = generator.choice(len(i), min(count, len(i)), replace=False)
    pairs = Pairs(i[chosen], j[chosen], generator.uniform(size=len(chosen)) < 0.5)
    everything = {
        (int(a), int(b), bool(s))
        for a, b, s in zip(pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy(), strict=True)
    }
    tested = []
    for split in split_pairs(pairs, splits, random_state=seed):
        assert not np.intersect1d(split.train_rows, split.test_rows).size
        train, test = named(split, "train"), named(split, "test")
        assert train | test <= everything
        assert len(train) + len(test) + split.n_dropped == len(everything)
        for a, b, _ in everything - train - test:
            assert (a in split.test_rows) != (b in split.test_rows)
        tested.append(split.test_rows)
    np.testing.assert_array_equal(
        np.sort(np.concatenate(tested)), np.unique(np.concatenate([i[chosen], j[chosen]]))
    )


def test_components_drop_nothing():
    pairs = Pairs([0, 1, 3, 5, 7, 7], [1, 2, 4, 6, 8, 9], [1, 0, 1, 0, 1, 0])
    splits = list(split_pairs(pairs, 4, by="components", random_state=0))
    assert [split.n_dropped for split in splits] == [0] * 4
    assert sorted(len(split.test_rows) for split in splits) == [2, 2, 3, 3]
    assert set.union(*(named(split, "test") for split in splits)) == {
        (0, 1, True), (1, 2, False), (3, 4, True), (5, 6, False), (7, 8, True), (7, 9, False)
    }  # fmt: skip


def test_the_split_pairs_of_a_learner_are_the_pairs():
    """A learner fitted on a side of a fold sees just the rows that the fold names."""
    X, y = load_iris(return_X_y=True)
    i, j = np.triu_indices(150, k=1)
    chosen = np.random.default_rng(0).choice(len(i), 900, replace=False)
    pairs = Pairs(i[chosen], j[chosen], y[i[chosen]] == y[j[chosen]])
    for split in split_pairs(pairs, 3, random_state=0):
        same = y[split.test_rows][split.test.left] == y[split.test_rows][split.test.right]
        np.testing.assert_array_equal(same, split.test.same.numpy())
        learner = ITML().fit(X[split.train_rows], pairs=split.train)
        held_out = X[split.test_rows]
        distance = learner.pair_distance(held_out[split.test.left], held_out[split.test.right])
        assert distance[same].mean() < distance[~same].mean()


def test_it_is_seeded():
    pairs = Pairs(np.arange(0, 40, 2), np.arange(1, 41, 2), np.arange(20) % 2)
    one, two, other = (
        [split.test_rows.tolist() for split in split_pairs(pairs, 4, by="components", random_state=seed)]
        for seed in (1, 1, 2)
    )
    assert one == two != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_splits": 1}, "n_splits"),
        ({"n_splits": 5}, "at most 4, the number of rows"),
        ({"n_splits": 3, "by": "components"}, "at most 2, the number of groups"),
        ({"n_splits": 2, "by": "pairs"}, "by must be"),
        ({"n_splits": 4}, "has no pair to"),
    ],
)
def test_impossible_splits_say_why(arguments, message):
    with pytest.raises(InputError, match=message):
        list(split_pairs(Pairs([0, 2], [1, 3], [1, 0]), **arguments))


def test_something_else_than_pairs_is_refused():
    with pytest.raises(InputError, match="pairs must be"):
        split_pairs([(0, 1)])
