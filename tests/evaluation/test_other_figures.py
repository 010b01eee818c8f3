"""Open set, classification, health, graded relevance: by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import skew, t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from likewise.errors import DataError, InputError
from likewise.evaluation import (
    classification,
    control_embeddings,
    embedding_health,
    graded_retrieval,
    hierarchy_gains,
    novelty,
    retrieval,
    shared_label_gains,
)
from likewise.evaluation.classification import _vote
from likewise.evaluation.health import effective_rank, hubness
from reference import evaluation as reference


def blobs(seed, n_classes=6, per_class=15, spread=0.8):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), per_class)
    centres = np.random.default_rng(99).normal(size=(n_classes, 4))
    return centres[labels] + spread * generator.normal(size=(len(labels), 4)), labels


def test_novelty_equals_scikit_learn_on_nearest_distances():
    gallery, gallery_labels = blobs(0)
    queries, labels = blobs(1, 9)
    known = gallery_labels < 4
    report = novelty(
        queries, labels, gallery=gallery[known], gallery_labels=gallery_labels[known], neighbours=2
    )
    away = NearestNeighbors(n_neighbors=2).fit(gallery[known]).kneighbors(queries)[0][:, 1]
    assert report["auroc"].value == pytest.approx(roc_auc_score(labels >= 4, away), abs=1e-6)
    assert report.counts == {"known queries": 60, "novel queries": 75, "gallery": 60}
    assert report["auroc"].n_units == 9 and report["auroc"].low < report["auroc"].value
    with pytest.raises(DataError, match="known ones only"):
        novelty(gallery, gallery_labels, gallery=gallery, gallery_labels=gallery_labels)


def test_classifiers_equal_scikit_learn():
    train, train_labels = blobs(2)
    test, test_labels = blobs(3)
    report = classification(train, train_labels, test, test_labels, neighbours=1)
    peers = {
        "knn": KNeighborsClassifier(1),
        "nearest_centroid": NearestCentroid(),
        "linear_probe": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    for name, peer in peers.items():
        expected = peer.fit(train, train_labels).score(test, test_labels)
        assert report[name].value == pytest.approx(expected)
        assert 0.3 < expected < 1


def test_knn_votes_and_breaks_ties_by_the_nearest():
    train, labels = [[1.0], [2.0], [3.0], [-1.5], [-4.0]], ["b", "a", "a", "b", "c"]
    # From 0: b at 1, b at 1.5, a at 2, a at 3. Three: b b a. Four: a tie of two, b is nearest.
    for neighbours in (1, 3, 4):
        report = classification(train, labels, [[0.0]], ["b"], neighbours=neighbours, figures=["knn"])
        assert report["knn"].value == 1
    # The nearest is b, but two of three are a.
    crowd = classification(
        [[1.0], [1.5], [-1.6]], ["b", "a", "a"], [[0.0]], ["a"], neighbours=3, figures=["knn"]
    )
    assert crowd["knn"].value == 1
    # Among five from 2.4: a a b b c, a tie again, a is nearest.
    assert classification(train, labels, [[2.4]], ["a"], neighbours=5, figures=["knn"])["knn"].value == 1


def test_unseen_classes_are_counted_and_wrong():
    report = classification([[0.0], [1.0]], [0, 1], [[0.0], [1.0]], [0, 7], neighbours=1)
    assert report["knn"].value == 0.5 and report.counts["test items of unseen classes"] == 1
    with pytest.raises(InputError, match="found 'svm'"):
        classification([[0.0]], [0], [[0.0]], [0], figures=["svm"])


def test_alignment_and_uniformity_equal_loops():
    embeddings, labels = blobs(4, 3, 5)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    aligned, kernel = [], []
    for i in range(15):
        for j in range(i):
            squared = np.sum((unit[i] - unit[j]) ** 2)
            kernel.append(math.exp(-2 * squared))
            if labels[i] == labels[j]:
                aligned.append(squared)
    for n_pairs in (10**6, 100):  # all 105 pairs, and 100 of them, weighed back to all
        health = embedding_health(embeddings, labels, n_pairs=n_pairs)
        slack = 1e-6 if n_pairs > 105 else 0.05
        assert health.alignment == pytest.approx(np.mean(aligned), rel=slack)
        assert health.uniformity == pytest.approx(math.log(np.mean(kernel)), rel=slack)
    assert not health.collapsed


def test_effective_rank_counts_directions():
    generator = np.random.default_rng(5)
    orthogonal = np.linalg.qr(generator.normal(size=(50, 6)))[0]
    orthogonal -= orthogonal.mean(0)
    directions = np.linalg.qr(orthogonal)[0] @ np.linalg.qr(generator.normal(size=(6, 6)))[0]
    assert effective_rank(directions) == pytest.approx(6, rel=1e-3)
    # Two singular values, 3 and 1: exp of the entropy of (3/4, 1/4), wherever the mean lies.
    two = np.linalg.qr(orthogonal)[0][:, :2] * [3, 1] + 100
    assert effective_rank(two) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)), rel=1e-6
    )
    assert effective_rank(np.ones((4, 3))) == 0


def test_hubness_equals_skewness_of_neighbour_counts():
    embeddings = np.random.default_rng(6).normal(size=(80, 30))
    near = NearestNeighbors(n_neighbors=10).fit(embeddings).kneighbors(return_distance=False)
    times = np.bincount(near.ravel(), minlength=80)
    assert hubness(embeddings) == pytest.approx(skew(times))
    assert hubness(np.eye(3)) == 0


def test_collapse_is_alarmed():
    generator = np.random.default_rng(7)
    labels = np.repeat(np.arange(10), 3)
    point = embedding_health(5 + 1e-5 * generator.normal(size=(30, 8)), labels)
    line = embedding_health(
        generator.normal(size=(30, 1)) * np.ones(8) + 1e-3 * generator.normal(size=(30, 8)), labels
    )
    assert point.collapsed and "mean" in point.alarms[0]
    assert line.collapsed and "directions" in line.alarms[0]
    assert not embedding_health(generator.normal(size=(30, 8)), labels).collapsed


def test_collapse_under_cosine_is_alarmed_where_spread_is_small_beside_the_norm():
    """At a spread of 0.006 of the norm all items lie within cosine distances of some 1e-5."""
    generator = np.random.default_rng(8)
    near = embedding_health(1 + 0.006 * generator.normal(size=(60, 8)), np.repeat(np.arange(20), 3))
    assert near.collapsed and near.spread == pytest.approx(0.006, rel=0.1)


def test_health_is_given_with_intervals_that_leave_out_classes():
    """Of fewer than twenty classes each is left out: the figures of the rest are taken anew here."""
    from likewise.evaluation.intervals import jackknife_figure

    embeddings, labels = blobs(9, n_classes=9, per_class=6)
    health = embedding_health(embeddings, labels)
    rest = [embedding_health(embeddings[labels != c], labels[labels != c]) for c in range(9)]
    slack = {"alignment": 1e-9, "uniformity": 1e-9, "spread": 1e-9, "effective_rank": 0.35}
    for name, within in slack.items():
        anew = jackknife_figure(
            getattr(health, name), np.array([getattr(each, name) for each in rest]), bounds=(-np.inf, np.inf)
        )
        found = health.report[name]
        assert found.value == getattr(health, name) and found.note == "few classes"
        # Directions are held fixed for the effective rank: its interval is that of the first order.
        assert found.high - found.value == pytest.approx(anew.high - anew.value, rel=within)
    # Hubness: without a class's items and its queries, the others keeping their neighbours.
    near = NearestNeighbors(n_neighbors=10).fit(embeddings).kneighbors(return_distance=False)
    left_out = [skew(np.bincount(near[labels != c].ravel(), minlength=54)[labels != c]) for c in range(9)]
    anew = jackknife_figure(health.hubness, np.array(left_out), bounds=(-np.inf, np.inf))
    assert health.report["hubness"].low == pytest.approx(anew.low)


def test_controls_are_rescaled_on_the_training_rows():
    generator = np.random.default_rng(8)
    train = generator.normal(size=(200, 3)) @ np.array([[5.0, 0, 0], [4, 1, 0], [0, 0, 0.1]]) + 7
    controls = control_embeddings(train, train)
    assert controls["raw"].tolist() == train.tolist()
    assert controls["standardised"].std(0, correction=0).tolist() == pytest.approx([1, 1, 1])
    whitened = controls["whitened"].numpy()
    assert whitened.T @ whitened / 200 == pytest.approx(np.eye(3), abs=1e-9)
    # A constant feature is no reason for infinities.
    constant = control_embeddings(np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[1.0, 2.5]]))
    assert constant["standardised"].tolist() == [[0, 0]] and constant["whitened"].shape == (1, 1)


def test_graded_equals_plain_retrieval_on_classes():
    embeddings, labels = blobs(9, 5, 6)
    gains = (labels[:, None] == labels).astype(int)
    graded = graded_retrieval(embeddings, gains, classes=labels, ks=(1, 5))
    plain = retrieval(embeddings, labels, ks=(1, 5), figures=["map", "ndcg", "recall", "precision"])
    for name in ("map", "ndcg", "recall@1", "recall@5", "precision@1", "precision@5"):
        assert graded[name].value == pytest.approx(plain[name].value)
    assert graded_retrieval(embeddings, gains)["map"].note == "queries taken as independent"


def test_ndcg_equals_scikit_learn_on_grades():
    from sklearn.metrics import ndcg_score

    generator = np.random.default_rng(10)
    queries, gallery = generator.normal(size=(20, 3)), generator.normal(size=(30, 3))
    gains = generator.integers(0, 4, (20, 30))
    report = graded_retrieval(queries, gains, gallery=gallery, ks=(5,))
    near = -np.linalg.norm(queries[:, None] - gallery, axis=2)
    assert report["ndcg"].value == pytest.approx(ndcg_score(gains, near))
    assert report["ndcg@5"].value == pytest.approx(ndcg_score(gains, near, k=5))


def test_gains_of_several_labels_and_of_a_hierarchy():
    tags = np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0]])
    assert shared_label_gains(tags)(np.array([0, 2])).tolist() == [[1, 1, 0], [0, 1, 1]]
    assert shared_label_gains(tags, tags[:2], graded=True)(np.array([1])).tolist() == [[2, 3]]
    # "1" below "a" and "1" below "b" are different things.
    gains = hierarchy_gains([["a", "b"], ["1", "1"]], [["a", "a", "b"], ["1", "2", "1"]])
    assert gains(np.array([0, 1])).tolist() == [[2, 1, 0], [0, 0, 2]]
    report = graded_retrieval(
        [[0.0], [1.0], [5.0]], shared_label_gains(np.eye(3, dtype=int)[[0, 0, 1]]), ks=(1,)
    )
    assert report["recall@1"].value == 1 and report.counts["queries without a match"] == 1


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ([[0, -1], [1, 0]], "0 or more"),
        ([[0, np.nan], [1, 0]], "finite"),
        ([[0, 1]], "found"),
        ([[0, 0], [0, 0]], "found none"),
    ],
)
def test_wrong_gains_are_refused(gains, message):
    with pytest.raises(DataError, match=message):
        graded_retrieval([[0.0], [1.0]], gains)


def test_interval_of_classification_knows_the_class_that_was_answered():
    """Each class left out of training and test items, and scikit-learn asked again."""
    (train, train_labels), (test, test_labels) = blobs(2, spread=1.2), blobs(3, spread=1.2)
    report = classification(
        train, train_labels, test, test_labels, neighbours=1, figures=["knn", "nearest_centroid"]
    )
    peers = {"knn": KNeighborsClassifier(1), "nearest_centroid": NearestCentroid()}
    for name, peer in peers.items():
        right = {}
        for gone in (None, *range(6)):
            kept = train_labels != gone
            right[gone] = peer.fit(train[kept], train_labels[kept]).predict(test) == test_labels
        left_out = [right[c][test_labels != c].mean() for c in range(6)]
        gained = {c: right[c].astype(int) - right[None] for c in range(6)}
        shared = sum(
            ((gained[a][test_labels == b].sum() + gained[b][test_labels == a].sum()) / 90) ** 2
            for a in range(6)
            for b in range(a)
        )
        variance = reference.jackknife_error(left_out) ** 2
        assert 0 < shared < variance
        variance -= shared / 2
        value, quantile = right[None].mean(), t.ppf(0.975, reference.freedom(left_out))
        expected = reference.wilson_interval(value, value * (1 - value) / variance, quantile)
        assert (report[name].low, report[name].high) == pytest.approx(expected)


def test_knn_votes_again_without_the_class_that_was_answered():
    near = np.array([[1, 1, 0, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
    assert _vote(near, np.ones((2, 7), dtype=bool), 3).tolist() == [1, 1]
    # Then 0 2 2 vote in the first row, and nothing is left in the second.
    assert _vote(near, near != 1, 3).tolist() == [2, -1]
    # A tie of two: the nearest.
    assert _vote(near, near != 1, 4).tolist() == [0, -1]
