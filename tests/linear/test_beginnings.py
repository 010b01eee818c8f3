"""Where NCA and MLKR begin: annealed and shortened, and what that gains over other libraries' ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from likewise.linear import MLKR, NCA, descent
from likewise.linear.base import Progress
from likewise.linear.descent import annealed, shortened
from likewise.linear.mlkr import regression_error
from likewise.linear.nca import nca_objective

START = np.random.default_rng(0).normal(size=(2, 3))
SCATTER = np.diag([1.0, 2.0, 0.5])


def spread(components: np.ndarray) -> float:
    """The mean squared distance of mapped rows whose scatter is SCATTER."""
    return 2 * float(np.trace(components @ SCATTER @ components.T))


LONG = START * np.sqrt(500 / spread(START))


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    X = X[:n, X[:n].std(axis=0) > 0]
    return (X - X.mean(0)) / X.std(0), y[:n]


def test_a_held_function_is_blind_to_length_and_its_gradient_is_its_derivative() -> None:
    target = np.random.default_rng(1).normal(size=(2, 3))
    held = descent._Held(lambda L: (float(np.sum((L - target) ** 4)), 4 * (L - target) ** 3), SCATTER, 20.0)
    value, gradient = held(START)
    assert held(7 * START)[0] == pytest.approx(value)
    assert value == pytest.approx(np.sum((START * np.sqrt(20 / spread(START)) - target) ** 4))
    assert np.sum(gradient * START) == pytest.approx(0, abs=1e-9 * np.abs(gradient).max())
    direction, step = np.random.default_rng(2).normal(size=(2, 3)), 1e-6
    slope = (held(START + step * direction)[0] - held(START - step * direction)[0]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-6)


def distance_to(size: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The squared distance to a matrix of one entry, at some spread."""
    goal = np.zeros((2, 3))
    goal[0, 0] = np.sqrt(size / 2)
    return lambda L: (float(np.sum((L - goal) ** 2)), 2 * (L - goal))


@pytest.mark.parametrize(("optimum", "ends"), [(1000.0, 160.0), (50.0, 80.0), (5.0, 20.0)])
def test_annealing_goes_on_while_length_is_wanted(optimum: float, ends: float) -> None:
    """The optimum's spread is known, so where L would rather be shorter is too: at the first spread above."""
    progress = Progress("annealed", verbose=False)
    found = annealed(distance_to(optimum), LONG, SCATTER, max_iter=100, progress=progress)
    assert spread(found) == pytest.approx(ends)
    assert len(progress.values) <= 40
    # At that spread nothing is nearer to the goal than its own direction.
    assert abs(found[0, 0]) == pytest.approx(np.sqrt(ends / 2), rel=1e-2)


def test_annealing_keeps_to_the_steps_there_are_and_leaves_what_maps_all_to_one_point() -> None:
    progress = Progress("annealed", verbose=False)
    annealed(distance_to(1000.0), LONG, SCATTER, max_iter=3, progress=progress)
    assert len(progress.values) == 3
    nothing = np.zeros((2, 3))
    np.testing.assert_array_equal(
        annealed(distance_to(1.0), nothing, SCATTER, max_iter=3, progress=Progress("none", verbose=False)),
        nothing,
    )


def test_annealing_leaves_a_short_beginning_as_it_is() -> None:
    """Held at a larger spread, rows settle on a neighbour of the other class, and nothing moves them."""
    short = START * np.sqrt(10 / spread(START))
    progress = Progress("short", verbose=False)
    np.testing.assert_array_equal(
        annealed(distance_to(1.0), short, SCATTER, max_iter=9, progress=progress), short
    )
    X = np.array([[0.0, 0.0], [0.1, 3.0], [1.0, 0.1], [1.1, 3.1]])
    assert NCA().fit(X, [0, 0, 1, 1]).objective_[-1] < -3.99


def test_shortened_goes_on_from_the_lower_end() -> None:
    """Two valleys of length: around a spread of 1,000 with floor 1, and around 10 with floor 0."""

    def valleys(L: np.ndarray) -> tuple[float, np.ndarray]:
        floor, centre = (1.0, 1000.0) if spread(L) > 60 else (0.0, 10.0)
        away = np.log(spread(L) / centre)
        return floor + away**2, 2 * away * 4 * (L @ SCATTER) / spread(L)

    progress = Progress("shortened", verbose=False)
    found = shortened(valleys, LONG, SCATTER, max_iter=1, progress=progress)
    assert spread(found) > 60  # there was a step for one alone
    found = shortened(valleys, LONG, SCATTER, max_iter=30, progress=Progress("both", verbose=False))
    assert spread(found) == pytest.approx(10, rel=0.05)
    short = START * np.sqrt(10 / spread(START))
    np.testing.assert_array_equal(
        shortened(valleys, short, SCATTER, max_iter=30, progress=Progress("short", verbose=False)), short
    )


def test_nca_on_digits_is_not_above_scikit_learns() -> None:
    """Theirs begins at the identity and may take twice the steps."""
    X, y = digits(500)
    theirs = NeighborhoodComponentsAnalysis(init="identity", max_iter=200, tol=1e-7, random_state=0).fit(X, y)
    theirs.n_iter_ = 0
    ends = nca_objective(theirs.components_, X, y)[0]
    fitted = NCA().fit(X, y)
    assert fitted.objective_[-1] == pytest.approx(nca_objective(fitted.components_, X, y)[0])
    assert fitted.objective_[-1] <= ends


def test_mlkr_on_digits_is_not_above_metric_learns() -> None:
    """Reference: metric-learn 0.7.0 MLKR() on these rows ends at 75.0000147."""
    X, y = digits(1000)
    fitted = MLKR().fit(X, y.astype(float))
    assert fitted.objective_[-1] == pytest.approx(
        regression_error(fitted.components_, X, y.astype(float))[0], rel=1e-6, abs=1e-6
    )
    assert fitted.objective_[-1] <= 75.0000147
