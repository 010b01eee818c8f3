"""Verification against plain loops and scikit-learn; pairs; and what can't be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from likewise import distances as measures
from likewise.errors import DataError, InputError
from likewise.evaluation import (
    operating_points,
    threshold_at_eer,
    threshold_at_far,
    verification,
    verification_pairs,
)
from likewise.evaluation.intervals import jackknife_figure
from reference import evaluation as reference


def sample(seed, n, n_classes=6):
    generator = np.random.default_rng(seed)
    left, right = generator.integers(0, n_classes, n), generator.integers(0, n_classes, n)
    same = left == right
    # Whole distances, so that many tie.
    return generator.integers(0, 12, n) + 3.0 * ~same, same, left, right


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(4, 60))
def test_equals_loops(seed, n):
    values, same, _, _ = sample(seed, n, 3)
    if same.all() or not same.any():
        return
    report = verification(values, same, fars=())
    assert report["eer"].value == pytest.approx(reference.equal_error_rate(values, same))
    assert report["auc"].value == pytest.approx(reference.area_under_curve(values, same))
    assert report["auc"].value == pytest.approx(roc_auc_score(same, -values))


def test_frr_at_far_equals_loops():
    values, same, left, right = sample(3, 1500)
    report = verification(values, same, left_classes=left, right_classes=right, fars=(0.1, 0.01, 0.3))
    for far in (0.1, 0.01, 0.3):
        expected = reference.frr_at_far(values, same, far)
        assert report[f"frr@far={far:g}"].value == pytest.approx(expected)
        assert report[f"tar@far={far:g}"].value == pytest.approx(1 - expected)
        assert report[f"tar@far={far:g}"].low == pytest.approx(1 - report[f"frr@far={far:g}"].high)


def test_a_rate_that_is_just_reached_is_allowed():
    """100 unlike pairs at 1..100: below 11 exactly a tenth is accepted, and two of four alike pairs."""
    values = np.concatenate([np.arange(1.0, 101), [5.5, 10.5, 11.0, 200.0]])
    same = np.arange(104) >= 100
    assert verification(values, same, fars=(0.1,))["frr@far=0.1"].value == 0.5


def test_intervals_leave_out_each_class_with_all_its_pairs():
    """The same figures, computed again from scratch without the pairs that a class is part of."""
    values, same, left, right = sample(4, 1500)
    report = verification(values, same, left_classes=left, right_classes=right, fars=(0.05,))
    by_loops = {
        "eer": reference.equal_error_rate,
        "frr@far=0.05": lambda d, s: reference.frr_at_far(d, s, 0.05),
        "auc": lambda d, s: roc_auc_score(s, -d),
    }
    for name, figure in by_loops.items():
        left_out = []
        for c in range(6):
            rest = (left != c) & (right != c)
            left_out.append(figure(values[rest], same[rest]))
        expected = jackknife_figure(report[name].value, np.array(left_out))
        assert report[name].low == pytest.approx(expected.low)
        assert report[name].high == pytest.approx(expected.high)
        assert (report[name].n_units, report[name].unit) == (6, "class")
        assert report[name].low < report[name].value < report[name].high


def test_without_classes_pairs_are_said_to_be_independent():
    values, same, _, _ = sample(5, 900)
    alone = verification(values, same)["eer"]
    assert (alone.unit, alone.n_units, alone.note) == ("pair", 900, "pairs taken as independent")
    # AUC's standard error after DeLong, DeLong, Clarke-Pearson (1988), by their formula.
    alike, unlike = values[same], values[~same]
    wins = (alike[:, None] < unlike) + 0.5 * (alike[:, None] == unlike)
    error = math.sqrt(wins.mean(1).var(ddof=1) / len(alike) + wins.mean(0).var(ddof=1) / len(unlike))
    auc = verification(values, same)["auc"]
    assert (auc.high - auc.low) / 2 == pytest.approx(2.0096 * error, rel=0.25)


def test_a_rare_rate_is_not_measurable_with_few_pairs():
    values, same, _, _ = sample(6, 200)
    report = verification(values, same, fars=(0.001,))
    figure = report["frr@far=0.001"]
    assert math.isnan(figure.value) and not figure.measurable
    assert "not measurable with this many pairs: FAR 0.001 needs 10,000 unlike pairs" in figure.note
    assert report.to_dict()["tar@far=0.001"]["value"] is None


def test_perfect_separation_has_an_interval_over_classes():
    """Nothing went wrong in 4 classes: with Clopper-Pearson the rate may still be 60 %."""
    left, right = np.repeat([0, 1, 2, 3], 4), np.tile([0, 1, 2, 3], 4)
    figure = verification(
        1.0 * (left != right), left == right, left_classes=left, right_classes=right, fars=()
    )
    assert figure["eer"].value == 0 and figure["eer"].low == 0
    assert figure["eer"].high == pytest.approx(1 - 0.025 ** (1 / 4))
    assert figure["eer"].note == "few classes"


def test_operating_points_and_thresholds():
    points = operating_points([1.0, 2.0, 2.0, 3.0], [True, True, False, False])
    assert points.thresholds.tolist() == [-np.inf, 1.0, 2.0, 3.0]
    assert points.far.tolist() == [0, 0, 0.5, 1]
    assert points.frr.tolist() == [1, 0.5, 0, 0]
    assert threshold_at_eer([1.0, 2.0, 4.0, 5.0], [1, 1, 0, 0]) == 3.0
    assert threshold_at_far([1.0, 2.0, 4.0, 5.0], [1, 1, 0, 0], 0.5) == 4.5
    # No threshold but one below everything keeps the nearest unlike pair out.
    assert threshold_at_far([1.0, 2.0], [0, 1], 0.1) < 1.0
    assert threshold_at_far([1.0, 2.0], [0, 1], 1.0) == 2.0


def test_all_pairs_of_a_small_set():
    generator = np.random.default_rng(0)
    embeddings, labels = generator.normal(size=(9, 3)), np.array(list("aabbbcddd"))
    pairs = verification_pairs(embeddings, labels)
    expected = {(i, j) for i in range(9) for j in range(i + 1, 9)}
    assert set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == expected
    assert len(pairs.left) == len(expected)
    for i, j, d, s in zip(pairs.left, pairs.right, pairs.distances, pairs.same, strict=True):
        assert d == pytest.approx(reference.euclidean(embeddings[i], embeddings[j]))
        assert s == (labels[i] == labels[j])
    assert (pairs.left_classes == pairs.right_classes).tolist() == pairs.same.tolist()


@pytest.mark.parametrize("sizes", [[2] * 40, [60, 3, 3], [30, 30], [1] * 30 + [2, 50]])
def test_sampled_pairs_are_distinct_balanced_and_seeded(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(0).permutation(labels)
    embeddings = np.random.default_rng(1).normal(size=(len(labels), 2))
    pairs = verification_pairs(embeddings, labels, n_pairs=200, seed=3)
    n_alike = sum(size * (size - 1) // 2 for size in sizes)
    assert pairs.same.sum() == min(n_alike, 100)
    assert len(set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))) == len(pairs.left) == 200
    assert np.all(pairs.left != pairs.right)
    assert (labels[pairs.left] == labels[pairs.right]).tolist() == pairs.same.tolist()
    again = verification_pairs(embeddings, labels, n_pairs=200, seed=3)
    assert again.left.tolist() == pairs.left.tolist()
    other = verification_pairs(embeddings, labels, n_pairs=200, seed=4)
    assert other.left.tolist() != pairs.left.tolist()


def test_sampled_pairs_are_drawn_evenly():
    """1,500 draws of 20 alike and 20 unlike pairs: each pair of a kind comes about equally often."""
    labels = np.repeat([0, 1, 2], [8, 5, 3])
    embeddings = np.zeros((16, 1))
    times = np.zeros((16, 16))
    for seed in range(1500):
        pairs = verification_pairs(embeddings, labels, n_pairs=24, seed=seed)
        np.add.at(times, (np.minimum(pairs.left, pairs.right), np.maximum(pairs.left, pairs.right)), 1)
    alike = np.triu(labels[:, None] == labels, 1)
    unlike = np.triu(labels[:, None] != labels, 1)
    for kind, n_kind in ((alike, 41), (unlike, 79)):
        expected = 1500 * 12 / n_kind
        assert kind.sum() == n_kind
        assert np.all(np.abs(times[kind] - expected) < 5 * math.sqrt(expected))


def test_pair_distances_of_any_kind_and_small_ones():
    embeddings = np.array([[1000.0, 1.0], [1000.0001, 1.0], [3.0, 4.0]], dtype=np.float32)
    exact = embeddings.astype(np.float64)
    pairs = verification_pairs(embeddings, [0, 0, 1])
    assert pairs.distances[0] == pytest.approx(exact[1, 0] - exact[0, 0])
    cityblock = verification_pairs(embeddings, [0, 0, 1], distance=measures.Cityblock())
    assert cityblock.distances[1] == pytest.approx(1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distances": [0.1, np.nan, 0.3]}, "finite"),
        ({"distances": [0.1, 0.2]}, "found 2 and 3"),
        ({"distances": ["a", "b", "c"]}, "numbers"),
        ({"same": [1, 1, 1]}, "alike pairs only"),
        ({"same": [0, 0, 0]}, "unlike pairs only"),
        ({"same": [0, 2, 1]}, "True or False"),
        ({"same": [0.0, 1.0, 1.0]}, "True or False"),
        ({"left_classes": [1, 2, 3]}, "together"),
        ({"left_classes": [1, 2, 3], "right_classes": [1, 2]}, "found 2 and 3"),
        ({"left_classes": [1.5, 2, 3], "right_classes": [1, 2, 3]}, "left_classes"),
        ({"fars": (1.5,)}, "between 0 and 1"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    arguments = {"distances": [0.1, 0.2, 0.3], "same": [True, False, True]} | change
    values, same = arguments.pop("distances"), arguments.pop("same")
    with pytest.raises(InputError, match=message):
        verification(values, same, **arguments)


@pytest.mark.parametrize("labels", [[1, 2, 3], [1, 1, 1]])
def test_labels_without_both_kinds_of_pairs_are_refused(labels):
    with pytest.raises(DataError, match="for a pair of"):
        verification_pairs([[0.0], [1.0], [2.0]], labels)
