"""Differential training of rollout policies (Bertsekas 1997).

The cost-to-go J of a base policy mu is fitted from simulation, and the rollout policy takes the action that
is best if mu follows: ``argmin_u E[g(x, u, w) + J(f(x, u, w))]``. Only differences of J between states that
one lookahead compares matter, so fit ``G(x, z) = J(x) - J(z)`` instead, which obeys an equation of its own
on pairs driven by one disturbance::

    G(x, z) = E[g(x, mu(x), w) - g(z, mu(z), w) + G(f(x, mu(x), w), f(z, mu(z), w))]

Here ``G(x, z) = V(x) - V(z)`` with ``V = r'phi``, antisymmetric and transitive by construction; r is the
minimum of :class:`~likewise.losses.DifferenceRegression`, or what TD(lambda) on pairs converges to. Each
effect is measured alone: which pairs (independent states, or successors of one state) and which noise (each
its own, or common), at equally many simulated steps. Policies are judged by their cost and by how they order
actions, never by the error of J.

Departures from the paper: its text wasn't at hand, so the processes, the features and the budgets are our
own (likewise.recipes.processes); the worked example is attributed from memory, and its algebra is tested.
They were chosen after looking at runs like these: with few pairs the linear-quadratic process shows the
effects best, and the gridworld's first features (row, column, product), good enough for every fit, gave way
to broad bumps. Where features and samples suffice, as in inventory control, differences gain next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import nn

from likewise.errors import InputError
from likewise.losses import DifferenceRegression
from likewise.recipes.environments import environment_outcome
from likewise.recipes.experiment import Claim, Outcome, RecipeConfig, Scores, Table
from likewise.recipes.processes import PROCESSES, LinearQuadratic, Policy, Process
from likewise.recipes.rollouts import (
    Variant,
    action_order,
    fitted,
    lookahead,
    rollout_policy,
    simulate,
    simulated_costs,
)
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "QUICK", "TABLES", "VARIANTS", "Config", "build", "objective", "run"]

_Array = NDArray[np.float64]

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "absolute costs": Variant("independent", False, "cost"),
        "absolute costs, states of the successor pairs": Variant("successors", False, "cost"),
        "absolute costs, those states, common noise": Variant("successors", True, "cost"),
        "differences, i.i.d. pairs": Variant("independent", False, "difference"),
        "differences, i.i.d. pairs, common noise": Variant("independent", True, "difference"),
        "differences, successor pairs": Variant("successors", False, "difference"),
        "differences, successor pairs, common noise": Variant("successors", True, "difference"),
        "TD(lambda), successor pairs, common noise": Variant("successors", True, "td"),
    }
)


@dataclass(frozen=True)
class Config(RecipeConfig):
    """What is simulated, and how much."""

    processes: str = setting(",".join(PROCESSES), "which processes", Rule(str))
    variants: str = setting("; ".join(VARIANTS), "which fits, with semicolons between them", Rule(str))
    fits: int = setting(20, "independent fits a seed, which are averaged", Rule(int, low=2))
    pairs: int = setting(30, "pairs of trajectories a fit, of the linear-quadratic process", Rule(int, low=2))
    finite_pairs: int = setting(400, "pairs of trajectories a fit, of the finite ones", Rule(int, low=2))
    starts: int = setting(60, "states from which policies are judged", Rule(int, low=2))
    trace: float = setting(0.7, "lambda of TD(lambda)", Rule(float, low=0, high=1))
    rollouts: int = setting(
        16, "simulated trajectories an action, of rollout without a fit", Rule(int, low=2)
    )
    trials: int = setting(200, "how often that is tried", Rule(int, low=2))
    environment: str = setting("", "a Gymnasium environment with vector states, also judged", Rule(str))
    environment_pairs: int = setting(60, "pairs of trajectories a fit there", Rule(int, low=2))
    environment_fits: int = setting(8, "independent fits a seed there, which are averaged", Rule(int, low=1))


_BEST = "differences, successor pairs, common noise"
_CONTROL = "absolute costs"
QUICK = Config(
    processes="linear-quadratic",
    variants="; ".join([_CONTROL, "differences, successor pairs", _BEST]),
    trials=20,
)
_FIGURES = ("policy cost", "actions in order")
_ROWS = ("base policy", "exact rollout policy", *VARIANTS)
_SIMULATED = "linear-quadratic, rollout by simulation"
_ENVIRONMENT = "environment"
TABLES = (
    *(
        Table(
            name,
            _ROWS,
            _FIGURES,
            f"{' '.join((kind.__doc__ or '').split())[:-1].split(' >>> ')[0]} Cost of the policy (smaller is "
            "better) and the part of pairs of actions that it orders as the true cost does.",
        )
        for name, kind in PROCESSES.items()
    ),
    Table(
        _SIMULATED,
        ("each action its own noise", "common noise"),
        ("standard error", "one of the two best"),
        "No fit: each first action's cost is the mean of simulated rollouts. The standard error of the "
        "difference of two neighbouring actions, and how often the action chosen is one of the two best.",
    ),
    Table(
        _ENVIRONMENT,
        ("base policy", *VARIANTS),
        ("cost",),
        "Of Gymnasium, named by --environment (extra control): the base policy takes random actions, cost is "
        "minus the return of at most 100 steps. Common noise means common random actions too.",
        digits=1,
    ),
)
CLAIMS = (
    Claim(
        "Differences of successors under common noise make a cheaper policy than absolute costs",
        "linear-quadratic",
        "policy cost",
        _BEST,
        _CONTROL,
        smaller=True,
        control=True,
    ),
    Claim(
        "Pairs that the lookahead compares, with the noise common in both",
        "linear-quadratic",
        "actions in order",
        _BEST,
        "differences, i.i.d. pairs, common noise",
    ),
    Claim(
        "Common noise, with successor pairs in both",
        "linear-quadratic",
        "actions in order",
        _BEST,
        "differences, successor pairs",
    ),
    Claim(
        "Independent pairs without common noise, over absolute costs",
        "linear-quadratic",
        "actions in order",
        "differences, i.i.d. pairs",
        _CONTROL,
    ),
    Claim("The same in the gridworld", "gridworld", "policy cost", _BEST, _CONTROL, smaller=True),
    Claim("The same in the environment", _ENVIRONMENT, "cost", _BEST, _CONTROL, smaller=True),
    Claim("The same in inventory control", "inventory", "policy cost", _BEST, _CONTROL, smaller=True),
)


def build(features: int) -> nn.Linear:
    """V = r'phi: one linear map of features; a constant would cancel."""
    return nn.Linear(features, 1, bias=False)


def objective() -> DifferenceRegression:
    """The mean of ``(V(x) - V(z) - (C(x) - C(z)))^2``; :func:`fit_differences` gives its minimum."""
    return DifferenceRegression()


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:  # noqa: ARG001
    """One seed: every process, every variant, judged from the same starts."""
    outcome = Outcome()
    variants = [name.strip() for name in config.variants.split(";") if name.strip()]
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise InputError(f"variants must be of {'; '.join(VARIANTS)}; found {unknown[0]!r}")
    for name in config.names("processes", tuple(PROCESSES)):
        _judge_process(outcome, PROCESSES[name](), variants, config, seed)
        if name == LinearQuadratic.name:
            _judge_simulation(outcome, config, seed)
    if config.environment:
        chosen = {name: VARIANTS[name] for name in variants}
        costs = environment_outcome(
            config.environment,
            chosen,
            pairs=config.environment_pairs,
            seed=seed,
            trace=config.trace,
            fits=config.environment_fits,
        )
        for row, cost in costs.items():
            outcome.record(_ENVIRONMENT, row, {"cost": float(cost.mean())})
    return outcome


def _judge_process(
    outcome: Outcome, process: Process, variants: list[str], config: Config, seed: int
) -> None:
    starts = process.starts(np.random.default_rng([seed, 0]), config.starts)
    count = config.pairs if process.name == LinearQuadratic.name else config.finite_pairs

    def cost(policy: Policy) -> float:
        return float(process.policy_costs(policy, starts, np.random.default_rng([seed, 1])).mean())

    outcome.record(process.name, "base policy", {_FIGURES[0]: cost(process.base)})
    best = rollout_policy(process, process.base_costs)
    outcome.record(process.name, "exact rollout policy", {_FIGURES[0]: cost(best), _FIGURES[1]: 1.0})
    for name in variants:
        found = []
        for fit in range(config.fits):
            weights = _fitted(process, VARIANTS[name], count, np.random.default_rng([seed, 2, fit]), config)

            def values(states: _Array, weights: _Array = weights) -> _Array:
                return np.asarray(process.features(states) @ weights)

            order = float(np.nanmean(action_order(process, values, starts)))
            found.append((cost(rollout_policy(process, values)), order))
        columns = dict(zip(_FIGURES, np.array(found).T, strict=True))
        outcome.record(
            process.name,
            name,
            {figure: float(column.mean()) for figure, column in columns.items()},
            scores={figure: Scores(column, np.arange(config.fits)) for figure, column in columns.items()},
        )


def _fitted(
    process: Process, variant: Variant, count: int, generator: np.random.Generator, config: Config
) -> _Array:
    pairs = simulate(process, variant, count, generator)
    return fitted(process.features, pairs, variant.target, trace=config.trace)


def _judge_simulation(outcome: Outcome, config: Config, seed: int) -> None:
    process, state = LinearQuadratic(), np.array([[1.0]])
    best = lookahead(process, process.base_costs, state)[0].argsort()[:2]
    for common in (False, True):
        generator = np.random.default_rng([seed, 3])
        hits, gaps = [], []
        for _ in range(config.trials):
            costs = simulated_costs(
                process, state, rollouts=config.rollouts, common_noise=common, generator=generator
            )
            means = costs.mean(axis=1)
            hits.append(means.argmin() in best)
            gaps.append(means[4] - means[3])
        row = "common noise" if common else "each action its own noise"
        figures = {"standard error": float(np.std(gaps)), "one of the two best": float(np.mean(hits))}
        outcome.record(_SIMULATED, row, figures)
