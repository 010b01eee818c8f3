"""Calibration: fitted curves against their definitions, and thresholds that keep their promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import t
from sklearn.isotonic import IsotonicRegression

from likewise.errors import DataError, InputError
from likewise.evaluation import (
    calibration,
    guaranteed_threshold,
    isotonic,
    platt,
    reliability,
    smallest_guaranteed_far,
)
from reference import evaluation as reference


def sample(seed=0, n=400):
    generator = np.random.default_rng(seed)
    same = generator.random(n) < 0.4
    return generator.normal(np.where(same, 1.0, 2.0), 0.7), same


def test_platt_is_the_maximum_of_the_likelihood_with_platts_targets():
    distances, same = sample()
    target = np.where(same, (same.sum() + 1) / (same.sum() + 2), 1 / ((~same).sum() + 2))

    def loss(weights):
        logit = weights[0] * distances + weights[1]
        return -np.sum(target * -np.logaddexp(0, -logit) + (1 - target) * -np.logaddexp(0, logit))

    best = minimize(loss, [0.0, 0.0], tol=1e-12)
    fitted = platt(distances, same)
    assert (fitted.slope, fitted.intercept) == pytest.approx(best.x, rel=1e-4)
    assert fitted.slope < 0


def test_platt_stays_finite_on_separable_pairs_far_from_zero():
    fitted = platt([1000.0, 1000.1, 1000.8, 1000.9], [1, 1, 0, 0])
    probability = fitted.probability([999.0, 1000.0, 1000.45, 1000.9, 1e6])
    assert np.all(np.isfinite(probability)) and np.all(np.diff(probability) < 0)
    assert probability[1] == pytest.approx(3 / 4, abs=0.1) and probability[2] == pytest.approx(0.5, abs=0.01)


def test_platt_answers_for_another_share_of_alike_pairs():
    """Two normal densities: with a prior of 1 % Bayes' rule gives the odds at each distance."""
    distances, same = sample(1, 60_000)
    found = platt(distances, same).probability([1.5, 2.0], prior=0.01)
    odds = (
        np.exp(-((np.array([1.5, 2.0]) - 1) ** 2 - (np.array([1.5, 2.0]) - 2) ** 2) / (2 * 0.49))
        * 0.01
        / 0.99
    )
    assert found == pytest.approx(odds / (1 + odds), rel=0.1)


def test_isotonic_equals_scikit_learn_and_never_rises():
    distances, same = sample(2)
    asked = np.linspace(-1, 4, 50)
    expected = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(distances, same).predict(asked)
    found = isotonic(distances, same).probability(asked)
    assert found == pytest.approx(expected)
    assert np.all(np.diff(found) <= 0)


def test_ece_and_reliability_by_hand():
    """Two bins of ten: 0.25, 0.25 with one alike of two; 0.95 with one of one."""
    curve = reliability([0.25, 0.25, 0.95], [True, False, True], bins=10)
    assert curve.count.tolist() == [0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert (curve.probability[2], curve.alike[2]) == (0.25, 0.5)
    assert math.isnan(curve.alike[0])
    report = calibration([0.25, 0.25, 0.95], [True, False, True], bins=10)
    assert report["ece"].value == pytest.approx((2 * 0.25 + 0.05) / 3)
    assert report["brier"].value == pytest.approx((0.75**2 + 0.25**2 + 0.05**2) / 3)
    # A probability of exactly 1 belongs to the last bin.
    assert reliability([1.0, 0.0], [True, False], bins=4).count.tolist() == [1, 0, 0, 1]


def test_calibration_intervals_leave_out_classes():
    generator = np.random.default_rng(3)
    left, right = generator.integers(0, 8, 600), generator.integers(0, 8, 600)
    probabilities = np.clip(0.7 * (left == right) + generator.normal(0.2, 0.1, 600), 0, 1)
    report = calibration(probabilities, left == right, left_classes=left, right_classes=right)
    left_out = []
    for c in range(8):
        rest = (left != c) & (right != c)
        left_out.append(calibration(probabilities[rest], (left == right)[rest])["ece"].value)
    error = reference.jackknife_error(left_out)
    quantile = t.ppf(0.975, reference.freedom(left_out))
    expected = reference.logit_interval(report["ece"].value, error, quantile)
    assert (report["ece"].low, report["ece"].high) == pytest.approx(expected)
    assert report["ece"].n_units == 8


def test_probabilities_outside_0_to_1_are_refused():
    with pytest.raises(DataError, match="probabilities must lie in"):
        calibration([0.1, 1.2], [0, 1])
    with pytest.raises(InputError, match="prior"):
        platt(*sample()).probability([1.0], prior=1.0)


def test_smallest_rate_that_so_many_classes_can_promise():
    """The exact binomial bound for no accept among floor(C / 2) independent pairs of classes."""
    assert smallest_guaranteed_far(60) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert smallest_guaranteed_far(61) == smallest_guaranteed_far(60)
    with pytest.raises(InputError, match="at least 2"):
        smallest_guaranteed_far(1)


def pairs_of(embeddings, labels):
    left, right = np.triu_indices(len(labels), 1)
    return np.linalg.norm(embeddings[left] - embeddings[right], axis=1), labels[left], labels[right]


def test_guaranteed_threshold_is_the_largest_that_the_bound_allows():
    generator = np.random.default_rng(4)
    labels = np.repeat(np.arange(80), 2)
    distances, left, right = pairs_of(generator.normal(size=(80, 4))[labels], labels)
    found = guaranteed_threshold(distances, left, right, 0.15)
    unlike = left != right
    rate = np.mean(distances[unlike] <= found.threshold)
    assert found.observed_far == pytest.approx(rate)

    def divergence(u):
        return u * math.log(u / 0.15) + (1 - u) * math.log((1 - u) / 0.85)

    needed = math.log(20) / 40
    beyond = np.sort(np.unique(distances[unlike]))
    following = np.mean(distances[unlike] <= beyond[beyond > found.threshold][0])
    assert divergence(rate) >= needed > divergence(following)
    assert found.n_classes == 80 and found.smallest_far == pytest.approx(1 - 0.05 ** (1 / 40))


def test_a_promise_beyond_the_classes_is_refused_with_what_they_can():
    labels = np.repeat(np.arange(20), 2)
    distances, left, right = pairs_of(np.random.default_rng(5).normal(size=(40, 3)), labels)
    with pytest.raises(InputError, match=r"at least 0\.259.*20 classes.*found 0\.01"):
        guaranteed_threshold(distances, left, right, 0.01)
    with pytest.raises(DataError, match="alike pairs only"):
        guaranteed_threshold([1.0], ["a"], ["a"], 0.5)


def test_sampled_pairs_promise_less_than_all():
    labels = np.repeat(np.arange(60), 2)
    distances, left, right = pairs_of(np.random.default_rng(6).normal(size=(120, 3)), labels)
    some = np.random.default_rng(7).random(len(left)) < 0.05
    whole = guaranteed_threshold(distances, left, right, 0.3)
    part = guaranteed_threshold(distances[some], left[some], right[some], 0.3)
    assert part.smallest_far > whole.smallest_far


def test_the_promise_is_kept_over_new_classes():
    """400 draws of 40 classes: the true rate may be above the one promised in at most 5 of 100.

    Classes are points of two kinds, one of them crowded, so that a few bad classes decide.
    """

    def draw(generator, n):
        crowded = generator.random(n) < 0.2
        return generator.normal(size=(n, 2)) * np.where(crowded, 0.3, 2.0)[:, None]

    generator = np.random.default_rng(8)
    new, labels = draw(generator, 4000), np.arange(40)
    population = np.sort(np.linalg.norm(new[:2000] - new[2000:], axis=1))
    broken = 0
    for _ in range(400):
        distances, left, right = pairs_of(draw(generator, 40), labels)
        threshold = guaranteed_threshold(distances, left, right, 0.2).threshold
        broken += np.mean(population <= threshold) > 0.2
    assert broken / 400 <= 0.05
