"""What is held back, the figure on it, and the calibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import nn

from likewise.data import Records, records_from_arrays
from likewise.distances import Cityblock, Euclidean
from likewise.encoders import Standardize
from likewise.errors import DataError, InputError
from likewise.relations import Pairs, Scores, Triplets
from likewise.training import HeldOut, HoldOut, calibrate, hold_out, mean_average_precision, platt


@pytest.mark.parametrize(("n_classes", "held_back"), [(4, 2), (5, 2), (10, 2), (15, 3), (100, 20)])
def test_a_fifth_of_the_classes_is_held_back_and_at_least_two(n_classes: int, held_back: int) -> None:
    labels = np.repeat(np.arange(n_classes), 3)
    held = hold_out(records_from_arrays(np.arange(len(labels))[:, None], labels), seed=1)
    assert held.of == "classes"
    assert len(held.held_out.classes) == held_back
    assert not set(held.learn.y.tolist()) & set(held.held_out.y.tolist())
    assert len(held.learn) + len(held.held_out) == len(labels)


def test_of_two_or_three_classes_items_are_held_back() -> None:
    labels = np.repeat([0, 1, 2], 20)
    held = hold_out(records_from_arrays(np.arange(60)[:, None], labels), seed=1)
    assert held.of == "items"
    assert [int((held.held_out.y == label).sum()) for label in range(3)] == [5, 5, 5]
    assert not set(held.learn.X[:, 0].tolist()) & set(held.held_out.X[:, 0].tolist())
    with pytest.raises(DataError, match="at least four items"):
        hold_out(records_from_arrays(np.arange(7)[:, None], [0, 0, 0, 1, 1, 1, 1]), seed=1)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 3), min_size=3, max_size=14).filter(lambda y: len(set(y)) < len(y)),
    st.integers(0, 99),
)
def test_map_at_r_is_the_definition(labels: list[int], seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(len(labels), 2)).astype(np.float32)
    records = records_from_arrays(X, labels)
    precisions = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        relevant = sum(labels[j] == label for j in others)
        if not relevant:
            continue
        ranked = sorted(others, key=lambda j: float(np.abs(X[i] - X[j]).sum()))[:relevant]
        found, total = 0, 0.0
        for rank, j in enumerate(ranked, start=1):
            if labels[j] == label:
                found += 1
                total += found / rank
        precisions.append(total / relevant)
    figure = mean_average_precision(nn.Identity(), Cityblock(), Standardize((2,)), records)
    assert figure == pytest.approx(sum(precisions) / len(precisions), abs=1e-6)


def test_platt_is_the_maximum_of_the_likelihood() -> None:
    generator = np.random.default_rng(0)
    for scale, shift in [(1.0, 0.0), (1e-4, 3.0), (500.0, -20.0)]:
        same = generator.random(400) < 0.3
        distances = (np.where(same, 1.0, 2.0) + generator.normal(size=400) * 0.6) * scale + shift
        positives, negatives = same.sum(), (~same).sum()
        targets = np.where(same, (positives + 1) / (positives + 2), 1 / (negatives + 2))
        unit = (distances - shift) / scale

        def cost(weights: np.ndarray, unit=unit, targets=targets) -> float:
            logit = weights[1] - weights[0] * unit
            return float(np.sum(np.logaddexp(0, logit) - targets * logit))

        best = minimize(
            cost, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000}
        )
        slope, offset = platt(distances, same)
        assert slope * scale == pytest.approx(best.x[0], rel=1e-4)
        assert offset - slope * shift == pytest.approx(best.x[1], rel=1e-4, abs=1e-4)


def test_platt_on_separable_and_on_useless_distances() -> None:
    slope, offset = platt(np.array([0.0, 0.1, 0.9, 1.0]), np.array([True, True, False, False]))
    assert np.isfinite([slope, offset]).all() and slope > 0
    assert offset / slope == pytest.approx(0.5)
    assert platt(np.array([0.0, 0.1, 0.9, 1.0]), np.array([False, False, True, True])) is None
    assert platt(np.ones(4), np.array([True, True, False, False])) is None
    assert platt(np.arange(3.0), np.array([True, True, True])) is None


def test_calibration_gives_honest_probabilities_on_new_pairs() -> None:
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(40, 2)) * 2

    def drawn(n_classes: range) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(n_classes, 30)
        return (centres[labels] + generator.normal(size=(len(labels), 2))).astype(np.float32), labels

    known = records_from_arrays(*drawn(range(20)))
    calibration = calibrate(
        nn.Identity(), Euclidean(), Standardize((2,)), HoldOut(known, known, "classes"), seed=0
    )
    X, labels = drawn(range(20, 40))
    same_left = generator.integers(len(labels), size=60_000)
    same_right = generator.integers(len(labels), size=60_000)
    same = labels[same_left] == labels[same_right]
    distances = np.linalg.norm(X[same_left] - X[same_right], axis=1)
    probability = calibration.probability(distances)
    weights = np.where(same, 0.5 / same.mean(), 0.5 / (~same).mean())  # equal odds before looking
    for low in np.arange(0.1, 0.9, 0.2):
        chosen = (probability >= low) & (probability < low + 0.2)
        observed = np.average(same[chosen], weights=weights[chosen])
        assert observed == pytest.approx(np.average(probability[chosen], weights=weights[chosen]), abs=0.1)
    assert float(calibration.probability(calibration.threshold)) == pytest.approx(0.5)
    assert calibration.held_out == "classes"


def test_no_calibration_where_distances_mean_nothing() -> None:
    flipped = records_from_arrays(np.array([[0.0], [9.0], [1.0], [10.0]]), [0, 0, 1, 1])
    assert (
        calibrate(nn.Identity(), Euclidean(), Standardize((1,)), HoldOut(flipped, flipped, "items"), seed=0)
        is None
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99))
def test_figures_of_tables_are_their_definitions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    X = generator.integers(8, size=(12, 1)).astype(np.float32)  # whole numbers, so that ties are ties
    left, right = generator.integers(12, size=(2, 9))
    right = np.where(left == right, (left + 1) % 12, right)
    same = np.arange(9) < 4
    score = generator.integers(4, size=9).astype(float) + np.arange(9) / 100

    def figures(relation: object) -> dict[str, float]:
        records = Records(X, None, "table", relation=relation)
        return HeldOut(records, Euclidean(), Standardize((1,)))(nn.Identity())

    distances = [float(np.linalg.norm(X[i] - X[j])) for i, j in zip(left, right, strict=True)]
    wins = [
        1.0 if a < b else 0.5 if a == b else 0.0
        for a, alike in zip(distances, same, strict=True)
        for b, other in zip(distances, same, strict=True)
        if alike and not other
    ]
    assert figures(Pairs(left, right, same))["auc"] == pytest.approx(np.mean(wins), abs=1e-6)

    def ranks(values: list[float]) -> np.ndarray:
        return np.array([sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values])

    expected = -np.corrcoef(ranks(distances), ranks(score.tolist()))[0, 1]
    assert figures(Scores(left, right, score))["spearman"] == pytest.approx(expected, abs=1e-6)
    negative = np.array(
        [next(n for n in range(12) if n not in (i, j)) for i, j in zip(left, right, strict=True)]
    )
    closer = [
        np.linalg.norm(X[i] - X[j]) < np.linalg.norm(X[i] - X[n])
        for i, j, n in zip(left, right, negative, strict=True)
    ]
    found = figures(Triplets(left, right, negative))["triplet_accuracy"]
    assert found == pytest.approx(np.mean(closer), abs=1e-6)


def test_recall_and_a_figure_by_name() -> None:
    X = np.array([[0.0], [0.1], [1.0], [1.2], [5.0]], dtype=np.float32)
    records = records_from_arrays(X, [0, 0, 1, 0, 1])
    judged = HeldOut(records, Euclidean(), Standardize((1,)), figure="recall@1")
    assert judged.figure == "recall@1"
    # Nearest to 0.0: 0.1; to 0.1: 0.0; to 1.0: 1.2 (another class); to 1.2: 1.0; to 5.0: 1.2.
    assert judged(nn.Identity())["recall@1"] == pytest.approx(2 / 5)
    with pytest.raises(InputError, match=r"figure must be one of map@r, recall@1 .* found 'auc'"):
        HeldOut(records, Euclidean(), Standardize((1,)), figure="auc")


def test_nothing_to_hold_back_is_refused() -> None:
    X = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(DataError, match="at least four entries; found 1"):
        hold_out(Records(X, None, "few", relation=Pairs([0], [1], [1])), seed=0)
    with pytest.raises(DataError, match="at least four items; found 3"):
        hold_out(Records(X, None, "few"), seed=0)


def test_calibration_on_pairs_that_were_listed() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(400, 1)).astype(np.float32)
    left, right = np.arange(0, 400, 2), np.arange(1, 400, 2)
    gap = np.abs(X[left, 0] - X[right, 0])
    same = generator.random(200) < 1 / (1 + np.exp(4 * (gap - 1)))
    pairs = Records(X, None, "pairs", relation=Pairs(left, right, same))
    held = HoldOut(pairs, pairs, "entries")
    calibration = calibrate(nn.Identity(), Euclidean(), Standardize((1,)), held, seed=0)
    assert calibration is not None
    assert calibration.slope == pytest.approx(4, abs=1.2)
    assert calibration.threshold == pytest.approx(1, abs=0.25)
    scored = Records(X, None, "scores", relation=Scores(left, right, same.astype(float)))
    unknown = HoldOut(scored, scored, "entries")
    assert calibrate(nn.Identity(), Euclidean(), Standardize((1,)), unknown, seed=0) is None
