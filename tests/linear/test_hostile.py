"""Rows and labels of the awkward kinds: a documented result or a clear error, never NaN or complex."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from likewise import linear
from likewise.errors import InputError
from likewise.linear.base import Learner, MahalanobisLearner
from likewise.relations import Chunklets, Pairs, Quadruplets, Triplets

LEARNERS = [
    thing
    for thing in (getattr(linear, name) for name in linear.__all__)
    if inspect.isclass(thing) and issubclass(thing, MahalanobisLearner) and not inspect.isabstract(thing)
]

# d(x, z) is the same when all rows are multiplied by one number, and the matrix divided by its square.
FOLLOWS_SCALE = {
    "DCA", "KISSME", "LDA", "LFDA", "LMNN", "LSML", "MCML", "MLKR", "MMC", "NCA", "RCA", "SCML", "SDML",
    "Covariance",
}  # fmt: skip
SAME_MATRIX = {"GMML", "ITML"}  # here the matrix itself has no unit


def made(learner: Any) -> Any:
    known = inspect.signature(learner).parameters
    options: dict[str, Any] = {"random_state": 0} if "random_state" in known else {}
    if learner.__name__ == "SCML":
        options["max_iter"] = 200
    return learner(**options)


def blobs(n: int = 30, d: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    y = np.arange(n) % classes
    return generator.normal(size=(n, d)) + 1.5 * generator.normal(size=(classes, d))[y], y


def duplicates() -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs(15)
    return np.repeat(X, 2, axis=0), np.repeat(y, 2)


def constant() -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs()
    X[:, 2] = 0.1
    return X, y


def collinear() -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs()
    return np.hstack([X, 2 * X[:, :1], X[:, 1:2] - X[:, 2:3]]), y


def singleton() -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs()
    y = y.copy()
    y[0] = 7
    return X, y


CASES = {
    "duplicates": duplicates(),
    "a constant feature": constant(),
    "collinear features": collinear(),
    "a singleton class": singleton(),
    "more features than rows": blobs(12, 30),
    "one feature": blobs(20, 1),
    "tiny": (1e-7 * blobs()[0], blobs()[1]),
    "huge": (1e7 * blobs()[0], blobs()[1]),
    "far from the origin": (1e6 + blobs()[0], blobs()[1]),
    "features of other scales": (blobs()[0] * [1e-3, 1, 1e3, 1], blobs()[1]),
}


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.__name__)
@pytest.mark.parametrize("case", CASES)
def test_the_result_is_a_pseudo_metric(learner: Any, case: str) -> None:
    X, y = CASES[case]
    fitted = made(learner).fit(X, y)
    components = fitted.components_
    assert components.dtype == np.float64 and np.isfinite(components).all()
    distances = fitted.pair_distance(X[:-1], X[1:])
    assert np.isfinite(distances).all() and (distances >= 0).all()
    assert (fitted.pair_distance(X, X) == 0).all()
    assert np.isfinite(fitted.objective_).all()


OTHERS = [  # kernel, local and bilinear ones: no global metric
    thing
    for thing in (getattr(linear, name) for name in linear.__all__)
    if inspect.isclass(thing) and issubclass(thing, Learner) and thing not in LEARNERS
]


@pytest.mark.parametrize("learner", OTHERS, ids=lambda learner: learner.__name__)
@pytest.mark.parametrize("case", CASES)
def test_without_a_global_metric_distances_are_finite_too(learner: Any, case: str) -> None:
    X, y = CASES[case]
    if learner is linear.ChiSquaredLMNN:
        X = np.abs(X)  # it takes histograms
    fitted = made(learner).fit(X, y)
    distances = fitted.pair_distance(X[:-1], X[1:])
    assert distances.shape == (len(X) - 1,) and distances.dtype == np.float64
    assert np.isfinite(distances).all() and np.isfinite(fitted.objective_).all()
    again = made(learner).fit(X, y).pair_distance(X[:-1], X[1:])
    np.testing.assert_array_equal(again, distances)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.__name__)
@pytest.mark.parametrize("scale", [1e-60, 2.0**-20, 2.0**20, 1e60])
def test_units_don_t_matter(learner: Any, scale: float) -> None:
    name = learner.__name__
    if name not in FOLLOWS_SCALE | SAME_MATRIX:
        pytest.skip("its objective has a unit of its own, as its docstring says")
    X, y = blobs()
    plain, other = made(learner).fit(X, y), made(learner).fit(scale * X, y)
    by = 1.0 if name in SAME_MATRIX else scale
    # Descents take many steps, in which rounding may grow.
    tolerance = 1e-6 if np.log2(scale) % 1 == 0 else 1e-3
    largest = np.abs(plain.components_).max()
    np.testing.assert_allclose(
        (other.components_ * by).T @ (other.components_ * by) / largest**2,
        plain.get_mahalanobis_matrix() / largest**2,
        atol=tolerance,
    )


PAIR_LEARNERS = ["DCA", "GMML", "ITML", "KISSME", "MMC", "RCA", "SDML"]


@pytest.mark.parametrize("name", PAIR_LEARNERS)
def test_bad_pairs_are_named(name: str) -> None:
    X, _ = blobs()
    fit = getattr(linear, name)().fit
    with pytest.raises(InputError, match=r"right must name rows of X, from 0 to 29; found 30 in entry 1"):
        fit(X, pairs=Pairs([0, 1, 2], [3, 30, 4], [1, 0, 1]))
    with pytest.raises(InputError, match="pair 1 names row 2 twice"):
        fit(X, pairs=Pairs([0, 2], [1, 2], [1, 0]))
    with pytest.raises(InputError, match="contradict each other: rows 0 and 1 are alike and unlike"):
        fit(X, pairs=Pairs([0, 1, 2], [1, 0, 3], [1, 0, 0]))
    with pytest.raises(InputError, match=r"pairs must be likewise\.relations\.Pairs; found list"):
        fit(X, pairs=[(0, 1)])
    if name in ("DCA", "GMML", "KISSME", "MMC"):
        with pytest.raises(InputError, match="too few pairs that are unlike: at least 1 needed, found 0"):
            fit(X, pairs=Pairs([0, 2], [1, 3], [1, 1]))


def test_bad_triplets_and_quadruplets_are_named() -> None:
    X, _ = blobs()
    with pytest.raises(InputError, match="negative must name rows of X"):
        linear.SCML().fit(X, triplets=Triplets([0], [1], [99]))
    with pytest.raises(InputError, match="triplet 0 names row 1 twice"):
        linear.SCML().fit(X, triplets=Triplets([0], [1], [1]))
    with pytest.raises(InputError, match="too few triplets"):
        linear.SCML().fit(X, triplets=Triplets([], [], []))
    with pytest.raises(InputError, match="far_right must name rows of X"):
        linear.LSML().fit(X, quadruplets=Quadruplets([0], [1], [2], [30]))
    with pytest.raises(InputError, match="quadruplet 0 names row 2 twice"):
        linear.LSML().fit(X, quadruplets=Quadruplets([0], [1], [2], [2]))
    with pytest.raises(InputError, match="too few quadruplets"):
        linear.LSML().fit(X, quadruplets=Quadruplets([], [], [], []))


def test_bad_chunklets_are_named() -> None:
    X, _ = blobs()
    with pytest.raises(InputError, match="equally many rows; found 30 and 3"):
        linear.RCA().fit(X, chunklets=Chunklets([0, 0, 1]))
    with pytest.raises(InputError, match=r"no chunklet \(or class\) has two rows"):
        linear.RCA().fit(X, chunklets=Chunklets(np.arange(30)))
    with pytest.raises(InputError, match="no two chunklets"):
        linear.DCA().fit(X, chunklets=Chunklets(np.zeros(30, dtype=int)))
    groups = Chunklets(np.arange(30) // 3)
    with pytest.raises(InputError, match="calls two rows of one chunklet unlike"):
        linear.DCA().fit(X, chunklets=groups, pairs=Pairs([0], [1], [False]))


@pytest.mark.parametrize(
    "name", ["NCA", "LMNN", "MCML", "GMML", "KISSME", "MMC", "SCML", "LSML", "RCA", "DCA"]
)
def test_every_row_alone_teaches_nothing(name: str) -> None:
    X, _ = blobs()
    with pytest.raises(InputError, match=r"alone in its class|too few|has two rows"):
        getattr(linear, name)().fit(X, np.arange(30))


@pytest.mark.parametrize("name", ["LDA", "LFDA", "LMNN", "MCML", "GMML", "KISSME", "MMC", "SCML", "LSML"])
def test_one_class_teaches_nothing(name: str) -> None:
    X, _ = blobs()
    with pytest.raises(InputError, match=r"1 class|too few"):
        getattr(linear, name)().fit(X, np.zeros(30, dtype=int))


@pytest.mark.parametrize("name", ["LDA", "RCA", "DCA", "LFDA", "GMML", "KISSME"])
def test_a_singular_scatter_is_refused_where_exactness_was_asked(name: str) -> None:
    """Twelve rows in thirty features: the scatter within classes has rank 9 of the rows' 11."""
    X, y = blobs(12, 30)
    learner = getattr(linear, name)
    with pytest.raises(InputError, match=r"singular in \d+ of 11 directions; give regularization > 0"):
        learner(regularization=0).fit(X, y)
    with pytest.raises(InputError, match="regularization must be"):
        learner(regularization=-1).fit(X, y)


@pytest.mark.parametrize("name", ["LDA", "RCA", "DCA", "LFDA", "GMML", "KISSME", "ITML", "MMC", "SCML"])
def test_equal_rows_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"all its rows are equal|two different rows|too few triplets"):
        getattr(linear, name)().fit(np.ones((6, 2)), [0, 0, 0, 1, 1, 1])


def test_labels_that_are_no_classes() -> None:
    X, y = blobs()
    with pytest.raises(InputError, match="Unknown label type: continuous"):
        linear.NCA().fit(X, y + 0.5)
    with pytest.raises(InputError, match="all of one kind"):
        linear.NCA().fit(X, np.array([0, "b"] * 15, dtype=object))
    with pytest.raises(InputError, match="y must be finite"):
        linear.NCA().fit(X, np.where(y > 0, y, np.nan))
    with pytest.raises(InputError, match="y must vary"):
        linear.MLKR().fit(X, np.ones(30))
    whole = linear.NCA(max_iter=3).fit(X, y.astype(float))
    np.testing.assert_array_equal(whole.components_, linear.NCA(max_iter=3).fit(X, y).components_)
