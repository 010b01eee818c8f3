"""What every evaluation of embeddings does with bad input: counted and reported, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from likewise import evaluation
from likewise.errors import DataError, InputError

Y = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4])
CAMERAS = np.arange(11) % 3
X = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)


def verified(A, y, **options):
    pairs = evaluation.verification_pairs(A, y, **options)
    report = evaluation.verification(pairs.distances, pairs.same, fars=())
    return evaluation.figures.Report("pairs", report.figures, {"zero vectors": pairs.zero_vectors})


EVALUATIONS = {
    "retrieval": evaluation.retrieval,
    "graded": lambda A, y, **o: evaluation.graded_retrieval(
        A, evaluation.shared_label_gains(np.eye(5, dtype=int)[y]), **o
    ),
    "re-identification": lambda A, y, **o: evaluation.reidentification(
        A, y, gallery=A, gallery_labels=y, cameras=CAMERAS, gallery_cameras=CAMERAS, **o
    ),
    "few-shot": lambda A, y, **o: evaluation.few_shot(A, y, ways=2, episodes=20, **o),
    "clustering": evaluation.clustering,
    "classification": lambda A, y, **o: evaluation.classification(A, y, A, y, neighbours=1, **o),
    "open set": lambda A, y, **o: evaluation.novelty(A, y, gallery=A[:6], gallery_labels=y[:6], **o),
    "verification": verified,
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_zero_vectors_under_cosine_are_counted(name: str) -> None:
    zeros = X.copy()
    zeros[[4, 7]] = 0
    found = EVALUATIONS[name](zeros, Y, distance="cosine").counts["zero vectors"]
    twice = name in ("re-identification", "classification")  # given on both sides
    assert found == {"open set": 3}.get(name, 4 if twice else 2)
    assert EVALUATIONS[name](zeros, Y, distance="euclidean").counts.get("zero vectors", 0) == 0


@pytest.mark.parametrize("name", EVALUATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_row(name: str, bad: float) -> None:
    broken = X.copy()
    broken[3, 1] = bad
    with pytest.raises(DataError, match=r"found NaN or infinity in 1 of .* row 3"):
        EVALUATIONS[name](broken, Y)


@pytest.mark.parametrize("name", [name for name in EVALUATIONS if name != "graded"])
def test_labels_of_another_length_or_of_floats_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"same length|each of"):
        EVALUATIONS[name](X, Y[:-1])
    with pytest.raises(InputError, match="whole numbers or strings"):
        EVALUATIONS[name](X, Y.astype(float))


@pytest.mark.parametrize("name", ["retrieval", "re-identification", "classification", "open set"])
def test_a_gallery_of_another_dimension_is_refused(name: str) -> None:
    narrow = X[:, :2]
    calls = {
        "retrieval": lambda: evaluation.retrieval(X, Y, gallery=narrow, gallery_labels=Y),
        "re-identification": lambda: evaluation.reidentification(
            X, Y, gallery=narrow, gallery_labels=Y, cameras=CAMERAS, gallery_cameras=CAMERAS[::-1]
        ),
        "classification": lambda: evaluation.classification(narrow, Y, X, Y),
        "open set": lambda: evaluation.novelty(X, Y, gallery=narrow[:6], gallery_labels=Y[:6]),
    }
    with pytest.raises(DataError, match="same dimension; found 3 and 2"):
        calls[name]()


def test_classes_with_one_item_and_queries_without_a_match_are_counted() -> None:
    assert evaluation.retrieval(X, Y).counts["queries without a match"] == 2
    assert evaluation.few_shot(X, Y, ways=2, episodes=5).counts["classes with too few items"] == 2
    with pytest.raises(DataError, match="found none, as every class has too few items"):
        evaluation.retrieval(X, np.arange(11))
    with pytest.raises(DataError, match="found 0 of 11"):
        evaluation.few_shot(X, np.arange(11), ways=2)
    with pytest.raises(DataError, match="two items for a pair of one class"):
        evaluation.verification_pairs(X, np.arange(11))


def test_a_gallery_of_one() -> None:
    """Queries of its class find it, at place 1 of 1; the others have no match and are counted."""
    report = evaluation.retrieval(X, Y, gallery=X[:1] + 1, gallery_labels=Y[:1], ks=(1, 2))
    assert report.counts["queries"] == 3 and report.counts["queries without a match"] == 8
    assert report["recall@1"].value == report["map@r"].value == 1
    assert report["precision@2"].value == 1 / 2
    assert report["recall@1"].low == 0 and report["recall@1"].note == "few classes"
    with pytest.raises(DataError, match="at least two items, or a gallery"):
        evaluation.retrieval(X[:1], Y[:1])


def test_ids_given_twice_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="found 'b' 2 times"):
        evaluation.retrieval(
            X[:3], Y[:3], gallery=X, gallery_labels=Y, ids=["a", "b", "b"], gallery_ids=list("abcdefghijk")
        )
