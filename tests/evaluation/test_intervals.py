"""Intervals: their formulas by hand, their ends, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, t

from likewise.errors import InputError
from likewise.evaluation import Figure, Report
from likewise.evaluation.intervals import (
    clopper_pearson,
    few,
    jackknife_figure,
    linked_figure,
    logit_interval,
    ratio_figure,
    wilson,
)
from reference import evaluation as reference


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 30), (30, 30), (7, 12)])
def test_clopper_pearson_equals_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="exact")
    assert clopper_pearson(successes, trials) == pytest.approx((expected.low, expected.high))


def test_ratio_of_equal_classes_rests_on_the_deviation_of_the_class_means():
    means = np.array([0.5, 0.6, 0.4, 0.7, 0.55])
    figure = ratio_figure(means * 20, np.full(5, 20.0))
    draws = 0.55 * 0.45 / (means.var(ddof=1) / 5)
    assert draws < 100
    expected = reference.wilson_interval(0.55, draws, 2.7764451052)
    assert (figure.low, figure.high) == pytest.approx(expected)
    assert figure.note == "few classes"


def test_a_mean_is_worth_no_more_draws_than_it_has_scores():
    """All classes alike: no spread between them, and yet five scores say little."""
    figure = ratio_figure(np.full(5, 9.0), np.full(5, 10.0))
    expected = reference.wilson_interval(0.9, 50, 2.7764451052)
    assert (figure.low, figure.high) == pytest.approx(expected)


def test_wilson_and_logit_equal_their_definitions():
    for value, error, quantile in ((0.3, 0.1, 2.0), (0.995, 0.01, 2.3), (0.02, 0.3, 4.0)):
        draws = value * (1 - value) / error**2
        expected = reference.wilson_interval(value, draws, quantile)
        assert wilson(value, error, quantile) == pytest.approx(expected, abs=1e-12)
        if error < 0.2:
            expected = reference.logit_interval(value, error, quantile)
            assert logit_interval(value, error, quantile) == pytest.approx(expected, rel=1e-6)
    assert wilson(0.3, 0.001, 2.0, most=50) == pytest.approx(reference.wilson_interval(0.3, 50, 2.0))
    # Far beyond what a double can hold.
    assert logit_interval(0.999, 0.9, 12.7) == pytest.approx((0.0, 1.0))


def test_jackknife_equals_the_formula():
    generator = np.random.default_rng(0)
    numerators, denominators = generator.uniform(0, 5, 30), generator.uniform(5, 9, 30)
    figure = ratio_figure(numerators, denominators)
    left_out = [
        (numerators.sum() - a) / (denominators.sum() - b)
        for a, b in zip(numerators, denominators, strict=True)
    ]
    draws = figure.value * (1 - figure.value) / reference.jackknife_error(left_out) ** 2
    expected = reference.wilson_interval(figure.value, draws, t.ppf(0.975, reference.freedom(left_out)))
    assert (figure.low, figure.high) == pytest.approx(expected)
    assert figure.note == "" and figure.n_units == 30
    wide = ratio_figure(np.array([1.0, 9.0]), np.array([10.0, 10.0]))
    assert 0 <= wide.low < 0.03 and 0.97 < wide.high <= 1


def test_nothing_and_everything_get_the_exact_interval():
    none = ratio_figure(np.zeros(25), np.full(25, 4.0))
    assert (none.value, none.low, none.high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 25)))
    # A sum of thirds isn't exactly their number: still everything.
    everything = ratio_figure(np.full(3, 0.1 * 3), np.full(3, 0.1 * 3))
    assert (everything.value, everything.high) == (1, 1)
    assert everything.low == pytest.approx(0.025 ** (1 / 3))


def test_classes_without_a_query_and_no_class_at_all():
    assert ratio_figure(np.array([1.0, 0.0, 2.0]), np.array([2.0, 0.0, 2.0])).n_units == 2
    empty = ratio_figure(np.zeros(2), np.zeros(2))
    assert math.isnan(empty.value) and empty.n_units == 0
    alone = ratio_figure(np.array([3.0]), np.array([4.0]))
    assert (alone.value, alone.low, alone.high) == (0.75, 0, 1)


@pytest.mark.parametrize("n_classes", [10, 30, 300])
def test_coverage_over_new_classes(n_classes):
    """Classes drawn with rates of their own, then items: the interval holds the mean rate 95 in 100."""
    generator = np.random.default_rng(n_classes)
    rounds, held = 1500, 0
    for _ in range(rounds):
        rates = generator.beta(6, 4, n_classes)
        sizes = generator.integers(5, 15, n_classes)
        figure = ratio_figure(generator.binomial(sizes, rates).astype(float), sizes.astype(float))
        held += figure.low <= 0.6 <= figure.high
    assert 0.93 <= held / rounds <= 0.97


def test_few_units_are_told_and_many_of_which_few_decide():
    assert [few(n) for n in (19, 20)] == ["few classes", ""]
    assert [few(20, freedom=freedom) for freedom in (8.9, 9.0)] == ["few classes decide", ""]
    assert few(3, "query", freedom=2.0) == "few queries"
    one = np.full(40, 10.0)
    one[3] = 2.0
    figure = ratio_figure(one, np.full(40, 10.0), note="seen")
    assert figure.note == "seen; few classes decide"
    # Wider than Student's with 39 degrees of freedom would be.
    left_out = [(one.sum() - a) / 390 for a in one]
    draws = figure.value * (1 - figure.value) / reference.jackknife_error(left_out) ** 2
    expected = reference.wilson_interval(figure.value, draws, t.ppf(0.975, reference.freedom(left_out)))
    assert (figure.low, figure.high) == pytest.approx(expected)
    assert figure.low < reference.wilson_interval(figure.value, draws, t.ppf(0.975, 39))[0] - 0.05


def test_an_item_asked_often_is_worth_one_draw():
    scores, own = np.tile([1.0, 1.0, 1.0, 0.0, 1.0, 1.0], 100), np.tile([0, 0, 1, 1, 2, 2], 100)
    rivals, changes = own[:, None], np.zeros((600, 1))
    narrow = linked_figure(scores, own, rivals, changes=changes)
    figure = linked_figure(scores, own, rivals, changes=changes, draws=6)
    quantile = t.ppf(0.975, 2)
    assert (figure.low, figure.high) == pytest.approx(reference.wilson_interval(5 / 6, 5.0, quantile))
    assert (narrow.low, narrow.high) == (figure.low, figure.high)  # classes differ by more than draws say
    scores = np.tile([1.0, 0.0] * 3, 100)
    narrow = linked_figure(scores, own, rivals, changes=changes)
    figure = linked_figure(scores, own, rivals, changes=changes, draws=6)
    assert (figure.low, figure.high) == pytest.approx(reference.wilson_interval(0.5, 6, quantile))
    assert (narrow.low, narrow.high) == pytest.approx(reference.wilson_interval(0.5, 600, quantile))


def test_report_is_a_mapping_and_prints():
    report = Report(
        "retrieval",
        {
            "map@r": Figure(0.25, 0.125, 0.5, n_units=7, note="few classes"),
            "x": Figure(math.nan, math.nan, math.nan),
        },
        {"queries": 1200, "queries without a match": 0},
        ("a note",),
    )
    assert list(report) == ["map@r", "x"] and len(report) == 2 and "map@r" in report
    assert report.to_dict()["map@r"] == {
        "value": 0.25, "low": 0.125, "high": 0.5, "unit": "class", "n_units": 7, "note": "few classes",
    }  # fmt: skip
    assert report.to_dict()["x"]["value"] is None
    assert str(report).splitlines() == [
        "retrieval (queries: 1,200)",
        "  map@r  0.250 [0.125, 0.500] (few classes)",
        "  x      -",
        "  a note",
    ]
    with pytest.raises(KeyError, match="this report has map@r, x"):
        report["recall@1"]


def test_wrong_requests_are_refused():
    with pytest.raises(InputError, match="5 of 3"):
        clopper_pearson(5, 3)
    assert jackknife_figure(0.5, np.array([0.5, np.nan])).high == 1
