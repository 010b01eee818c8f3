"""What else was tried for verification's intervals where a few classes make most of the alike pairs.

    python benchmarks/coverage_skew.py [--rounds 300 200 60] [--json FILE]

Draws of the worlds "heavy tails" and "easy" of ``coverage.py``. Of each draw the figure without each class is
taken once, and every way makes its interval of that:

- logit: as reports have it, on the logit's scale with Satterthwaite's degrees of freedom;
- Hall: Hall's cubic transformation of the statistic on that scale, which takes its skewness off (Hall 1992,
  On the Removal of Skewness by Transformation), the same degrees of freedom;
- Hall, C - 1: with C - 1 degrees of freedom;
- Johnson: Johnson's shift of the middle for skewness (1978, Modified t Tests).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from coverage import WORLDS
from harness import environment, table, told, write_lines
from scipy.special import expit, logit
from scipy.stats import t

from likewise import evaluation
from likewise.evaluation.curves import ErrorCurve, PairPart
from likewise.evaluation.pairs import pair_units
from likewise.evaluation.spread import jackknife_spread

COLUMNS = ("world", "classes", "figure", "way", "rounds", "held %", "width", "width where held", "where not")
Interval = tuple[float, float]


def drawn(world: str, n: int, generator: np.random.Generator) -> dict[str, tuple[float, np.ndarray]]:
    """Each figure and what it is without each class."""
    X, y = WORLDS[world](generator, n).items(generator)
    pairs = evaluation.verification_pairs(X, y, n_pairs=20_000)
    values, alike = pairs.distances.astype(np.float64), pairs.same
    curve = ErrorCurve.of(values, alike)
    parts = [
        PairPart(np.sort(values[m][alike[m]]), np.sort(values[m][~alike[m]]))
        for m in pair_units(len(values), pairs.left_classes, pairs.right_classes).members
    ]
    ways: dict[str, Callable[..., float]] = {"eer": curve.eer, "auc": curve.auc}
    ways["frr@far=0.05"] = lambda *without: curve.frr_at(0.05, *without)
    return {name: (way(), np.array([way(part) for part in parts])) for name, way in ways.items()}


def pseudo_values(value: float, left_out: np.ndarray) -> np.ndarray:
    inside = logit(np.clip(left_out, 1e-12, 1 - 1e-12))
    return len(left_out) * logit(value) - (len(left_out) - 1) * inside


def on_the_logit(value: float, left_out: np.ndarray) -> Interval:
    spread = jackknife_spread(left_out, len(left_out))
    reach = float(t.ppf(0.975, spread.freedom)) * spread.error / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def hall(value: float, left_out: np.ndarray, *, satterthwaite: bool = True) -> Interval:
    n, p = len(left_out), pseudo_values(value, left_out)
    skewness = float(np.mean((p - p.mean()) ** 3)) / float(p.std()) ** 3
    freedom = jackknife_spread(left_out, n).freedom if satterthwaite else n - 1
    quantile = float(t.ppf(0.975, freedom)) / math.sqrt(n)

    def turned(y: float) -> float:
        if abs(skewness) < 1e-6:
            return y
        return 3 / skewness * (float(np.cbrt(1 + skewness * (y - skewness / (6 * n)))) - 1)

    ends = (logit(value) - p.std(ddof=1) * turned(end) for end in (quantile, -quantile))
    low, high = (float(expit(end)) for end in ends)
    return low, high


def johnson(value: float, left_out: np.ndarray) -> Interval:
    n, p = len(left_out), pseudo_values(value, left_out)
    third = float(np.mean((p - p.mean()) ** 3))
    middle = logit(value) + third / (6 * float(p.var(ddof=1)) * n)
    quantile = float(t.ppf(0.975, jackknife_spread(left_out, n).freedom))
    reach = quantile * p.std(ddof=1) / math.sqrt(n)
    return float(expit(middle - reach)), float(expit(middle + reach))


WAYS: dict[str, Callable[[float, np.ndarray], Interval]] = {
    "logit": on_the_logit,
    "Hall": hall,
    "Hall, C - 1": lambda value, left_out: hall(value, left_out, satterthwaite=False),
    "Johnson": johnson,
}


def rows_of(world: str, n: int, rounds: int) -> list[dict[str, object]]:
    generator = np.random.default_rng([n, 7])
    seen: dict[str, list[tuple[float, np.ndarray]]] = {}
    for _ in range(rounds):
        for name, found in drawn(world, n, generator).items():
            seen.setdefault(name, []).append(found)
    rows = []
    for name, draws in seen.items():
        truth = float(np.mean([value for value, _ in draws]))
        # At an end of the range, or where no class moves it, every way gives the whole range here.
        inside = [(value, left) for value, left in draws if 0 < value < 1 and np.ptp(left) > 0]
        whole = len(draws) - len(inside)
        for way, interval in WAYS.items():
            ends = np.array([(0.0, 1.0)] * whole + [interval(*draw) for draw in inside])
            held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
            width = ends[:, 1] - ends[:, 0]
            rows.append(
                {"world": world, "classes": n, "figure": name, "way": way, "rounds": len(draws)}
                | {"held %": 100 * float(held.mean()), "width": float(np.median(width))}
                | {"width where held": float(np.median(width[held])) if held.any() else None}
                | {"where not": float(np.median(width[~held])) if (~held).any() else None}
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, nargs=3, default=[300, 200, 60], help="at 10, 30, 300 classes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for n, rounds in zip((10, 30, 300), options.rounds, strict=True):
        rows += rows_of("heavy tails", n, rounds)
    rows += rows_of("easy", 10, options.rounds[0])
    print(table(rows, COLUMNS))
    print(told(environment()))
    if options.json:
        write_lines(options.json, rows)


if __name__ == "__main__":
    main()
