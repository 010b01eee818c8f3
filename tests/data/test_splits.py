"""Splits by class leave no class on both sides and lose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.data import (
    Records,
    check_disjoint,
    records_from_arrays,
    split_by_class,
    split_by_group,
    split_by_row,
    split_items,
    take_classes,
)
from likewise.errors import DataError, InputError


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


def grouped(values: list[int], groups: list[int]) -> Records:
    X = np.asarray(values, dtype=np.float32)[:, None]
    return Records(X, np.arange(len(values)), "things", columns={"person": np.asarray(groups)})


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=30).filter(lambda g: len(set(g)) > 1),
    st.floats(0.05, 0.9),
)
def test_no_group_is_on_both_sides(groups: list[int], fraction: float) -> None:
    whole = grouped(list(range(len(groups))), groups)
    parts = split_by_group(whole, "person", test_fraction=fraction, seed=3)
    train, test = (set(part.columns["person"].tolist()) for part in (parts.train, parts.test))
    assert train and test and not train & test
    assert sorted([*parts.train.y.tolist(), *parts.test.y.tolist()]) == list(range(len(groups)))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=30).filter(lambda v: len(set(v)) > 1), st.integers(0, 3)
)
def test_equal_items_stay_on_one_side(values: list[int], seed: int) -> None:
    parts = split_by_row(grouped(values, values), test_fraction=0.4, seed=seed)
    assert not set(parts.train.X[:, 0]) & set(parts.test.X[:, 0])
    assert len(parts.train) + len(parts.test) == len(values)
    again = split_by_row(grouped(values, values), test_fraction=0.4, seed=seed)
    assert again.test.fingerprint == parts.test.fingerprint


def test_leaks_are_refused() -> None:
    same_item = grouped([1, 2, 3, 1], [0, 0, 1, 1])
    with pytest.raises(
        DataError, match=r"a leak: row \d of one part and row \d of the other are the same item"
    ):
        split_by_group(same_item, "person", test_fraction=0.5)
    assert len(split_by_group(same_item, "person", test_fraction=0.5, allow_leaks=True).test) == 2
    with pytest.raises(DataError, match="the same item"):
        split_by_class(grouped([1, 1], [0, 1]), allow_leaks=False)
    first, second = grouped([1, 2], [0, 1]), grouped([3, 4], [2, 1])
    check_disjoint(first, second)
    with pytest.raises(DataError, match="row 1 of one part and row 1 of the other are of one person"):
        check_disjoint(first, second, group="person")
    with pytest.raises(DataError, match="did you mean person"):
        check_disjoint(first, second, group="persn")


def test_splits_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="no column 'preson' to split by; did you mean person"):
        split_by_group(grouped([1, 2], [0, 1]), "preson")
    with pytest.raises(DataError, match="split by person needs at least two"):
        split_by_group(grouped([1, 2], [0, 0]), "person")
    with pytest.raises(DataError, match="split by row needs at least two"):
        split_by_row(grouped([1, 1], [0, 1]))
    with pytest.raises(InputError, match="test_fraction must lie between"):
        split_by_row(grouped([1, 2], [0, 1]), test_fraction=1.0)
