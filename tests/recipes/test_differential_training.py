"""Differential training: the worked example's closed forms, differences of values, a quick run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.recipes.differential_training import build, objective
from likewise.recipes.environments import (
    Episodes,
    environment_costs,
    environment_outcome,
    environment_pairs,
)
from likewise.recipes.experiment import experiment
from likewise.recipes.processes import PROCESSES, Gridworld, Inventory, LinearQuadratic, check_states
from likewise.recipes.registry import load_recipe
from likewise.recipes.rollouts import (
    Trajectories,
    Variant,
    action_order,
    fit_costs,
    fit_differences,
    lookahead,
    rollout_policy,
    simulate,
    simulated_costs,
    td_differences,
)
from likewise.relations import Scores


def test_the_worked_example_in_closed_form() -> None:
    """K(c) = (1 + c^2) / 2c as delta goes to 0: 1.250 for c = 2, 1.025 for 1.25, 1 for the optimum."""
    process = LinearQuadratic(delta=1e-6)
    found = [process.coefficient(gain) for gain in (2.0, 1.25, 1.0)]
    assert found == pytest.approx([1.25, 1.025, 1.0], rel=1e-5)


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.2])
def test_the_coefficient_is_the_cost_that_is_simulated_without_noise(delta: float) -> None:
    process, x, cost = LinearQuadratic(delta=delta), 1.5, 0.0
    for _ in range(5000):
        u = -2.0 * x
        cost += delta * (x * x + u * u)
        x = x + delta * u
    assert process.base_costs(np.array([[1.5]]))[0] == pytest.approx(cost, rel=1e-9)
    # and to first order in delta it is (5/4) x^2 (1 + delta)
    assert process.coefficient(2.0) == pytest.approx(1.25 * (1 + delta), abs=2 * delta**2)


def test_exact_rollout_takes_the_gain_of_five_quarters() -> None:
    """argmin_u delta u^2 + (5/4) (x + delta u)^2 is -1.25 x up to delta; the grid holds 1.25."""
    process = LinearQuadratic(delta=0.001)
    states = np.array([[-2.0], [0.3], [1.0]])
    actions = rollout_policy(process, process.base_costs)(states)
    assert process.gains[actions].tolist() == [1.25, 1.25, 1.25]


def test_an_accurate_absolute_fit_can_be_useless_for_choosing() -> None:
    """Q's dependence on u is O(delta): an error of 1 % of J, of the wrong shape, turns the choice over."""
    process, states = LinearQuadratic(), np.array([[1.0]])
    wrong = lambda x: process.base_costs(x) + 0.01 * np.sin(60 * x[:, 0])  # noqa: E731
    assert np.abs(wrong(states) - process.base_costs(states)).max() < 0.011
    assert action_order(process, wrong, states)[0] < action_order(process, process.base_costs, states)[0]


def test_common_noise_leaves_a_decaying_difference_only() -> None:
    """With the same w, x - z shrinks by (1 - 2 delta) a step and no noise remains in it."""
    process = LinearQuadratic()
    pairs = simulate(process, Variant("successors", True, "difference"), 5, np.random.default_rng(0))
    gaps = pairs.left[:, :, 0] - pairs.right[:, :, 0]
    expected = gaps[:, :1] * (1 - 2 * process.delta) ** np.arange(gaps.shape[1])
    np.testing.assert_allclose(gaps, expected, atol=1e-12)


def test_successor_pairs_are_one_step_from_a_common_state() -> None:
    process = Gridworld()
    pairs = simulate(process, Variant("successors", True, "difference"), 200, np.random.default_rng(1))
    assert np.abs(pairs.left[:, 0] - pairs.right[:, 0]).sum(axis=1).max() <= 2


def test_common_noise_makes_simulated_choices_sure() -> None:
    process = LinearQuadratic()
    variances = []
    for common in (False, True):
        generator = np.random.default_rng(0)
        costs = simulated_costs(
            process, np.array([[1.0]]), rollouts=300, common_noise=common, generator=generator
        )
        variances.append(np.var(costs[4] - costs[3]))
    assert variances[0] / variances[1] > 1000


def test_finite_costs_to_go_match_simulation() -> None:
    for process in (Gridworld(), Inventory()):
        states = process.starts(np.random.default_rng(0), 3)
        exact = process.policy_costs(process.base, states, np.random.default_rng(0))
        generator, many = np.random.default_rng(1), 3000
        passed, costs = np.repeat(states, many, axis=0), np.zeros(3 * many)
        for step in range(process.horizon):
            now = process.step(passed, process.base(passed), process.draw(generator, len(passed)))
            costs += process.discount**step * now.costs
            passed = now.states
        means, errors = costs.reshape(3, many).mean(axis=1), costs.reshape(3, many).std(axis=1) / many**0.5
        assert np.all(np.abs(means - exact) < 4 * errors + 0.005 * exact), process.name


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_exact_rollout_is_never_worse_than_the_base_policy(name: str) -> None:
    process = PROCESSES[name]()
    starts = process.starts(np.random.default_rng(0), 40)
    policy = rollout_policy(process, process.base_costs)
    rolled = process.policy_costs(policy, starts, np.random.default_rng(3))
    based = process.policy_costs(process.base, starts, np.random.default_rng(3))
    assert rolled.mean() <= based.mean()
    if name != "linear-quadratic":  # solved, so from every single state
        assert np.all(rolled <= based + 1e-9)


def test_the_outcomes_have_the_moments_of_the_draws() -> None:
    for kind in PROCESSES.values():
        process = kind()
        outcomes, drawn = process.outcomes(), process.draw(np.random.default_rng(0), 100_000)
        assert outcomes.probabilities.sum() == pytest.approx(1.0)
        assert outcomes.values @ outcomes.probabilities == pytest.approx(drawn.mean(), abs=0.03)
        assert outcomes.values**2 @ outcomes.probabilities == pytest.approx((drawn**2).mean(), rel=0.03)


def some_pairs(seed: int = 0, common: bool = True) -> Trajectories:
    variant = Variant("successors", common, "difference")
    return simulate(Inventory(), variant, 40, np.random.default_rng(seed))


def test_the_fit_of_differences_is_the_loss_s_minimum() -> None:
    process, pairs = Inventory(), some_pairs()
    weights = fit_differences(process.features, pairs)
    states = np.concatenate([pairs.left[:, 0], pairs.right[:, 0]])
    network = build(process.features(states).shape[1]).double()
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weights)[None])
    left, right = pairs.costs
    relation = Scores(list(range(40)), list(range(40, 80)), (left - right).tolist())
    objective()(network(torch.from_numpy(process.features(states))), relation).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().max() < 1e-6 * np.abs(weights).max()


def test_differences_of_values_are_antisymmetric_and_transitive() -> None:
    process, pairs = Inventory(), some_pairs()
    weights = fit_differences(process.features, pairs)
    x, v, z = (process.features(pairs.left[rows, 0]) @ weights for rows in ([0], [1], [2]))
    assert (x - z) == -(z - x)
    assert (x - x) == 0
    assert (x - v) + (v - z) == pytest.approx(x - z, abs=1e-9)


def test_swapping_both_sides_changes_no_fit() -> None:
    process, pairs = Inventory(), some_pairs()
    swapped = Trajectories(pairs.right, pairs.left, pairs.right_costs, pairs.left_costs, pairs.discount)
    for fit in (fit_costs, fit_differences):
        np.testing.assert_allclose(fit(process.features, pairs), fit(process.features, swapped), rtol=1e-8)
    np.testing.assert_allclose(
        td_differences(process.features, pairs, trace=0.5),
        td_differences(process.features, swapped, trace=0.5),
        rtol=1e-8,
    )


@pytest.mark.parametrize("trace", [0.0, 0.6, 1.0])
def test_td_on_pairs_stands_still_where_it_says(trace: float) -> None:
    """Plain loops of TD(lambda): summed over all trajectories its updates vanish at the solution."""
    process, pairs = Inventory(), some_pairs()
    weights = td_differences(process.features, pairs, trace=trace)
    total, size = np.zeros(2), 0.0
    for left, right, gain, other in zip(
        pairs.left, pairs.right, pairs.left_costs, pairs.right_costs, strict=True
    ):
        eligibility = np.zeros(2)
        for t in range(len(gain)):
            slope = process.features(left[t : t + 1])[0] - process.features(right[t : t + 1])[0]
            ahead = process.features(left[t + 1 : t + 2])[0] - process.features(right[t + 1 : t + 2])[0]
            after = 0.0 if t + 1 == len(gain) else ahead @ weights
            delta = gain[t] - other[t] + pairs.discount * after - slope @ weights
            eligibility = pairs.discount * trace * eligibility + slope
            total += delta * eligibility
            size += abs(delta) * np.abs(eligibility).max()
    assert np.abs(total).max() < 1e-9 * size


def test_independent_noise_doubles_the_variance_of_an_error() -> None:
    """E(e(x) - e(z))^2 = 2 Var e: i.i.d. pairs alone gain nothing over costs with a free constant."""
    process = LinearQuadratic()
    state = np.zeros((1, 1))
    costs = simulated_costs(
        process, state, rollouts=2000, common_noise=False, generator=np.random.default_rng(0)
    )
    assert np.var(costs[3] - costs[4]) == pytest.approx(np.var(costs[3]) + np.var(costs[4]), rel=0.15)


class Corridor:
    """An environment as Gymnasium has them: walk to +5, against a random wind; states are vectors."""

    class _Actions:
        n = 2

    action_space = _Actions()

    def __init__(self) -> None:
        self.np_random = np.random.default_rng()
        self.place = 0.0

    def reset(self, *, seed: int) -> tuple[np.ndarray, dict[str, int]]:
        self.np_random = np.random.default_rng(seed)
        self.place = float(self.np_random.integers(-3, 3))
        return np.array([self.place, 1.0]), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, int]]:
        self.place += (1.0 if action else -1.0) + self.np_random.normal(0, 0.3)
        return np.array([self.place, 1.0]), -1.0, self.place >= 5, False, {}


def test_an_environment_as_gymnasium_has_them() -> None:
    episodes = Episodes(Corridor, horizon=25)
    pairs = environment_pairs(episodes, 60, successors=True, common_noise=True, seed=0)
    # 2 apart after one step, and the wind is common while both are on their way
    assert np.abs(np.abs(pairs.left[:, 0, 0] - pairs.right[:, 0, 0]) - 2).max() < 2.5
    features = lambda states: states[:, :1]  # noqa: E731
    weights = fit_differences(features, pairs)
    walked = environment_costs(episodes, lambda states: features(states) @ weights, count=10, seed=5)
    random = environment_costs(episodes, None, count=10, seed=5)
    assert walked.mean() < random.mean() - 5


class Gamble(Corridor):
    """Action 1 gains or loses at random, action 0 neither."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, int]]:
        return np.array([0.0, 1.0]), float(self.np_random.normal()) if action else 0.0, False, False, {}


def test_a_lookahead_does_not_know_the_coming_disturbance() -> None:
    """Who knows it gains E max(0, w) = 0.4 a step, 100 in these 250 steps; others 0, give or take 16."""
    costs = environment_costs(
        Episodes(Gamble, horizon=25), lambda states: np.zeros(len(states)), count=10, seed=0
    )
    assert abs(costs.sum()) < 50


def test_every_variant_is_judged_in_an_environment_of_gymnasium() -> None:
    pytest.importorskip("gymnasium", reason="gymnasium isn't installed")
    recipe = load_recipe("differential-training")
    best = "differences, successor pairs, common noise"
    changes = {
        "variants": best,
        "environment": "CartPole-v1",
        "environment_pairs": 40,
        "environment_fits": 2,
        "fits": 2,
        "starts": 2,
    }
    result = experiment(recipe, type(recipe.quick)(**{**vars(recipe.quick), **changes, "trials": 2}), seeds=1)
    cells = {
        row: value for (table, row, _), value in result.outcomes[0].cells.items() if table == "environment"
    }
    assert set(cells) == {"base policy", best}
    assert cells[best] < cells["base policy"] - 20  # a step that the pole stands costs -1, of at most 100
    for name, told in (
        ("CartPole-v9", "Gymnasium can't make it"),
        ("FrozenLake-v1", "states must be vectors"),
    ):
        with pytest.raises(InputError, match=told):
            environment_outcome(name, {}, pairs=2, seed=0, trace=0.5)


@pytest.mark.parametrize(
    ("states", "found"), [(np.zeros((2, 3, 4)), "(2, 3, 4)"), ([{"a": 1}], "list"), ([[math.nan]], "(1, 1)")]
)
def test_states_that_are_not_vectors(states: object, found: str) -> None:
    with pytest.raises(InputError, match="states must be vectors") as error:
        check_states(states)
    assert found in str(error.value)
    with pytest.raises(InputError, match="states must be vectors"):
        lookahead(LinearQuadratic(), lambda x: x[:, 0], states)  # type: ignore[arg-type]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="trace must lie between 0 and 1"):
        td_differences(Inventory().features, some_pairs(), trace=1.5)
    with pytest.raises(InputError, match="delta must lie"):
        LinearQuadratic(delta=0.7)
    recipe = load_recipe("differential-training")
    with pytest.raises(InputError, match="variants must be of"):
        experiment(recipe, recipe.config(variants="guess"), seeds=1)
    continuous = Corridor()
    continuous.action_space = "Box(3,)"  # type: ignore[assignment]
    with pytest.raises(InputError, match="actions must be numbered"):
        Episodes(lambda: continuous).begun(0)


def test_a_quick_run_beats_absolute_costs() -> None:
    recipe = load_recipe("differential-training")
    config = type(recipe.quick)(**{**vars(recipe.quick), "fits": 12, "starts": 40})
    result = experiment(recipe, config, quick=True, seeds=1)
    control = [found for found in result.findings() if found.claim.control]
    assert control
    assert all(found.difference.low > 0 for found in control), control
