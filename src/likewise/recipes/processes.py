"""Controlled processes on which policies are judged: stepped many states at a time, with the noise given.

A process says where it starts, what its base policy does, what a step does and costs under a given
disturbance, and by which features a value is fitted. Giving the disturbance from outside is what lets two
trajectories share theirs. What it doesn't know: how a policy is learned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

__all__ = [
    "PROCESSES",
    "Gridworld",
    "Inventory",
    "LinearQuadratic",
    "Outcomes",
    "Policy",
    "Process",
    "Step",
    "check_states",
]

_Array = NDArray[np.float64]
_Actions = NDArray[np.int64]

Policy: TypeAlias = Callable[[_Array], _Actions]
"""States (n, d) to actions (n,)."""


@dataclass(frozen=True)
class Step:
    """What a step leads to: states (n, d) and costs (n,)."""

    states: _Array
    costs: _Array


@dataclass(frozen=True)
class Outcomes:
    """Disturbances (k,) with probabilities (k,) by which an expectation is taken."""

    values: _Array
    probabilities: _Array


class Process(ABC):
    """States (n, d), actions by number, and one disturbance a step.

    ``horizon`` is how many steps a trajectory is followed, ``discount`` the weight of the next step's cost.
    """

    name: str
    horizon: int
    discount: float
    n_actions: int

    @abstractmethod
    def starts(self, generator: np.random.Generator, count: int) -> _Array:
        """States (count, d) that a trajectory may be started from."""

    @abstractmethod
    def base(self, states: _Array) -> _Actions:
        """The base policy's actions (n,)."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, *shape: int) -> _Array:
        """Disturbances of a shape."""

    @abstractmethod
    def outcomes(self) -> Outcomes:
        """The disturbances of one step, for expectations."""

    @abstractmethod
    def step(self, states: _Array, actions: _Actions, noise: _Array) -> Step:
        """One step from states (n, d) by actions (n,) under disturbances (n,)."""

    @abstractmethod
    def features(self, states: _Array) -> _Array:
        """Features (n, p), without a constant: differences of values have none."""

    @abstractmethod
    def base_costs(self, states: _Array) -> _Array:
        """The exact cost-to-go (n,) of the base policy, up to a constant."""

    @abstractmethod
    def policy_costs(self, policy: Policy, starts: _Array, generator: np.random.Generator) -> _Array:
        """The cost (n,) of a policy from each start; equal generators give equal disturbances."""


class LinearQuadratic(Process):
    """``x' = x + delta u + sqrt(delta) w``, cost ``delta (x^2 + u^2)``, base policy ``u = -2x``.

    An action is a gain c of ``u = -c x``. The base policy's cost-to-go is ``x^2 K(2)`` and a constant of the
    noise, ``K(c) = delta (1 + c^2) / (1 - (1 - delta c)^2)``, which tends to (1 + c^2) / 2c: 1.25 for the
    base policy, 1.025 for its exact rollout c = 1.25, 1 for the optimum c = 1 (the worked example of
    differential training; its attribution is from memory, its algebra is tested). The features are five
    Gaussian bumps, none of which is a parabola.

    >>> process = LinearQuadratic()
    >>> round(process.step(np.array([[1.0]]), np.array([3]), np.array([0.0])).states.item(), 4)  # c = 1.25
    0.9375
    """

    name = "linear-quadratic"
    horizon, discount = 200, 1.0
    gains = np.linspace(0.5, 2.5, 9)
    n_actions = 9

    def __init__(self, *, delta: float = 0.05) -> None:
        if not 0 < delta < 0.5:
            raise InputError(f"delta must lie between 0 and 0.5; found {delta}")
        self.delta = delta

    def starts(self, generator: np.random.Generator, count: int) -> _Array:
        """Evenly from -3 to 3."""
        return generator.uniform(-3, 3, (count, 1))

    def base(self, states: _Array) -> _Actions:
        """The gain 2."""
        return np.full(len(states), 6)

    def draw(self, generator: np.random.Generator, *shape: int) -> _Array:
        """Standard normal."""
        return generator.standard_normal(shape)

    def outcomes(self) -> Outcomes:
        """Five nodes of Gauss and Hermite: exact for polynomials up to degree 9."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        return Outcomes(nodes, weights / weights.sum())

    def step(self, states: _Array, actions: _Actions, noise: _Array) -> Step:
        """See the class."""
        x = states[:, 0]
        u = -self.gains[actions] * x
        costs = self.delta * (x**2 + u**2)
        return Step((x + self.delta * u + np.sqrt(self.delta) * noise)[:, None], costs)

    def features(self, states: _Array) -> _Array:
        """Bumps at -4, -2, 0, 2 and 4 of width 1.5."""
        gaps = states - np.linspace(-4, 4, 5)
        return np.asarray(np.exp(-(gaps**2) / (2 * 1.5**2)))

    def coefficient(self, gain: float) -> float:
        """``K(c)`` of the policy u = -c x; in the limit of small delta (1 + c^2) / 2c."""
        return self.delta * (1 + gain**2) / (1 - (1 - self.delta * gain) ** 2)

    def base_costs(self, states: _Array) -> _Array:
        """``K(2) x^2``."""
        return np.asarray(self.coefficient(2.0) * states[:, 0] ** 2)

    def policy_costs(self, policy: Policy, starts: _Array, generator: np.random.Generator) -> _Array:
        """Followed to the horizon, once a start."""
        costs, states = np.zeros(len(starts)), starts
        for _ in range(self.horizon):
            step = self.step(states, policy(states), self.draw(generator, len(starts)))
            costs, states = costs + step.costs, step.states
        return costs


class _Finite(Process):
    """A process of few states, numbered; ``all_states`` (n, d) holds them in order."""

    discount = 0.95
    horizon = 120

    @property
    @abstractmethod
    def all_states(self) -> _Array:
        """Every state once, (n, d)."""

    @abstractmethod
    def numbers(self, states: _Array) -> NDArray[np.int64]:
        """The places of states in ``all_states``."""

    def base_costs(self, states: _Array) -> _Array:
        """Solved."""
        return self.costs_to_go(self.base)[self.numbers(states)]

    def policy_costs(self, policy: Policy, starts: _Array, generator: np.random.Generator) -> _Array:  # noqa: ARG002
        """Solved: no disturbance is drawn."""
        return self.costs_to_go(policy)[self.numbers(starts)]

    def costs_to_go(self, policy: Policy) -> _Array:
        """The exact discounted cost of a policy from every state, (n,)."""
        states, outcomes = self.all_states, self.outcomes()
        actions = policy(states)
        moves, costs = np.zeros((len(states), len(states))), np.zeros(len(states))
        for noise, probability in zip(outcomes.values, outcomes.probabilities, strict=True):
            step = self.step(states, actions, np.full(len(states), noise))
            costs += probability * step.costs
            np.add.at(moves, (np.arange(len(states)), self.numbers(step.states)), probability)
        return np.asarray(np.linalg.solve(np.eye(len(states)) - self.discount * moves, costs))


class Gridworld(_Finite):
    """A way to a corner of a square, with mud on the straight way and a floor that slips.

    A step costs 1, in mud 5; the corner costs nothing and is not left. One step in five goes in a random
    direction. The base policy goes right, then down: through the mud. The features are five broad bumps, far
    too few for the true cost.

    >>> Gridworld().step(np.array([[0.0, 0.0]]), np.array([1]), np.array([0.0])).states.tolist()
    [[0.0, 1.0]]
    """

    name = "gridworld"
    n_actions = 4
    side = 10
    _moves = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])  # up, right, down, left as (row, column)

    @property
    def all_states(self) -> _Array:
        """Rows and columns."""
        return np.stack(np.divmod(np.arange(self.side**2), self.side), axis=1).astype(np.float64)

    def numbers(self, states: _Array) -> NDArray[np.int64]:
        """Row by row."""
        return np.asarray(states[:, 0] * self.side + states[:, 1], dtype=np.int64)

    def starts(self, generator: np.random.Generator, count: int) -> _Array:
        """Anywhere but the corner."""
        return self.all_states[generator.integers(0, self.side**2 - 1, count)]

    def base(self, states: _Array) -> _Actions:
        """Right, then down."""
        return np.where(states[:, 1] < self.side - 1, 1, 2)

    def draw(self, generator: np.random.Generator, *shape: int) -> _Array:
        """0 for the move that was chosen, else 1 to 4 for a random one."""
        slips = generator.random(shape) < 0.2
        return np.where(slips, generator.integers(1, 5, shape), 0).astype(np.float64)

    def outcomes(self) -> Outcomes:
        """As drawn."""
        return Outcomes(np.arange(5.0), np.array([0.8, 0.05, 0.05, 0.05, 0.05]))

    def step(self, states: _Array, actions: _Actions, noise: _Array) -> Step:
        """See the class."""
        last = self.side - 1
        moves = self._moves[np.where(noise > 0, noise - 1, actions).astype(np.int64)]
        there = (states == last).all(axis=1)
        mud = (states[:, 0] <= 4) & (states[:, 1] >= 4) & (states[:, 1] <= 7)
        costs = np.where(there, 0.0, np.where(mud, 5.0, 1.0))
        return Step(np.where(there[:, None], states, np.clip(states + moves, 0, last)), costs)

    def features(self, states: _Array) -> _Array:
        """Five bumps of width 4, at the corners and in the middle."""
        corners = (self.side - 1) * np.array([[0, 0], [0, 1], [1, 0], [0.5, 0.5], [1, 1]])
        squares = ((states[:, None] - corners) ** 2).sum(axis=2)
        return np.asarray(np.exp(-squares / (2 * 4.0**2)))


class Inventory(_Finite):
    """A stock that is ordered for: ordering, holding and lacking cost, demand is random.

    Stock goes from -20 (owed) to 40; an action orders 0, 2, ..., 12; demand is binomial, 0 to 10. A step
    costs 2 if anything is ordered, 1 an item ordered, 0.5 an item held and 4 an item lacking afterwards.
    The base policy orders 12 below 12. The features are the stock and its square.

    >>> Inventory().step(np.array([[3.0]]), np.array([1]), np.array([4.0])).costs  # 2 + 2 + 0.5
    array([4.5])
    """

    name = "inventory"
    n_actions = 7
    lowest, highest = -20, 40

    @property
    def all_states(self) -> _Array:
        """Stocks."""
        return np.arange(self.lowest, self.highest + 1.0)[:, None]

    def numbers(self, states: _Array) -> NDArray[np.int64]:
        """From the lowest stock."""
        return np.asarray(states[:, 0] - self.lowest, dtype=np.int64)

    def starts(self, generator: np.random.Generator, count: int) -> _Array:
        """Stocks from -5 to 25."""
        return generator.integers(-5, 26, (count, 1)).astype(np.float64)

    def base(self, states: _Array) -> _Actions:
        """12 below 12."""
        return np.where(states[:, 0] < 12, 6, 0)

    def draw(self, generator: np.random.Generator, *shape: int) -> _Array:
        """Demand."""
        return generator.binomial(10, 0.5, shape).astype(np.float64)

    def outcomes(self) -> Outcomes:
        """All demands."""
        from scipy.stats import binom

        return Outcomes(np.arange(11.0), np.asarray(binom.pmf(np.arange(11), 10, 0.5)))

    def step(self, states: _Array, actions: _Actions, noise: _Array) -> Step:
        """See the class."""
        ordered = 2.0 * actions
        stock = np.clip(states[:, 0] + ordered - noise, self.lowest, self.highest)
        held, lacking = np.maximum(stock, 0), np.maximum(-stock, 0)
        return Step(stock[:, None], 2.0 * (ordered > 0) + ordered + 0.5 * held + 4 * lacking)

    def features(self, states: _Array) -> _Array:
        """Stock and its square, in units of 20."""
        stock = states[:, 0] / 20
        return np.stack([stock, stock**2], axis=1)


PROCESSES: dict[str, type[Process]] = {kind.name: kind for kind in (LinearQuadratic, Gridworld, Inventory)}


def check_states(states: Any) -> _Array:
    """States as float64 (n, d).

    Raises
    ------
    InputError
        They aren't vectors of finite numbers.

    >>> check_states([[1, 2]])
    array([[1., 2.]])
    """
    try:
        array = np.asarray(states, dtype=np.float64)
    except (TypeError, ValueError):
        array = None
    if array is None or array.ndim != 2 or not array.shape[1] or not np.isfinite(array).all():
        found = type(states).__name__ if array is None else f"shape {array.shape}"
        raise InputError(
            f"states must be vectors of finite numbers, of shape (n, d); found {found}; flatten images and "
            "dictionaries to one vector first"
        )
    return array
