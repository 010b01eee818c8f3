"""Fitting the cost-to-go of a base policy from pairs of simulated trajectories, and acting by it.

A value is a function of states, ``V = r'phi``, known up to a constant. What it doesn't know: what a process
is; see :mod:`likewise.recipes.processes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.recipes.processes import Policy, Process, check_states

__all__ = [
    "Features",
    "Trajectories",
    "Variant",
    "action_order",
    "fit_costs",
    "fit_differences",
    "fitted",
    "lookahead",
    "rollout_policy",
    "simulate",
    "simulated_costs",
    "td_differences",
]

_Array = NDArray[np.float64]

Features: TypeAlias = Callable[[_Array], _Array]
"""States (n, d) to features (n, p)."""


@dataclass(frozen=True)
class Variant:
    """What a value is fitted to.

    states : "independent" start states, or the "successors" of one state by two actions.
    common_noise : whether the two trajectories of a pair share their disturbances.
    target : the "cost" of each trajectory, the "difference" of two, or the difference by "td".
    """

    states: str
    common_noise: bool
    target: str


@dataclass(frozen=True)
class Trajectories:
    """Pairs of trajectories under the base policy: states (m, t + 1, d) and costs (m, t) of either."""

    left: _Array
    right: _Array
    left_costs: _Array
    right_costs: _Array
    discount: float

    @property
    def costs(self) -> tuple[_Array, _Array]:
        """Discounted costs of the left (m,) and the right (m,) trajectories."""
        weights = self.discount ** np.arange(self.left_costs.shape[1])
        return self.left_costs @ weights, self.right_costs @ weights


def simulate(process: Process, variant: Variant, count: int, generator: np.random.Generator) -> Trajectories:
    """Draw ``count`` pairs of states as a variant says, and follow the base policy from both."""
    starts = process.starts(generator, count)
    if variant.states == "independent":
        pair = [starts, process.starts(generator, count)]
    else:
        first = generator.integers(0, process.n_actions, count)
        second = (first + generator.integers(1, process.n_actions, count)) % process.n_actions
        noises = _noises(process, generator, variant.common_noise, count)
        pair = [
            process.step(starts, actions, noise).states
            for actions, noise in zip((first, second), noises, strict=True)
        ]
    noises = _noises(process, generator, variant.common_noise, count, process.horizon)
    (left, left_costs), (right, right_costs) = (
        _follow(process, states, noise) for states, noise in zip(pair, noises, strict=True)
    )
    return Trajectories(left, right, left_costs, right_costs, process.discount)


def _noises(process: Process, generator: np.random.Generator, common: bool, *shape: int) -> list[_Array]:
    first = process.draw(generator, *shape)
    return [first, first if common else process.draw(generator, *shape)]


def _follow(process: Process, states: _Array, noise: _Array) -> tuple[_Array, _Array]:
    passed, costs = [states], []
    for now in noise.T:
        step = process.step(passed[-1], process.base(passed[-1]), now)
        passed.append(step.states)
        costs.append(step.costs)
    return np.stack(passed, axis=1), np.stack(costs, axis=1)


def fit_costs(features: Features, pairs: Trajectories) -> _Array:
    """``min sum (c + r'phi(x) - C(x))^2`` over both trajectories of every pair: r (p,)."""
    states = np.concatenate([pairs.left[:, 0], pairs.right[:, 0]])
    rows = features(states)
    rows = np.column_stack([rows, np.ones(len(rows))])
    return np.asarray(np.linalg.lstsq(rows, np.concatenate(pairs.costs), rcond=None)[0][:-1])


def fit_differences(features: Features, pairs: Trajectories) -> _Array:
    """``min sum (V(x) - V(z) - (C(x) - C(z)))^2``, DifferenceRegression's minimum: r (p,)."""
    rows = features(pairs.left[:, 0]) - features(pairs.right[:, 0])
    left, right = pairs.costs
    return np.asarray(np.linalg.lstsq(rows, left - right, rcond=None)[0])


def td_differences(features: Features, pairs: Trajectories, *, trace: float) -> _Array:
    """What TD(lambda) on pairs converges to: r (p,).

    A step is ``delta = g(x) - g(z) + discount G(x', z') - G(x, z)``, ``e <- discount lambda e + grad G``,
    ``r += rate delta e``; its mean is zero where ``A r = b``, which is solved (Boyan's LSTD(lambda)). Beyond
    the horizon a difference counts as zero.

    Parameters
    ----------
    trace : float in [0, 1]
        lambda.
    """
    if not 0 <= trace <= 1:
        raise InputError(f"trace must lie between 0 and 1; found {trace}")
    m, steps = pairs.left_costs.shape
    left, right = (
        features(side.reshape(m * (steps + 1), -1)).reshape(m, steps + 1, -1)
        for side in (pairs.left, pairs.right)
    )
    slopes = left - right  # (m, t + 1, p)
    slopes[:, -1] = 0
    gains = pairs.left_costs - pairs.right_costs
    held = np.zeros_like(slopes[:, 0])
    square, target = np.zeros((held.shape[1],) * 2), np.zeros(held.shape[1])
    for step in range(steps):
        held = pairs.discount * trace * held + slopes[:, step]
        square += held.T @ (slopes[:, step] - pairs.discount * slopes[:, step + 1])
        target += held.T @ gains[:, step]
    return np.asarray(np.linalg.lstsq(square, target, rcond=None)[0])


def fitted(features: Features, pairs: Trajectories, target: str, *, trace: float) -> _Array:
    """The fit r (p,) of a variant's target: each "cost", the "difference" of two, or it by "td"."""
    if target == "cost":
        return fit_costs(features, pairs)
    if target == "difference":
        return fit_differences(features, pairs)
    return td_differences(features, pairs, trace=trace)


def lookahead(process: Process, values: Callable[[_Array], _Array], states: _Array) -> _Array:
    """``E[g(x, u, w) + discount V(f(x, u, w))]`` for every action: (n, n_actions)."""
    states, outcomes = check_states(states), process.outcomes()
    n, k, m = len(states), process.n_actions, len(outcomes.values)
    step = process.step(
        np.repeat(states, k * m, axis=0),
        np.tile(np.repeat(np.arange(k), m), n),
        np.tile(outcomes.values, n * k),
    )
    total = step.costs + process.discount * values(step.states)
    return np.asarray(total.reshape(n, k, m) @ outcomes.probabilities)


def rollout_policy(process: Process, values: Callable[[_Array], _Array]) -> Policy:
    """The action that is best if the base policy, whose cost-to-go V is, follows."""

    def policy(states: _Array) -> NDArray[np.int64]:
        return np.asarray(lookahead(process, values, states).argmin(axis=1))

    return policy


def action_order(process: Process, values: Callable[[_Array], _Array], states: _Array) -> _Array:
    """Of the pairs of actions that truly differ, the part that V orders rightly, by state: (n,).

    A state where all actions cost the same gives NaN.
    """
    found, true = lookahead(process, values, states), lookahead(process, process.base_costs, states)
    first, second = np.triu_indices(process.n_actions, 1)
    gap, right = found[:, first] - found[:, second], true[:, first] - true[:, second]
    differ = np.abs(right) > 1e-9 * np.abs(true).max()
    score = np.where(gap == 0, 0.5, (gap > 0) == (right > 0))
    with np.errstate(invalid="ignore"):
        return np.asarray((score * differ).sum(axis=1) / differ.sum(axis=1))


def simulated_costs(
    process: Process, state: _Array, *, rollouts: int, common_noise: bool, generator: np.random.Generator
) -> _Array:
    """Simulated costs of each first action and the base policy after it, from a state: (n_actions, rollouts).

    With common noise the r-th rollout of every action has the same disturbances.
    """
    k, steps = process.n_actions, process.horizon
    noise = process.draw(generator, 1 if common_noise else k, rollouts, steps)
    noise = np.broadcast_to(noise, (k, rollouts, steps)).reshape(k * rollouts, steps)
    states = np.repeat(check_states(state), k * rollouts, axis=0)
    total, actions = np.zeros(k * rollouts), np.repeat(np.arange(k), rollouts)
    for number, now in enumerate(noise.T):
        step = process.step(states, actions, now)
        total += process.discount**number * step.costs
        states, actions = step.states, process.base(step.states)
    return total.reshape(k, rollouts)
