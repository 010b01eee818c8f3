"""Samplers keep what they promise, over random sizes of classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from likewise.data import ClassBalancedSampler
from likewise.errors import InputError


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(2, 9), min_size=2, max_size=6), st.data())
def test_every_batch_has_p_classes_with_k_different_items_each(sizes: list[int], data: st.DataObject) -> None:
    P = data.draw(st.integers(2, len(sizes)))
    K = data.draw(st.integers(2, 12))
    seed = data.draw(st.integers(0, 5))
    labels = np.repeat(np.arange(len(sizes)) * 7, sizes)
    labels = labels[np.random.default_rng(seed).permutation(len(labels))]
    sampler = ClassBalancedSampler(labels, classes_per_batch=P, items_per_class=K, batches=7, seed=seed)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 7
    drawn_items: Counter[int] = Counter()
    drawn_classes: Counter[int] = Counter()
    for batch in batches:
        assert len(set(batch)) == len(batch)
        counts = Counter(labels[batch].tolist())
        assert len(counts) == P
        for label, count in counts.items():
            assert count == min(K, sizes[label // 7])
        drawn_items.update(batch)
        drawn_classes.update(counts.keys())
        # Fairness holds after every batch: nothing has come up twice more often than its fellows.
        all_classes = [drawn_classes[label] for label in np.unique(labels).tolist()]
        assert max(all_classes) - min(all_classes) <= 1
        for label in np.unique(labels):
            of_class = [drawn_items[row] for row in np.flatnonzero(labels == label).tolist()]
            assert max(of_class) - min(of_class) <= 1


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    labels = list("aaabbbccc") * 4

    def sampler(seed: int = 3) -> ClassBalancedSampler:
        return ClassBalancedSampler(labels, classes_per_batch=2, items_per_class=3, seed=seed)

    first = sampler()
    epochs = [list(first) for _ in range(3)]
    resumed = sampler()
    resumed.set_epoch(2)
    assert list(resumed) == epochs[2]
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(sampler(seed=4)) != epochs[0]


def test_it_is_a_batch_sampler_of_pytorchs_loader() -> None:
    labels = np.repeat([0, 1, 2], 6)
    sampler = ClassBalancedSampler(labels, classes_per_batch=3, items_per_class=2, seed=1)
    expected = list(ClassBalancedSampler(labels, classes_per_batch=3, items_per_class=2, seed=1))
    loaded = [batch.tolist() for batch in DataLoader(list(range(18)), batch_sampler=sampler)]
    assert loaded == expected
    assert len(loaded) == 3


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"classes_per_batch": 1}, "between 2 and the number of classes, 3; found 1"),
        ({"classes_per_batch": 4}, "found 4"),
        ({"items_per_class": 1}, "at least 2"),
        ({"batches": 0}, "batches must be at least 1"),
        ({"labels": [0, 0, 1]}, "class 1 has one item"),
        ({"labels": [0.5, 0.5, 1.5, 1.5]}, "whole numbers"),
    ],
)
def test_what_cannot_be_promised_is_refused(options: dict[str, object], found: str) -> None:
    usual = {"labels": [0, 0, 1, 1, 2, 2], "classes_per_batch": 2, "items_per_class": 2}
    given_options = {**usual, **options}
    labels = given_options.pop("labels")
    with pytest.raises(InputError, match=found):
        ClassBalancedSampler(labels, **given_options)  # type: ignore[arg-type]
