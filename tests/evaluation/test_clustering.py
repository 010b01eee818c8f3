"""Clustering figures: k-means finds what is there, and intervals hold the clusters fixed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from likewise import distances
from likewise.errors import InputError
from likewise.evaluation import clustering
from likewise.evaluation.clustering import kmeans_clusters
from likewise.evaluation.intervals import jackknife_figure


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
        expected = jackknife_figure(report[name].value, np.array(left_out), bounds=(-1, 1))
        assert report[name].high == pytest.approx(min(expected.high, 1))
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
