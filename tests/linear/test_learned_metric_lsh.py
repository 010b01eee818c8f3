"""LearnedMetricLSH: bits collide as often as the formula says, and candidates are what shares a bucket."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from likewise.errors import InputError
from likewise.linear import ITML, Covariance, LearnedMetricLSH
from likewise.relations import Pairs


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def test_bits_agree_as_often_as_the_angle_says():
    """10,000 bits of two rows at a known angle: the share that agrees is within 4 deviations."""
    X = np.array([[1.0, 0], [np.cos(1.0), np.sin(1.0)], [-1.0, 0], [0.0, -1.0]])
    learner = LearnedMetricLSH(Covariance(), n_tables=200, n_bits=50, center=False, random_state=0)
    learner.fit(X, [0, 0, 1, 1])
    learner.components_ = np.eye(2)  # an identity metric, so that angles are known
    bits = learner.bits(X).reshape(4, -1)
    expected = learner.collision_probability(X[[0, 0, 0]], X[[1, 2, 3]])
    np.testing.assert_allclose(expected, [1 - 1 / np.pi, 0, 0.5], atol=1e-12)
    for other, probability in zip((1, 2, 3), expected, strict=True):
        deviation = np.sqrt(max(probability * (1 - probability), 1e-12) / bits.shape[1])
        assert abs((bits[0] == bits[other]).mean() - probability) <= 4 * deviation


def test_the_probability_is_exact_for_tiny_angles():
    """arccos would give 0 or 1e-8 here."""
    learner = LearnedMetricLSH(Covariance(), center=False).fit(
        [[1.0, 0], [0, 1.0], [2, 0], [0, 2]], [0, 1, 0, 1]
    )
    learner.components_ = np.eye(2)
    found = 1 - learner.collision_probability([[1.0, 0]], [[1.0, 1e-9]])
    assert found[0] == pytest.approx(1e-9 / np.pi, rel=1e-6)


@pytest.mark.parametrize("probes", [0, 2])
def test_candidates_share_a_bucket_in_some_table(digits, probes):
    """By a plain comparison of all bits; with probes, buckets that differ in the nearest bits count too."""
    X, y = digits
    learner = LearnedMetricLSH(n_tables=3, n_bits=6, n_probes=probes, random_state=0).fit(X[:300], y[:300])
    known, asked = learner.bits(X[:300]), learner.bits(X[300:340])
    heights = learner._heights(learner._mapped(X[300:340])).transpose(1, 0, 2)
    for query, candidates in enumerate(learner.candidates(X[300:340])):
        found = np.zeros(300, dtype=bool)
        for table in range(3):
            nearest = np.argsort(np.abs(heights[query, table]))[:probes]
            for flipped in [None, *nearest]:
                wanted = asked[query, table].copy()
                if flipped is not None:
                    wanted[flipped] ^= True
                found |= (known[:, table] == wanted).all(axis=1)
        np.testing.assert_array_equal(candidates, np.flatnonzero(found))


def test_neighbours_are_the_nearest_candidates_by_exact_distance(digits):
    X, y = digits
    learner = LearnedMetricLSH(n_tables=4, n_bits=8, random_state=0).fit(X[:400], y[:400])
    found = learner.kneighbors(X[400:430], n_neighbors=3)
    for query, candidates in enumerate(learner.candidates(X[400:430])):
        assert found.candidates[query] == len(candidates)
        count = min(3, len(candidates))
        own = np.empty(0)
        if count:
            own = learner.pair_distance(np.repeat(X[[400 + query]], len(candidates), 0), X[candidates])
        np.testing.assert_allclose(found.distances[query, :count], np.sort(own)[:count], atol=1e-8)
        assert (found.positions[query, count:] == -1).all()
        assert np.isinf(found.distances[query, count:]).all()


def test_one_bit_and_many_tables_find_everything(digits):
    X, y = digits
    learner = LearnedMetricLSH(n_tables=40, n_bits=1, random_state=0).fit(X[:200], y[:200])
    exact = np.linalg.norm(learner.transform(X[200:220])[:, None] - learner.transform(X[:200])[None], axis=2)
    found = learner.kneighbors(X[200:220], n_neighbors=5)
    np.testing.assert_allclose(found.distances, np.sort(exact, axis=1)[:, :5], atol=1e-8)


def test_more_tables_only_add_candidates(digits):
    X, y = digits
    few = LearnedMetricLSH(n_tables=3, n_bits=8, random_state=0).fit(X[:300], y[:300])
    more = LearnedMetricLSH(n_tables=8, n_bits=8, random_state=0).fit(X[:300], y[:300])
    np.testing.assert_array_equal(few.hyperplanes_, more.hyperplanes_[:3])
    for some, all_ in zip(few.candidates(X[300:330]), more.candidates(X[300:330]), strict=True):
        assert np.isin(some, all_).all()


def test_index_replaces_the_rows_and_keeps_the_metric(digits):
    X, y = digits
    learner = LearnedMetricLSH(random_state=0).fit(X[:300], y[:300])
    components = learner.components_
    found = learner.index(X[300:]).kneighbors(X[300:305], n_neighbors=1)
    np.testing.assert_array_equal(found.positions[:, 0], np.arange(5))
    np.testing.assert_allclose(found.distances[:, 0], 0, atol=1e-12)
    assert learner.components_ is components


def test_the_learner_gets_the_supervision_and_gives_the_metric(digits):
    X, _ = digits
    pairs = Pairs([0, 1, 2, 3], [10, 11, 12, 50], [1, 1, 1, 0])
    plain = ITML(bounds=(100.0, 2000.0)).fit(X, pairs=pairs)
    hashed = LearnedMetricLSH(ITML(bounds=(100.0, 2000.0))).fit(X, pairs=pairs)
    np.testing.assert_array_equal(hashed.components_, plain.components_)
    np.testing.assert_allclose(hashed.pair_distance(X, X[::-1]), plain.pair_distance(X, X[::-1]))
    np.testing.assert_allclose(
        hashed.to_model().compare(X[:9], X[9:18]), plain.to_model().compare(X[:9], X[9:18])
    )


@pytest.mark.parametrize("options", [{"n_bits": 63}, {"n_bits": 0}, {"n_tables": 0}, {"n_probes": 13}])
def test_options_out_of_range_are_named(digits, options):
    with pytest.raises(InputError, match=next(iter(options))):
        LearnedMetricLSH(**options).fit(*digits)
