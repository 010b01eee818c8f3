"""HDSL: Frank-Wolfe over sparse pair matrices, against a loop over all of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from likewise.linear import HDSL
from likewise.relations import Triplets
from reference import learners as reference


def problem(n=12, d=5, count=30, seed=0):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, d)) * (generator.uniform(size=(n, d)) < 0.7)
    triplets = np.array([generator.choice(n, 3, replace=False) for _ in range(count)]).T
    return X, triplets


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_equals_the_loop(kind, steps):
    X, (a, p, n) = problem()
    learner = HDSL(scale=2.0, max_iter=steps, tol=0.0).fit(kind(X), triplets=Triplets(a, p, n))
    expected = reference.hdsl(X[a], X[p], X[n], 2.0, steps)
    weight = learner.weight_ if kind is np.asarray else learner.weight_.toarray()
    np.testing.assert_allclose(weight, expected[-1], atol=1e-12)
    values = [reference.smoothed_hinges(matrix, X[a], X[p], X[n]) for matrix in expected]
    np.testing.assert_allclose(learner.objective_, values)


def test_each_step_adds_at_most_one_pair_and_the_trace_is_kept():
    X, (a, p, n) = problem(d=40)
    for steps in (1, 5, 20):
        learner = HDSL(scale=3.0, max_iter=steps, tol=0.0).fit(X, triplets=Triplets(a, p, n))
        assert len(learner.pairs_) <= steps
        assert np.trace(learner.weight_) == pytest.approx(6)
        assert np.linalg.eigvalsh(learner.weight_)[0] >= -1e-12
        assert learner.pair_weights_.sum() == pytest.approx(1)
        assert (learner.pair_weights_ > 0).all()


@pytest.mark.parametrize("line_search", [False, True])
def test_the_gap_bounds_what_is_left(line_search):
    """A much longer run gets lower by at most the gap of a short one; so the gap is a residual."""
    X, (a, p, n) = problem(count=60)
    known = Triplets(a, p, n)
    best = HDSL(scale=2.0, max_iter=1000, tol=1e-9, line_search=True).fit(X, triplets=known)
    for steps in (3, 30, 100):
        learner = HDSL(scale=2.0, max_iter=steps, tol=0.0, line_search=line_search).fit(X, triplets=known)
        left = learner.objective_[-1] - best.objective_[-1]
        # gap_ is that before the last step, which line search can only lower.
        assert left >= -1e-9
        if line_search:
            assert left <= learner.gap_ + 1e-12
    assert best.objective_[-1] <= best.objective_[0]


def test_line_search_never_goes_up():
    X, (a, p, n) = problem(count=60)
    history = (
        HDSL(scale=2.0, max_iter=60, tol=0.0, line_search=True).fit(X, triplets=Triplets(a, p, n)).objective_
    )
    assert (np.diff(history) <= 1e-12).all()


def test_components_give_the_matrix_and_the_similarity():
    X, (a, p, n) = problem(d=30)
    learner = HDSL(max_iter=10).fit(X, triplets=Triplets(a, p, n))
    assert learner.components_.shape == (len(learner.pairs_), 30)
    np.testing.assert_allclose(learner.components_.T @ learner.components_, learner.weight_, atol=1e-12)
    mapped = learner.transform(X)
    np.testing.assert_allclose(-(mapped * mapped[::-1]).sum(1), learner.pair_distance(X, X[::-1]), atol=1e-10)


def test_warm_start_goes_on_from_its_pairs():
    X, (a, p, n) = problem(count=60)
    known = Triplets(a, p, n)
    learner = HDSL(scale=2.0, max_iter=20, tol=0.0, line_search=True, warm_start=True).fit(X, triplets=known)
    before = learner.objective_[-1]
    learner.fit(X, triplets=known)
    assert learner.objective_[0] <= before + 1e-12


def test_the_signal_is_found_among_many_sparse_features():
    """Two features of 5,000 tell the classes; both are in the first pairs, and nothing is d x d."""
    X = scipy.sparse.random_array((300, 5000), density=0.01, rng=0, format="lil")
    y = np.arange(300) % 2
    X[y == 0, 17] = 1.0
    X[y == 1, 4000] = 1.0
    learner = HDSL(max_iter=10, n_triplets=500, random_state=0, scale=1.0).fit(X.tocsr(), y)
    assert scipy.sparse.issparse(learner.weight_)
    assert learner.weight_.nnz <= 4 * 10
    assert {tuple(pair) for pair in learner.pairs_[:1].tolist()} == {(17, 4000, -1)}


def test_batches_of_triplets_are_seeded_and_near_the_whole():
    X, (a, p, n) = problem(n=40, count=400)
    known = Triplets(a, p, n)
    whole = HDSL(scale=2.0, max_iter=200, tol=0.0).fit(X, triplets=known)
    one, two = (
        HDSL(scale=2.0, max_iter=200, tol=0.0, batch_size=100, random_state=1).fit(X, triplets=known)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.weight_, two.weight_)
    assert one.objective_[-1] < whole.objective_[-1] + 0.05


def test_one_feature_has_one_matrix():
    learner = HDSL(scale=2.0, max_iter=3).fit([[1.0], [2.0], [-1.0]], triplets=Triplets([0], [1], [2]))
    np.testing.assert_allclose(learner.weight_, [[4.0]])
    np.testing.assert_allclose(learner.components_, [[2.0]])
