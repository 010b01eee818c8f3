"""POLA, LEGO and OASIS: each step's exact facts, the loops of the papers, and what a stream may do."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from likewise.errors import InputError
from likewise.linear import LEGO, OASIS, POLA
from likewise.relations import Pairs, Scores, Triplets
from reference import learners as reference


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def stream_of_pairs(y, count, seed=0):
    generator = np.random.default_rng(seed)
    i, j = np.triu_indices(len(y), k=1)
    chosen = generator.choice(len(i), count, replace=False)
    return i[chosen], j[chosen], y[i[chosen]] == y[j[chosen]]


def stream_of_triplets(y, count, seed=0):
    generator = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        a, p, n = generator.integers(len(y), size=3)
        if a != p and y[a] == y[p] and y[a] != y[n]:
            found.append((a, p, n))
    return np.array(found).T


class TestPOLA:
    def test_equals_the_loop(self, wine):
        X, y = wine
        i, j, same = stream_of_pairs(y, 300)
        learner = POLA().partial_fit(X, pairs=Pairs(i, j, same))
        losses, matrix, bias = reference.pola(X[i] - X[j], np.where(same, 1, -1))
        np.testing.assert_allclose(learner.losses_, losses, atol=1e-9)
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), matrix, atol=1e-9)
        assert learner.bias_ == pytest.approx(bias)

    def test_a_step_makes_the_loss_zero(self):
        """Unlike rows at squared distance 4: A grows to d_A = b + 1 with the b that was lowered as much."""
        X = [[0.0, 0.0], [2.0, 0.0]]
        learner = POLA().partial_fit(X, pairs=Pairs([0], [1], [False]))
        # a = 2 / (16 + 1): d_A = 16 a = 32/17; b = 1 - a, below 1, so it goes back to 1.
        assert learner.losses_[0] == pytest.approx(2)
        assert learner.pair_distance(X[:1], X[1:])[0] ** 2 == pytest.approx(32 / 17)
        assert learner.bias_ == 1
        # b is no longer clipped once it stands above 1: then a step is exactly enough.
        for _ in range(50):
            learner.partial_fit([[0.0, 0.0], [0.0, 1.0]], pairs=Pairs([0], [1], [True]))
        learner.bias_ = 5.0
        learner.partial_fit(X, pairs=Pairs([0], [1], [False]))
        assert learner.pair_distance(X[:1], X[1:])[0] ** 2 - learner.bias_ == pytest.approx(1)

    def test_squared_losses_are_bounded_on_a_separable_stream(self):
        """The paper's bound: sum l^2 <= R^2 (|A*|^2 + (b* - 1)^2), where A*, b* make no loss at all."""
        generator = np.random.default_rng(0)
        X = np.concatenate([generator.normal(size=(60, 1)) * 0.3 + c for c in (-3, 0, 3)])
        X = np.hstack([X, generator.normal(size=(180, 3))])
        y = np.repeat([0, 1, 2], 60)
        i, j, same = stream_of_pairs(y, 4000)
        squares = (X[i, 0] - X[j, 0]) ** 2
        # A* = a e_0 e_0' needs a d - b <= -1 for alike and >= 1 for unlike pairs.
        a = 2 / (squares[~same].min() - squares[same].max())
        b = a * squares[same].max() + 1
        assert a > 0
        learner = POLA().partial_fit(X, pairs=Pairs(i, j, same))
        radius = (((X[i] - X[j]) ** 2).sum(1) ** 2 + 1).max()
        assert (learner.losses_**2).sum() <= radius * (a**2 + (b - 1) ** 2)
        assert learner.losses_[:200].mean() > 2 * learner.losses_[-200:].mean()

    def test_the_matrix_stays_positive_semidefinite_to_the_step(self, wine):
        X, y = wine
        learner = POLA()
        for pair in zip(*stream_of_pairs(y, 60), strict=True):
            learner.partial_fit(X, pairs=Pairs([pair[0]], [pair[1]], [bool(pair[2])]))
            assert np.linalg.eigvalsh(learner._matrix)[0] >= -1e-12

    def test_stream_in_parts_is_the_stream(self, wine):
        X, y = wine
        i, j, same = stream_of_pairs(y, 90)
        whole = POLA().partial_fit(X, pairs=Pairs(i, j, same))
        parts = POLA()
        for part in np.array_split(np.arange(90), 4):
            parts.partial_fit(X, pairs=Pairs(i[part], j[part], same[part]))
        np.testing.assert_allclose(whole.components_, parts.components_, atol=1e-12)

    def test_the_threshold_tells_alike_from_unlike(self, wine):
        X, y = wine
        i, j, same = stream_of_pairs(y, 4000, seed=1)
        learner = POLA(n_epochs=3, random_state=0).fit(X[::2], y[::2])
        assert (learner.predict_pairs(X[i], X[j]) == same).mean() > 0.8

    def test_extreme_scales_stay_finite(self):
        for scale in (1e-90, 1e90):
            X = scale * np.random.default_rng(0).normal(size=(20, 3))
            learner = POLA(random_state=0).fit(X, np.arange(20) % 2)
            assert np.isfinite(learner.components_).all()
            assert np.isfinite(learner.losses_).all()


class TestLEGO:
    @pytest.mark.parametrize("rate", [1e-3, 0.1, 10.0])
    def test_equals_the_loop(self, wine, rate):
        X, y = wine
        i, j, same = stream_of_pairs(y, 300)
        learner = LEGO(learning_rate=rate, bounds=(4.0, 30.0)).partial_fit(X, pairs=Pairs(i, j, same))
        targets, signs = np.where(same, 4.0, 30.0), np.where(same, 1, -1)
        losses, matrix = reference.lego(X[i] - X[j], targets, signs, rate)
        np.testing.assert_allclose(learner.losses_, losses, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), matrix, rtol=1e-7, atol=1e-9)

    def test_a_step_is_the_minimum_it_says(self):
        """argmin of D_ld(A, A_t) + eta/2 (v'Av - t)^2 has A^-1 = A_t^-1 + eta (q - t) v v'."""
        generator = np.random.default_rng(0)
        X = generator.normal(size=(2, 4))
        v, eta, target = X[0] - X[1], 0.7, 0.5
        learner = LEGO(learning_rate=eta).partial_fit(X, scores=Scores([0], [1], [-target]))
        A = learner.get_mahalanobis_matrix()
        slope = np.eye(4) - np.linalg.inv(A) + eta * (v @ A @ v - target) * np.outer(v, v)
        np.testing.assert_allclose(slope, 0, atol=1e-12)

    def test_a_large_rate_reaches_the_target(self):
        X = [[0.0, 0.0], [3.0, 4.0]]
        learner = LEGO(learning_rate=1e12).partial_fit(X, scores=Scores([0], [1], [-2.0]))
        assert learner.pair_distance(X[:1], X[1:])[0] ** 2 == pytest.approx(2, rel=1e-6)

    def test_regret_grows_slower_than_the_stream(self):
        """Distances of a hidden metric: the mean loss falls towards the hidden metric's, zero."""
        generator = np.random.default_rng(0)
        X = generator.normal(size=(200, 5)) / np.sqrt(5)
        hidden = np.diag([4.0, 2.0, 1.0, 0.5, 0.1])
        i, j, _ = stream_of_pairs(np.zeros(200), 4000)
        v = X[i] - X[j]
        wanted = np.einsum("ij,jk,ik->i", v, hidden, v)
        learner = LEGO(learning_rate=0.5).partial_fit(X, scores=Scores(i, j, -wanted))
        parts = [part.mean() for part in np.array_split(learner.losses_, 4)]
        assert parts[3] < 0.01 * parts[0]
        np.testing.assert_allclose(learner.get_mahalanobis_matrix(), hidden, atol=0.1)

    def test_pairs_within_their_bounds_move_nothing(self):
        X = [[0.0], [1.0], [5.0]]
        learner = LEGO(bounds=(2.0, 9.0)).partial_fit(X, pairs=Pairs([0, 0], [1, 2], [True, False]))
        np.testing.assert_array_equal(learner.get_mahalanobis_matrix(), [[1.0]])
        np.testing.assert_array_equal(learner.losses_, [0, 0])

    def test_default_bounds_are_percentiles_of_squared_distances(self):
        """The published trap: percentiles of distances, compared with squared distances."""
        X = np.array([[0.0], [1.0], [3.0], [7.0]])
        learner = LEGO().partial_fit(X, pairs=Pairs([0, 0, 0], [1, 2, 3], [1, 0, 0]))
        np.testing.assert_allclose(learner.bounds_, np.percentile([1.0, 9.0, 49.0], [5, 95]))

    def test_equal_rows_are_passed_over(self):
        X = [[1.0, 2.0], [1.0, 2.0], [4.0, 0.0]]
        learner = LEGO(bounds=(0.0, 4.0)).partial_fit(X, pairs=Pairs([0, 0], [1, 2], [False, False]))
        assert learner.losses_[0] == pytest.approx(8)  # (0 - 4)^2 / 2, which no metric can mend
        assert np.isfinite(learner.components_).all()

    def test_positive_scores_are_refused(self):
        with pytest.raises(InputError, match="minus the squared distances"):
            LEGO().fit([[0.0], [1.0]], scores=Scores([0], [1], [0.5]))

    def test_extreme_scales_stay_finite(self):
        for scale in (1e-90, 1e90):
            X = scale * np.random.default_rng(0).normal(size=(20, 3))
            learner = LEGO(random_state=0).fit(X, np.arange(20) % 2)
            assert np.isfinite(learner.components_).all()


class TestOASIS:
    @pytest.mark.parametrize("limit", [0.01, 0.1, np.inf])
    @pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
    def test_equals_the_loop(self, wine, limit, kind):
        """Also across the edge of a block of 128."""
        X, y = wine
        a, p, n = stream_of_triplets(y, 300)
        learner = OASIS(C=limit).partial_fit(kind(X), triplets=Triplets(a, p, n))
        losses, weight = reference.oasis(X[a], X[p], X[n], limit)
        np.testing.assert_allclose(learner.losses_, losses, atol=1e-9)
        np.testing.assert_allclose(learner.weight_, weight, atol=1e-9)

    def test_a_step_without_limit_makes_the_loss_zero(self):
        """tau = l / |V|^2 moves S(p, p+) - S(p, p-) by l, to exactly 1."""
        generator = np.random.default_rng(1)
        X = generator.normal(size=(3, 5))
        learner = OASIS(C=np.inf).partial_fit(X, triplets=Triplets([0], [1], [2]))
        gap = learner.pair_distance(X[[0]], X[[2]]) - learner.pair_distance(X[[0]], X[[1]])
        assert learner.losses_[0] > 0
        assert gap[0] == pytest.approx(1)

    def test_an_asymmetric_relation_no_metric_can_hold(self):
        """A query of topic t wants the document of topic t + 1: W learns it, its symmetric part can't."""
        generator = np.random.default_rng(0)
        topics = np.repeat(np.arange(5), 12)
        X = np.eye(5)[topics] + 0.05 * generator.normal(size=(60, 5))
        anchor = generator.integers(60, size=2000)
        positive = np.array([generator.choice(np.flatnonzero(topics == (topics[a] + 1) % 5)) for a in anchor])
        negative = np.array([generator.choice(np.flatnonzero(topics != (topics[a] + 1) % 5)) for a in anchor])
        different = (anchor != positive) & (anchor != negative)
        known = Triplets(anchor[different], positive[different], negative[different])

        def right(weight):
            queries, rows = X[known.anchor], X[known.positive] - X[known.negative]
            return (np.einsum("ij,jk,ik->i", queries, weight, rows) > 0).mean()

        weight = OASIS(random_state=0).fit(X, triplets=known).weight_
        assert right(weight) > 0.99
        assert right((weight + weight.T) / 2) < 0.9
        assert right(np.eye(5)) < 0.5

    def test_symmetric_is_the_symmetric_part(self, wine):
        X, y = wine
        known = Triplets(*stream_of_triplets(y, 200))
        free = OASIS(random_state=3, n_epochs=1).fit(X, triplets=known).weight_
        half = OASIS(random_state=3, n_epochs=1, symmetric=True).fit(X, triplets=known).weight_
        np.testing.assert_allclose(half, (free + free.T) / 2)

    def test_components_are_the_nearest_metric(self, wine):
        """W + W' halved, without its negative eigenvalues: no other metric is nearer in Frobenius norm."""
        X, y = wine
        learner = OASIS(random_state=0, n_epochs=1).fit(X, triplets=Triplets(*stream_of_triplets(y, 300)))
        half = (learner.weight_ + learner.weight_.T) / 2
        values, vectors = np.linalg.eigh(half)
        np.testing.assert_allclose(
            learner.get_mahalanobis_matrix(), (vectors * np.maximum(values, 0)) @ vectors.T, atol=1e-9
        )
        mapped = learner.transform(X)
        np.testing.assert_allclose(mapped @ mapped.T, X @ learner.get_mahalanobis_matrix() @ X.T, atol=1e-8)

    def test_sparse_rows_are_never_made_dense(self, monkeypatch):
        """A block of rows (128 x 3,000) made dense would be found by its size."""
        X = scipy.sparse.random_array((400, 3000), density=0.005, rng=0, format="csr")
        X.data -= 0.2
        y = np.arange(400) % 4
        largest = []
        plain = scipy.sparse.csr_array.toarray
        monkeypatch.setattr(
            scipy.sparse.csr_array,
            "toarray",
            lambda self, *a: (largest.append(self.shape), plain(self, *a))[1],
        )
        learner = OASIS(n_triplets=500, n_epochs=1, random_state=0).fit(X, y)
        learner.pair_distance(X, X)
        assert largest
        assert all(max(shape) <= 128 for shape in largest)

    def test_too_many_features_are_refused(self):
        X = scipy.sparse.random_array((10, 500), density=0.1, rng=0, format="csr")
        with pytest.raises(InputError, match="at most 100 features"):
            OASIS(max_features=100).fit(X, np.arange(10) % 2)

    def test_the_model_holds_the_same_similarity(self, wine):
        X, y = wine
        learner = OASIS(random_state=0, n_epochs=1).fit(X, triplets=Triplets(*stream_of_triplets(y, 300)))
        model = learner.to_model()
        np.testing.assert_allclose(
            model.compare(X[:50], X[50:100]), learner.pair_distance(X[:50], X[50:100]), rtol=2e-4, atol=1e-3
        )


@pytest.mark.parametrize("learner", [POLA(), LEGO(), OASIS()], ids=lambda learner: type(learner).__name__)
class TestEveryOnlineLearner:
    def known(self, learner, y):
        if isinstance(learner, OASIS):
            return {"triplets": Triplets(*stream_of_triplets(y, 200))}
        return {"pairs": Pairs(*stream_of_pairs(y, 200))}

    def matrix(self, learner):
        return learner.weight_ if isinstance(learner, OASIS) else learner._matrix

    def test_warm_start_goes_on_and_a_cold_one_begins_anew(self, wine, learner):
        X, y = wine
        known = self.known(learner, y)
        learner = learner.set_params(random_state=0, n_epochs=1, warm_start=False)
        first = self.matrix(learner.fit(X, **known)).copy()
        np.testing.assert_array_equal(self.matrix(learner.fit(X, **known)), first)
        learner.set_params(warm_start=True).fit(X, **known)
        assert np.abs(self.matrix(learner) - first).max() > 1e-6

    def test_a_pass_is_recorded(self, wine, learner, capsys):
        X, y = wine
        learner.set_params(random_state=0, n_epochs=3, warm_start=False, verbose=True)
        known = self.known(learner, y)
        learner.fit(X, **known)
        assert len(learner.objective_) == 3
        assert learner.n_iter_ == len(learner.losses_) == 600
        assert len(capsys.readouterr().out.splitlines()) == 3
        learner.set_params(verbose=False)

    def test_other_features_are_refused_in_mid_stream(self, wine, learner):
        X, y = wine
        known = self.known(learner, y)
        learner.set_params(warm_start=False).fit(X, **known)
        with pytest.raises(InputError, match="features"):
            learner.partial_fit(X[:, :5], **known)
