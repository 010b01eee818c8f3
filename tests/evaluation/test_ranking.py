"""Ranking of scores and of labels, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import DataError, InputError
from likewise.evaluation import label_ranking, ranking
from likewise.evaluation.ranking import pairwise_accuracy


def kendall_and_pairwise(x, y):
    agree = disagree = tied_x = tied_y = differing = 0
    half = 0
    for i in range(len(x)):
        for j in range(i):
            dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            agree += dx * dy > 0
            disagree += dx * dy < 0
            tied_x += dx == 0
            tied_y += dy == 0
            differing += dy != 0
            half += dy != 0 and dx == 0
    pairs = len(x) * (len(x) - 1) / 2
    tau = (agree - disagree) / np.sqrt((pairs - tied_x) * (pairs - tied_y))
    return tau, (agree + half / 2) / differing


def mean_ranks(values):
    return [np.mean([place for place, v in enumerate(sorted(values)) if v == value]) for value in values]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=3, max_size=25))
def test_equals_loops_with_ties(pairs):
    x, y = np.array(pairs, dtype=float).T
    if len(set(x)) == 1 or len(set(y)) == 1:
        with pytest.raises(DataError, match="two different values"):
            ranking(x, y)
        return
    tau, accuracy = kendall_and_pairwise(x, y)
    report = ranking(x, y)
    assert report["kendall"].value == pytest.approx(tau)
    assert report["pairwise_accuracy"].value == pytest.approx(accuracy)
    assert report["spearman"].value == pytest.approx(np.corrcoef(mean_ranks(x), mean_ranks(y))[0, 1])
    for name in report:
        assert report[name].low <= report[name].value <= report[name].high


def test_pairwise_accuracy_of_equal_predictions_is_one_half():
    assert pairwise_accuracy([1.0, 1.0, 1.0], [1, 2, 3]) == 0.5


def test_groups_are_the_unit():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(25), 8)
    shift = generator.normal(size=25)[groups]
    true = generator.normal(size=200)
    predicted = true + shift
    by_group, by_item = ranking(predicted, true, groups=groups), ranking(predicted, true)
    assert by_group["spearman"].unit == "group" and by_group["spearman"].n_units == 25
    assert by_item["spearman"].unit == "item" and by_item["spearman"].n_units == 200


def test_correlation_interval_holds_the_truth():
    """Normal pairs with correlation 0.6 have Spearman 6 / pi asin(0.3) = 0.5819 (n large)."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(30):
        x = generator.normal(size=60)
        figure = ranking(x, 0.6 * x + 0.8 * generator.normal(size=60))["spearman"]
        held += figure.low <= 0.5819 <= figure.high
    assert held >= 26


TREE = np.array([[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 1], [2, 2, 1, 0]])


def test_labels_by_eye():
    """Classes at 0, 10, 1, 11; cat-lynx and dog-wolf are one edge apart, others two.

    A cat at 0.2 finds cat, dog, lynx, wolf. Right for k = 1: cat. For k = 2: cat, lynx. For k = 3: all,
    as the least radius that gives three gives four.
    """
    report = label_ranking(
        [[0.2]], ["cat"], [[0.0], [10.0], [1.0], [11.0]], ["cat", "lynx", "dog", "wolf"],
        ks=(1, 2, 3), distance="euclidean", class_distances=TREE,
    )  # fmt: skip
    assert [report[f"hit@{k}"].value for k in (1, 2, 3)] == [1, 1, 1]
    assert [report[f"hierarchical@{k}"].value for k in (1, 2, 3)] == [1, 0.5, 1]


def test_labels_equal_loops():
    generator = np.random.default_rng(2)
    points, classes = generator.normal(size=(40, 3)), generator.normal(size=(6, 3))
    names = np.array(["f", "a", "c", "b", "e", "d"])
    hops = np.abs(np.arange(6)[:, None] - np.arange(6))
    labels = names[generator.integers(0, 6, 40)]
    report = label_ranking(
        points, labels, classes, names, ks=(1, 2, 4), distance="euclidean", class_distances=hops
    )
    for k in (1, 2, 4):
        hits, shares = [], []
        for point, label in zip(points, labels, strict=True):
            order = list(np.argsort(np.linalg.norm(classes - point, axis=1)))[:k]
            true = list(names).index(label)
            radius = 0
            while (hops[true] <= radius).sum() < k:
                radius += 1
            hits.append(true in order)
            shares.append(np.mean([hops[true, c] <= radius for c in order]))
        assert report[f"hit@{k}"].value == pytest.approx(np.mean(hits))
        assert report[f"hierarchical@{k}"].value == pytest.approx(np.mean(shares))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["yak"]}, "found 'yak'"),
        ({"class_names": ["cat", "cat"]}, "all be different"),
        ({"class_names": ["cat"]}, "found 1 and 2"),
        ({"class_distances": [[0, 1]]}, "zero diagonal"),
        ({"class_distances": [[0, 1], [1, 0]], "ks": (3,)}, "at most the 2 classes"),
        ({"ks": (0,)}, "ks"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    arguments = {"labels": ["cat"], "class_names": ["cat", "dog"], "ks": (1,)} | change
    labels, names = arguments.pop("labels"), arguments.pop("class_names")
    with pytest.raises(InputError, match=message):
        label_ranking([[1.0]], labels, [[1.0], [2.0]], names, **arguments)


def test_numbers_are_checked():
    with pytest.raises(DataError, match="finite"):
        ranking([1.0, np.nan], [1, 2])
    with pytest.raises(DataError, match="found 2 and 3"):
        ranking([1.0, 2.0], [1, 2, 3])
    with pytest.raises(DataError, match="numbers"):
        ranking(["a", "b"], [1, 2])
