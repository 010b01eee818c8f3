"""Differential training in any Gymnasium environment with vector states and numbered actions.

Nothing of Gymnasium is needed but an environment: it is stepped in deep copies, and a copy's random numbers
(``np_random``) are set, so that two trajectories can share them. Cost is minus the reward; the base policy
takes random actions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError, MissingExtraError
from likewise.recipes.processes import check_states
from likewise.recipes.rollouts import Features, Trajectories, Variant, fitted

__all__ = ["Episodes", "environment_costs", "environment_outcome", "environment_pairs"]

_Array = NDArray[np.float64]
_DRAWS = 4  # of the disturbance, in a lookahead


@dataclass(frozen=True)
class Episodes:
    """How an environment is used.

    make : gives a new environment
    horizon : steps after which a trajectory is cut
    discount : weight of the next step's cost
    """

    make: Callable[[], Any]
    horizon: int = 100
    discount: float = 0.98

    def begun(self, seed: int) -> tuple[Any, _Array]:
        """A new environment and its first state (d,).

        Raises
        ------
        InputError
            Its states aren't vectors, or its actions aren't numbered.
        """
        environment = self.make()
        actions = getattr(environment.action_space, "n", None)
        if actions is None:
            raise InputError(
                f"the environment's actions must be numbered (Discrete); found {environment.action_space}"
            )
        state, _ = environment.reset(seed=seed)
        return environment, check_states([state])[0]


def environment_pairs(
    episodes: Episodes, count: int, *, successors: bool, common_noise: bool, seed: int
) -> Trajectories:
    """Pairs of trajectories under random actions: from successors of one state, or from two states.

    After an episode's end its state stays and costs nothing.
    """
    generator = np.random.default_rng([seed, 0])
    sides: list[list[tuple[_Array, _Array]]] = [[], []]
    for _ in range(count):
        first, second = (int(generator.integers(2**31)) for _ in range(2))
        environment, state = _warmed(episodes, first)
        n_actions = int(environment.action_space.n)
        if successors:
            one = int(generator.integers(n_actions))
            chosen = [one, (one + int(generator.integers(1, n_actions))) % n_actions]
            begun: list[tuple[Any, int | None, _Array]] = [
                (copy.deepcopy(environment), action, state) for action in chosen
            ]
        else:
            other, other_state = _warmed(episodes, second)
            begun = [(environment, None, state), (other, None, other_state)]
        for side, (at, action, state_), own in zip(
            sides, begun, (first, first if common_noise else second), strict=True
        ):
            side.append(_followed(episodes, at, action, state_, own))
    (left, left_costs), (right, right_costs) = (
        (np.stack([states for states, _ in side]), np.stack([costs for _, costs in side])) for side in sides
    )
    return Trajectories(left, right, left_costs, right_costs, episodes.discount)


def environment_costs(
    episodes: Episodes, values: Callable[[_Array], _Array] | None, *, count: int, seed: int
) -> _Array:
    """Undiscounted costs (count,) of whole episodes: of lookahead by V, or of random actions without one."""
    costs = []
    for number in range(count):
        environment, _ = episodes.begun(seed + number)
        generator = np.random.default_rng([seed, number])
        total = 0.0
        for _ in range(episodes.horizon):
            if values is None:
                action = int(generator.integers(environment.action_space.n))
            else:
                action = _best(episodes, environment, values, generator)
            _, reward, terminated, truncated, _ = environment.step(action)
            total -= float(reward)
            if terminated or truncated:
                break
        costs.append(total)
    return np.array(costs)


def environment_outcome(
    name: str,
    variants: Mapping[str, Variant],
    *,
    pairs: int,
    seed: int,
    trace: float,
    fits: int = 1,
    count: int = 10,
) -> dict[str, _Array]:
    """Costs by what the lookahead reads: "base policy" (random actions), and every variant's fits.

    Every variant has equally many pairs, and is judged in the same episodes. Costs of the base policy are of
    these episodes, ``(count,)``; those of a variant are the means of its fits, ``(fits,)``.

    Raises
    ------
    MissingExtraError
        Gymnasium isn't installed.
    InputError
        It has no such environment, states that aren't vectors, or actions that aren't numbered.
    """
    try:
        import gymnasium
    except ImportError:
        raise MissingExtraError("an environment needs Gymnasium: pip install 'likewise[control]'") from None
    try:
        gymnasium.make(name).close()
    except gymnasium.error.Error as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"environment {name!r}: Gymnasium can't make it ({reason})") from error
    episodes = Episodes(lambda: gymnasium.make(name).unwrapped)
    first = 1000 * (seed + 1)
    found = {"base policy": environment_costs(episodes, None, count=count, seed=first)}
    for row, variant in variants.items():
        costs = []
        for fit in range(fits):
            data = environment_pairs(
                episodes,
                pairs,
                successors=variant.states == "successors",
                common_noise=variant.common_noise,
                seed=seed * fits + fit,
            )
            features = _quadratic(np.concatenate([data.left[:, 0], data.right[:, 0]]))
            weights = fitted(features, data, variant.target, trace=trace)

            def values(states: _Array, features: Features = features, weights: _Array = weights) -> _Array:
                return np.asarray(features(states) @ weights)

            costs.append(environment_costs(episodes, values, count=count, seed=first).mean())
        found[row] = np.array(costs)
    return found


def _quadratic(states: _Array) -> Features:
    """The standardised state and the products of its numbers."""
    centre, scale = states.mean(axis=0), states.std(axis=0) + 1e-9
    first, second = np.triu_indices(states.shape[1])

    def features(given: _Array) -> _Array:
        unit = np.clip((given - centre) / scale, -5, 5)
        return np.concatenate([unit, unit[:, first] * unit[:, second]], axis=1)

    return features


def _warmed(episodes: Episodes, seed: int) -> tuple[Any, _Array]:
    """An environment after a few random actions, still going on."""
    environment, state = episodes.begun(seed)
    generator = np.random.default_rng(seed)
    for _ in range(int(generator.integers(0, 10))):
        ahead = copy.deepcopy(environment)
        found, _, terminated, truncated, _ = ahead.step(int(generator.integers(ahead.action_space.n)))
        if terminated or truncated:
            break
        environment, state = ahead, check_states([found])[0]
    return environment, state


def _followed(
    episodes: Episodes, environment: Any, action: int | None, state: _Array, seed: int
) -> tuple[_Array, _Array]:
    """States (t + 1, d) and costs (t,) of random actions, begun by an action where there is one."""
    generator = np.random.default_rng([seed, 1])
    environment.np_random = np.random.default_rng([seed, 2])
    over = False
    if action is not None:
        found, _, terminated, truncated, _ = environment.step(action)
        state, over = check_states([found])[0], bool(terminated or truncated)
    states, costs = [state], []
    for _ in range(episodes.horizon):
        cost = 0.0
        if not over:
            found, reward, terminated, truncated, _ = environment.step(
                int(generator.integers(environment.action_space.n))
            )
            state, cost, over = check_states([found])[0], -float(reward), bool(terminated or truncated)
        states.append(state)
        costs.append(cost)
    return np.stack(states), np.array(costs)


def _best(
    episodes: Episodes, environment: Any, values: Callable[[_Array], _Array], generator: np.random.Generator
) -> int:
    """The action of least mean cost ahead, over draws that all actions share; none is the coming one."""
    draws = generator.integers(2**31, size=_DRAWS)
    totals = np.zeros(int(environment.action_space.n))
    for action in range(len(totals)):
        for draw in draws.tolist():
            ahead = copy.deepcopy(environment)
            ahead.np_random = np.random.default_rng(draw)
            state, reward, *_ = ahead.step(action)
            # V is known up to a constant, so that an ended episode's value is V too, never zero
            value = float(values(check_states([state]))[0])
            totals[action] += -float(reward) + episodes.discount * value
    return int(np.argmin(totals))
