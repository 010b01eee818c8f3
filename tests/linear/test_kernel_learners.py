"""KernelITML and KPCATrick: the linear learner where the kernel is linear, and right where it isn't."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from likewise.errors import InputError
from likewise.linear import ITML, LDA, NCA, RCA, KernelITML, KPCATrick
from likewise.linear.kernels import KERNELS, kernel_for
from likewise.relations import Pairs
from reference import learners as reference


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def two_rings(n=60, seed=0):
    generator = np.random.default_rng(seed)
    angle, y = generator.uniform(0, 2 * np.pi, n), np.arange(n) % 2
    radius = 1.0 + y + 0.1 * generator.normal(size=n)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]), y


def some_pairs(y, count, seed=0):
    generator = np.random.default_rng(seed)
    i, j = np.triu_indices(len(y), k=1)
    chosen = generator.choice(len(i), count, replace=False)
    return i[chosen], j[chosen], y[i[chosen]] == y[j[chosen]]


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_s_own_values_are_the_diagonal_of_its_table(name):
    X = np.random.default_rng(0).normal(size=(7, 3)) + 5
    kernel = kernel_for(X, name, "scale", 3, 1.0)
    np.testing.assert_allclose(kernel.own(X), np.diagonal(kernel(X, X)), rtol=1e-12)


class TestKernelITML:
    def test_with_a_linear_kernel_it_is_itml(self, wine):
        X, y = wine
        i, j, same = some_pairs(y, 150)
        bounds = (8.0, 40.0)
        linear = ITML(bounds=bounds).fit(X, pairs=Pairs(i, j, same))
        kernel = KernelITML(kernel="linear", bounds=bounds).fit(X, pairs=Pairs(i, j, same))
        expected = linear.pair_distance(X, X[::-1])
        np.testing.assert_allclose(kernel.pair_distance(X, X[::-1]), expected, atol=1e-5)
        mapped = kernel.transform(X)  # rows span the features, so the map shows all
        np.testing.assert_allclose(np.linalg.norm(mapped - mapped[::-1], axis=1), expected, atol=1e-5)

    @pytest.mark.parametrize("slack", [0.5, 20.0])
    def test_equals_the_paper_s_projections(self, wine, slack):
        """K on the training rows, by thousands of cyclic projections K += beta K v v' K."""
        X, y = wine
        X, y = X[::6], y[::6]
        i, j, same = some_pairs(y, 40)
        bounds = (0.3, 1.2)
        learner = KernelITML(kernel="rbf", gamma=0.1, slack=slack, bounds=bounds).fit(
            X, pairs=Pairs(i, j, same)
        )
        plain = pairwise_kernels(X, X, metric="rbf", gamma=0.1)
        table = reference.kernel_itml(plain, i, j, same, bounds, slack, 300)
        # The paper's projections soften bounds by gamma / (gamma + 1); their fixed point is the same.
        own = np.diagonal(table)
        expected = np.sqrt(own[:, None] + own[None, :] - 2 * table)
        left, right = np.triu_indices(len(X), k=1)
        np.testing.assert_allclose(learner.pair_distance(X[left], X[right]), expected[left, right], atol=1e-5)

    def test_the_optimum_s_conditions_hold(self, wine):
        """K^-1 = K0^-1 + sum dual v v', bounds kept where there is no slack to pay, duals only on bounds."""
        X, y = wine
        X, y = X[::5], y[::5]
        i, j, same = some_pairs(y, 30)
        learner = KernelITML(kernel="rbf", slack=np.inf, bounds=(0.9, 1.0), tol=1e-10)
        learner.fit(X, pairs=Pairs(i, j, same))
        distances = learner.pair_distance(X[i], X[j]) ** 2
        assert (distances[same] <= 0.9 * (1 + 1e-6)).all()
        assert (distances[~same] >= 1.0 * (1 - 1e-6)).all()
        held = learner.multipliers_ > 1e-8
        assert held.any()
        np.testing.assert_allclose(distances[held], np.where(same, 0.9, 1.0)[held], rtol=1e-6)
        plain = learner._kernel(learner.support_, learner.support_)
        table = plain + plain @ learner.coefficients_ @ plain
        used = np.unique(np.concatenate([i, j]))
        v = (used[:, None] == i).astype(float) - (used[:, None] == j)
        duals = np.where(same, 1, -1) * learner.multipliers_ / np.where(same, 0.9, 1.0)
        # Multiplied by K on both sides, to stay with matrices that can be formed well.
        np.testing.assert_allclose(table + table @ (v * duals) @ v.T @ plain, plain, atol=1e-7)

    def test_rings_are_told_apart(self):
        X, y = two_rings(120)
        learner = KernelITML(gamma=1.0, random_state=0).fit(X[:60], y[:60])
        neighbours = KNeighborsClassifier(3).fit(learner.transform(X[:60]), y[:60])
        assert neighbours.score(learner.transform(X[60:]), y[60:]) > 0.95

    def test_equal_rows_and_one_point(self):
        X = np.array([[0.0, 1], [0, 1], [3, 0]])
        learner = KernelITML().fit(X, pairs=Pairs([0, 0], [1, 2], [True, False]))
        assert learner.multipliers_[0] == 0
        assert learner.pair_distance(X[:1], X[1:2])[0] == 0
        with pytest.raises(InputError, match="two different rows"):
            KernelITML().fit(np.ones((4, 2)), [0, 0, 1, 1])


class TestKPCATrick:
    def test_a_linear_kernel_gives_the_linear_learner(self, wine):
        """KPCA with a linear kernel turns and centres rows; RCA and LDA don't mind (up to rounding)."""
        X, y = wine
        for learner in (RCA(), LDA()):
            plain = learner.fit(X, y).pair_distance(X, X[::-1])
            trick = KPCATrick(learner, kernel="linear").fit(X, y)
            assert trick.coordinates(X).shape == (178, 13)
            np.testing.assert_allclose(trick.pair_distance(X, X[::-1]), plain, atol=1e-7)

    def test_nca_from_a_turned_start_is_nca(self, wine):
        """NCA depends on its start, so it is given the same one, turned as the coordinates are."""
        X, y = wine
        trick = KPCATrick(RCA(), kernel="linear").fit(X, y)
        turn = trick.coordinates(np.vstack([np.eye(13), np.zeros((1, 13))]))
        turn = turn[:-1] - turn[-1]  # X turn, up to a shift
        plain = NCA(init=np.eye(13), max_iter=30).fit(X, y)
        trick = KPCATrick(NCA(init=turn, max_iter=30), kernel="linear").fit(X, y)
        np.testing.assert_allclose(
            trick.pair_distance(X, X[::-1]), plain.pair_distance(X, X[::-1]), rtol=1e-3
        )

    @pytest.mark.parametrize("name", KERNELS)
    def test_coordinates_keep_the_kernel_s_distances(self, wine, name):
        X, y = wine
        X, y = X[::3], y[::3]
        learner = KPCATrick(RCA(), kernel=name, gamma=0.05).fit(X, y)
        options = {"gamma": 0.05} if name in ("rbf", "laplacian", "poly") else {}
        table = pairwise_kernels(X, X, metric=name, **options)
        own = np.diagonal(table)
        expected = own[:, None] + own[None, :] - 2 * table
        mapped = learner.coordinates(X)
        found = ((mapped[:, None] - mapped[None]) ** 2).sum(-1)
        np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())

    def test_rings_are_told_apart_where_no_linear_map_can(self):
        X, y = two_rings(120)
        accuracy = {}
        for name, learner in (("linear", LDA()), ("rbf", KPCATrick(gamma=1.0))):
            learner.fit(X[:60], y[:60])
            neighbours = KNeighborsClassifier(3).fit(learner.transform(X[:60]), y[:60])
            accuracy[name] = neighbours.score(learner.transform(X[60:]), y[60:])
        assert accuracy["rbf"] > 0.95
        assert accuracy["rbf"] > accuracy["linear"] + 0.1

    def test_supervision_goes_to_the_learner(self, wine):
        X, y = wine
        i, j, same = some_pairs(y, 200)
        given = KPCATrick(ITML(bounds=(8.0, 40.0)), kernel="linear").fit(X, pairs=Pairs(i, j, same))
        plain = ITML(bounds=(8.0, 40.0)).fit(X, pairs=Pairs(i, j, same))
        np.testing.assert_allclose(
            given.pair_distance(X, X[::-1]), plain.pair_distance(X, X[::-1]), atol=1e-5
        )

    def test_what_has_no_components_is_refused(self):
        with pytest.raises(InputError, match="estimator must be a learner with components"):
            KPCATrick(KNeighborsClassifier()).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("learner", [KernelITML(max_rows=20), KPCATrick(max_rows=20)])
class TestBothKernelLearners:
    def test_more_rows_than_stated_are_refused(self, learner):
        X, y = two_rings(21)
        with pytest.raises(InputError, match="at most 20 rows"):
            learner.fit(X, y)

    @pytest.mark.parametrize("options", [{"kernel": "sigmoid"}, {"gamma": -1.0}, {"gamma": "auto"}])
    def test_a_wrong_kernel_is_named(self, learner, options):
        X, y = two_rings(20)
        with pytest.raises(InputError, match=next(iter(options))):
            type(learner)(**options).fit(X, y)


@pytest.mark.parametrize("n", [4, 30, 200])
def test_what_the_support_is_mapped_to_is_what_was_learned_from(n):
    """Kernel values hold rounding, and the direction of the mean has no variance: neither may be blown up."""
    X = np.linspace(0, 4, n)[:, None]
    y = (X[:, 0] > 2).astype(int)
    learner = KPCATrick(RCA(), gamma=1.0).fit(X, y)
    table = pairwise_kernels(X, X, metric="rbf", gamma=1.0)
    own = np.diagonal(table)
    mapped = learner.coordinates(X)
    found = ((mapped[:, None] - mapped[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, own[:, None] + own - 2 * table, atol=1e-9)
