"""MLR: the worst rankings by trying all of them, and the cutting planes by what an optimum must obey."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from likewise.errors import InputError
from likewise.linear import MLR
from likewise.linear.mlr import _worst_plane, worst_ranking

MEASURES = ["auc", "map", "mrr", "ndcg", "precision"]


def loss(relevant, measure, top):
    """One minus the measure of a ranking, given as flags from the first place on."""
    relevant = np.asarray(relevant, dtype=float)
    scores = -np.arange(len(relevant), dtype=float)
    p = int(relevant.sum())
    if measure == "auc":
        return 1 - roc_auc_score(relevant, scores)
    if measure == "map":
        return 1 - average_precision_score(relevant, scores)
    if measure == "mrr":
        return 1 - 1 / (np.flatnonzero(relevant)[0] + 1)
    if measure == "ndcg":
        return 1 - ndcg_score(relevant[None], scores[None], k=top)
    return 1 - relevant[:top].sum() / min(top, p)


def psi(relevant, near, far):
    """<W, psi>: every pair of a relevant and another row, plus where the relevant one stands first."""
    total, p, m = 0.0, len(near), len(far)
    places = {True: [], False: []}
    for place, flag in enumerate(relevant):
        places[bool(flag)].append(place)
    for i, j in itertools.product(range(p), range(m)):
        sign = 1 if places[True][i] < places[False][j] else -1
        total += sign * (near[i] - far[j]) / (p * m)
    return total


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(("p", "m"), [(1, 1), (1, 4), (4, 1), (3, 4), (2, 5)])
def test_the_worst_ranking_is_the_worst_of_all(measure, p, m):
    generator = np.random.default_rng(p * 10 + m)
    near = -np.sort(generator.uniform(0, 2, (6, p)), axis=1)
    far = -np.sort(generator.uniform(0, 2, (6, m)), axis=1)
    before, losses = worst_ranking(near, far, measure, n_top=3)
    for q in range(6):
        best, chosen = -np.inf, None
        for places in itertools.combinations(range(p + m), p):
            flags = np.zeros(p + m)
            flags[list(places)] = 1
            value = loss(flags, measure, 3) + psi(flags, near[q], far[q])
            if value > best:
                best, chosen = value, flags
        found = np.zeros(p + m)
        found[before[q] + np.arange(p)] = 1
        assert losses[q] == pytest.approx(loss(found, measure, 3))
        assert losses[q] + psi(found, near[q], far[q]) == pytest.approx(best)
        assert chosen is not None


def test_the_plane_is_the_mean_over_queries():
    """feature and loss of a plane by loops over queries, pairs and the ranking that was found."""
    generator = np.random.default_rng(0)
    X, codes = generator.normal(size=(9, 3)), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    root = generator.normal(size=(3, 3))
    W = root.T @ root / 3
    plane = _worst_plane(X, codes, W, "map", 10)
    feature, total = np.zeros((3, 3)), 0.0
    for q in range(9):
        scores = np.array([-(X[q] - x) @ W @ (X[q] - x) for x in X])
        own = [i for i in np.argsort(-scores) if codes[i] == codes[q] and i != q]
        others = [i for i in np.argsort(-scores) if codes[i] != codes[q]]
        before, losses = worst_ranking(scores[None, own], scores[None, others], "map")
        total += losses[0] / 9
        for (a, i), (b, j) in itertools.product(enumerate(own), enumerate(others)):
            right = before[0, a] <= b  # i stands before j in the worst ranking
            phi_i, phi_j = (-np.outer(X[q] - X[k], X[q] - X[k]) for k in (i, j))
            feature += (1 - (1 if right else -1)) * (phi_i - phi_j) / (len(own) * len(others)) / 9
    np.testing.assert_allclose(plane.feature, feature, atol=1e-12)
    assert plane.loss == pytest.approx(total)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)[::5]
    X = X - X.mean(axis=0)
    return X / np.sqrt((X**2).mean()), y[::5]  # in the units that the learner works in


@pytest.mark.parametrize(("measure", "trace"), [("auc", 0.0), ("map", 0.5), ("ndcg", 0.0)])
def test_no_matrix_nearby_is_better(wine, measure, trace):
    """The true objective, its slack taken from the worst rankings of each matrix, has its minimum there."""
    X, y = wine

    def objective(W):
        plane = _worst_plane(X, y, W, measure, 10)
        slack = max(0.0, plane.loss - float((W * plane.feature).sum()))
        return 0.5 * (W * W).sum() + trace * np.trace(W) + 20.0 * slack

    learner = MLR(measure=measure, C=20.0, trace=trace, tol=1e-4).fit(X, y)
    assert learner.converged_
    W = learner.get_mahalanobis_matrix()
    best = objective(W)
    assert learner.objective_[-1] == pytest.approx(best, abs=20.0 * 2e-4)
    generator = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(5):
            noise = generator.normal(size=W.shape)
            values, vectors = np.linalg.eigh(W + size * np.abs(W).max() * (noise + noise.T))
            other = (vectors * np.maximum(values, 0)) @ vectors.T
            assert objective(other) >= best - 20.0 * 1e-4 - 1e-9


def test_a_price_on_the_trace_lowers_the_rank(wine):
    X, y = wine
    plain, priced = (MLR(C=20.0, trace=trace).fit(X, y).get_mahalanobis_matrix() for trace in (0.0, 3.0))
    rank = [np.linalg.matrix_rank(matrix, tol=1e-6) for matrix in (plain, priced)]
    assert rank[1] < rank[0]


@pytest.mark.parametrize("options", [{"measure": "recall"}, {"n_top": 0}, {"C": 0}, {"trace": -1}])
def test_options_out_of_range_are_named(wine, options):
    with pytest.raises(InputError, match=next(iter(options))):
        MLR(**options).fit(*wine)


def test_what_cannot_be_ranked_is_said(wine):
    X, _ = wine
    with pytest.raises(InputError, match="1 class"):
        MLR().fit(X, np.zeros(len(X), dtype=int))
    with pytest.raises(InputError, match="alone in its class"):
        MLR().fit(X, np.arange(len(X)))
    with pytest.raises(InputError, match="at most 10 rows"):
        MLR(max_rows=10).fit(X, np.arange(len(X)) % 2)
