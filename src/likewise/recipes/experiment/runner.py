"""Run a recipe over seeds, and say what its figures support.

A cell is the mean over seeds with Student's t interval; a claim is judged by the paired interval of its two
rows over the same seeds. Where there is one seed only, both are taken over the test set's own units
(queries by class, episodes, folds), and say nothing about another seed.
"""

from __future__ import annotations

import math
import os
import platform
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise import __version__
from likewise.errors import InputError
from likewise.evaluation import Figure
from likewise.evaluation.spread import linked_variance
from likewise.recipes.experiment.config import RecipeConfig
from likewise.recipes.experiment.outcome import Claim, Outcome, Scores, check_cells
from likewise.recipes.experiment.seeds import run_seeds
from likewise.recipes.registry import Recipe

__all__ = ["Finding", "Result", "commit_of_checkout", "experiment", "machine", "over_seeds"]


@dataclass(frozen=True)
class Finding:
    """A claim, the paired difference that speaks about it, and the verdict in words."""

    claim: Claim
    difference: Figure
    verdict: str


@dataclass(frozen=True)
class Result:
    """All seeds of a recipe, and how they were run."""

    recipe: Recipe
    config: RecipeConfig
    quick: bool
    outcomes: dict[int, Outcome]  # by seed
    facts: dict[str, str]

    def cell(self, table: str, row: str, figure: str) -> Figure | None:
        """Mean and interval of a cell; None where it wasn't run."""
        key = (table, row, figure)
        values = [outcome.cells[key] for outcome in self.outcomes.values() if key in outcome.cells]
        if not values:
            return None
        if len(values) == 1:
            held = next((o.scores[key] for o in self.outcomes.values() if key in o.scores), None)
            return Figure(values[0], math.nan, math.nan, "seed", 1) if held is None else _of_scores(held)
        return over_seeds(np.array(values))

    def difference(self, claim: Claim) -> Figure | None:
        """How much better the claim's row is, paired; positive supports it. None where it wasn't run."""
        sign = -1.0 if claim.smaller else 1.0
        key = (claim.table, claim.better, claim.figure)
        other = None if isinstance(claim.than, float) else (claim.table, claim.than, claim.figure)
        both = [
            outcome
            for outcome in self.outcomes.values()
            if key in outcome.cells and (other is None or other in outcome.cells)
        ]
        if not both:
            return None
        if len(both) == 1 and other is not None:
            first, second = both[0].scores.get(key), both[0].scores.get(other)
            if first is not None and second is not None:
                return _of_pair(first, second, sign)
        fixed = claim.than if isinstance(claim.than, float) else math.nan
        than = [fixed if other is None else outcome.cells[other] for outcome in both]
        return over_seeds(sign * np.array([o.cells[key] - t for o, t in zip(both, than, strict=True)]))

    def findings(self) -> list[Finding]:
        """What the figures say to each claim whose cells were run."""
        found = []
        for claim in self.recipe.claims:
            difference = self.difference(claim)
            if difference is not None:
                found.append(Finding(claim, difference, _verdict(difference)))
        return found

    def lines(self) -> list[dict[str, Any]]:
        """One JSON object a seed: cells, configuration, and how it was run."""
        return [
            {
                "recipe": self.recipe.name,
                "seed": seed,
                "quick": self.quick,
                "config": asdict(self.config),
                **self.facts,
                **outcome.to_dict(),
            }
            for seed, outcome in self.outcomes.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: figures with intervals by table and row, findings, and how it was run."""
        figures: dict[str, dict[str, dict[str, Any]]] = {}
        for table in self.recipe.tables:
            for row in table.rows:
                for name in table.figures:
                    found = self.cell(table.name, row, name)
                    if found is not None:
                        figures.setdefault(table.name, {}).setdefault(row, {})[name] = found.to_dict()
        return {
            "recipe": self.recipe.name,
            "seeds": list(self.outcomes),
            "quick": self.quick,
            "config": asdict(self.config),
            **self.facts,
            "seconds": round(sum(outcome.seconds for outcome in self.outcomes.values()), 1),
            "figures": figures,
            "findings": [
                {
                    "claim": found.claim.says,
                    "control": found.claim.control,
                    "difference": found.difference.to_dict(),
                    "verdict": found.verdict,
                }
                for found in self.findings()
            ],
        }


def experiment(
    recipe: Recipe,
    config: RecipeConfig | None = None,
    *,
    quick: bool = False,
    seeds: int = 5,
    data: str | os.PathLike[str] | None = None,
    parallel: int = 1,
    after: Callable[[Result], None] | None = None,
) -> Result:
    """Run a recipe for seeds 0, 1, ...

    Parameters
    ----------
    recipe : Recipe
    config : RecipeConfig, optional
        The module's ``QUICK`` with ``quick``, its defaults otherwise.
    seeds : int >= 1
    data : path, optional
        Where built-in sets are looked for first.
    parallel : int >= 1
        How many seeds are run at a time, each by a process with its share of the threads.
    after : callable, optional
        Called with what there is after every seed, to keep it.

    Raises
    ------
    InputError
        ``seeds`` or ``parallel`` is below 1, or the data can't serve the recipe.
    """
    if seeds < 1:
        raise InputError(f"seeds must be at least 1; found {seeds}")
    if parallel < 1:
        raise InputError(f"parallel must be at least 1; found {parallel}")
    chosen = config if config is not None else recipe.quick if quick else recipe.config()
    threads = max(1, torch.get_num_threads() // min(parallel, seeds))
    result = Result(recipe, chosen, quick, {}, _facts(recipe, chosen, quick, seeds, min(parallel, seeds)))
    for seed, outcome in run_seeds(recipe.run, chosen, seeds, data, min(parallel, seeds), threads):
        check_cells(outcome, recipe.tables)
        result.outcomes[seed] = outcome
        _in_order(result.outcomes)
        if after is not None:
            after(result)
    return result


def _in_order(outcomes: dict[int, Outcome]) -> None:
    """Seeds by number: of several processes the later seed may end first."""
    for seed in sorted(outcomes):
        outcomes[seed] = outcomes.pop(seed)


def over_seeds(values: NDArray[np.float64]) -> Figure:
    """Student's t over seeds; no interval with one."""
    from scipy.stats import t

    values = values[~np.isnan(values)]
    if not len(values):
        return Figure(math.nan, math.nan, math.nan, "seed", 0)
    mean = float(values.mean())
    if len(values) == 1:
        return Figure(mean, math.nan, math.nan, "seed", 1)
    reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Figure(mean, mean - reach, mean + reach, "seed", len(values))


def _of_scores(scores: Scores) -> Figure:
    return _clustered(scores.values, _sum_variance(scores.values, scores), scores.clusters)


def _of_pair(first: Scores, second: Scores, sign: float) -> Figure:
    """The mean difference of two rows over the same units; a unit moves with its rivals in both."""
    if len(first.values) != len(second.values) or not np.array_equal(first.clusters, second.clusters):
        raise InputError("paired rows must be scored on the same units; found other ones")
    values = sign * (first.values - second.values)
    alone = _sum_variance(values, Scores(values, first.clusters))
    variance = _sum_variance(values, first) + _sum_variance(values, second) - alone
    return _clustered(values, max(variance, alone), first.clusters)


def _sum_variance(values: NDArray[np.float64], scores: Scores) -> float:
    residuals = (values - values.mean()) / len(values)
    rivals = scores.clusters if scores.rivals is None else scores.rivals
    return linked_variance(residuals, scores.clusters, rivals)


def _clustered(values: NDArray[np.float64], variance: float, clusters: NDArray[np.int64]) -> Figure:
    from scipy.stats import t

    count, mean = len(np.unique(clusters)), float(values.mean())
    if count < 2:
        return Figure(mean, math.nan, math.nan, "unit", count)
    reach = float(t.ppf(0.975, count - 1)) * math.sqrt(count / (count - 1) * variance)
    return Figure(mean, mean - reach, mean + reach, "unit", count)


def _verdict(difference: Figure) -> str:
    if math.isnan(difference.low):
        return "not judged: one run has no interval here"
    if difference.low > 0:
        return "holds"
    if difference.high < 0:
        return "does not hold: the opposite is seen"
    return "not shown: these runs can't tell"


def _facts(recipe: Recipe, config: RecipeConfig, quick: bool, seeds: int, parallel: int) -> dict[str, str]:
    base = recipe.quick if quick else recipe.config()
    changed = [
        _option(own.name, getattr(config, own.name))
        for own in fields(config)
        if getattr(config, own.name) != getattr(base, own.name)
    ]
    words = ["likewise reproduce", recipe.name, *(["--quick"] if quick else []), f"--seeds {seeds}"]
    words += [*([f"--parallel {parallel}"] if parallel > 1 else []), *changed]
    return {
        "command": " ".join(words),
        "commit": commit_of_checkout(),
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": ", ".join(
            (f"likewise {__version__}", f"Python {platform.python_version()}", f"PyTorch {torch.__version__}")
        ),
    }


def _option(name: str, value: Any) -> str:
    """As a shell takes it: a value of several words stands in quotes, and one of two has no value."""
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {shlex.quote(str(value))}"


def commit_of_checkout() -> str:
    """The checkout's commit, and whether files differ from it; "unknown" where there is no checkout."""
    folder = Path(__file__).resolve().parents[4]
    if not (folder / ".git").exists():
        return "unknown"
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "src"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def machine() -> str:
    """The processor, how many cores there are and are used, and the accelerator."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} used{accelerator}"
