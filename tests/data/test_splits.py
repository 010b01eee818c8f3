"""Splits by class leave no class on both sides and lose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.data import records_from_arrays, split_by_class, split_items, take_classes
from likewise.errors import InputError


def records(labels: list[object]):
    return records_from_arrays(np.arange(len(labels))[:, None], labels)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=30).filter(lambda labels: len(set(labels)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_no_class_is_on_both_sides_and_no_item_is_lost(labels: list[int], fraction: float, seed: int) -> None:
    parts = split_by_class(records(labels), unseen_fraction=fraction, seed=seed)
    assert not set(parts.seen.y.tolist()) & set(parts.unseen.y.tolist())
    assert len(parts.seen) and len(parts.unseen)
    both = np.concatenate([parts.seen.X, parts.unseen.X])[:, 0]
    assert sorted(both.tolist()) == list(range(len(labels)))
    again = split_by_class(records(labels), unseen_fraction=fraction, seed=seed)
    assert again.seen.fingerprint == parts.seen.fingerprint


def test_named_classes_are_the_seen_ones() -> None:
    parts = split_by_class(records(list("aabbccdd")), seen=["d", "a"])
    assert parts.seen.y.tolist() == ["a", "a", "d", "d"]
    assert parts.unseen.y.tolist() == ["b", "b", "c", "c"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"seen": [0, 9]}, "found no class 9"),
        ({"seen": []}, "empty list"),
        ({"seen": [0, 1, 2]}, "at least one class"),
        ({"unseen_fraction": 0.0}, "between 0 and 1"),
        ({"unseen_fraction": float("nan")}, "between 0 and 1"),
    ],
)
def test_an_empty_side_is_refused(options: dict[str, object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        split_by_class(records([0, 0, 1, 1, 2]), **options)  # type: ignore[arg-type]


def test_one_class_cannot_be_split() -> None:
    with pytest.raises(InputError, match="at least two classes; found 1"):
        split_by_class(records([3, 3]))


def test_classes_are_taken_in_the_order_of_the_items() -> None:
    assert take_classes(records(list("abcabc")), ["c", "a"]).X[:, 0].tolist() == [0, 2, 3, 5]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.floats(0.05, 0.95))
def test_items_are_split_so_that_both_sides_keep_pairs(sizes: list[int], fraction: float) -> None:
    whole = records(np.repeat(np.arange(len(sizes)), sizes).tolist())
    parts = split_items(whole, fraction=fraction)
    assert sorted([*parts.seen.X[:, 0].tolist(), *parts.unseen.X[:, 0].tolist()]) == list(range(len(whole)))
    for label, size in enumerate(sizes):
        kept, held = int((parts.seen.y == label).sum()), int((parts.unseen.y == label).sum())
        assert (kept, held) == (size, 0) if size < 4 else (kept >= 2 and held >= 2)
