"""Answers that need no computer: each docstring works out what the learner must find."""

from __future__ import annotations

import numpy as np

from likewise.linear import DCA, GMML, KISSME, LDA, LFDA, LSML, Covariance
from likewise.relations import Chunklets, Pairs, Quadruplets


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
