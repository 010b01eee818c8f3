"""Paired comparison, Holm, and protocols that choose thresholds elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, ttest_rel

from likewise.errors import DataError, InputError
from likewise.evaluation import (
    QueryScores,
    best_threshold,
    compare,
    gaussian_identities,
    k_fold_verification,
    retrieval_scores,
)
from likewise.evaluation.comparison import holm
from reference import evaluation as reference


def run(values, codes):
    codes = np.asarray(codes)
    classes = np.arange(codes.max() + 1)
    rivals, changes = codes[:, None], {"map@r": np.zeros((len(codes), 1))}
    scores = {"map@r": np.asarray(values, float)}
    return QueryScores(scores, np.arange(len(codes)), codes, rivals, changes, classes, {})


def test_one_query_a_class_is_the_paired_t_test():
    generator = np.random.default_rng(0)
    first = generator.random(30)
    second = np.clip(first + generator.normal(0.03, 0.05, 30), 0, 1)
    codes = np.arange(30)
    found = compare({"old": run(first, codes), "new": run(second, codes)}).differences[0]
    expected = ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.verdict == "new is better"


def test_pairing_sees_what_two_intervals_hide():
    """Each run's interval is wide, as classes differ; every class is a little better in one."""
    generator = np.random.default_rng(1)
    codes = np.repeat(np.arange(40), 5)
    base = generator.uniform(0.1, 0.8, 40)[codes]
    found = compare({"a": run(base, codes), "b": run(base + generator.uniform(0.01, 0.03, 200), codes)})
    assert found.runs["a"].high > found.runs["b"].low
    assert found.differences[0].verdict == "b is better"
    assert "b is better" in str(found)


def test_false_alarms_among_many_equal_runs_are_rare():
    """Ten equal runs make 45 pairs: uncorrected nearly every comparison would name a winner."""
    generator, alarms, bare = np.random.default_rng(2), 0, 0
    codes = np.repeat(np.arange(15), 4)
    for _ in range(60):
        runs = {str(i): run(generator.random(60), codes) for i in range(10)}
        differences = compare(runs).differences
        alarms += any("better" in d.verdict for d in differences)
        bare += any(d.p_value < 0.05 for d in differences)
    assert alarms <= 8 < 30 < bare


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_runs_over_other_queries_are_refused():
    codes = np.repeat(np.arange(4), 2)
    whole = run(np.linspace(0, 1, 8), codes)
    with pytest.raises(InputError, match="two or more"):
        compare({"a": whole})
    with pytest.raises(InputError, match="'b' lacks"):
        compare(
            {"a": whole, "b": QueryScores({}, whole.queries, codes, codes[:, None], {}, whole.classes, {})}
        )
    with pytest.raises(InputError, match="same queries"):
        compare({"a": whole, "b": run(np.linspace(0, 1, 8), codes[::-1])})
    same = retrieval_scores(np.eye(4), ["x", "x", "y", "y"])
    assert compare({"a": same, "b": same}).differences[0].p_value == 1


def test_best_threshold_by_trying_all():
    generator = np.random.default_rng(3)
    distances, same = generator.integers(0, 9, 40).astype(float), generator.random(40) < 0.5
    tried = {t: np.mean((distances <= t) == same) for t in np.arange(-0.5, 10, 0.5)}
    threshold = best_threshold(distances, same)
    assert np.mean((distances <= threshold) == same) == max(tried.values())


def test_k_fold_chooses_the_threshold_on_the_other_folds():
    """Fold 1 is 10 farther off: each fold is judged at the other's threshold, which is half right."""
    distances = [1.0, 3.0, 11.0, 13.0]
    report = k_fold_verification(distances, [1, 0, 1, 0], ["p", "p", "q", "q"])
    assert report["accuracy"].value == 0.5
    generator = np.random.default_rng(4)
    same, folds = generator.random(400) < 0.5, np.arange(400) % 10
    values = generator.normal(np.where(same, 0, 1.5))
    accuracies = []
    for fold in range(10):
        threshold = best_threshold(values[folds != fold], same[folds != fold])
        accuracies.append(np.mean((values[folds == fold] <= threshold) == same[folds == fold]))
    figure = k_fold_verification(values, same, folds)["accuracy"]
    assert figure.value == pytest.approx(np.mean(accuracies))
    error = np.std(accuracies, ddof=1) / math.sqrt(10)
    expected = reference.logit_interval(figure.value, error, 2.2621571628)
    assert (figure.low, figure.high) == pytest.approx(expected)
    assert (figure.unit, figure.n_units, figure.note) == ("fold", 10, "few folds")
    with pytest.raises(DataError, match="one kind"):
        k_fold_verification([1.0, 2.0], [1, 0], [0, 1])


def test_gaussian_identities_equal_scipy():
    generator = np.random.default_rng(5)
    labels = np.repeat(["ann", "bob", "cyd"], 6)
    embeddings = generator.normal(size=(18, 3)) + np.repeat(generator.normal(size=(3, 3)) * 2, 6, axis=0)
    fitted = gaussian_identities(embeddings, labels, shrinkage=0.3)
    groups = {name: embeddings[labels == name] for name in ("ann", "bob", "cyd")}
    pooled = np.mean([group.var(0, ddof=1).mean() for group in groups.values()])
    asked, claimed = generator.normal(size=(4, 3)), ["ann", "bob", "bob", "cyd"]
    expected = []
    for point, name in zip(asked, claimed, strict=True):
        covariance = 0.7 * np.cov(groups[name].T) + 0.3 * pooled * np.eye(3)
        density = multivariate_normal(groups[name].mean(0), covariance)
        impostor = density.pdf(embeddings[labels != name]).mean()
        expected.append(density.pdf(point) / (density.pdf(point) + impostor))
    assert fitted.probability(asked, claimed) == pytest.approx(expected)
    with pytest.raises(InputError, match="found 'dan'"):
        fitted.probability(asked[:1], ["dan"])
    with pytest.raises(DataError, match="two items"):
        gaussian_identities(embeddings[:7], labels[:7])
