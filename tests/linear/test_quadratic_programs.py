"""SchultzJoachims and KwokTsang: convex programs, so what must hold at an optimum is checked."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from likewise.errors import InputError
from likewise.linear import KwokTsang, SchultzJoachims
from likewise.linear.schultz_joachims import HingeProgram
from likewise.relations import Pairs, Triplets


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def drawn_triplets(y, count, seed=0):
    generator = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        a, p, n = generator.integers(len(y), size=3)
        if a != p and y[a] == y[p] and y[a] != y[n]:
            found.append((a, p, n))
    return Triplets(*np.array(found).T)


def drawn_pairs(y, count, seed=0):
    """Half alike and half unlike, no pair twice."""
    generator = np.random.default_rng(seed)
    i, j = np.triu_indices(len(y), k=1)
    same = y[i] == y[j]
    chosen = np.concatenate(
        [generator.choice(np.flatnonzero(same == kind), count // 2, replace=False) for kind in (True, False)]
    )
    return Pairs(i[chosen], j[chosen], same[chosen])


class TestHingeProgram:
    @pytest.mark.parametrize(("m", "r", "price"), [(1, 1, 0.5), (40, 3, 0.05), (40, 3, 20.0), (15, 30, 1.0)])
    @pytest.mark.parametrize("quadratic", [False, True])
    def test_the_kkt_conditions_hold(self, m, r, price, quadratic):
        """Stationarity, signs and complementarity: they make a point of a convex program its optimum."""
        generator = np.random.default_rng(m + r)
        Z = generator.normal(0.3, 1, (m, r))
        root = generator.normal(size=(r, r))
        H = root @ root.T + np.eye(r) if quadratic else np.eye(r)
        found = HingeProgram(H if quadratic else None, Z, price).solve(tol=1e-12)
        assert found.converged
        # The program's own duals are in its units; alpha is recovered from the slope's equation instead.
        w = found.weights
        margins = Z @ w
        assert (w >= 0).all()
        low = np.where(margins < 1 - 1e-5, price, 0.0)
        high = np.where(margins > 1 + 1e-5, 0.0, price)

        def breach(alpha):
            slope = H @ w - Z.T @ alpha
            gap = np.where(w > 1e-5, slope, np.minimum(slope, 0))
            return gap @ gap, -2 * Z @ gap

        best = minimize(
            breach, (low + high) / 2, jac=True, bounds=list(zip(low, high, strict=True)), method="L-BFGS-B",
            options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 5000},
        )  # fmt: skip
        assert np.sqrt(best.fun) < 1e-3 * (1 + np.abs(Z).max() * price)

    def test_the_objective_equals_a_general_solver_s(self):
        generator = np.random.default_rng(3)
        Z = generator.normal(0.2, 1, (25, 4))
        found = HingeProgram(None, Z, 2.0).solve(tol=1e-12)

        def objective(both):  # w and slacks, a smooth program for SLSQP
            return 0.5 * both[:4] @ both[:4] + 2.0 * both[4:].sum()

        constraint = {"type": "ineq", "fun": lambda both: Z @ both[:4] + both[4:] - 1}
        best = minimize(
            objective, np.ones(29), bounds=[(0, None)] * 29, constraints=constraint, method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-12},
        )  # fmt: skip
        value = 0.5 * found.weights @ found.weights + 2.0 * np.maximum(0, 1 - Z @ found.weights).sum()
        assert value == pytest.approx(best.fun, rel=1e-6)
        assert found.objective[-1] == pytest.approx(value, rel=1e-6)


class TestSchultzJoachims:
    def test_one_triplet_by_eye(self):
        """d_w(a, n) - d_w(a, p) = 4 w_0 - w_1 must reach 1 at least norm: w = (4, -1)/17 cut at zero.

        With w_1 held at zero the least norm is w_0 = 1/4, as the constraint pushes w_1 down.
        """
        X = [[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
        learner = SchultzJoachims(C=100, tol=1e-14).fit(X, triplets=Triplets([0], [1], [2]))
        np.testing.assert_allclose(learner.weights_, [0.25, 0], atol=1e-6)
        np.testing.assert_allclose(learner.pair_distance([X[0]], [X[2]]), 1.0, atol=1e-6)

    def test_identity_basis_is_the_default_and_rotation_turns_the_matrix(self, wine):
        X, y = wine
        known = drawn_triplets(y, 300)
        plain = SchultzJoachims(tol=1e-12).fit(X, triplets=known)
        given = SchultzJoachims(tol=1e-12, basis=np.eye(13)).fit(X, triplets=known)
        np.testing.assert_allclose(plain.weights_, given.weights_, atol=1e-5)
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(13, 13)))[0]
        turned = SchultzJoachims(tol=1e-12, basis=turn).fit(X @ turn, triplets=known)
        np.testing.assert_allclose(
            turned.get_mahalanobis_matrix(), turn.T @ np.diag(plain.weights_) @ turn, atol=1e-5
        )

    def test_data_as_basis_spans_the_kernel_form(self, wine):
        """A = X'DX: its Frobenius norm is w'(K o K)w, and the objective is taken with that norm."""
        X, y = wine
        X, y = X[::6], y[::6]
        learner = SchultzJoachims(basis="data").fit(X, triplets=drawn_triplets(y, 100))
        matrix = X.T @ np.diag(learner.weights_) @ X
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), matrix, atol=1e-8 * np.abs(matrix).max())
        gram = X @ X.T
        norm = learner.weights_ @ (gram * gram) @ learner.weights_
        assert norm == pytest.approx((matrix**2).sum())

    def test_a_full_basis_never_loses_to_the_identity(self, wine):
        """Adding directions to the basis can only lower the optimum."""
        X, y = wine
        known = drawn_triplets(y, 200)
        narrow = SchultzJoachims().fit(X, triplets=known)
        wide_basis = np.vstack([np.eye(13), np.random.default_rng(1).normal(size=(20, 13))])
        wide = SchultzJoachims(basis=wide_basis).fit(X, triplets=known)
        assert wide.objective_[-1] <= narrow.objective_[-1] * (1 + 1e-6)

    def test_contradicting_triplets_leave_no_weight(self):
        X = [[0.0], [1.0], [2.0]]
        learner = SchultzJoachims(C=0.001).fit(X, triplets=Triplets([0, 0, 0], [2, 2, 1], [1, 1, 2]))
        assert learner.weights_[0] == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(learner.pair_distance(X, X[::-1]), 0, atol=1e-2)

    @pytest.mark.parametrize(
        "basis", ["rows", np.zeros((2, 5)), np.full((1, 2), np.nan), np.zeros((2001, 2))]
    )
    def test_a_wrong_basis_is_named(self, basis):
        with pytest.raises(InputError, match="basis must"):
            SchultzJoachims(basis=basis).fit([[0.0, 1], [1, 0], [2, 2]], triplets=Triplets([0], [1], [2]))


class TestKwokTsang:
    def test_two_pairs_by_eye(self):
        """Alike along e_0, where the distance of 1 may not grow; unlike along e_1, to stretch by gamma.

        Without other pairs A is diagonal: a_0 <= 1 is free at zero, and a_1 pays 1/2 a^2 against a gain of
        nu C a up to where nothing is gained: a_1 = nu C where the one unlike pair is on its margin.
        """
        X = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        learner = KwokTsang(nu=0.5, C_unlike=4.0, tol=1e-9).fit(X, pairs=Pairs([0, 0], [1, 2], [1, 0]))
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), np.diag([0.0, 2.0]), atol=1e-4)
        assert learner.margin_ == pytest.approx(1.0, abs=1e-4)

    @pytest.mark.parametrize(("price", "nu"), [(0.05, 0.3), (1.0, 0.0), (2.0, 0.3), (20.0, 0.6)])
    def test_the_objective_has_no_descent_direction(self, wine, price, nu):
        """The primal, written plainly, is not lower at any of many feasible points around the answer."""
        X, y = wine
        known = drawn_pairs(y, 200)
        left, right, same = (part.numpy() for part in (known.left, known.right, known.same))
        v = X[left] - X[right]
        plain = (v**2).sum(1)

        def primal(A, margin):
            d = np.einsum("ij,jk,ik->i", v, A, v)
            loss = 0.5 * (A * A).sum() - price * nu * margin
            loss += price * np.maximum(0, d - plain)[same].mean()
            return loss + price * np.maximum(0, margin - (d - plain))[~same].mean()

        learner = KwokTsang(C_alike=price, C_unlike=price, nu=nu).fit(X, pairs=known)
        A, margin = learner.get_mahalanobis_matrix(), learner.margin_
        best = primal(A, margin)
        assert learner.gap_ <= 1e-6
        assert learner.objective_[-1] == pytest.approx(best, rel=1e-6)
        generator = np.random.default_rng(0)
        for size in (1e-3, 1e-2, 0.1, 1.0):
            for _ in range(20):
                noise = generator.normal(size=A.shape)
                other = A + size * (noise @ noise.T / 13 - generator.uniform() * A)
                values, vectors = np.linalg.eigh(other)
                other = (vectors * np.maximum(values, 0)) @ vectors.T
                moved = max(0.0, margin + size * generator.normal())
                assert primal(other, moved) >= best - 2e-6 * abs(best)

    def test_nu_bounds_the_part_that_misses_the_margin(self, wine):
        """As in a nu-SVM: at most a part nu of unlike pairs has slack, where the margin is above zero."""
        X, y = wine
        known = drawn_pairs(y, 300)
        left, right, same = (part.numpy() for part in (known.left, known.right, known.same))
        for nu in (0.2, 0.7):
            learner = KwokTsang(nu=nu, C_unlike=10, C_alike=10).fit(X, pairs=known)
            gain = learner.pair_distance(X[left], X[right]) ** 2 - ((X[left] - X[right]) ** 2).sum(1)
            missing = (gain[~same] < learner.margin_ - 1e-3).mean()
            assert learner.margin_ > 0
            assert missing <= nu + 1e-9
            assert missing > nu - 0.15

    def test_scale_of_features_scales_prices(self, wine):
        """Distances times s^2 with prices over s^2 is the same program, so the same matrix."""
        X, y = wine
        known = drawn_pairs(y, 100)
        one = KwokTsang(tol=1e-8).fit(X, pairs=known)
        other = KwokTsang(C_alike=1e-4, C_unlike=1e-4, tol=1e-8).fit(100 * X, pairs=known)
        np.testing.assert_allclose(one.get_mahalanobis_matrix(), other.get_mahalanobis_matrix(), atol=1e-4)
