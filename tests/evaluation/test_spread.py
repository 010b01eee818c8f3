"""Spread over classes: the jackknife, what twos of classes share, degrees of freedom; by plain loops."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from likewise.evaluation import retrieval_scores
from likewise.evaluation.spread import (
    jackknife_spread,
    left_out_means,
    linked_variance,
    mean_spread,
    shared_variance,
)
from reference import evaluation as reference


def test_jackknife_equals_the_formula_and_half_of_the_shared_comes_off():
    left_out = np.random.default_rng(0).exponential(size=12)
    spread = jackknife_spread(left_out, 12)
    variance = reference.jackknife_error(left_out) ** 2
    assert spread.error == pytest.approx(math.sqrt(variance))
    assert spread.freedom == pytest.approx(reference.freedom(left_out))
    shared = variance / 4
    assert jackknife_spread(left_out, 12, shared=shared).error ** 2 == pytest.approx(variance * 7 / 8)
    # However much is shared, half stays: parts of two classes are counted twice and no more.
    assert jackknife_spread(left_out, 12, shared=1e3).error ** 2 == pytest.approx(variance / 2)
    with_gaps = np.append(left_out, [np.nan, np.nan])
    assert jackknife_spread(with_gaps, 12) == spread
    assert math.isnan(jackknife_spread(with_gaps[-3:], 12).error)


def test_freedom_is_that_of_the_classes_that_decide():
    assert jackknife_spread(np.tile([0.4, 0.6], 15), 30).freedom == 29
    assert jackknife_spread(np.full(30, 0.5), 30).freedom == 29
    one = np.zeros(300)
    one[7] = 1
    assert jackknife_spread(one, 300).freedom == pytest.approx(2, abs=0.05)
    three = np.zeros(300)
    three[[7, 8, 9]] = 1
    assert 5 < jackknife_spread(three, 300).freedom < 7


def test_what_two_classes_share_equals_the_data_without_them():
    """Queries of a without b, and of b without a, asked in truth of a gallery without that class."""
    generator = np.random.default_rng(4)
    labels = np.repeat(np.arange(5), 4)
    embeddings = generator.normal(size=(5, 2))[labels] + 0.5 * generator.normal(size=(20, 2))
    run = retrieval_scores(embeddings, labels, figures=["recall@1", "map@r"])
    for name, scores in run.scores.items():
        total = 0.0
        for a, b in combinations(range(5), 2):
            moved = 0.0
            for asking, gone in ((a, b), (b, a)):
                stays = labels != gone
                without = retrieval_scores(embeddings[stays], labels[stays], figures=[name])
                moved += (without.scores[name] - scores[stays])[labels[stays] == asking].sum()
            total += (moved / 20) ** 2
        assert total > 0
        assert shared_variance(run.codes, run.rivals, run.changes[name]) == pytest.approx(total)
        left_out = left_out_means(scores, run.codes, run.rivals, run.changes[name])
        variance = reference.jackknife_error(left_out) ** 2
        spread = mean_spread(scores, run.codes, run.rivals, run.changes[name])
        assert spread.error**2 == pytest.approx(max(variance - total / 2, variance / 2))
        assert spread.freedom == pytest.approx(reference.freedom(left_out))


def test_classes_that_disturb_nobody_share_nothing():
    own = np.repeat(np.arange(6), 3)
    rivals, changes = own[:, None], np.zeros((18, 1))
    scores = np.random.default_rng(5).random(18)
    assert shared_variance(own, rivals, changes) == 0
    means = scores.reshape(6, 3).mean(1)
    assert mean_spread(scores, own, rivals, changes).error == pytest.approx(means.std(ddof=1) / math.sqrt(6))


def test_linked_variance_equals_all_pairs_that_share_a_class():
    generator = np.random.default_rng(2)
    for n_classes in (3, 12):
        residuals = generator.normal(size=60)
        own, other = generator.integers(0, n_classes, 60), generator.integers(0, n_classes, 60)
        total, alone = 0.0, 0.0
        for i in range(60):
            for j in range(60):
                if {own[i], other[i]} & {own[j], other[j]}:
                    total += residuals[i] * residuals[j]
                if own[i] == own[j]:
                    alone += residuals[i] * residuals[j]
        assert linked_variance(residuals, own, other) == pytest.approx(max(total, alone))
        assert linked_variance(residuals, own, own) == pytest.approx(alone)


def test_without_changes_the_spread_is_that_of_linked_residuals():
    own, other = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 0, 1, 0, 0])
    scores = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.5])
    residuals = (scores - scores.mean()) / 6
    spread = mean_spread(scores, own, other, None)
    assert spread.error**2 == pytest.approx(linked_variance(residuals, own, other) * 3 / 2)
    assert spread == mean_spread(scores, own, np.stack([other, own], 1), None)
    assert spread.freedom == 2
