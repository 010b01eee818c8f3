"""OASIS and LSH as recipes: facts of the sheet, the split of sets, quick runs above their controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.errors import InputError
from likewise.linear import OASIS
from likewise.recipes.experiment import experiment
from likewise.recipes.lsh import Config as LSHConfig
from likewise.recipes.lsh import build as build_lsh
from likewise.recipes.lsh import objective as share_a_bucket
from likewise.recipes.oasis import Config, objective
from likewise.recipes.registry import load_recipe
from likewise.recipes.similarity_sets import similarity_split
from likewise.relations import Triplets


def test_after_a_step_without_a_limit_the_triplet_costs_nothing() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        rows = generator.normal(size=(3, 4))
        learner = OASIS(C=np.inf, n_epochs=1).fit(rows, triplets=Triplets([0], [1], [2]))
        p, better, worse = rows
        left = objective(p @ learner.weight_ @ better, p @ learner.weight_ @ worse)
        assert left == pytest.approx(0.0, abs=1e-9)
        assert learner.losses_[0] == pytest.approx(objective(p @ better, p @ worse))


def test_an_asymmetric_w_answers_queries_as_no_metric_can() -> None:
    """Query 0 wants document 1 and not 2, query 1 wants 2 and not 0, query 2 wants 0 and not 1: a circle.

    A symmetric S would have S(0,1) > S(0,2) = S(2,0) > S(2,1) = S(1,2) > S(1,0) = S(0,1).
    """
    rows = np.eye(3)
    circle = Triplets([0, 1, 2], [1, 2, 0], [2, 0, 1])
    free = OASIS(C=np.inf, n_epochs=20, random_state=0).fit(rows, triplets=circle).weight_
    for p, better, worse in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        assert rows[p] @ free @ rows[better] > rows[p] @ free @ rows[worse] + 0.9
    even = (free + free.T) / 2
    assert not all(even[p, better] > even[p, worse] for p, better, worse in ((0, 1, 2), (1, 2, 0), (2, 0, 1)))


def test_random_buckets_are_shared_as_often_as_the_formula_says() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(40, 6))
    tables = build_lsh(LSHConfig(metric="Covariance", tables=4000), bits=3, probes=0, seed=0)
    tables.fit(rows, generator.integers(0, 2, 40))
    mapped = (rows - rows.mean(axis=0)) @ tables.components_.T
    for i, j in ((0, 1), (2, 3), (4, 5)):
        cosine = mapped[i] @ mapped[j] / np.linalg.norm(mapped[i]) / np.linalg.norm(mapped[j])
        bits = tables.bits(rows[[i, j]])
        seen = (bits[0] == bits[1]).all(axis=1).mean()
        assert seen == pytest.approx(share_a_bucket(np.arccos(cosine), bits=3, tables=1), abs=0.03)
    assert share_a_bucket(np.pi / 2, bits=2, tables=3) == pytest.approx(1 - (1 - 0.25) ** 3)


@pytest.mark.parametrize("name", ["20newsgroups", "emoji"])
def test_splits_share_no_row(name: str, shared_data: Path) -> None:
    split = similarity_split(name, train=200, judged=40, features=20, dense=True, seed=0, data=shared_data)
    parts = [np.asarray(split.train), np.asarray(split.gallery), np.asarray(split.queries)]
    rows = np.concatenate(parts)
    assert rows.shape[1] == 20
    lengths = np.linalg.norm(rows, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))  # an unknown text has no words
    if name == "emoji":
        assert not set(split.train_labels.tolist()) & set(split.query_labels.tolist())
        assert len(set(split.query_labels.tolist())) == len(split.query_labels)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="sets must be of 20newsgroups, emoji"):
        experiment(load_recipe("oasis"), Config(sets="reuters"), seeds=1)
    with pytest.raises(InputError, match="metric must be one of LDA, ITML"):
        LSHConfig(metric="NCA")


@pytest.mark.parametrize("name", ["oasis", "lsh"])
def test_quick_runs_beat_their_controls(name: str, shared_data: Path) -> None:
    recipe = load_recipe(name)
    result = experiment(recipe, quick=True, seeds=1, data=shared_data)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
