"""How often the 95 % intervals hold the truth: classes drawn, then items, then pairs and episodes.

    python benchmarks/coverage.py [--rounds 1000] [--classes 10 30 300] [--worlds NAME ...] [--json FILE]

Each round draws classes (a centre, a width, a size), items of each, and takes the figures as a user would.
The truth is the mean of a figure over all its rounds, which is what the interval speaks of: the same protocol
on other classes. Five worlds:

- easy: 12 dimensions, classes of one width, figures near 1;
- crowded: 3 dimensions, where most classes have neighbours;
- hard: 4 dimensions, widths from very narrow to as wide as classes lie apart;
- heavy tails: log-normal widths and Pareto sizes, so that a few classes make most of the errors;
- clumped: centres around six points of unlike weight, fine-grained kinds of few coarse ones.

Retrieval and verification are taken in every round, what costs more in every fourth; with 300 classes there
are a fifth of the rounds. "+-" is the Monte Carlo error of "held %" (95 %), "too high" and "too low" are
rounds whose interval lies above and below the truth, "told %" those whose note says that classes are few, or
that few decide.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import environment, table, told, write_lines
from scipy.stats import norm

from likewise import evaluation

COLUMNS = (
    *("classes", "world", "figure", "truth", "rounds"),
    *("held %", "+-", "too high %", "too low %", "told %", "width"),
)
COSTLY_EVERY = 4


@dataclass(frozen=True)
class Classes:
    """Classes as drawn: centres (n, d), widths (n,), sizes (n,)."""

    centres: np.ndarray
    widths: np.ndarray
    sizes: np.ndarray

    def items(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        y = np.repeat(np.arange(len(self.sizes)), self.sizes)
        noise = generator.normal(size=(len(y), self.centres.shape[1]))
        return (self.centres[y] + self.widths[y, None] * noise).astype(np.float32), y


def easy(generator: np.random.Generator, n: int) -> Classes:
    return Classes(0.76 * generator.normal(size=(n, 12)), np.full(n, 0.35), generator.integers(4, 9, n))


def crowded(generator: np.random.Generator, n: int) -> Classes:
    return Classes(1.07 * generator.normal(size=(n, 3)), np.full(n, 0.35), generator.integers(4, 9, n))


def hard(generator: np.random.Generator, n: int) -> Classes:
    return Classes(generator.normal(size=(n, 4)), generator.uniform(0.1, 1.0, n), generator.integers(4, 9, n))


def heavy_tails(generator: np.random.Generator, n: int) -> Classes:
    sizes = np.minimum(3 + 2 * generator.pareto(1.5, n), 40).astype(np.int64)
    return Classes(generator.normal(size=(n, 8)), 0.25 * np.exp(0.7 * generator.normal(size=n)), sizes)


def clumped(generator: np.random.Generator, n: int) -> Classes:
    points = 1.2 * np.random.default_rng(99).normal(size=(6, 8))
    centres = points[generator.choice(6, n, p=[0.35, 0.25, 0.15, 0.1, 0.1, 0.05])]
    centres = centres + 0.7 * generator.normal(size=(n, 8))
    return Classes(centres, generator.uniform(0.2, 0.6, n), generator.integers(4, 9, n))


WORLDS: Mapping[str, Callable[[np.random.Generator, int], Classes]] = {
    "easy": easy,
    "crowded": crowded,
    "hard": hard,
    "heavy tails": heavy_tails,
    "clumped": clumped,
}


def cheap(X: np.ndarray, y: np.ndarray) -> dict[str, evaluation.Figure]:
    """Retrieval and verification."""
    found = dict(evaluation.retrieval(X, y, figures=["recall@1", "r_precision", "map@r", "map"]))
    pairs = evaluation.verification_pairs(X, y, n_pairs=20_000)
    found |= evaluation.verification(
        pairs.distances,
        pairs.same,
        left_classes=pairs.left_classes,
        right_classes=pairs.right_classes,
        fars=(0.05, 0.01),
    )
    return {name: figure for name, figure in found.items() if not name.startswith("frr")}


def costly(
    X: np.ndarray, y: np.ndarray, classes: Classes, generator: np.random.Generator
) -> dict[str, evaluation.Figure]:
    """Few-shot, classification of new items of the same classes, clustering."""
    n = len(classes.sizes)
    found = {"5-way 1-shot": evaluation.few_shot(X, y, ways=5, episodes=200)["accuracy"]}
    if n <= 30:
        episodes = evaluation.few_shot(X, y, ways=n, episodes=600 // n)
        found["all classes 1-shot"] = episodes["accuracy"]
    found |= evaluation.classification(*classes.items(generator), X, y)
    found |= evaluation.clustering(X, y, figures=["nmi", "ari"])
    return found


def coverage(n_classes: int, world: str, rounds: int) -> list[dict[str, object]]:
    generator = np.random.default_rng([n_classes, list(WORLDS).index(world)])
    seen: dict[str, list[evaluation.Figure]] = {}
    for turn in range(rounds):
        classes = WORLDS[world](generator, n_classes)
        X, y = classes.items(generator)
        found = cheap(X, y)
        if turn % COSTLY_EVERY == 0:
            found |= costly(X, y, classes, generator)
        for name, figure in found.items():
            if figure.measurable:
                seen.setdefault(name, []).append(figure)
    return [counted(n_classes, world, name, figures) for name, figures in seen.items()]


def counted(n_classes: int, world: str, name: str, figures: list[evaluation.Figure]) -> dict[str, object]:
    value, low, high = (np.array([getattr(f, end) for f in figures]) for end in ("value", "low", "high"))
    truth, rounds = float(value.mean()), len(figures)
    held = float(np.mean((low <= truth) & (truth <= high)))
    return {
        "classes": n_classes,
        "world": world,
        "figure": name,
        "truth": truth,
        "rounds": rounds,
        "held %": 100 * held,
        "+-": 100 * float(norm.ppf(0.975)) * math.sqrt(held * (1 - held) / rounds),
        "too high %": 100 * float(np.mean(low > truth)),
        "too low %": 100 * float(np.mean(high < truth)),
        "told %": 100 * float(np.mean(["few classes" in figure.note for figure in figures])),
        "width": float(np.median(high - low)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1000, help="a fifth of them with 300 classes")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 30, 300])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for n_classes in options.classes:
        rounds = max(2, options.rounds // (1 if n_classes < 100 else 5))
        for world in options.worlds:
            rows += coverage(n_classes, world, rounds)
            if options.json:
                write_lines(options.json, rows)  # as it goes: the whole takes a while
    print(table(rows, COLUMNS))
    held = np.array([row["held %"] for row in rows], dtype=np.float64)
    print(f"\n{len(held)} figures: held {held.mean():.1f} % on average, {held.min():.1f} to {held.max():.1f}")
    print(told(environment()))


if __name__ == "__main__":
    main()
