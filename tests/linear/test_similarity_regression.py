"""Regression on pairs: the slope at the answer is zero, and a hidden similarity is found again."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from likewise.linear import DistanceRegression, SimilarityRegression
from likewise.relations import Scores


def rows_and_pairs(n=80, d=4, count=400, seed=0):
    generator = np.random.default_rng(seed)
    i, j = np.triu_indices(n, k=1)
    chosen = generator.choice(len(i), count, replace=False)
    turned = generator.uniform(size=count) < 0.5
    i, j = i[chosen], j[chosen]
    return generator.normal(size=(n, d)), np.where(turned, i, j), np.where(turned, j, i)


class TestSimilarityRegression:
    @pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
    def test_a_hidden_asymmetric_similarity_is_found(self, kind):
        X, i, j = rows_and_pairs()
        hidden = np.arange(16.0).reshape(4, 4) / 10
        score = np.einsum("ij,jk,ik->i", X[i], hidden, X[j]) + 3
        learner = SimilarityRegression(alpha=1e-10, tol=1e-12).fit(kind(X), scores=Scores(i, j, score))
        np.testing.assert_allclose(learner.weight_, hidden, atol=1e-6)
        assert learner.intercept_ == pytest.approx(3, abs=1e-6)
        np.testing.assert_allclose(learner.pair_score(X[i], X[j]), score, atol=1e-5)

    @pytest.mark.parametrize("alpha", [1e-3, 1.0])
    def test_the_slope_is_zero(self, alpha):
        X, i, j = rows_and_pairs(count=50)
        score = np.random.default_rng(1).normal(size=50)
        learner = SimilarityRegression(alpha=alpha, tol=1e-12).fit(X, scores=Scores(i, j, score))
        error = learner.pair_score(X[i], X[j]) - score
        slope = sum(e * np.outer(X[a], X[b]) for e, a, b in zip(error, i, j, strict=True)) / 50
        np.testing.assert_allclose(slope + alpha * learner.weight_, 0, atol=1e-9)
        assert error.mean() == pytest.approx(0, abs=1e-9)

    def test_equals_ridge_regression_on_products_of_features(self):
        from sklearn.linear_model import Ridge

        X, i, j = rows_and_pairs(count=60)
        score = np.random.default_rng(1).normal(size=60)
        learner = SimilarityRegression(alpha=0.1, tol=1e-12).fit(X, scores=Scores(i, j, score))
        products = np.einsum("ij,ik->ijk", X[i], X[j]).reshape(60, 16)
        ridge = Ridge(alpha=0.1 * 60).fit(products, score)
        np.testing.assert_allclose(learner.weight_.ravel(), ridge.coef_, atol=1e-8)
        assert learner.intercept_ == pytest.approx(ridge.intercept_)

    def test_symmetric_gives_a_symmetric_matrix(self):
        X, i, j = rows_and_pairs(count=60)
        score = np.random.default_rng(1).normal(size=60)
        learner = SimilarityRegression(symmetric=True).fit(X, scores=Scores(i, j, score))
        np.testing.assert_allclose(learner.weight_, learner.weight_.T, atol=1e-7)

    def test_one_pair_and_equal_scores(self):
        learner = SimilarityRegression().fit([[1.0, 0], [0, 1.0]], scores=Scores([0], [1], [2.0]))
        np.testing.assert_array_equal(learner.weight_, np.zeros((2, 2)))
        assert learner.intercept_ == 2


class TestDistanceRegression:
    def test_a_hidden_metric_is_found(self):
        X, i, j = rows_and_pairs()
        hidden = np.diag([3.0, 1.0, 0.5, 0.0])
        hidden[0, 1] = hidden[1, 0] = 0.5
        score = 7 - np.einsum("ij,jk,ik->i", X[i] - X[j], hidden, X[i] - X[j])
        learner = DistanceRegression(alpha=1e-10, tol=1e-10).fit(X, scores=Scores(i, j, score))
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), hidden, atol=1e-5)
        assert learner.intercept_ == pytest.approx(7, abs=1e-5)
        np.testing.assert_allclose(learner.pair_score(X[i], X[j]), score, atol=1e-4)

    @pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
    def test_the_kkt_conditions_hold(self, alpha):
        """With slope G at M: M >= 0, G >= 0 and tr(GM) = 0."""
        X, i, j = rows_and_pairs(count=100)
        # Some alike pairs are far, so that M would be indefinite if it might.
        score = np.random.default_rng(1).normal(size=100) - 0.1 * ((X[i] - X[j])[:, 0] ** 2)
        learner = DistanceRegression(alpha=alpha, tol=1e-10, max_iter=5000).fit(X, scores=Scores(i, j, score))
        M, v = learner.get_mahalanobis_matrix(), X[i] - X[j]
        error = learner.pair_score(X[i], X[j]) - score
        G = alpha * M - (v.T * error) @ v / 100
        size = np.abs((v.T * np.abs(error)) @ v / 100).max()
        assert np.linalg.eigvalsh(G)[0] >= -1e-6 * size
        assert abs((G * M).sum()) <= 1e-6 * size * max(np.trace(M), 1e-6)
        assert np.linalg.eigvalsh(M)[0] >= -1e-12
        assert error.mean() == pytest.approx(0, abs=1e-8)
        assert np.linalg.matrix_rank(M, tol=1e-6) < 4  # the cone does bind here

    def test_labels_make_scores_of_one_and_zero(self):
        X = np.array([[0.0], [0.1], [5.0], [5.1]])
        learner = DistanceRegression(alpha=1e-8).fit(X, [0, 0, 1, 1])
        assert learner.pair_score(X[[0]], X[[1]])[0] > 0.9
        assert learner.pair_score(X[[0]], X[[2]])[0] < 0.1


@pytest.mark.parametrize("learner", [SimilarityRegression(), DistanceRegression()])
@pytest.mark.parametrize("scale", [1e-90, 1e-6, 1e6, 1e90])
def test_extreme_scales_stay_finite(learner, scale):
    X, i, j = rows_and_pairs(count=60)
    score = np.random.default_rng(1).normal(size=60)
    learner.fit(scale * X, scores=Scores(i, j, score))
    assert np.isfinite(learner.components_).all()
    assert np.isfinite(learner.objective_).all()
    assert np.isfinite(learner.pair_score(scale * X, scale * X[::-1])).all()
