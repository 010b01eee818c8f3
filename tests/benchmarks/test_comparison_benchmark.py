"""The comparison of all methods: an equal search on other classes, and tests over every seed's scores."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.evaluation import compare, retrieval_scores
from likewise.recipes.unseen import UnseenClasses, unseen_classes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if str(BENCHMARKS) not in sys.path:
    sys.path.insert(0, str(BENCHMARKS))
comparison = importlib.import_module("comparison")


def toy(seed: int) -> UnseenClasses:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(48) // 6
    items = torch.randn(48, 12, generator=generator) + 3 * torch.nn.functional.one_hot(labels, 12)
    return UnseenClasses("toy", items, labels, items[::2], labels[::2], 8)


def test_settings_are_searched_for_on_alphabets_that_are_neither_learned_from_nor_reported(
    shared_data: Path,
) -> None:
    reported = unseen_classes("Omniglot", str(shared_data))
    back = comparison.held_back(reported, str(shared_data))
    rows = {row.numpy().tobytes() for row in back.items}
    assert 700 < back.n_classes < 964 and back.labels.max() == back.n_classes - 1
    assert not rows & {row.numpy().tobytes() for row in back.unseen_items}
    everything = {row.numpy().tobytes() for row in reported.unseen_items}
    assert not everything & (rows | {row.numpy().tobytes() for row in back.unseen_items})


@pytest.mark.parametrize("name", comparison.methods(2))
def test_every_method_takes_the_steps_it_is_given_and_moves_the_network(name: str) -> None:
    held, request = toy(0), argparse.Namespace(batch=16, steps=3)
    start, _ = comparison.train(name, held, comparison.RATES[0], argparse.Namespace(batch=16, steps=0), 1)
    net, seconds = comparison.train(name, held, comparison.RATES[0], request, 1)
    before, after = (torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (start, net))
    assert not torch.equal(before, after) and seconds > 0
    assert (before - after).abs().max() < 3.5 * comparison.RATES[0]  # Adam's steps are of this length


def test_paired_tests_are_over_the_mean_of_all_seeds() -> None:
    labels = torch.arange(40) // 4
    runs = [retrieval_scores(torch.randn(40, 3), labels, figures=["recall@1", "map@r"]) for _ in range(3)]
    mean = comparison.over_all_seeds(runs)
    for name in ("recall@1", "map@r"):
        expected = np.mean([run.scores[name] for run in runs], axis=0)
        np.testing.assert_allclose(mean.scores[name], expected)
    one = comparison.over_all_seeds(runs[:1])
    alone, other = (
        compare({"a": first, "b": runs[1]}, figure="map@r").differences[0] for first in (runs[0], one)
    )
    assert alone == other
    again = compare({"a": comparison.over_all_seeds([runs[0]] * 3), "b": runs[1]}, figure="map@r")
    assert again.differences[0].difference.low == pytest.approx(alone.difference.low)
    assert again.differences[0].p_value == pytest.approx(alone.p_value)
