"""Tuples from labels, and the checks of relations that are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.linear.supervision import (
    class_codes,
    joined_by,
    known_chunklets,
    known_pairs,
    known_quadruplets,
    known_triplets,
)
from likewise.linear.tuples import (
    chunklets_from_labels,
    generator_from,
    near_triplets_from_labels,
    pairs_from_labels,
    quadruplets_from_labels,
    triplets_from_labels,
)
from likewise.relations import Chunklets, Pairs, Triplets

labels = st.lists(st.integers(0, 3), min_size=2, max_size=12).map(
    lambda y: np.unique(y, return_inverse=True)[1]
)


@settings(deadline=None, max_examples=60)
@given(codes=labels, count=st.integers(1, 80), seed=st.integers(0, 99))
def test_pairs_are_different_true_and_as_many_as_there_are(codes: np.ndarray, count: int, seed: int) -> None:
    pairs = pairs_from_labels(codes, count, np.random.default_rng(seed))
    left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
    assert (left != right).all()
    assert len({frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}) == len(left)
    np.testing.assert_array_equal(codes[left] == codes[right], same)
    n = len(codes)
    alike = sum(codes[i] == codes[j] for i in range(n) for j in range(i))
    assert same.sum() == min(count, alike)
    assert (~same).sum() == min(count, n * (n - 1) // 2 - alike)


def test_every_pair_is_equally_likely() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2])
    counts = np.zeros((6, 6))
    for seed in range(3000):
        pairs = pairs_from_labels(codes, 2, np.random.default_rng(seed))
        np.add.at(counts, (pairs.left.numpy(), pairs.right.numpy()), 1)
    counts += counts.T
    alike = (codes[:, None] == codes) & ~np.eye(6, dtype=bool)
    # 4 pairs alike and 11 unlike; two are drawn of each
    np.testing.assert_allclose(counts[alike], 1500, atol=150)
    np.testing.assert_allclose(counts[codes[:, None] != codes], 6000 / 11, atol=120)


@settings(deadline=None, max_examples=60)
@given(codes=labels, seed=st.integers(0, 99))
def test_triplets_and_quadruplets_are_true(codes: np.ndarray, seed: int) -> None:
    triplets = triplets_from_labels(codes, 20, np.random.default_rng(seed))
    anchor, positive, negative = (p.numpy() for p in (triplets.anchor, triplets.positive, triplets.negative))
    possible = np.bincount(codes).max() > 1 and codes.max() > 0
    assert triplets.n_entries == (20 if possible else 0)
    assert (anchor != positive).all()
    assert (codes[anchor] == codes[positive]).all() and (codes[anchor] != codes[negative]).all()
    four = quadruplets_from_labels(codes, 20, np.random.default_rng(seed))
    assert four.n_entries == (20 if possible else 0)
    assert (codes[four.left.numpy()] == codes[four.right.numpy()]).all()
    assert (codes[four.far_left.numpy()] != codes[four.far_right.numpy()]).all()


def test_triplets_reach_every_positive_and_negative() -> None:
    codes = np.array([0, 0, 0, 1, 1])
    triplets = triplets_from_labels(codes, 2000, np.random.default_rng(0))
    seen = set(
        zip(triplets.anchor.tolist(), triplets.positive.tolist(), triplets.negative.tolist(), strict=True)
    )
    every = {
        (a, p, n)
        for a in range(5)
        for p in range(5)
        for n in range(5)
        if a != p and codes[a] == codes[p] and codes[a] != codes[n]
    }
    assert seen == every


def test_near_triplets_by_loops() -> None:
    generator = np.random.default_rng(0)
    X, codes = generator.normal(size=(14, 2)), np.array([0] * 6 + [1] * 5 + [2] * 2 + [3])
    expected = set()
    for i in range(14):
        order = sorted(range(14), key=lambda j: np.sum((X[i] - X[j]) ** 2))
        mates = [j for j in order if j != i and codes[j] == codes[i]][:3]
        others = [j for j in order if codes[j] != codes[i]][:2]
        expected |= {(i, mate, other) for mate in mates for other in others}
    found = near_triplets_from_labels(X, codes, 3, 2)
    assert found.n_entries == len(expected)
    assert (
        set(zip(*(p.tolist() for p in (found.anchor, found.positive, found.negative)), strict=True))
        == expected
    )


def test_chunklets_are_cut_from_classes() -> None:
    codes = np.array([0] * 7 + [1] * 3 + [2])
    chunklets = chunklets_from_labels(codes, 3, np.random.default_rng(0)).chunklets.numpy()
    for number in range(3):
        members = chunklets == number
        assert members.sum() == 3 and len(set(codes[members])) == 1
    assert (chunklets == -1).sum() == 2


def test_one_seed_one_stream_whatever_its_form() -> None:
    draws = [generator_from(seed).random() for seed in (3, np.random.RandomState(3), np.int64(3))]
    assert draws[0] == draws[1] == draws[2] != generator_from(4).random()


def test_given_pairs_count_once() -> None:
    known = known_pairs(4, None, Pairs([0, 1, 0, 2], [1, 0, 1, 3], [1, 1, 1, 0]))
    assert known.left.tolist() == [0, 2] and known.same.tolist() == [True, False]


def test_given_relations_win_over_labels() -> None:
    assert known_triplets(3, [0, 0, 1], Triplets([0], [1], [2])).n_entries == 1
    assert known_chunklets(4, [0, 0, 0, 0], Chunklets([0, 0, 1, 1])).tolist() == [0, 0, 1, 1]


def test_default_counts_are_those_stated() -> None:
    y = np.arange(200) % 2
    pairs = known_pairs(200, y, None, random_state=0)
    assert int(pairs.same.sum()) == 80 and pairs.n_entries == 160
    assert known_triplets(200, y, None, random_state=0).n_entries == 4000
    assert known_quadruplets(200, y, None, random_state=0).n_entries == 80
    for known, name in ((known_pairs, "n_pairs"), (known_triplets, "n_triplets")):
        with pytest.raises(InputError, match=f"{name} must be a whole number"):
            known(200, y, None, **{name: 0})


def test_alike_pairs_join_rows_to_groups() -> None:
    pairs = Pairs([5, 0, 3, 1], [3, 2, 4, 5], [True, True, True, False])
    assert joined_by(pairs, 7).tolist() == [0, -1, 0, 1, 1, 1, -1]


def test_labels_keep_every_digit() -> None:
    codes, classes = class_codes(np.array([2**62, 2**62 + 1, 2**62]), 3)
    assert codes.tolist() == [0, 1, 0] and classes.tolist() == [2**62, 2**62 + 1]
