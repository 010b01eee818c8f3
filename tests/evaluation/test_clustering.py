"""Clustering figures: k-means finds what is there, and intervals hold the clusters fixed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import HDBSCAN

from likewise import distances
from likewise.errors import DataError, InputError
from likewise.evaluation import clustering, clustering_threshold
from likewise.evaluation.agreement import Meetings, adjusted_rand, normalized_mutual_information
from likewise.evaluation.clustering import hdbscan_clusters, kmeans_clusters, threshold_clusters
from reference import evaluation as reference


def blobs(n_classes, spread, seed=0, per_class=10):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), per_class)
    centres = generator.normal(size=(n_classes, 8))
    return (centres[labels] + spread * generator.normal(size=(len(labels), 8))).astype(np.float32), labels


def test_separate_classes_are_found_and_noise_is_not():
    report = clustering(*blobs(3, 0.01), restarts=5)
    assert [report[name].value for name in ("nmi", "ami", "ari")] == pytest.approx([1, 1, 1])
    noise = np.random.default_rng(1).normal(size=(600, 4))
    chance = clustering(noise, np.arange(600) % 6)
    assert abs(chance["ami"].value) < 0.02 and abs(chance["ari"].value) < 0.02


def test_equals_scikit_learn_on_the_same_clusters_and_leaves_out_classes():
    embeddings, labels = blobs(7, 0.8)
    report = clustering(embeddings, labels, seed=5)
    clusters = kmeans_clusters(embeddings, 7, seed=5)
    functions = {
        "nmi": metrics.normalized_mutual_info_score,
        "ami": metrics.adjusted_mutual_info_score,
        "ari": metrics.adjusted_rand_score,
    }
    for name, function in functions.items():
        assert report[name].value == pytest.approx(function(labels, clusters))
        left_out = [function(labels[labels != c], clusters[labels != c]) for c in range(7)]
        value, error = report[name].value, reference.jackknife_error(left_out)
        if name == "nmi":
            expected = reference.logit_interval(value, error, 2.4469118511)
        else:  # from -1 to 1
            halves = reference.logit_interval((value + 1) / 2, error / 2, 2.4469118511)
            expected = [2 * end - 1 for end in halves]
        assert (report[name].low, report[name].high) == pytest.approx(expected)
        assert report[name].note == "clusters held fixed; few classes"


def test_many_classes_are_left_out_in_groups():
    report = clustering(*blobs(120, 0.5, per_class=3), figures=["nmi"])
    assert list(report) == ["nmi"]
    assert report["nmi"].n_units == 120
    assert report["nmi"].low < report["nmi"].value < report["nmi"].high


def test_cosine_clusters_directions():
    embeddings, labels = blobs(3, 0.01)
    lengths = np.random.default_rng(2).uniform(0.1, 50, (30, 1)).astype(np.float32)
    assert clustering(embeddings * lengths, labels, distance="cosine", restarts=5)[
        "nmi"
    ].value == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [1, 1, 1]}, "two classes"),
        ({"n_clusters": 4}, "at most the number of items, 3"),
        ({"figures": ["purity"]}, "found 'purity'"),
        ({"distance": distances.Cityblock()}, "found Cityblock"),
        ({"labels": [1.0, 2.0, 1.0]}, "whole numbers"),
    ],
)
def test_wrong_requests_are_refused(change, message):
    labels = change.pop("labels", [1, 2, 1])
    with pytest.raises(InputError, match=message):
        clustering(np.eye(3), labels, **change)


def single_linkage_by_loops(X, threshold):
    """Clusters by flooding from each item, from the definition."""
    found = [-1] * len(X)
    for start in range(len(X)):
        if found[start] >= 0:
            continue
        cluster, waiting = max(found) + 1, [start]
        while waiting:
            item = waiting.pop()
            if found[item] < 0:
                found[item] = cluster
                waiting += [j for j in range(len(X)) if np.linalg.norm(X[item] - X[j]) <= threshold]
    return found


def test_threshold_clusters_equal_a_flood_and_are_the_same_in_any_blocks(monkeypatch):
    X = np.random.default_rng(3).normal(size=(70, 2))
    for threshold in (0.1, 0.3, 0.6, 9.0):
        expected = single_linkage_by_loops(X, threshold)
        for elements in (10**6, 200):
            monkeypatch.setattr(sys.modules["likewise.evaluation.clustering"], "_BLOCK_ELEMENTS", elements)
            found = threshold_clusters(X, threshold)
            assert metrics.adjusted_rand_score(found, expected) == 1 and found.max() == max(expected)


def test_hdbscan_equals_scikit_learn_with_noise_as_clusters_of_one():
    embeddings, labels = blobs(4, 0.3)
    embeddings = np.concatenate([embeddings, [[90.0] * embeddings.shape[1], [-90.0] * embeddings.shape[1]]])
    labels = np.concatenate([labels, [0, 1]])
    found = hdbscan_clusters(embeddings.astype(np.float32), smallest=4)
    theirs = HDBSCAN(min_cluster_size=4, copy=True).fit_predict(embeddings.astype(np.float32))
    assert (theirs[-2:] == -1).all() and found[-1] != found[-2]
    assert metrics.adjusted_rand_score(found[theirs >= 0], theirs[theirs >= 0]) == 1
    report = clustering(embeddings, labels, method="hdbscan", smallest=4)
    assert report["nmi"].value == pytest.approx(metrics.normalized_mutual_info_score(labels, found))
    assert report.counts["clusters"] == len(set(found.tolist()))


def test_threshold_linkage_finds_far_apart_classes():
    embeddings, labels = blobs(5, 0.01)
    apart = clustering(embeddings, labels, method="threshold", threshold=0.5, distance="cityblock")
    assert [figure.value for figure in apart.values()] == pytest.approx([1, 1, 1])
    for wrong in ({"method": "threshold"}, {"threshold": 1.0}, {"method": "ward"}):
        with pytest.raises(InputError, match="must be"):
            clustering(embeddings, labels, **wrong)


@pytest.mark.parametrize("figure", ["nmi", "ami", "ari"])
def test_the_chosen_threshold_is_the_best_of_all_by_loops(figure):
    embeddings, labels = blobs(6, 0.7, seed=4)
    functions = {
        "nmi": metrics.normalized_mutual_info_score,
        "ami": metrics.adjusted_mutual_info_score,
        "ari": metrics.adjusted_rand_score,
    }
    chosen = clustering_threshold(embeddings, labels, figure=figure, candidates=1000)
    best = functions[figure](labels, single_linkage_by_loops(embeddings, chosen))
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(embeddings) for b in embeddings[:i]]
    for threshold in np.quantile(gaps, np.linspace(0.005, 0.4, 40)):
        found = single_linkage_by_loops(embeddings, threshold)
        assert functions[figure](labels, found) <= best + 1e-12
    assert 0 < best < 1


def test_a_threshold_of_validation_classes_serves_other_classes():
    embeddings, labels = blobs(12, 0.05, seed=6)
    known = labels < 6
    threshold = clustering_threshold(embeddings[known], labels[known], distance="cosine")
    others = clustering(
        embeddings[~known], labels[~known], method="threshold", threshold=threshold, distance="cosine"
    )
    assert others["ari"].value == pytest.approx(1)
    assert others["ari"].note.startswith("clusters held fixed")


@pytest.mark.parametrize(
    ("embeddings", "labels", "options", "message"),
    [
        (np.eye(3), [1, 1, 1], {}, "two classes"),
        (np.eye(3), [1, 2, 1], {}, "all alike"),
        (np.zeros((10_001, 1)), np.arange(10_001), {}, "at most 10,000 items"),
        ([[0.0], [1.0], [3.0]], [1, 1, 2], {"figure": "purity"}, "found 'purity'"),
        ([[0.0], [1.0], [3.0]], [1, 1, 2], {"candidates": 0}, "candidates"),
        ([[0.0], [np.nan], [3.0]], [1, 1, 2], {}, "row 1"),
    ],
)
def test_a_threshold_that_cannot_be_chosen(embeddings, labels, options, message):
    with pytest.raises((DataError, InputError), match=message):
        clustering_threshold(embeddings, labels, **options)


@pytest.mark.parametrize("seed", range(6))
def test_agreement_read_off_the_table_equals_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    n, classes, clusters = generator.integers(2, 60), generator.integers(1, 9), generator.integers(1, 9)
    codes = np.unique(generator.integers(0, classes, n), return_inverse=True)[1]
    found = generator.integers(0, clusters, n) if seed else codes[::-1].copy()
    table = Meetings.of(codes, found)
    for kept in (np.ones(codes.max() + 1, dtype=bool), np.arange(codes.max() + 1) % 3 != 1):
        items = kept[codes]
        left = table.kept(kept)
        assert normalized_mutual_information(left) == pytest.approx(
            metrics.normalized_mutual_info_score(codes[items], found[items]), abs=1e-12
        )
        assert adjusted_rand(left) == pytest.approx(
            metrics.adjusted_rand_score(codes[items], found[items]), abs=1e-12
        )
