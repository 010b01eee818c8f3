"""Covariance, LDA, RCA, DCA, LFDA, GMML and KISSME: their formulas, loops and facts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.linear import DCA, GMML, KISSME, LDA, LFDA, RCA, Covariance
from likewise.linear.pair_scatters import pair_scatters
from likewise.linear.scatter import whitened
from likewise.relations import Chunklets, Pairs
from reference.linear import iris_pairs, standard_iris


def rows(n: int = 40, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 2 * y[:, None] * [1, 0, 0, 0][
        :d
    ], y


def scatter_of_pairs(X: np.ndarray, left: list[int], right: list[int]) -> np.ndarray:
    return np.mean([np.outer(X[i] - X[j], X[i] - X[j]) for i, j in zip(left, right, strict=True)], axis=0)


def test_covariance_is_the_pseudo_inverse() -> None:
    X, _ = rows()
    X = np.hstack([X, X[:, :1] + X[:, 1:2]])  # rank 4 of 5
    expected = np.linalg.pinv(np.cov(X.T), rcond=1e-10)
    np.testing.assert_allclose(Covariance().fit(X).get_mahalanobis_matrix(), expected, rtol=1e-8, atol=1e-9)


def test_covariance_with_fewer_components_is_pca_whitening() -> None:
    from sklearn.decomposition import PCA

    X, _ = rows()
    ours, theirs = Covariance(n_components=2).fit(X), PCA(2, whiten=True).fit(X)
    np.testing.assert_allclose(
        ours.get_mahalanobis_matrix(),
        (theirs.components_.T / theirs.explained_variance_) @ theirs.components_,
    )


def test_lda_spans_scikit_learns_directions_with_unit_variance_within() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    X, y = standard_iris()
    ours = LDA(regularization=0).fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver="svd").fit(X, y)
    mapped = theirs.transform(X)
    np.testing.assert_allclose(np.abs(ours.transform(X - X.mean(0))), np.abs(mapped), atol=1e-8)
    inner = ours.transform(X) - np.stack([ours.transform(X)[y == c].mean(0) for c in range(3)])[y]
    np.testing.assert_allclose(inner.T @ inner / 150, np.eye(2), atol=1e-10)


def test_rca_by_hand_and_by_formula() -> None:
    """Chunklets {(0,0),(2,0)} and {(5,0),(5,4)}: C = diag(2, 8) / 4, so M = diag(2, 1/2)."""
    square = [[0.0, 0.0], [2.0, 0.0], [5.0, 0.0], [5.0, 4.0], [9.0, 9.0]]
    fitted = RCA(regularization=0).fit(square, chunklets=Chunklets([0, 0, 1, 1, -1]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([2, 0.5]), atol=1e-12)
    by_pairs = RCA(regularization=0).fit(square, pairs=Pairs([0, 2], [1, 3], [1, 1]))
    np.testing.assert_allclose(by_pairs.components_, fitted.components_)


def test_rca_is_metric_learns() -> None:
    """Reference: metric-learn 0.7.0 RCA().fit(X, arange(150) // 5) on standardised iris."""
    X, _ = standard_iris()
    matrix = RCA(regularization=0).fit(X, chunklets=Chunklets(np.arange(150) // 5)).get_mahalanobis_matrix()
    np.testing.assert_allclose(
        np.diag(matrix), [9.038602015462947, 3.0895089876465796, 61.53755447483859, 30.981910188786156]
    )
    assert matrix[0, 1] == pytest.approx(-1.9877960117966893)


def test_rca_cut_into_chunklets_is_seeded() -> None:
    X, y = rows()
    first, again = (RCA(chunk_size=4, random_state=1).fit(X, y).components_ for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, RCA(chunk_size=4, random_state=2).fit(X, y).components_)
    with pytest.raises(InputError, match="chunk_size must be a whole number"):
        RCA(chunk_size=1).fit(X, y)


def test_rca_raises_a_vanishing_variance_to_the_stated_part() -> None:
    """Chunklets don't vary in feature 2, whose variance is 4: it counts as 4 * 0.01, so M_22 = 25."""
    X = [[0.0, 2.0], [2.0, 2.0], [0.0, -2.0], [2.0, -2.0]]
    fitted = RCA(regularization=0.01).fit(X, chunklets=Chunklets([0, 0, 1, 1]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([1, 25]), atol=1e-9)


@pytest.mark.parametrize("k", [1, 2])
def test_dca_and_lda_reach_the_largest_ratios(k: int) -> None:
    X, y = rows()
    means = np.stack([X[y == c].mean(0) for c in range(3)])
    within = np.mean([np.outer(x - means[c], x - means[c]) for x, c in zip(X, y, strict=True)], axis=0)
    between = scatter_of_pairs(means, [0, 0, 1], [1, 2, 2])
    ratios = scipy.linalg.eigh(between, within, eigvals_only=True)[::-1][:k]
    fitted = DCA(n_components=k, regularization=0).fit(X, chunklets=Chunklets(y))
    np.testing.assert_allclose(fitted.components_ @ within @ fitted.components_.T, np.eye(k), atol=1e-9)
    np.testing.assert_allclose(
        fitted.components_ @ between @ fitted.components_.T, np.diag(ratios), atol=1e-8
    )
    assert fitted.objective_[-1] == pytest.approx(-ratios.sum())


def test_dca_looks_at_the_chunklets_said_to_differ_alone() -> None:
    """Three chunklets at the corners of a triangle; only 0 and 1 are said to differ, along feature 1."""
    corner = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    around = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    X = (corner[:, None] + around).reshape(-1, 2)
    fitted = DCA(n_components=1).fit(
        X, chunklets=Chunklets(np.repeat([0, 1, 2], 4)), pairs=Pairs([0], [4], [False])
    )
    np.testing.assert_allclose(fitted.components_, [[1.0, 0.0]], atol=1e-9)


def lfda_scatters(X: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """S_w and S_b of LFDA, equations 9 to 13 as loops."""
    n, d = X.shape
    spread = np.zeros(n)
    for i in range(n):
        own = sorted(np.linalg.norm(X[i] - X[j]) for j in range(n) if y[j] == y[i] and j != i)
        spread[i] = own[min(k, len(own)) - 1]
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for i in range(n):
        for j in range(n):
            outer = np.outer(X[i] - X[j], X[i] - X[j]) / 2
            if y[i] == y[j]:
                count = np.sum(y == y[i])
                near = np.exp(-np.sum((X[i] - X[j]) ** 2) / (spread[i] * spread[j])) if i != j else 1.0
                within += near / count * outer
                between += near * (1 / n - 1 / count) * outer
            else:
                between += outer / n
    return within, between


@pytest.mark.parametrize("embedding", ["plain", "weighted", "orthonormal"])
def test_lfda_solves_the_eigenproblem_of_the_loops(embedding: str) -> None:
    X, y = rows()
    within, between = lfda_scatters(X, y, 3)
    ratios, vectors = scipy.linalg.eigh(between / 40, within / 40)
    ratios, vectors = ratios[::-1], vectors[:, ::-1]
    fitted = LFDA(n_neighbors=3, embedding=embedding, regularization=0, n_components=2).fit(X, y)
    if embedding == "orthonormal":
        np.testing.assert_allclose(fitted.components_ @ fitted.components_.T, np.eye(2), atol=1e-12)
        span = scipy.linalg.orth(vectors[:, :2])
        np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), span @ span.T, atol=1e-8)
        return
    weights = ratios[:2] if embedding == "weighted" else np.ones(2)
    expected = (vectors[:, :2] * weights) @ vectors[:, :2].T
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), expected, rtol=1e-6, atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 12), classes=st.integers(2, 4))
def test_scatters_of_all_pairs_need_no_pairs(seed: int, n: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    X, codes = generator.normal(size=(n, 3)), np.arange(n) % classes
    if n <= classes:
        with pytest.raises(InputError, match="too few pairs"):
            pair_scatters(X, codes)
        return
    pairs = [(i, j) for i in range(n) for j in range(i)]
    expected = []
    for same in (True, False):
        chosen = [(i, j) for i, j in pairs if (codes[i] == codes[j]) == same]
        expected.append(scatter_of_pairs(X, [i for i, _ in chosen], [j for _, j in chosen]))
    np.testing.assert_allclose(pair_scatters(X, codes), expected, atol=1e-12)


def test_gmml_solves_its_riccati_equation() -> None:
    X, _ = standard_iris()
    pairs = iris_pairs()
    left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
    S = scatter_of_pairs(X, left[same].tolist(), right[same].tolist())
    D = scatter_of_pairs(X, left[~same].tolist(), right[~same].tolist())
    fitted = GMML(regularization=0).fit(X, pairs=pairs)
    M = fitted.get_mahalanobis_matrix()
    np.testing.assert_allclose(M @ S @ M, D, rtol=1e-8, atol=1e-10)
    # The gradient of the objective, S - M^-1 D M^-1, is zero there.
    np.testing.assert_allclose(np.linalg.solve(M, np.linalg.solve(M, D).T), S, atol=1e-9)
    assert fitted.objective_[-1] == pytest.approx(np.trace(M @ S) + np.trace(np.linalg.solve(M, D)))
    np.testing.assert_allclose(
        GMML(t=0, regularization=0).fit(X, pairs=pairs).get_mahalanobis_matrix(), np.linalg.inv(S)
    )
    np.testing.assert_allclose(
        GMML(t=1, regularization=0).fit(X, pairs=pairs).get_mahalanobis_matrix(), D, atol=1e-10
    )


def test_kissme_is_the_positive_part_of_the_difference() -> None:
    X, _ = standard_iris()
    pairs = iris_pairs()
    left, right, same = pairs.left.numpy(), pairs.right.numpy(), pairs.same.numpy()
    S = scatter_of_pairs(X, left[same].tolist(), right[same].tolist())
    D = scatter_of_pairs(X, left[~same].tolist(), right[~same].tolist())
    values, vectors = np.linalg.eigh(np.linalg.inv(S) - np.linalg.inv(D))
    expected = (vectors * np.maximum(values, 0)) @ vectors.T
    matrix = KISSME(regularization=0).fit(X, pairs=pairs).get_mahalanobis_matrix()
    np.testing.assert_allclose(matrix, expected, atol=1e-9)


def test_kissme_is_zero_where_unlike_pairs_are_nearer() -> None:
    X = [[0.0], [2.0], [1.0]]
    fitted = KISSME().fit(X, pairs=Pairs([0, 0], [1, 2], [True, False]))
    assert fitted.get_mahalanobis_matrix().tolist() == [[0.0]]


def test_whitened_rows_have_the_identity_as_covariance_at_any_rank() -> None:
    X = np.random.default_rng(0).normal(size=(10, 4)) @ np.diag([1e-4, 1, 1e4, 0])
    white = whitened(np.hstack([X, X[:, :2]]))
    assert white.rows.shape == (10, 3)
    np.testing.assert_allclose(white.rows.T @ white.rows / 10, np.eye(3), atol=1e-9)
