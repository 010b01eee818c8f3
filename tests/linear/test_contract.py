"""What every estimator promises, found by discovery: scikit-learn's checks, and our own contract."""

from __future__ import annotations

import inspect
import io
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from likewise import linear
from likewise.errors import InputError
from likewise.linear.base import Learner, MahalanobisLearner

LEARNERS = [
    thing
    for thing in (getattr(linear, name) for name in linear.__all__)
    if inspect.isclass(thing) and issubclass(thing, Learner) and not inspect.isabstract(thing)
]
GLOBAL = [learner for learner in LEARNERS if issubclass(learner, MahalanobisLearner)]

# Check by check, why scikit-learn doesn't run it. Nothing else may be left out.
LEFT_OUT = {
    "check_array_api_input": "runs only where the environment sets SCIPY_ARRAY_API; we take NumPy",
}


# Fits forty times over; fewer stochastic steps show the same.
LIGHTER: dict[str, dict[str, Any]] = {
    "GradientBoostedLMNN": {"n_trees": 5},
    "HDSL": {"max_iter": 20},
    "MLR": {"max_iter": 10},
    "OASIS": {"n_epochs": 1},
    "SCML": {"max_iter": 100},
}


def all_of(learners: list[Any]) -> Any:
    return pytest.mark.parametrize("learner", learners, ids=lambda learner: learner.__name__)


def made(learner: Any, **options: Any) -> Any:
    """An estimator with a seed where it has one."""
    known = inspect.signature(learner).parameters
    seed = {"random_state": 0} if "random_state" in known else {}
    return learner(**seed, **LIGHTER.get(learner.__name__, {}), **options)


def blobs(n: int = 40, d: int = 4, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows of overlapping classes, standardised."""
    generator = np.random.default_rng(0)
    y = np.arange(n) % classes
    X = generator.normal(size=(n, d)) + 1.5 * generator.normal(size=(classes, d))[y]
    return StandardScaler().fit_transform(X), y


def test_discovery_finds_them() -> None:
    names = {learner.__name__ for learner in LEARNERS}
    assert {"NCA", "LMNN", "ITML", "MMC", "RCA", "SCML", "Covariance"} <= names
    assert len(names) >= 16


@all_of(LEARNERS)
def test_scikit_learns_contract(learner: Any) -> None:
    results = check_estimator(learner(**LIGHTER.get(learner.__name__, {})), on_skip=None, on_fail=None)
    left_out = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert left_out <= set(LEFT_OUT)
    failed = [(r["check_name"], str(r["exception"])[:200]) for r in results if r["status"] == "failed"]
    assert failed == []
    assert len(results) >= 40


@all_of(GLOBAL)
def test_one_distance_told_in_four_ways(learner: Any) -> None:
    X, y = blobs()
    fitted = made(learner).fit(X, y)
    components, matrix = fitted.components_, fitted.get_mahalanobis_matrix()
    assert components.shape[1] == X.shape[1] and components.dtype == np.float64
    assert np.isfinite(components).all() and np.abs(components).max() > 0
    np.testing.assert_allclose(matrix, components.T @ components)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-9 * np.linalg.eigvalsh(matrix)[-1]
    A, B = X[:10], X[10:20]
    told = fitted.pair_distance(A, B)
    mapped = fitted.transform(X)
    np.testing.assert_allclose(told, np.linalg.norm(mapped[:10] - mapped[10:20], axis=1))
    by_matrix = np.sqrt(np.einsum("ij,jk,ik->i", A - B, matrix, A - B))
    np.testing.assert_allclose(told, by_matrix, atol=1e-9)
    model = fitted.to_model()
    np.testing.assert_allclose(model.compare(A, B), told, rtol=1e-4, atol=1e-5 * told.max())
    assert list(fitted.get_feature_names_out()) == [
        f"{learner.__name__.lower()}{i}" for i in range(len(components))
    ]
    assert fitted.n_iter_ >= 1 and np.isfinite(fitted.objective_).all() and fitted.converged_ in (True, False)


@all_of(GLOBAL)
def test_a_seed_decides_all_and_a_copy_forgets(learner: Any) -> None:
    X, y = blobs()
    first, second = made(learner).fit(X, y), made(learner)
    np.testing.assert_array_equal(first.components_, second.fit(X, y).components_)
    assert not hasattr(clone(first), "components_")
    stored = io.BytesIO()
    joblib.dump(first, stored)
    stored.seek(0)
    np.testing.assert_array_equal(joblib.load(stored).transform(X), first.transform(X))


@all_of(GLOBAL)
def test_fewer_components_on_demand(learner: Any) -> None:
    if "n_components" not in inspect.signature(learner).parameters:
        pytest.skip("has no n_components")
    X, y = blobs()
    fitted = made(learner, n_components=2).fit(X, y)
    assert fitted.components_.shape == (2, 4) and fitted.transform(X).shape == (40, 2)
    for wrong in (0, 5, 1.5, True):
        with pytest.raises(InputError, match="n_components must be"):
            made(learner, n_components=wrong).fit(X, y)


@all_of(GLOBAL)
def test_float32_and_float64_agree(learner: Any) -> None:
    X, y = blobs()
    single = X.astype(np.float32)
    first, second = made(learner).fit(single, y), made(learner).fit(single.astype(np.float64), y)
    np.testing.assert_array_equal(first.components_, second.components_)
    assert first.transform(single).dtype == np.float64


@all_of(GLOBAL)
def test_in_a_pipeline_under_a_grid(learner: Any) -> None:
    X, y = blobs()
    line = make_pipeline(StandardScaler(), made(learner), KNeighborsClassifier(3))
    grid = GridSearchCV(line, {"kneighborsclassifier__n_neighbors": [1, 3]}, cv=2).fit(X, y)
    assert 0.4 < grid.best_score_ <= 1


@all_of(LEARNERS)
def test_what_is_wrong_is_said(learner: Any) -> None:
    X, y = blobs()
    if learner().__sklearn_tags__().input_tags.positive_only:
        X = np.abs(X)
    broken = X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        made(learner).fit(broken, y)
    with pytest.raises(InputError, match="within 1e100"):
        made(learner).fit(X * 1e150, y)
    if learner._needs_labels:
        with pytest.raises(InputError, match="target y is None"):
            made(learner).fit(X)
        with pytest.raises(InputError, match="equally many rows"):
            made(learner).fit(X, y[:-1])
    fitted = made(learner).fit(X, y)
    with pytest.raises(InputError, match="equally many rows"):
        fitted.pair_distance(X[:3], X[:2])


@all_of(LEARNERS)
def test_frames_go_in_and_names_come_out(learner: Any, frame: Any) -> None:
    """A frame's columns are remembered and held to, and the output is named, whichever library made it."""
    X, y = blobs()
    if learner().__sklearn_tags__().input_tags.positive_only:
        X = np.abs(X)
    names = ["a", "b", "c", "d"]
    plain, fitted = made(learner).fit(X, y), made(learner).fit(frame(X, names), y)
    assert list(fitted.feature_names_in_) == names
    some, others = frame(X[:5], names), frame(X[5:10], names)
    told = plain.pair_distance(X[:5], X[5:10])
    np.testing.assert_allclose(fitted.pair_distance(some, others), told, rtol=1e-6)
    with pytest.raises(InputError, match="feature names"):
        fitted.pair_distance(frame(X[:5], ["a", "b", "c", "e"]), others)
    if hasattr(fitted, "transform"):
        mapped = fitted.transform(some)
        named = fitted.set_output(transform="pandas").transform(some)
        assert list(named.columns) == list(fitted.get_feature_names_out())
        np.testing.assert_array_equal(named.to_numpy(), mapped)


@pytest.fixture(params=["pandas", "polars"])
def frame(request: pytest.FixtureRequest) -> Any:
    """From rows and names to a frame."""
    library = pytest.importorskip(request.param)
    return lambda rows, names: library.DataFrame(dict(zip(names, rows.T, strict=True)))


# Learner by learner, why it has no warm start.
CLOSED_FORM = "a closed form: there is nothing to go on from"
WITHOUT_WARM_START = dict.fromkeys(("Covariance", "DCA", "GMML", "KISSME", "LDA", "LFDA", "RCA"), CLOSED_FORM)
WARM = [learner for learner in LEARNERS if learner.__name__ not in WITHOUT_WARM_START]

# Learner by learner, why what a fit ends in depends on where it began. The others end in one optimum.
NOT_ONE_END = {
    "ChiSquaredLMNN": "isn't convex",
    "GradientBoostedLMNN": "adds trees, and stops at so many",
    "HDSL": "takes steps until max_iter",
    "KPCATrick": "tested with LMNN, which can put these rows as far apart as it likes by many L",
    "KernelLMNN": "can put these rows as far apart as it likes by many L",
    "LEGO": "online",
    "LMNN": "a step that gains little stops it, which it does near a kink at places a little apart",
    "LearnedMetricLSH": "tested with LMNN",
    "MLKR": "isn't convex",
    "MultiMetricLMNN": "stops near kinks as LMNN does",
    "NCA": "isn't convex",
    "OASIS": "online",
    "POLA": "online",
    "SCML": "takes steps until max_iter",
}


def rows_for(learner: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = blobs(n=n)
    return (np.abs(X) if learner().__sklearn_tags__().input_tags.positive_only else X), y


def stepping(learner: Any, steps: int) -> dict[str, Any]:
    """Options for so many steps."""
    known = inspect.signature(learner).parameters
    options = dict(LIGHTER.get(learner.__name__, {}))
    if "estimator" in known:
        options["estimator"] = linear.LMNN(max_iter=steps)
    else:
        options[next(name for name in ("n_epochs", "n_trees", "max_iter") if name in known)] = steps
    if learner.__name__ == "SCML":
        options["max_iter"] = 20 * steps
    return options | ({"random_state": 0} if "random_state" in known else {})


def test_what_has_no_warm_start_says_why() -> None:
    lacking = {
        thing.__name__ for thing in LEARNERS if "warm_start" not in inspect.signature(thing).parameters
    }
    assert lacking == set(WITHOUT_WARM_START)
    assert set(NOT_ONE_END) < {learner.__name__ for learner in WARM}


@all_of(WARM)
def test_a_warm_start_goes_on_where_the_last_fit_ended(learner: Any) -> None:
    """Two steps twice end elsewhere, and no worse, than two steps once; from cold they end the same."""
    X, y = rows_for(learner, n=60)
    few = stepping(learner, 2)
    cold, warm = learner(**few).fit(X, y), learner(**few, warm_start=True).fit(X, y)
    A, B = X[:30], X[30:]
    np.testing.assert_array_equal(warm.pair_distance(A, B), cold.pair_distance(A, B))
    first = cold.objective_[-1]
    again = cold.fit(X, y)
    assert again.objective_[-1] == first
    if "n_trees" in few:  # counts those that are there
        warm.set_params(n_trees=4)
    gone_on = warm.fit(X, y)
    assert not np.allclose(gone_on.pair_distance(A, B), cold.pair_distance(A, B), rtol=1e-6)
    if not hasattr(learner, "partial_fit"):  # an online one tells the mean loss of a pass
        assert gone_on.objective_[-1] <= first + 1e-9 * abs(first)
    with pytest.raises(InputError, match=r"warm_start .* features; found .*fit a clone|expecting 4 features"):
        gone_on.fit(X[:, :3], y)


@all_of([learner for learner in WARM if learner.__name__ not in NOT_ONE_END])
def test_a_warm_start_comes_to_the_same_end_in_fewer_steps(learner: Any) -> None:
    """From two steps on no more are taken than from cold, and from the end fewer, to the same optimum."""
    X, y = rows_for(learner, n=60)
    whole = stepping(learner, 5000)
    cold = learner(**whole).fit(X, y)
    warm = learner(**stepping(learner, 2), warm_start=True).fit(X, y).set_params(**whole)
    assert cold.converged_ and cold.n_iter_ > 2
    told = cold.pair_distance(X[:30], X[30:])
    most = cold.n_iter_
    for _ in ("from two steps on", "from the end"):
        warm.fit(X, y)
        assert warm.converged_ and warm.n_iter_ <= most
        assert warm.objective_[-1] == pytest.approx(cold.objective_[-1], rel=1e-4)
        np.testing.assert_allclose(warm.pair_distance(X[:30], X[30:]), told, atol=0.02 * told.max())
        most = cold.n_iter_ - 1
