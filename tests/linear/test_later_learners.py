"""Learners without one metric, or in a part of the space: loops, gradients and special cases."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import check_grad
from sklearn.datasets import load_wine
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from likewise.errors import InputError
from likewise.linear import (
    ITML,
    LMNN,
    AsymmetricTransfer,
    ChiSquaredLMNN,
    FromeLocal,
    GradientBoostedLMNN,
    KernelLMNN,
    LowRankITML,
    MultiMetricLMNN,
)
from likewise.linear.chi_squared_lmnn import _Hinges, _histograms, _softmax, _targets
from likewise.linear.multi_metric_lmnn import ClassMargins
from likewise.relations import Pairs, Triplets


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def large_margin(distance, y, targets, margin, weight):
    """LMNN's objective for a table of distances, row by row: (1 - mu) pull + mu push."""
    total = 0.0
    for i, own in targets:
        for j in own:
            total += (1 - weight) * distance[i, j]
            for other in range(len(y)):
                if y[other] != y[i]:
                    total += weight * max(0.0, margin + distance[i, j] - distance[i, other])
    return total


class TestMultiMetricLMNN:
    def test_the_objective_is_the_loop_s_and_its_gradient_the_slope(self):
        generator = np.random.default_rng(0)
        X, y = generator.normal(size=(20, 3)), np.sort(np.arange(20) % 3)
        L = generator.normal(size=(3, 2, 3))
        problem = ClassMargins.of(X, y, 2, 0.3)
        table = np.array([[((L[y[j]] @ (X[i] - X[j])) ** 2).sum() for j in range(20)] for i in range(20)])
        targets = [(i, problem.targets[i][problem.valid[i]]) for i in range(20)]
        value, gradient = problem.value(L.reshape(6, 3))
        assert value == pytest.approx(large_margin(table, y, targets, 1.0, 0.3))
        error = check_grad(
            lambda flat: problem.value(flat.reshape(6, 3))[0],
            lambda flat: problem.value(flat.reshape(6, 3))[1].ravel(),
            L.ravel(),
        )
        assert error < 1e-6 * np.abs(gradient).max()

    def test_distances_are_those_of_the_class_of_the_second_row(self, wine):
        X, y = wine
        learner = MultiMetricLMNN(max_iter=20).fit(X[::2], y[::2])
        found = learner.pair_distance(X[:9], X[50:59], labels=y[50:59])
        expected = [
            np.linalg.norm(learner.components_[c] @ (a - b))
            for a, b, c in zip(X[:9], X[50:59], y[50:59], strict=True)
        ]
        np.testing.assert_allclose(found, expected)
        with pytest.raises(InputError, match="labels must be 9 of the classes"):
            learner.pair_distance(X[:9], X[50:59], labels=np.full(9, 7))

    def test_it_gets_lower_than_one_metric_and_tells_held_out_rows(self, wine):
        X, y = wine
        learner = MultiMetricLMNN().fit(X[::2], y[::2])
        one = LMNN().fit(X[::2], y[::2])
        problem = ClassMargins.of(X[::2] - X[::2].mean(axis=0), y[::2], 3, 0.5)
        together = problem.value(np.tile(one.components_, (3, 1)))[0]
        assert problem.value(learner.components_.reshape(39, 13))[0] <= together
        assert (learner.predict(X[1::2]) == y[1::2]).mean() > 0.93


class TestFromeLocal:
    def test_the_duality_gap_is_that_of_the_loop_s_objective(self, wine):
        X, y = wine
        X, y = X[::4], y[::4]
        generator = np.random.default_rng(0)
        known = []
        while len(known) < 80:
            a, p, n = generator.integers(len(y), size=3)
            if a != p and y[a] == y[p] and y[a] != y[n]:
                known.append((a, p, n))
        learner = FromeLocal(C=0.3, tol=1e-6).fit(X, triplets=Triplets(*np.array(known).T))

        def objective(weights):
            total = 0.5 * (weights**2).sum()
            for a, p, n in known:
                near, far = weights[p] @ (X[a] - X[p]) ** 2, weights[n] @ (X[a] - X[n]) ** 2
                total += 0.3 * max(0.0, 1 - far + near)
            return total

        best = objective(learner.weights_)
        assert learner.gap_ <= 1e-6
        assert learner.objective_[-1] == pytest.approx(best, rel=1e-9)
        assert (learner.weights_ >= 0).all()
        for size in (1e-3, 1e-2, 0.1):
            for _ in range(10):
                moved = learner.weights_ + size * generator.normal(size=learner.weights_.shape)
                assert objective(np.maximum(moved, 0)) >= best * (1 - 2e-6)

    def test_a_distance_belongs_to_the_training_row(self, wine):
        X, y = wine
        learner = FromeLocal().fit(X[::2], y[::2])
        rows = X[::2]
        found = learner.pair_distance(X[1:20:2], rows[:10])
        expected = np.sqrt((learner.weights_[:10] * (X[1:20:2] - rows[:10]) ** 2).sum(axis=1))
        np.testing.assert_allclose(found, expected)
        assert (
            np.abs(
                learner.pair_distance(rows[:10], rows[10:20]) - learner.pair_distance(rows[10:20], rows[:10])
            ).max()
            > 0.01
        )

    def test_it_tells_held_out_rows(self, wine):
        X, y = wine
        assert (FromeLocal().fit(X[::2], y[::2]).predict(X[1::2]) == y[1::2]).mean() > 0.9

    def test_predict_without_labels_is_refused(self):
        learner = FromeLocal().fit([[0.0], [1.0], [3.0]], triplets=Triplets([0], [1], [2]))
        with pytest.raises(InputError, match="needs labels"):
            learner.predict([[0.0]])


class TestGradientBoostedLMNN:
    def test_the_last_objective_is_the_loop_s_on_mapped_rows(self):
        generator = np.random.default_rng(0)
        X, y = generator.normal(size=(30, 3)), np.arange(30) % 2
        learner = GradientBoostedLMNN(n_trees=5, n_neighbors=2, random_state=0).fit(X, y)
        mapped, begun = learner.transform(X), X @ learner.components_.T
        table = ((mapped[:, None] - mapped[None]) ** 2).sum(axis=2)
        first = ((begun[:, None] - begun[None]) ** 2).sum(axis=2)
        targets = []
        for i in range(30):  # chosen under the linear map
            own = np.flatnonzero((y == y[i]) & (np.arange(30) != i))
            targets.append((i, own[np.argsort(first[i, own])[:2]]))
        assert learner.objective_[-1] == pytest.approx(large_margin(table, y, targets, 1.0, 0.5), rel=1e-9)
        assert learner.objective_[0] == pytest.approx(large_margin(first, y, targets, 1.0, 0.5), rel=1e-9)
        assert (np.diff(learner.objective_) < 0).all()

    def test_trees_tell_rings_apart_that_no_linear_map_can(self):
        generator = np.random.default_rng(0)
        angle, y = generator.uniform(0, 2 * np.pi, 300), np.arange(300) % 2
        radius = 1 + y + 0.2 * generator.normal(size=300)
        X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), generator.normal(size=(300, 4))])
        scores = []
        for learner in (LMNN(), GradientBoostedLMNN(random_state=0)):
            mapped = learner.fit(X[:200], y[:200]).transform(X)
            scores.append(KNeighborsClassifier(3).fit(mapped[:200], y[:200]).score(mapped[200:], y[200:]))
        assert scores[1] > scores[0] + 0.03


class TestChiSquaredLMNN:
    def histograms(self, n=24, d=4):
        generator = np.random.default_rng(0)
        return _histograms(generator.uniform(size=(n, d)) + np.eye(d)[np.arange(n) % 3]), np.arange(n) % 3

    def test_the_objective_is_the_loop_s_and_its_gradient_the_slope(self):
        X, y = self.histograms()
        free = np.random.default_rng(1).normal(size=(3, 4))
        anchors, targets = _targets(X, y, 2)
        everything = np.stack(np.nonzero(y[:, None] != y))
        problem = _Hinges(X, anchors, targets, everything, 0.1, 0.4)
        mapped = X @ _softmax(free).T
        table = np.array([[0.5 * ((p - q) ** 2 / (p + q)).sum() for q in mapped] for p in mapped])
        chosen = [(i, targets[anchors == i]) for i in range(len(X))]
        value, gradient = problem.value(free)
        assert value == pytest.approx(large_margin(table, y, chosen, 0.1, 0.4))
        error = check_grad(
            lambda flat: problem.value(flat.reshape(3, 4))[0],
            lambda flat: problem.value(flat.reshape(3, 4))[1].ravel(),
            free.ravel(),
        )
        assert error < 1e-5 * np.abs(gradient).max()

    def test_the_answer_counts_every_impostor(self):
        """The objective of the answer with all rows listed is the one that it reports."""
        X, y = self.histograms(60)
        learner = ChiSquaredLMNN(n_neighbors=2).fit(X, y)
        assert learner.converged_
        anchors, targets = _targets(X, y, 2)
        everything = np.stack(np.nonzero(y[:, None] != y))
        problem = _Hinges(X, anchors, targets, everything, 0.1, 0.5)
        assert problem.value(np.log(learner.components_))[0] == pytest.approx(learner.objective_[-1])

    def test_histograms_stay_histograms(self):
        X, y = self.histograms()
        learner = ChiSquaredLMNN(n_components=2).fit(X, y)
        np.testing.assert_allclose(learner.components_.sum(axis=0), 1)
        assert (learner.components_ >= 0).all()
        distances = learner.pair_distance(X, 7 * X[::-1])  # a row's sum doesn't count
        np.testing.assert_allclose(distances, learner.pair_distance(X, X[::-1]))
        assert ((distances >= 0) & (distances <= 1)).all()

    def test_negative_numbers_are_refused(self):
        X, y = self.histograms()
        with pytest.raises(InputError, match="at least 0; found -1 in row 3"):
            ChiSquaredLMNN().fit(np.where(np.arange(24)[:, None] == 3, -1.0, X), y)


class TestLowRankITML:
    def pairs(self, y, count=120):
        i, j = np.triu_indices(len(y), k=1)
        chosen = np.random.default_rng(0).choice(len(i), count, replace=False)
        return i[chosen], j[chosen], y[i[chosen]] == y[j[chosen]]

    @pytest.mark.parametrize("identity", [False, True])
    def test_with_a_whole_basis_it_is_itml(self, wine, identity):
        X, y = wine
        known = Pairs(*self.pairs(y))
        options = {"gamma": 2.0, "bounds": (8.0, 40.0), "tol": 1e-8}
        whole = ITML(**options).fit(X, pairs=known).get_mahalanobis_matrix()
        low = LowRankITML(rank=13, identity=identity, **options).fit(X, pairs=known).get_mahalanobis_matrix()
        np.testing.assert_allclose(low, whole, atol=1e-6)

    def test_with_the_identity_it_is_the_best_of_its_form(self, wine):
        """A = I + U (B - I) U' keeps all bounds, and B^-1 = I + sum of signed duals times U'v v'U."""
        X, y = wine
        i, j, same = self.pairs(y, 25)
        bounds = (15.0, 28.0)
        learner = LowRankITML(rank=6, identity=True, gamma=np.inf, bounds=bounds, tol=1e-10)
        learner.fit(X, pairs=Pairs(i, j, same))
        A, U = learner.get_mahalanobis_matrix(), learner.basis_
        inner = U @ A @ U.T
        np.testing.assert_allclose(A, np.eye(13) + U.T @ (inner - np.eye(6)) @ U, atol=1e-9)
        squares = learner.pair_distance(X[i], X[j]) ** 2
        if learner.converged_:
            assert (squares[same] <= 15 * (1 + 1e-6)).all()
            assert (squares[~same] >= 28 * (1 - 1e-6)).all()
        duals = np.where(same, 1, -1) * learner.multipliers_ / np.where(same, *bounds)
        v = (X[i] - X[j]) @ U.T
        np.testing.assert_allclose(np.linalg.inv(inner), np.eye(6) + (v.T * duals) @ v, rtol=1e-6, atol=1e-8)
        assert learner.multipliers_.max() > 0

    def test_sparse_rows_of_many_features(self):
        """The same basis on sparse and dense rows gives one answer, and L is r x d."""
        rows = scipy.sparse.random_array((60, 8000), density=0.01, rng=0, format="csr")
        y = np.arange(60) % 2
        rows = scipy.sparse.csr_array(scipy.sparse.hstack([rows, 2.0 * y[:, None]]))
        basis = rows[:8].toarray()
        sparse = LowRankITML(basis=basis, random_state=0).fit(rows, y)
        dense = LowRankITML(basis=basis, random_state=0).fit(rows.toarray(), y)
        assert sparse.components_.shape == (8, 8001)
        np.testing.assert_allclose(sparse.transform(rows), dense.transform(rows.toarray()), atol=1e-8)
        found = LowRankITML(rank=5, random_state=0).fit(rows, y)
        np.testing.assert_allclose(found.basis_ @ found.basis_.T, np.eye(5), atol=1e-10)
        with pytest.raises(InputError, match="at most 5000 features"):
            LowRankITML(identity=True).fit(rows, y)


class TestKernelLMNN:
    def test_a_linear_kernel_gives_lmnn(self, wine):
        """Coordinates of full rank are rows turned and centred, and both begin with the identity there."""
        X, y = wine
        X, y = X[::2], y[::2]
        plain = LMNN(tol=1e-9, max_iter=300).fit(X, y)
        kernel = KernelLMNN(kernel="linear", tol=1e-9, max_iter=300).fit(X, y)
        assert kernel.objective_[-1] == pytest.approx(plain.objective_[-1], rel=1e-3)
        np.testing.assert_allclose(
            kernel.pair_distance(X, X[::-1]), plain.pair_distance(X, X[::-1]), atol=0.05
        )


class TestAsymmetricTransfer:
    def test_the_slope_is_zero(self):
        generator = np.random.default_rng(0)
        X, Z = generator.normal(size=(15, 3)), generator.normal(size=(12, 5))
        left, right = (part.ravel() for part in np.indices((15, 12)))
        same = generator.uniform(size=180) < 0.4
        learner = AsymmetricTransfer(C=3.0, tol=1e-9, max_iter=2000)
        learner.fit(X, target=Z, pairs=Pairs(left, right, same))
        W = learner.weight_
        products = np.einsum("ij,jk,ik->i", X[left], W, Z[right])
        slope = W.copy()
        for t in range(180):
            wrong = max(0.0, 1.0 - products[t]) if same[t] else -max(0.0, products[t] + 1.0)
            slope -= 3.0 * 2 * wrong * np.outer(X[left[t]], Z[right[t]]) / 180
        np.testing.assert_allclose(slope, 0, atol=1e-6)

    def test_the_answer_is_spanned_by_the_rows_of_both_domains(self):
        generator = np.random.default_rng(0)
        X, Z = generator.normal(size=(6, 50)), generator.normal(size=(5, 80))
        learner = AsymmetricTransfer().fit(X, [0, 1] * 3, target=Z, target_y=[0, 1, 0, 1, 1])
        W = learner.weight_
        np.testing.assert_allclose(np.linalg.pinv(X) @ X @ W @ np.linalg.pinv(Z) @ Z, W, atol=1e-10)

    def test_it_carries_labels_over_to_other_features(self):
        """Target features are a hidden map of the source's: labelled source rows classify target rows."""
        generator = np.random.default_rng(0)
        y = np.arange(200) % 4
        X = 2 * np.eye(4)[y] + 0.4 * generator.normal(size=(200, 4))
        hidden = generator.normal(size=(4, 7))
        Z = (2 * np.eye(4)[y] + 0.4 * generator.normal(size=(200, 4))) @ hidden
        learner = AsymmetricTransfer(C=1000.0, random_state=0).fit(X, y, target=Z[:40], target_y=y[:40])
        similarity = learner.transform(X) @ Z[40:].T  # (source, target)
        assert (y[similarity.argmax(axis=0)] == y[40:]).mean() > 0.95
        np.testing.assert_allclose(
            -learner.pair_distance(X[:9], Z[:9]), np.diag(learner.transform(X[:9]) @ Z[:9].T)
        )

    def test_bad_pairs_are_named(self):
        X, Z = np.eye(3), np.eye(2)
        with pytest.raises(InputError, match="right must name rows from 0 to 1; found 2"):
            AsymmetricTransfer().fit(X, target=Z, pairs=Pairs([0, 1], [2, 1], [1, 0]))
        with pytest.raises(InputError, match="too few pairs"):
            AsymmetricTransfer().fit(X, target=Z, pairs=Pairs([0], [1], [1]))
        with pytest.raises(InputError, match="contradict each other: rows 0 and 1"):
            AsymmetricTransfer().fit(X, target=Z, pairs=Pairs([0, 0], [1, 1], [1, 0]))
        with pytest.raises(InputError, match="target y is None"):
            AsymmetricTransfer().fit(X, [0, 1, 0], target=Z)
