"""What holds of every evaluation of embeddings, whatever it measures."""

from __future__ import annotations

import numpy as np
import pytest

from likewise import evaluation

CLASSES, EACH = 8, 6
Y = np.repeat(np.arange(CLASSES), EACH)
CAMERAS = np.tile(np.arange(EACH) % 3, CLASSES)
FULL = ["recall@1", "recall@4", "precision@1", "map@r", "r_precision", "bulls_eye", "map", "mrr", "ndcg"]


def verified(A, y):
    pairs = evaluation.verification_pairs(A, y)
    sides = {"left_classes": pairs.left_classes, "right_classes": pairs.right_classes}
    return evaluation.verification(pairs.distances, pairs.same, fars=(0.1,), **sides)


EVALUATIONS = {
    "retrieval": lambda A, y: evaluation.retrieval(A, y, figures=FULL),
    "graded": lambda A, y: evaluation.graded_retrieval(
        A, evaluation.shared_label_gains(np.eye(CLASSES, dtype=int)[y]), ks=(1, 5)
    ),
    "re-identification": lambda A, y: evaluation.reidentification(
        A, y, CAMERAS[: len(A)], gallery=A, gallery_labels=y, gallery_cameras=CAMERAS[: len(A)]
    ),
    "few-shot": lambda A, y: evaluation.few_shot(A, y, ways=4, shots=2, episodes=40),
    "clustering": lambda A, y: evaluation.clustering(A, y, restarts=50),
    "classification": lambda A, y: evaluation.classification(A, y, A, y, figures=["knn", "nearest_centroid"]),
    "open set": lambda A, y: evaluation.novelty(
        A, y, gallery=A[y % 2 == 0] + 0.01, gallery_labels=y[y % 2 == 0]
    ),
    "verification": verified,
}
LOWER_IS_BETTER = ("eer", "frr")


def blobs(spread: float) -> np.ndarray:
    generator = np.random.default_rng(4)
    return 3 * generator.normal(size=(CLASSES, 5))[Y] + spread * generator.normal(size=(len(Y), 5))


@pytest.mark.parametrize("name", EVALUATIONS)
def test_a_perfect_embedding_has_the_best_figures_and_they_hold_their_own_ends(name: str) -> None:
    report = EVALUATIONS[name](blobs(1e-3), Y)
    for figure, found in report.items():
        best = 0.0 if figure.startswith(LOWER_IS_BETTER) else 1.0
        assert found.value == pytest.approx(best, abs=1e-12), figure
        assert found.low <= found.value <= found.high and found.high - found.low > 0, figure
        assert "few classes" in found.note or name == "graded"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_turning_shifting_and_scaling_changes_nothing(name: str) -> None:
    A = blobs(2.5)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(5, 5)))[0]
    own, other = (
        EVALUATIONS[name](A, Y),
        EVALUATIONS[name]((3 * A) @ turn + (0 if name == "open set" else 7), Y),
    )
    for figure, found in own.items():
        slack = 1e-9 if name not in ("clustering", "open set") else 0.12  # k-means starts elsewhere
        assert other[figure].value == pytest.approx(found.value, abs=slack), figure


@pytest.mark.parametrize("name", ["retrieval", "graded", "verification", "classification"])
def test_the_order_of_items_changes_nothing(name: str) -> None:
    A = blobs(2.5)
    order = np.random.default_rng(6).permutation(len(Y))
    own, other = EVALUATIONS[name](A, Y), EVALUATIONS[name](A[order], Y[order])
    for figure, found in own.items():
        assert other[figure].value == pytest.approx(found.value, abs=1e-9), figure
        assert other[figure].low == pytest.approx(found.low, abs=1e-6), figure


def test_equal_distances_go_to_the_lower_place_everywhere() -> None:
    """Four items at one point: each query finds the first of the others."""
    A, y = np.zeros((4, 2)), np.array(["a", "b", "a", "b"])
    # 0 finds 1 (b), 1 finds 0 (a), 2 finds 0 (a), 3 finds 0 (a): one of four is right.
    assert evaluation.retrieval(A, y, ks=(1,))["recall@1"].value == 1 / 4
    scores = evaluation.retrieval_scores(A, y, figures=["recall@1"])
    assert scores.scores["recall@1"].tolist() == [0, 0, 1, 0]
    gains = evaluation.shared_label_gains(np.array([[1, 0], [0, 1], [1, 0], [0, 1]]))
    graded = evaluation.graded_retrieval(A, gains, ks=(1,))
    assert graded["ndcg@1"].value == 1 / 4
    # Of training items the first votes: all are called a, which half of them are.
    assert evaluation.classification(A, y, A, y, neighbours=1, figures=["knn"])["knn"].value == 1 / 2
    # Verification accepts equal distances together, few-shot shares the credit.
    pairs = evaluation.verification_pairs(A, y)
    assert evaluation.verification(pairs.distances, pairs.same, fars=())["auc"].value == 1 / 2
    assert evaluation.few_shot(A, y, ways=2, episodes=10)["accuracy"].value == 1 / 2
