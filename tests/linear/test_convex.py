"""ITML, MMC, SDML, LSML and SCML: convex problems, judged by the conditions of their optimum."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import graphical_lasso

from likewise.errors import InputError
from likewise.linear import ITML, LSML, MMC, SCML, SDML
from likewise.linear.base import Progress
from likewise.linear.itml import default_bounds
from likewise.linear.scml import sparse_weights
from likewise.linear.sdml import sparse_inverse
from likewise.linear.tuples import near_triplets_from_labels
from likewise.relations import Pairs, Quadruplets, Triplets
from reference.linear import iris_pairs, itml_by_projections, standard_iris


def squares(X: np.ndarray, pairs: Pairs, M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances under M of the alike and of the unlike pairs."""
    differences = X[pairs.left.numpy()] - X[pairs.right.numpy()]
    found = np.einsum("ij,jk,ik->i", differences, M, differences)
    return found[pairs.same.numpy()], found[~pairs.same.numpy()]


# ITML


@pytest.mark.parametrize("gamma", [0.1, 1.0, 10.0])
def test_itml_is_where_the_cyclic_projections_end(gamma: float) -> None:
    X, _ = standard_iris()
    pairs = Pairs([0, 10, 60, 20, 70, 110], [1, 14, 80, 120, 130, 30], [1, 1, 1, 0, 0, 0])
    fitted = ITML(gamma=gamma, bounds=(0.1, 9.0), tol=1e-10).fit(X, pairs=pairs)
    expected = itml_by_projections(X, pairs, (0.1, 9.0), gamma, sweeps=3000)
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), expected, rtol=1e-6, atol=1e-8)
    assert fitted.converged_


def test_itml_is_metric_learns_where_bounds_are_given() -> None:
    """Reference: metric-learn 0.7.0 ITML(gamma=1, convergence_threshold=1e-12, max_iter=200000).

    It took 12,633 sweeps.
    """
    X, _ = standard_iris()
    matrix = ITML(gamma=1.0, bounds=(0.5, 6.0), tol=1e-9).fit(X, pairs=iris_pairs()).get_mahalanobis_matrix()
    expected = [0.23546085685068438, 0.0704513557652158, 2.3152104909494473, 1.1604352025716054]
    np.testing.assert_allclose(np.diag(matrix), expected, rtol=1e-5)
    assert matrix[0, 1] == pytest.approx(0.016263276325982873, rel=1e-4)


def test_itml_meets_its_conditions() -> None:
    """Each pair is on its (slackened) bound where its multiplier isn't zero, else within it."""
    X, _ = standard_iris()
    pairs = iris_pairs()
    fitted = ITML(gamma=2.0, tol=1e-8).fit(X, pairs=pairs)
    upper, lower = fitted.bounds_
    same = pairs.same.numpy()
    relative = np.empty(len(same))
    alike, unlike = squares(X, pairs, fitted.get_mahalanobis_matrix())
    relative[same], relative[~same] = alike / upper, unlike / lower
    sign, multipliers = np.where(same, 1.0, -1.0), fitted.multipliers_
    slack = 1 / (1 - sign * multipliers / 2.0)
    broken = sign * (relative - slack)
    assert (multipliers >= 0).all() and (multipliers > 0).sum() > 20
    np.testing.assert_allclose(broken[multipliers > 0], 0, atol=1e-7)
    assert broken.max() < 1e-7
    # and A^-1 = I + sum of the pairs' outer products, weighted by sign and multiplier
    w = (X[pairs.left.numpy()] - X[pairs.right.numpy()]) / np.sqrt(np.where(same, upper, lower))[:, None]
    inverse = np.eye(4) + (w * (sign * multipliers)[:, None]).T @ w
    np.testing.assert_allclose(np.linalg.inv(inverse), fitted.get_mahalanobis_matrix(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("same", "bound"), [(True, 1.0), (False, 8.0)])
def test_itml_without_slack_puts_one_pair_on_its_bound(same: bool, bound: float) -> None:
    X = [[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]]
    fitted = ITML(gamma=float("inf"), bounds=(1.0, 8.0), tol=1e-12).fit(X, pairs=Pairs([0], [1], [same]))
    assert fitted.pair_distance(X[:1], X[1:2])[0] ** 2 == pytest.approx(bound)
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([bound / 4, 1.0]), atol=1e-9)


def test_itml_says_when_pairs_can_t_be_kept_without_slack() -> None:
    """0 and 2 at most 1 from 1, squared, but 10 from each other: on a line that can't be."""
    fitted = ITML(gamma=float("inf"), bounds=(1.0, 10.0), max_iter=50).fit(
        [[0.0], [1.0], [2.0]], pairs=Pairs([0, 1, 0], [1, 2, 2], [1, 1, 0])
    )
    assert not fitted.converged_ and np.isfinite(fitted.components_).all()


def test_itml_bounds_are_percentiles_of_squared_distances() -> None:
    X, _ = standard_iris()
    every = [np.sum((X[i] - X[j]) ** 2) for i in range(150) for j in range(i)]
    np.testing.assert_allclose(default_bounds(X, 0), np.percentile(every, [5, 95]))
    assert default_bounds(np.array([[0.0]] * 30 + [[2.0]]), 0)[0] == 4.0
    for wrong in [(1.0,), (0.0, 1.0), (1.0, np.inf), "ab"]:
        with pytest.raises(InputError, match="bounds must be"):
            ITML(bounds=wrong).fit(X, pairs=iris_pairs())


def test_itml_prior_is_kept_where_no_pair_speaks() -> None:
    X, _ = standard_iris()
    pairs = Pairs([0], [1], [True])
    prior = np.diag([1.0, 2.0, 3.0, 4.0])
    loose = ITML(bounds=(1e6, 1.0), prior=prior).fit(X, pairs=pairs)
    np.testing.assert_allclose(loose.get_mahalanobis_matrix(), prior)
    covariance = ITML(bounds=(1e6, 1.0), prior="covariance").fit(X, pairs=pairs)
    np.testing.assert_allclose(
        covariance.get_mahalanobis_matrix(), np.linalg.inv(np.cov(X.T, bias=True)), rtol=1e-3
    )
    for wrong, message in [("half", "prior must be identity"), (np.eye(3), "symmetric and finite of shape"),
                           (-np.eye(4), "positive definite")]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            ITML(prior=wrong).fit(X, pairs=pairs)


def test_itml_warm_start_begins_at_the_end() -> None:
    X, _ = standard_iris()
    fitted = ITML(warm_start=True).fit(X, pairs=iris_pairs())
    first = fitted.components_
    assert fitted.fit(X, pairs=iris_pairs()).n_iter_ == 1
    np.testing.assert_allclose(fitted.components_, first, rtol=1e-9)


# MMC


def test_mmc_is_not_above_metric_learns() -> None:
    """Reference: metric-learn 0.7.0 MMC(max_iter=1000, convergence_threshold=1e-9) on the same pairs, its

    result scaled to ``sum_S d_A = 1``: -115.61008 full, -80.107453 diagonal.
    """
    X, _ = standard_iris()
    pairs = iris_pairs()
    for diagonal, reference in ((False, -115.61008), (True, -80.107453)):
        fitted = MMC(diagonal=diagonal, regularization=0).fit(X, pairs=pairs)
        alike, unlike = squares(X, pairs, fitted.get_mahalanobis_matrix())
        assert alike.sum() == pytest.approx(1)
        assert -np.sqrt(unlike).sum() <= reference
        assert fitted.objective_[-1] == pytest.approx(-np.sqrt(unlike).sum(), rel=1e-6)


@pytest.mark.parametrize("diagonal", [False, True])
def test_mmc_meets_its_conditions(diagonal: bool) -> None:
    """With G the gradient of sum_D sqrt(d_A) and S that of sum_S d_A: G <= mu S, equal on A's range."""
    X, _ = standard_iris()
    pairs = iris_pairs()
    fitted = MMC(diagonal=diagonal, regularization=0, tol=1e-7).fit(X, pairs=pairs)
    M = fitted.get_mahalanobis_matrix()
    differences = X[pairs.left.numpy()] - X[pairs.right.numpy()]
    same = pairs.same.numpy()
    _, unlike = squares(X, pairs, M)
    S = differences[same].T @ differences[same]
    G = 0.5 * (differences[~same] / np.sqrt(unlike)[:, None]).T @ differences[~same]
    if diagonal:
        assert np.count_nonzero(M - np.diag(np.diag(M))) == 0
        S, G = np.diag(np.diag(S)), np.diag(np.diag(G))
    mu = np.sum(G * M)
    assert np.linalg.eigvalsh(mu * S - G)[0] > -1e-4 * mu * np.linalg.eigvalsh(S)[0]
    assert -1e-12 < fitted.gap_ < 1e-5 and fitted.converged_
    early = MMC(diagonal=diagonal, regularization=0, max_iter=1).fit(X, pairs=pairs)
    assert early.objective_[-1] * (1 + early.gap_) <= fitted.objective_[-1]  # the bound holds
    assert early.gap_ > 1e-4 and not early.converged_


def test_mmc_weighs_features_as_worked_out_by_hand() -> None:
    """One alike pair along each feature, 1 and 2 long; one unlike pair (1, 1).

    ``max sqrt(a + b)`` with ``a + 4 b = 1``: all on a, so A = diag(1, 0).
    """
    X = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]
    pairs = Pairs([0, 0, 0], [1, 2, 3], [True, True, False])
    fitted = MMC(diagonal=True).fit(X, pairs=pairs)
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([1.0, 0.0]), atol=1e-6)


def test_mmc_warm_start_begins_at_the_end() -> None:
    X, _ = standard_iris()
    fitted = MMC(warm_start=True, regularization=0).fit(X, pairs=iris_pairs())
    first, steps = fitted.objective_[-1], fitted.n_iter_
    assert fitted.fit(X, pairs=iris_pairs()).n_iter_ < steps
    assert fitted.objective_[-1] == pytest.approx(first, rel=1e-6)


def test_mmc_refuses_what_has_no_end() -> None:
    X = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    pairs = Pairs([0, 0], [1, 2], [True, False])
    with pytest.raises(InputError, match=r"of alike pairs is singular in 1 of 2 directions"):
        MMC(regularization=0).fit(X, pairs=pairs)
    with pytest.raises(InputError, match="don't differ in some feature"):
        MMC(regularization=0, diagonal=True).fit(X, pairs=pairs)
    assert np.isfinite(MMC().fit(X, pairs=pairs).components_).all()


# SDML


def test_sparse_inverse_is_scikit_learns_graphical_lasso() -> None:
    generator = np.random.default_rng(0)
    covariance = np.cov(generator.normal(size=(6, 40)))
    ours, converged, _ = sparse_inverse(
        covariance, 0.1, np.eye(6), max_iter=5000, tol=1e-9, progress=Progress("", verbose=False)
    )
    theirs = graphical_lasso(covariance, 0.1, tol=1e-9, enet_tol=1e-9, max_iter=1000)[1]
    assert converged
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (ours == 0).sum() > 0


def test_sdml_without_sparsity_is_a_plain_inverse() -> None:
    """``M = (M0^-1 + eta (S - D))^-1``, by hand: alike pair (1, 0), unlike pair (0, 1), eta = 1/2."""
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    unit = np.sqrt(np.mean((X - X.mean(0)) ** 2))
    pairs = Pairs([0, 0], [1, 2], [True, False])
    fitted = SDML(balance=0.5, sparsity=0, prior=np.eye(2), tol=1e-10).fit(X, pairs=pairs)
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([1 / 1.5, 2.0]), atol=1e-7)
    assert fitted.balance_ == pytest.approx(0.5) and unit > 0


def test_sdml_lowers_a_balance_that_would_have_no_end() -> None:
    """D = diag(0, 4) outweighs the prior from eta = 1/4 on; so eta is 0.99 / 4, and M_22 = 100."""
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    pairs = Pairs([0, 0], [1, 2], [True, False])
    fitted = SDML(balance=10.0, sparsity=0, prior=np.eye(2), tol=1e-8).fit(X, pairs=pairs)
    assert fitted.balance_ == pytest.approx(0.99 / 4)
    assert fitted.get_mahalanobis_matrix()[1, 1] == pytest.approx(100, rel=1e-4)


def test_sdml_is_sparse() -> None:
    X, y = standard_iris()
    dense = SDML(sparsity=0.0, random_state=0).fit(X, y).get_mahalanobis_matrix()
    sparse = SDML(sparsity=10.0, random_state=0).fit(X, y).get_mahalanobis_matrix()
    off = ~np.eye(4, dtype=bool)
    assert (np.abs(dense[off]) > 1e-6).all()
    np.testing.assert_allclose(sparse[off], 0, atol=1e-12)


# LSML


def iris_comparisons() -> Quadruplets:
    pairs = iris_pairs()
    same = pairs.same.numpy()
    left, right = pairs.left.numpy(), pairs.right.numpy()
    return Quadruplets(left[same], right[same], left[~same][:288], right[~same][:288])


def test_lsml_is_not_above_metric_learns_and_its_gradient_vanishes() -> None:
    """Reference: metric-learn 0.7.0 LSML(prior="identity", tol=1e-10, max_iter=10000): 0.04255799."""
    X, _ = standard_iris()
    known = iris_comparisons()
    fitted = LSML().fit(X, quadruplets=known)
    M = fitted.get_mahalanobis_matrix()
    near = X[known.left.numpy()] - X[known.right.numpy()]
    far = X[known.far_left.numpy()] - X[known.far_right.numpy()]
    a = np.sqrt(np.einsum("ij,jk,ik->i", near, M, near))
    b = np.sqrt(np.einsum("ij,jk,ik->i", far, M, far))
    gap = np.maximum(a - b, 0)
    value = np.mean(gap**2) + np.trace(M) - np.linalg.slogdet(M)[1] - 4
    assert fitted.objective_[-1] == pytest.approx(value, rel=1e-8)
    assert value <= 0.04255799
    gradient = np.eye(4) - np.linalg.inv(M)
    for v, w, d_near, d_far, g in zip(near, far, a, b, gap, strict=True):
        gradient += g * (np.outer(v, v) / d_near - np.outer(w, w) / d_far) / len(near)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_lsml_keeps_the_prior_where_comparisons_hold() -> None:
    X = [[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]
    fitted = LSML(prior=np.diag([2.0, 1.0])).fit(X, quadruplets=Quadruplets([0], [1], [0], [2]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([2.0, 1.0]), atol=1e-7)


def test_lsml_survives_a_far_pair_of_equal_rows() -> None:
    X = [[0.0, 0.0], [1.0, 0.0], [5.0, 5.0], [5.0, 5.0]]
    fitted = LSML().fit(X, quadruplets=Quadruplets([0], [1], [2], [3]))
    assert (
        fitted.pair_distance(X[:1], X[1:2])[0]
        < LSML().fit(X, quadruplets=Quadruplets([2], [3], [0], [1])).pair_distance(X[:1], X[1:2])[0]
    )


# SCML


def test_scml_comes_near_the_optimum_of_its_weights() -> None:
    """The optimum of the hinges in the weights, a linear program, solved by SciPy."""
    from scipy.optimize import linprog

    X, y = standard_iris()
    known = near_triplets_from_labels(X, y, 2, 3)
    basis = np.random.default_rng(0).normal(size=(12, 4))
    mapped = X @ basis.T
    i, j, k = known.anchor.numpy(), known.positive.numpy(), known.negative.numpy()
    apart = (mapped[i] - mapped[j]) ** 2 - (mapped[i] - mapped[k]) ** 2
    m = len(i)
    best = linprog(
        np.concatenate([np.full(12, 1e-3), np.full(m, 1 / m)]),
        A_ub=np.hstack([apart, -np.eye(m)]),
        b_ub=-np.ones(m),
        method="highs",
    ).fun
    weights = sparse_weights(
        mapped,
        known,
        np.zeros(12),
        beta=1e-3,
        learning_rate=0.3,
        batch_size=64,
        max_iter=4000,
        generator=np.random.default_rng(0),
        progress=Progress("", verbose=False),
    )
    value = np.maximum(1 + apart @ weights, 0).mean() + 1e-3 * weights.sum()
    assert (weights >= 0).all()
    assert best <= value < 1.05 * best


def test_scml_keeps_the_direction_that_tells_classes() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = np.stack([4 * y + 0.2 * generator.normal(size=60), 3 * generator.normal(size=60)], axis=1)
    M = SCML(random_state=0, max_iter=500).fit(X, y).get_mahalanobis_matrix()
    assert M[0, 0] > 20 * M[1, 1]


def test_scml_learns_where_features_are_nearly_collinear() -> None:
    """LDA of few rows finds directions in which rows differ by 1e-4: they must not be all of the basis."""
    generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = generator.normal(size=(120, 3)) + 2 * generator.normal(size=(3, 3))[y]
    X = np.column_stack([X, X.sum(axis=1) + 1e-4 * (y == 1) + 1e-5 * generator.normal(size=120)])
    fitted = SCML(random_state=0, max_iter=500).fit(X, y)
    assert fitted.objective_[-1] < 0.6  # 1 where all weights are zero
    np.testing.assert_allclose((X @ fitted.basis_.T).std(axis=0), np.sqrt(X.var(axis=0).mean()))


def test_scml_from_triplets_takes_their_differences() -> None:
    X = [[0.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    fitted = SCML(random_state=0, max_iter=300).fit(X, triplets=Triplets([0], [1], [2]))
    np.testing.assert_allclose(np.abs(fitted.basis_), [[1.0, 0.0]])
    assert fitted.pair_distance([X[0]], [X[2]])[0] ** 2 >= 0.95
    with pytest.raises(InputError, match="basis='lda' needs labels"):
        SCML(basis="lda").fit(X, triplets=Triplets([0], [1], [2]))
    with pytest.raises(InputError, match="basis must be one of"):
        SCML(basis="pca").fit(X, [0, 0, 1])
