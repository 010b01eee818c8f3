"""Answers that need no computer: each docstring works out what the learner must find."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.linear import (
    DCA,
    GMML,
    KISSME,
    LDA,
    LEGO,
    LFDA,
    LSML,
    NCA,
    OASIS,
    POLA,
    Covariance,
    DistanceRegression,
    SimilarityRegression,
)
from likewise.relations import Chunklets, Pairs, Quadruplets, Scores, Triplets


def test_covariance() -> None:
    """Sums of squares 2 and 8 of four rows, no covariance: the inverse is 3 diag(1/2, 1/8)."""
    fitted = Covariance().fit([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), np.diag([1.5, 0.375]), atol=1e-12)


def test_kissme() -> None:
    """On a line alike rows differ by 1, unlike ones by 2: 1/1 - 1/4."""
    fitted = KISSME().fit([[0.0], [1.0], [2.0]], pairs=Pairs([0, 0], [1, 2], [True, False]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[0.75]])


def test_gmml() -> None:
    """Half-way from 1/1, the inverse for alike rows, to 4, for unlike ones: the root of 1 x 4."""
    fitted = GMML(t=0.5).fit([[0.0], [1.0], [2.0]], pairs=Pairs([0, 0], [1, 2], [True, False]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[2.0]])


def test_dca() -> None:
    """Chunklets 0, 4 and 10, 14 have a variance of 4 within: the map halves."""
    fitted = DCA().fit([[0.0], [4.0], [10.0], [14.0]], chunklets=Chunklets([0, 0, 1, 1]))
    np.testing.assert_allclose(np.abs(fitted.components_), [[0.5]])


def test_lsml() -> None:
    """The pair said to be near is 3 apart, the far one 1: (3 - 1)^2 m + 4 (m - log m - 1) is least where

    4 + 4 (1 - 1/m) = 0, at m = 1/2.
    """
    learner = LSML(regularization=4.0, prior=[[1.0]], tol=1e-14)
    fitted = learner.fit([[0.0], [3.0], [1.0]], quadruplets=Quadruplets([0], [1], [0], [2]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[0.5]], rtol=1e-5)


def test_lfda_sees_the_lumps_of_a_class_whose_mean_tells_nothing() -> None:
    """One class left and right of the other, along the first feature: the means differ in the second alone.

    LDA can only look along the means, which is noise; LFDA keeps the two lumps and looks along the first.
    """
    square = np.array([[0.0, -1.0], [0.0, 1.0], [0.5, -1.0], [0.5, 1.0], [-0.5, -1.0], [-0.5, 1.0]])
    places = np.array([[-8.0, 0.0], [8.0, 0.0], [0.0, 0.2], [0.0, 0.2]])
    X = (places[:, None] + square).reshape(-1, 2)
    y = np.repeat([0, 1], 12)
    local, means = (kind(n_components=1).fit(X, y).components_[0] for kind in (LFDA, LDA))
    assert abs(local[0]) > 20 * abs(local[1])
    assert abs(means[1]) > 20 * abs(means[0])


def test_lda() -> None:
    """Rows 0, 0, 1 and 4, 4, 5 along the first feature: a variance of 2/9 within, none of means elsewhere."""
    X = [[0.0, 0.0], [0.0, 2.0], [1.0, 1.0], [4.0, 0.0], [4.0, 2.0], [5.0, 1.0]]
    fitted = LDA(regularization=0.0).fit(X, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[4.5, 0.0], [0.0, 0.0]], atol=1e-12)


def test_nca() -> None:
    """Rows 0, 1 of a class and 3 alone: ``p = 1 / (1 + e^-8m)`` and ``1 / (1 + e^-3m)``, at most 2."""
    X, y = [[0.0], [1.0], [3.0]], [0, 0, 1]
    begun = NCA(init=[[1.0]], max_iter=1).fit(X, y)
    m = begun.get_mahalanobis_matrix()[0, 0]
    assert begun.objective_[0] == pytest.approx(-1 / (1 + np.exp(-8 * m)) - 1 / (1 + np.exp(-3 * m)))
    assert NCA().fit(X, y).objective_[-1] == pytest.approx(-2, abs=1e-3)


def test_pola() -> None:
    """From A = 0, b = 1 an unlike pair 2 apart lacks 2: A = 4 x 2/17, and b would be 1 - 2/17 but is 1."""
    fitted = POLA().partial_fit([[0.0], [2.0]], pairs=Pairs([0], [1], [False]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[8 / 17]])
    assert fitted.bias_ == 1.0 and fitted.losses_.tolist() == [2.0]


def test_lego() -> None:
    """A pair 1 apart that is wanted at 0: m = q is least for q - log q - 1 + q^2/2, at q^2 + q = 1."""
    fitted = LEGO(learning_rate=1.0, n_epochs=1).fit([[0.0], [1.0]], scores=Scores([0], [1], [0.0]))
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[(np.sqrt(5) - 1) / 2]])


@pytest.mark.parametrize(("most", "step"), [(0.1, 0.1), (10.0, 0.6)])
def test_oasis(most: float, step: float) -> None:
    """p = (1, 0) is 0 like p+ and 2 like p-: 3 are lacking, and ``|p (p+ - p-)'|^2 = 5``."""
    X = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]
    fitted = OASIS(C=most, n_epochs=1).fit(X, triplets=Triplets([0], [1], [2]))
    np.testing.assert_allclose(fitted.weight_, [[1 - 2 * step, step], [0, 1]])


def test_similarity_regression() -> None:
    """Products 1 and -1 have the scores 1 and -1: (w - 1)^2 / 2 + w^2 / 2 is least at 1/2."""
    scores = Scores([0, 0], [1, 2], [1.0, -1.0])
    fitted = SimilarityRegression(alpha=1.0).fit([[1.0], [1.0], [-1.0]], scores=scores)
    np.testing.assert_allclose(fitted.weight_, [[0.5]], rtol=1e-5)
    assert fitted.intercept_ == pytest.approx(0, abs=1e-6)


def test_distance_regression() -> None:
    """Squared distances 1 and 4 have the scores -1 and -4: around their means (1.5 m - 1.5)^2 / 2 + 9/8 m^2.

    That is least at m = 1/2; and b = -2.5 + 2.5 / 2.
    """
    scores = Scores([0, 0], [1, 2], [-1.0, -4.0])
    fitted = DistanceRegression(alpha=2.25, tol=1e-10).fit([[0.0], [1.0], [2.0]], scores=scores)
    np.testing.assert_allclose(fitted.get_mahalanobis_matrix(), [[0.5]], rtol=1e-4)
    assert fitted.intercept_ == pytest.approx(-1.25, rel=1e-4)
