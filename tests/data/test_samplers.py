"""Samplers keep what they promise, over random sizes of classes, epochs, resumed runs and processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from likewise.data import (
    BalancedSampler,
    BatchSampler,
    ClassBalancedSampler,
    HierarchicalSampler,
    ShuffledSampler,
)
from likewise.errors import InputError

SIZES = st.lists(st.integers(2, 9), min_size=2, max_size=6)


def shuffled_labels(sizes: list[int], seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(sizes)) * 7, sizes)
    return labels[np.random.default_rng(seed).permutation(len(labels))]


def can_be_learned_from(labels: np.ndarray, batch: list[int]) -> bool:
    """At least one pair alike and one pair unlike."""
    counts = Counter(labels[batch].tolist())
    return len(counts) >= 2 and max(counts.values()) >= 2


def fair(drawn: Counter, members: np.ndarray) -> bool:
    times = [drawn[row] for row in members.tolist()]
    return max(times) - min(times) <= 1


@settings(deadline=None, max_examples=80)
@given(SIZES, st.data())
def test_every_batch_has_p_classes_with_k_different_items_each(sizes: list[int], data: st.DataObject) -> None:
    P = data.draw(st.integers(2, len(sizes)))
    K = data.draw(st.integers(2, 12))
    seed = data.draw(st.integers(0, 5))
    labels = shuffled_labels(sizes, seed)
    sampler = ClassBalancedSampler(labels, classes_per_batch=P, items_per_class=K, batches=7, seed=seed)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 7
    drawn_items: Counter[int] = Counter()
    drawn_classes: Counter[int] = Counter()
    for batch in batches:
        assert can_be_learned_from(labels, batch)
        assert len(set(batch)) == len(batch)
        counts = Counter(labels[batch].tolist())
        assert len(counts) == P
        for label, count in counts.items():
            assert count == min(K, sizes[label // 7])
        drawn_items.update(batch)
        drawn_classes.update(counts.keys())
        # Fairness holds after every batch: nothing has come up twice more often than its fellows.
        assert fair(drawn_classes, np.unique(labels))
        for label in np.unique(labels):
            assert fair(drawn_items, np.flatnonzero(labels == label))


@settings(deadline=None, max_examples=80)
@given(SIZES, st.integers(4, 40), st.integers(0, 5))
def test_a_balanced_batch_is_as_even_as_its_classes_allow(sizes: list[int], size: int, seed: int) -> None:
    labels = shuffled_labels(sizes, seed)
    sampler = BalancedSampler(labels, batch_size=size, batches=6, seed=seed)
    classes = min(len(sizes), size // 2)
    drawn: Counter[int] = Counter()
    for batch in sampler:
        assert can_be_learned_from(labels, batch)
        assert len(set(batch)) == len(batch) <= size
        counts = Counter(labels[batch].tolist())
        assert len(counts) == classes and min(counts.values()) >= 2
        # A class has fewer than its share only where it has no more items.
        share = size // classes
        for label, count in counts.items():
            assert count in (share, share + 1) or count == sizes[label // 7] < share
        drawn.update(counts.keys())
        assert fair(drawn, np.unique(labels))


@settings(deadline=None, max_examples=80)
@given(st.lists(SIZES, min_size=2, max_size=4), st.data())
def test_a_hierarchical_batch_has_s_superclasses_p_classes_and_k_items(
    tree: list[list[int]], data: st.DataObject
) -> None:
    S = data.draw(st.integers(1, len(tree)))
    P = data.draw(st.integers(2 if S == 1 else 1, 5))
    K = data.draw(st.integers(2, 5))
    sizes = [size for below in tree for size in below]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    above = np.repeat([code for code, below in enumerate(tree) for _ in below], sizes)
    sampler = HierarchicalSampler(
        labels,
        above,
        superclasses_per_batch=S,
        classes_per_superclass=P,
        items_per_class=K,
        batches=5,
    )
    for batch in sampler:
        assert can_be_learned_from(labels, batch)
        assert len(set(batch)) == len(batch)
        drawn = np.unique(above[batch])
        assert len(drawn) == S
        for superclass in drawn:
            inside = [row for row in batch if above[row] == superclass]
            counts = Counter(labels[inside].tolist())
            assert len(counts) == min(P, len(tree[superclass]))
            assert all(count == min(K, sizes[label]) for label, count in counts.items())


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 60), st.integers(2, 20), st.integers(1, 4), st.integers(0, 5))
def test_everything_comes_up_once_an_epoch_and_each_stratum_has_its_share(
    count: int, size: int, kinds: int, seed: int
) -> None:
    strata = np.random.default_rng(seed).integers(kinds, size=count)
    sampler = ShuffledSampler(count, batch_size=size, strata=strata, seed=seed)
    batches = list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert len(batches) == len(sampler) and max(sizes) <= size and max(sizes) - min(sizes) <= 1
    for batch in batches:
        for kind in np.unique(strata):
            expected = (strata == kind).mean() * len(batch)
            assert abs(np.sum(strata[batch] == kind) - expected) < 1 + kinds / 2


def test_pairs_of_both_kinds_are_in_every_batch() -> None:
    same = np.arange(64) % 4 == 0
    for batch in ShuffledSampler(64, batch_size=8, strata=same):
        assert same[batch].sum() == 2


LABELS = np.repeat(np.arange(6), [4, 5, 6, 7, 8, 9])
KINDS: dict[str, Callable[..., BatchSampler]] = {
    "classes": lambda **o: ClassBalancedSampler(LABELS, classes_per_batch=3, items_per_class=3, **o),
    "balanced": lambda **o: BalancedSampler(LABELS, batch_size=10, **o),
    "hierarchical": lambda **o: HierarchicalSampler(LABELS, LABELS % 2, items_per_class=3, **o),
    "shuffled": lambda **o: ShuffledSampler(len(LABELS), batch_size=7, **o),
}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[..., BatchSampler]:
    return KINDS[request.param]


def test_an_epoch_depends_on_seed_and_epoch_alone(make: Callable[..., BatchSampler]) -> None:
    first = make(seed=3)
    epochs = [list(first) for _ in range(3)]
    resumed = make(seed=3)
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(make(seed=4)) != epochs[0]


def test_a_state_goes_on_inside_an_epoch_and_then_with_the_next(make: Callable[..., BatchSampler]) -> None:
    whole = make(seed=1)
    whole.set_epoch(4)
    state = whole.state_dict(batch=2)
    fourth, fifth = list(whole), list(whole)
    resumed = make(seed=1)
    resumed.load_state_dict(state)
    assert list(resumed) == fourth[2:]
    assert list(resumed) == fifth


@pytest.mark.parametrize("world_size", [2, 3])
def test_slices_of_all_processes_are_the_batch_of_one(
    make: Callable[..., BatchSampler], world_size: int
) -> None:
    whole = list(make(seed=2))
    slices = [list(make(seed=2, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        parts = [of_rank[number] for of_rank in slices]
        assert [row for part in parts for row in part] == batch
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_it_is_a_batch_sampler_of_pytorchs_loader() -> None:
    labels = np.repeat([0, 1, 2], 6)
    sampler = ClassBalancedSampler(labels, classes_per_batch=3, items_per_class=2, seed=1)
    expected = list(ClassBalancedSampler(labels, classes_per_batch=3, items_per_class=2, seed=1))
    loaded = [batch.tolist() for batch in DataLoader(list(range(18)), batch_sampler=sampler)]
    assert loaded == expected
    assert len(loaded) == 3


USUAL = [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("make_wrong", "found"),
    [
        (lambda: ClassBalancedSampler(USUAL, classes_per_batch=1, items_per_class=2), "classes, 3; found 1"),
        (lambda: ClassBalancedSampler(USUAL, classes_per_batch=4, items_per_class=2), "found 4"),
        (lambda: ClassBalancedSampler(USUAL, classes_per_batch=2, items_per_class=1), "at least 2"),
        (
            lambda: ClassBalancedSampler(USUAL, classes_per_batch=2, items_per_class=2, batches=0),
            "batches must be at least 1",
        ),
        (
            lambda: ClassBalancedSampler([0, 0, 1], classes_per_batch=2, items_per_class=2),
            "class 1 has one item",
        ),
        (
            lambda: ClassBalancedSampler([0.5, 0.5, 1.5, 1.5], classes_per_batch=2, items_per_class=2),
            "whole numbers",
        ),
        (lambda: BalancedSampler(USUAL, batch_size=3), "batch_size must be at least 4"),
        (lambda: BalancedSampler([7, 7, 7], batch_size=4), "found 7 alone"),
        (lambda: BalancedSampler(USUAL, batch_size=4, rank=2, world_size=2), "found 2 of 2"),
        (lambda: HierarchicalSampler(USUAL, [0, 1, 1, 1, 1, 1]), "the class of row 0 is in 0 and in 1"),
        (lambda: HierarchicalSampler(USUAL, [0, 0, 1]), "as many as labels, 6; found 3"),
        (lambda: HierarchicalSampler(USUAL, [0] * 6), "number of superclasses, 1"),
        (
            lambda: HierarchicalSampler(USUAL, [0, 0, 0, 0, 1, 1], superclasses_per_batch=1),
            "one class only; use superclasses_per_batch",
        ),
        (lambda: ShuffledSampler(1, batch_size=2), "found 1 and 2"),
        (lambda: ShuffledSampler(4, batch_size=2, strata=[0, 1]), "strata must be 4"),
    ],
)
def test_what_cannot_be_promised_is_refused(make_wrong: Callable[[], object], found: str) -> None:
    with pytest.raises(InputError, match=found):
        make_wrong()
