"""NCA, MCML, MLKR and LMNN: exact objectives and gradients, optima, and what other libraries reach."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from likewise.errors import InputError
from likewise.linear import LMNN, MCML, MLKR, NCA, neighbours, screening
from likewise.linear.lmnn import LargeMargin
from likewise.linear.mcml import Collapse
from likewise.linear.mlkr import regression_error
from likewise.linear.nca import nca_objective
from likewise.linear.neighbours import DROPPED, Neighbours, neighbour_blocks
from reference import linear as loops
from reference.linear import standard_iris

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def objectives(X: np.ndarray, y: np.ndarray) -> dict[str, tuple[Objective, Callable[[np.ndarray], float]]]:
    """Ours and the loop, for rows that are centred."""
    targets = y + 0.1 * X[:, 0]
    margin, collapse = LargeMargin.of(X, y, 2, 0.3), Collapse.of(X, y)
    return {
        "NCA": (lambda L: nca_objective(L, X, y), lambda L: loops.nca(L, X, y)),
        "MLKR": (lambda L: regression_error(L, X, targets), lambda L: loops.mlkr(L, X, targets)),
        "MCML": (collapse.value, lambda L: loops.mcml(L, X, y)),
        "LMNN": (margin.value, lambda L: loops.lmnn(L, X, y, 2, 0.3)),
    }


def chances(block: Neighbours) -> np.ndarray:
    """p (b, n) of a block, zero where left out."""
    table = block.table()
    full = table if isinstance(table, np.ndarray) else table.toarray()
    return full / block.sums[:, None]


def rows(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, d))
    return X - X.mean(0), generator.permutation(np.arange(n) % 3)


@pytest.mark.parametrize("name", ["NCA", "MLKR", "MCML", "LMNN"])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.1, 1.0, 30.0]), k=st.integers(1, 3))
def test_value_is_the_loops_and_gradient_its_derivative(name: str, seed: int, scale: float, k: int) -> None:
    X, y = rows(11, 3, seed)
    X[1] = X[0]  # equal rows, of one class or of two
    X -= X.mean(0)
    ours, loop = objectives(X, y)[name]
    generator = np.random.default_rng(seed)
    L = scale * generator.normal(size=(k, 3))
    value, gradient = ours(L)
    assert value == pytest.approx(loop(L), rel=1e-10, abs=1e-10)
    direction = generator.normal(size=L.shape)
    step = 1e-6 * scale
    slope = (ours(L + step * direction)[0] - ours(L - step * direction)[0]) / (2 * step)
    size = np.abs(gradient).max() * np.abs(direction).max()
    assert float(np.sum(gradient * direction)) == pytest.approx(slope, rel=1e-4, abs=1e-5 * max(size, 1e-3))


@pytest.mark.parametrize("name", ["NCA", "MLKR", "MCML", "LMNN"])
def test_blocks_full_tables_and_subtraction_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ways of a block: a list of cells, a full table, distances by subtraction, and a screen first."""
    X, y = rows(150, 5, 0)
    L = np.random.default_rng(0).normal(size=(5, 5))
    found = []
    for cells, dense, fine in [(2**19, 2.0, 1e5), (64, 2.0, 1e5), (64, 0.0, 1e5), (64, 2.0, 0.0)]:
        monkeypatch.setattr(neighbours, "_CELLS", cells)
        monkeypatch.setattr(neighbours, "_DENSE", dense)
        monkeypatch.setattr(neighbours, "_FINE", fine)
        found.append(objectives(X, y)[name][0](L))
    monkeypatch.setattr(screening, "_FEWEST_ROWS", 2)
    monkeypatch.setattr(screening, "_ROWS", 64)
    monkeypatch.setattr(screening, "_COLUMNS", 128)
    for few in (1.0, 0.0):  # so many near columns are few, and none are
        monkeypatch.setattr(screening, "_FEW", few)
        found.append(objectives(X, y)[name][0](L))
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], rel=1e-12)
        np.testing.assert_allclose(gradient, found[0][1], rtol=1e-9, atol=1e-9 * np.abs(gradient).max())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.5, 40.0))
def test_what_the_softmax_leaves_out_is_bounded(seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    mapped = scale * generator.normal(size=(80, 2))
    mapped -= mapped.mean(0)
    squares = np.sum((mapped[:, None] - mapped[None]) ** 2, axis=2)
    np.fill_diagonal(squares, np.inf)
    exact = np.exp(squares.min(axis=1)[:, None] - squares)
    exact /= exact.sum(axis=1)[:, None]
    for block in neighbour_blocks(mapped):
        table = chances(block)
        part = exact[block.start : block.stop]
        left_out = np.where(table == 0, part, 0).sum(axis=1)
        assert (left_out <= DROPPED).all()
        np.testing.assert_allclose(table, part, atol=2 * DROPPED)


@pytest.mark.parametrize("far", [1e5, 1e9])
def test_near_rows_far_from_the_centre_keep_their_distances(far: float) -> None:
    """Two clusters of width 1, squared norms up to 1e18: a product is off by hundreds, subtraction isn't."""
    generator = np.random.default_rng(0)
    mapped = generator.normal(size=(40, 3)) + np.repeat([[far], [-far]], 20, axis=0) * generator.normal(
        size=3
    )
    squares = np.sum((mapped[:, None] - mapped[None]) ** 2, axis=2)
    np.fill_diagonal(squares, np.inf)
    exact = np.exp(squares.min(axis=1)[:, None] - squares)
    [block] = neighbour_blocks(mapped)
    table = chances(block)
    np.testing.assert_allclose(table, exact / exact.sum(axis=1)[:, None], atol=1e-12)


def test_nca_collapses_classes_along_the_feature_that_tells_them() -> None:
    """The second feature is noise ten times wider: its weight must vanish beside the first's."""
    generator = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = np.stack([2 * y + 0.2 * generator.normal(size=60), 10 * generator.normal(size=60)], axis=1)
    fitted = NCA(max_iter=200).fit(X, y)
    M = fitted.get_mahalanobis_matrix()
    assert M[1, 1] < 0.02 * M[0, 0]
    assert fitted.objective_[-1] < -59


def test_nca_is_scikit_learns_objective_and_not_above_it() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = (X[:300] - X[:300].mean(0)) / 4, y[:300]
    theirs = NeighborhoodComponentsAnalysis(n_components=5, init="pca", max_iter=60, tol=1e-7).fit(X, y)
    theirs.n_iter_ = 0
    same = y[:, None] == y[None, :]
    flat = np.random.default_rng(0).normal(size=5 * 64) / 8
    value, gradient = theirs._loss_grad_lbfgs(flat, X, same, -1.0)
    ours = nca_objective(flat.reshape(5, 64), X, y)
    assert ours[0] == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(ours[1].ravel(), gradient, rtol=1e-7, atol=1e-9)
    fitted = NCA(n_components=5, init=_pca(X, 5), max_iter=60, tol=1e-7).fit(X, y)
    assert fitted.objective_[-1] <= nca_objective(theirs.components_, X, y)[0] + 1e-3


def _pca(X: np.ndarray, k: int) -> np.ndarray:
    return np.linalg.svd(X - X.mean(0), full_matrices=False)[2][:k]


def test_mcml_is_at_the_optimum_of_its_convex_problem() -> None:
    """Conditions: the gradient G by A is positive semidefinite, and orthogonal to A."""
    X, y = standard_iris()
    fitted = MCML(max_iter=2000, tol=1e-12).fit(X, y)
    A = fitted.get_mahalanobis_matrix()
    p = loops.chances(fitted.components_, X)
    G = np.zeros((4, 4))
    for i in range(150):
        mates = (y == y[i]) & (np.arange(150) != i)
        weights = mates / mates.sum() - p[i]
        differences = X[i] - X
        G += (differences * weights[:, None]).T @ differences
    pull = np.abs(G).max() + 150
    assert np.linalg.eigvalsh(G)[0] > -1e-4 * pull
    assert abs(np.sum(G * A)) < 1e-4 * fitted.objective_[-1]
    # From another beginning, the same.
    other = MCML(init="random", random_state=3, max_iter=2000, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(other.get_mahalanobis_matrix(), A, atol=2e-3 * np.abs(A).max())


def test_mcml_by_eye() -> None:
    """Two points a class, 1 apart, classes 3 apart, on a line: by symmetry d/dA of the divergence is

    ``1 - (1 e^-A + 16/2 e^-16A ...) / Z`` for each row; the optimum is found here by bisection.
    """
    X, y = np.array([[0.0], [1.0], [3.0], [4.0]]), np.array([0, 0, 1, 1])

    def slope(A: float) -> float:
        total = 0.0
        for i, mate in ((0, 1), (1, 0), (2, 3), (3, 2)):
            squares = np.array([(X[i, 0] - X[j, 0]) ** 2 for j in range(4) if j != i])
            weights = np.exp(-A * squares)
            total += (X[i, 0] - X[mate, 0]) ** 2 - weights @ squares / weights.sum()
        return total

    assert slope(0.01) < 0 and slope(50.0) <= 0  # collapsing is best: classes are further apart than wide
    fitted = MCML(tol=1e-12).fit(X, y)
    assert fitted.objective_[-1] < 1e-4 and fitted.get_mahalanobis_matrix()[0, 0] > 1


def test_mlkr_is_not_above_metric_learns() -> None:
    """Reference: metric-learn 0.7.0 MLKR(init="identity", tol=1e-10, max_iter=2000) reaches 240133.2987.

    On the first 200 rows of diabetes, features standardised over all 442.
    """
    X, y = load_diabetes(return_X_y=True)
    X = ((X - X.mean(0)) / X.std(0))[:200]
    fitted = MLKR(init="identity", tol=1e-10, max_iter=300).fit(X, y[:200])
    assert fitted.objective_[-1] <= 240133.2987
    assert fitted.objective_[-1] == pytest.approx(loops.mlkr(fitted.components_, X, y[:200]), rel=1e-9)


def test_mlkr_by_eye() -> None:
    """y follows feature 1; feature 2 is noise: predictions are exact once it has no weight."""
    X = np.array([[a, b] for a in (0.0, 1.0, 2.0) for b in (0.0, 1.0, 2.0)])
    fitted = MLKR(max_iter=500).fit(X, X[:, 0])
    M = fitted.get_mahalanobis_matrix()
    assert fitted.objective_[-1] < 1e-4
    assert M[0, 0] > 5 and abs(M[1, 1]) < M[0, 0] / 50


def test_lmnn_by_eye() -> None:
    """Points 0, 1 | 3, 4. For M in (1/8, 1/3) only rows 1 and 3 have an impostor, at distance 4M:

    ``f = (1/2) 4 M + (1/2) 2 (1 + M - 4 M)`` falls, beyond 1/3 ``f = 2 M`` rises; so M = 1/3, f = 2/3.
    """
    fitted = LMNN(n_neighbors=1, tol=1e-12).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    assert fitted.get_mahalanobis_matrix()[0, 0] == pytest.approx(1 / 3, rel=1e-4)
    assert fitted.objective_[-1] == pytest.approx(2 / 3, rel=1e-4)


def test_lmnn_is_not_above_metric_learns() -> None:
    """Reference: metric-learn 0.7.0 LMNN(n_neighbors=3, init="identity", max_iter=5000,

    convergence_tol=1e-9) on standardised iris, its result judged by the plain loop: 234.295509.
    """
    X, y = standard_iris()
    fitted = LMNN(n_neighbors=3, init="identity", max_iter=500, tol=1e-9).fit(X, y)
    assert fitted.objective_[-1] <= 234.295509
    assert fitted.objective_[-1] == pytest.approx(loops.lmnn(fitted.components_, X, y, 3, 0.5), rel=1e-9)


def test_lmnn_reaches_one_optimum_from_any_beginning() -> None:
    """With k = d the problem is convex in M; so all beginnings end at one objective."""
    X, y = standard_iris()
    ends = [
        LMNN(init=init, random_state=0, max_iter=1000, tol=1e-10).fit(X, y).objective_[-1]
        for init in ("identity", "pca", "random")
    ]
    np.testing.assert_allclose(ends, ends[0], rtol=1e-3)


def test_lmnn_in_small_classes_takes_the_rows_there_are() -> None:
    X, y = rows(9, 2, 0)
    y = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])
    problem = LargeMargin.of(X, y, 3, 0.5)
    assert problem.valid.sum(axis=1).tolist() == [3, 3, 3, 3, 3, 2, 2, 2, 0]
    L = np.eye(2)
    assert problem.value(L)[0] == pytest.approx(loops.lmnn(L, X, y, 3, 0.5))


@pytest.mark.parametrize("learner", [NCA, MCML, MLKR, LMNN])
def test_warm_start_goes_on_and_verbose_tells(learner: type, capsys: pytest.CaptureFixture[str]) -> None:
    X, y = standard_iris()
    fitted = learner(max_iter=3, warm_start=True, tol=1e-12)
    first = fitted.fit(X, y).objective_[-1]
    assert not fitted.converged_
    assert fitted.fit(X, y).objective_[0] <= first
    with pytest.raises(InputError, match=r"warm_start needs components_ of shape \(2, 4\); found \(4, 4\)"):
        fitted.set_params(n_components=2).fit(X, y)
    capsys.readouterr()
    with pytest.warns(ConvergenceWarning, match="before it converged; raise max_iter"):
        learner(max_iter=2, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"{learner.__name__}: step 1, objective ")


@pytest.mark.parametrize("learner", [NCA, MCML, MLKR, LMNN])
def test_beginnings(learner: type) -> None:
    X, y = standard_iris()
    names = ["auto", "identity", "pca", "random"] + ([] if learner is MLKR else ["lda"])
    for init in [*names, np.ones((2, 4))]:
        assert learner(n_components=2, init=init, max_iter=2, random_state=0).fit(X, y).components_.shape == (
            2,
            4,
        )
    with pytest.raises(InputError, match="init must be one of"):
        learner(init="nothing").fit(X, y)
    with pytest.raises(InputError, match=r"of shape \(4, 4\), components by features; found \(2, 4\)"):
        learner(init=np.ones((2, 4))).fit(X, y)
    with pytest.raises(InputError, match="max_iter must be a whole number"):
        learner(max_iter=0).fit(X, y)
    with pytest.raises(InputError, match="tol must be a finite number"):
        learner(tol=-1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner(max_iter=1).fit(X, y)  # silent unless verbose
