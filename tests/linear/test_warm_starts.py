"""Warm starts of single learners: what each keeps of its last fit, and what it refuses.

That each goes on, and comes to the same end where there is one, is in test_contract.py.
"""

import numpy as np
import pytest

from likewise.errors import InputError
from likewise.linear import (
    ITML,
    LDA,
    LMNN,
    MLR,
    AsymmetricTransfer,
    ChiSquaredLMNN,
    FromeLocal,
    GradientBoostedLMNN,
    KernelITML,
    KernelLMNN,
    KPCATrick,
    KwokTsang,
    LearnedMetricLSH,
    LowRankITML,
    MultiMetricLMNN,
    SchultzJoachims,
)
from likewise.relations import Pairs, Triplets


def blobs(n=45, d=4, seed=0):
    """Rows of three classes that overlap."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return generator.normal(size=(n, d)) + 1.5 * np.random.default_rng(9).normal(size=(3, d))[y], y


class TestMLR:
    def test_planes_are_kept_for_another_price(self):
        X, y = blobs()
        learner = MLR(C=20.0, warm_start=True).fit(X, y)
        learner.set_params(C=30.0).fit(X, y)
        cold = MLR(C=30.0).fit(X, y)
        assert learner.converged_ and learner.n_iter_ < cold.n_iter_ / 2
        # Either is within C tol of the optimum.
        assert learner.objective_[-1] == pytest.approx(cold.objective_[-1], abs=30.0 * 1e-3)

    @pytest.mark.parametrize("change", ["rows", "labels", "measure"])
    def test_planes_of_other_rankings_are_not(self, change):
        """They would ask for what nobody asks of the matrix any more: here for what it can't give."""
        X, y = blobs()
        mixed = np.random.default_rng(0).permutation(len(y))
        learner = MLR(measure="precision" if change == "measure" else "auc", warm_start=True)
        learner.fit(X[mixed] if change == "rows" else X, y[mixed] if change == "labels" else y)
        learner.set_params(measure="auc").fit(X, y)
        cold = MLR().fit(X, y)
        assert learner.converged_
        assert learner.objective_[-1] == pytest.approx(cold.objective_[-1], abs=100.0 * 1e-3)


class TestGradientBoostedLMNN:
    def test_trees_added_later_are_those_of_one_longer_fit(self):
        X, y = blobs()
        options = {"max_depth": 2, "max_iter": 5, "random_state": 0}
        grown = GradientBoostedLMNN(n_trees=3, warm_start=True, **options).fit(X, y)
        first = list(grown.trees_)
        grown.set_params(n_trees=7).fit(X, y)
        once = GradientBoostedLMNN(n_trees=7, **options).fit(X, y)
        assert grown.trees_[:3] == first and len(grown.trees_) == 7
        np.testing.assert_array_equal(grown.steps_, once.steps_)
        np.testing.assert_array_equal(grown.transform(X), once.transform(X))
        np.testing.assert_array_equal(grown.objective_, once.objective_[3:])

    def test_fewer_trees_than_are_there_are_refused(self):
        X, y = blobs()
        learner = GradientBoostedLMNN(n_trees=3, max_iter=5, warm_start=True).fit(X, y)
        with pytest.raises(InputError, match=r"n_trees must be at least 3, as warm_start adds .* found 2"):
            learner.set_params(n_trees=2).fit(X, y)


class TestInnerLearner:
    def test_hyperplanes_stay_and_the_metric_goes_on(self):
        X, y = blobs()
        learner = LearnedMetricLSH(LMNN(max_iter=2), n_bits=4, warm_start=True).fit(X, y)
        planes, first = learner.hyperplanes_, learner.components_
        learner.fit(X, y)
        np.testing.assert_array_equal(learner.hyperplanes_, planes)
        alone = LMNN(max_iter=2, init=first, n_components=4).fit(X, y)
        np.testing.assert_array_equal(learner.components_, alone.components_)
        learner.set_params(n_bits=5).fit(X, y)
        assert learner.hyperplanes_.shape == (16, 5, 4)

    def test_what_has_no_warm_start_or_is_of_another_kind_begins_anew(self):
        X, y = blobs()
        learner = LearnedMetricLSH(LMNN(max_iter=2), warm_start=True).fit(X, y)
        learner.set_params(estimator=ITML(random_state=0)).fit(X, y)
        np.testing.assert_array_equal(learner.components_, ITML(random_state=0).fit(X, y).components_)
        learner.set_params(estimator=LDA()).fit(X[:30], y[:30])
        np.testing.assert_array_equal(learner.components_, LDA().fit(X[:30], y[:30]).components_)

    def test_the_given_estimator_is_left_as_it_was(self):
        given = LMNN(max_iter=2)
        LearnedMetricLSH(given, warm_start=True).fit(*blobs()).fit(*blobs())
        assert not given.warm_start and not hasattr(given, "components_")

    @pytest.mark.parametrize("made", [lambda **o: KPCATrick(LMNN(max_iter=3), **o), KernelLMNN])
    def test_coordinates_stay_for_other_rows(self, made):
        """A support of other rows would give L's columns another meaning."""
        X, y = blobs()
        learner = made(gamma=0.1, warm_start=True).fit(X, y)
        width = learner.components_.shape
        learner.fit(X[:30], y[:30])
        assert learner.components_.shape == width == (44, 44)
        with pytest.raises(InputError, match=r"warm_start keeps kernel, gamma, .* found .*0\.2.*fit a clone"):
            learner.set_params(gamma=0.2).fit(X, y)


def test_a_metric_a_class_needs_the_same_classes():
    X, y = blobs()
    learner = MultiMetricLMNN(max_iter=2, warm_start=True).fit(X, y)
    with pytest.raises(InputError, match=r"the classes \[0, 1, 2\]; found \[0, 1, 3\]; fit a clone"):
        learner.fit(X, np.where(y == 2, 3, y))
    with pytest.raises(InputError, match=r"components_ of shape \(3, 2, 4\); found \(3, 4, 4\); fit a clone"):
        learner.set_params(n_components=2).fit(X, y)
    assert (learner.predict(X) == y).mean() > 0.5  # as before


def test_other_shapes_are_refused():
    X, y = blobs()
    learner = ChiSquaredLMNN(max_iter=2, warm_start=True).fit(np.abs(X), y)
    with pytest.raises(InputError, match=r"components_ of shape \(2, 4\); found \(4, 4\); fit a clone"):
        learner.set_params(n_components=2).fit(np.abs(X), y)
    mapped = AsymmetricTransfer(warm_start=True, random_state=0).fit(X, y, target=X, target_y=y)
    with pytest.raises(InputError, match="target rows of 4 features; found 3; fit a clone"):
        mapped.fit(X, y, target=X[:, :3], target_y=y)


def test_the_last_map_between_domains_is_begun_from_in_the_span_of_other_rows():
    """With more features than rows W is found in the rows' span; the optimum is there, wherever it begins."""
    generator = np.random.default_rng(0)
    X, Z, y = generator.normal(size=(2, 12, 9)), generator.normal(size=(12, 20)), np.arange(12) % 3
    learner = AsymmetricTransfer(warm_start=True, tol=1e-8).fit(X[0], y, target=Z, target_y=y)
    learner.fit(X[1], y, target=Z, target_y=y)
    cold = AsymmetricTransfer(tol=1e-8).fit(X[1], y, target=Z, target_y=y)
    np.testing.assert_allclose(learner.weight_, cold.weight_, atol=1e-6 * np.abs(cold.weight_).max())


@pytest.mark.parametrize("learner", [KernelITML, LowRankITML, KwokTsang])
@pytest.mark.parametrize("count", [60, 80])
def test_multipliers_of_pairs_serve_other_pairs_or_are_dropped(learner, count):
    """Of equally many others, or not: the optimum is that from cold."""
    X, y = blobs()
    generator = np.random.default_rng(0)

    def drawn(m):
        left, right = generator.integers(len(X), size=(2, 4 * m))
        keys = np.unique(np.sort(np.stack([left, right])[:, left != right], axis=0), axis=1)
        left, right = generator.permutation(keys, axis=1)[:, :m]
        return Pairs(left, right, y[left] == y[right])

    first, second = drawn(60), drawn(count)
    warm = learner(warm_start=True).fit(X, pairs=first).fit(X, pairs=second)
    cold = learner().fit(X, pairs=second)
    assert warm.converged_ and warm.multipliers_.shape == (count,)
    told = cold.pair_distance(X[:20], X[20:40])
    np.testing.assert_allclose(warm.pair_distance(X[:20], X[20:40]), told, atol=1e-3 * told.max())


@pytest.mark.parametrize("learner", [SchultzJoachims, FromeLocal])
@pytest.mark.parametrize("count", [50, 70])
def test_so_do_those_of_triplets(learner, count):
    X, _ = blobs()
    generator = np.random.default_rng(0)

    def drawn(m):
        classes = generator.permuted(np.tile([0, 1, 2], (m, 1)), axis=1)[:, :2]
        other = (generator.integers(15, size=m) + generator.integers(1, 15, size=m)) % 15
        anchor = generator.integers(15, size=m)
        other = np.where(other == anchor, (other + 1) % 15, other)
        negative = 3 * generator.integers(15, size=m) + classes[:, 1]
        return Triplets(3 * anchor + classes[:, 0], 3 * other + classes[:, 0], negative)

    first, second = drawn(50), drawn(count)
    warm = learner(warm_start=True).fit(X, triplets=first).fit(X, triplets=second)
    cold = learner().fit(X, triplets=second)
    assert warm.converged_
    np.testing.assert_allclose(warm.weights_, cold.weights_, atol=5e-3 * cold.weights_.max())


def test_from_near_rows_an_interior_point_method_takes_fewer_steps():
    X, y = blobs()
    moved = X + 0.01 * blobs(seed=3)[0]
    for price in (0.1, 10.0):
        warm = SchultzJoachims(C=price, random_state=0, warm_start=True).fit(X, y).fit(moved, y)
        cold = SchultzJoachims(C=price, random_state=0).fit(moved, y)
        assert warm.n_iter_ < cold.n_iter_
        np.testing.assert_allclose(warm.weights_, cold.weights_, atol=1e-6 * cold.weights_.max())
