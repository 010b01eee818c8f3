"""How often the 95 % intervals hold the truth: classes drawn, then items, then pairs and episodes.

    python benchmarks/coverage.py [--rounds 400] [--json FILE]

Each round draws classes (a centre and a width), items of each, and takes the figures as a user would. The
truth is the mean of a figure over all rounds of its kind, which is what the interval speaks of: the same
protocol on other classes. Four kinds of classes: of many widths or of one, in few or in many dimensions;
the figures run from 0.36 to 0.99. Both tails are told.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import environment, table, told, write_lines
from scipy.stats import norm

from likewise import evaluation

COLUMNS = ("classes", "kind", "figure", "truth", "rounds", "held %", "+-", "too high %", "too low %")


@dataclass(frozen=True)
class Kind:
    """How classes are drawn: the dimension, and whether their widths differ."""

    dimension: int
    varied: bool

    def draw(self, generator: np.random.Generator, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
        centres = generator.normal(size=(n_classes, self.dimension)) * (4 / self.dimension) ** 0.25
        y = np.repeat(np.arange(n_classes), generator.integers(4, 9, n_classes))
        widths = generator.uniform(0.1, 1.0, n_classes) if self.varied else np.full(n_classes, 0.35)
        X = centres[y] + widths[y][:, None] * generator.normal(size=(len(y), self.dimension))
        return X.astype(np.float32), y


KINDS: Mapping[str, Kind] = {
    "varied, d=4": Kind(4, True),
    "varied, d=16": Kind(16, True),
    "even, d=3": Kind(3, False),
    "even, d=8": Kind(8, False),
    "even, d=12": Kind(12, False),
}


def figures(X: np.ndarray, y: np.ndarray, n_classes: int) -> dict[str, evaluation.Figure]:
    names = ["recall@1", "precision@4", "map@r", "r_precision", "mrr"]
    found = dict(evaluation.retrieval(X, y, figures=names))
    pairs = evaluation.verification_pairs(X, y, n_pairs=20_000)
    found |= evaluation.verification(
        pairs.distances,
        pairs.same,
        left_classes=pairs.left_classes,
        right_classes=pairs.right_classes,
        fars=(0.05,),
    )
    del found["tar@far=0.05"]
    found["5-way"] = evaluation.few_shot(X, y, ways=5, episodes=200)["accuracy"]
    if n_classes <= 30:
        name = f"{n_classes}-way, all classes"
        found[name] = evaluation.few_shot(X, y, ways=n_classes, episodes=60)["accuracy"]
    return found


def coverage(n_classes: int, name: str, rounds: int) -> list[dict[str, object]]:
    generator = np.random.default_rng(n_classes)
    seen: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        X, y = KINDS[name].draw(generator, n_classes)
        for figure, found in figures(X, y, n_classes).items():
            if found.measurable:
                seen.setdefault(figure, []).append((found.value, found.low, found.high))
    rows = []
    for figure, values in seen.items():
        value, low, high = np.array(values).T
        truth = float(value.mean())
        held = float(np.mean((low <= truth) & (truth <= high)))
        margin = float(norm.ppf(0.975) * np.sqrt(held * (1 - held) / len(value)))
        rows.append(
            {
                "classes": n_classes,
                "kind": name,
                "figure": figure,
                "truth": truth,
                "rounds": len(value),
                "held %": 100 * held,
                "+-": 100 * margin,
                "too high %": 100 * float(np.mean(low > truth)),
                "too low %": 100 * float(np.mean(high < truth)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=400, help="at 10 classes; fewer at 30 and 300")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 30, 300])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for n_classes in options.classes:
        rounds = max(20, options.rounds // (1 if n_classes < 20 else 2 if n_classes < 100 else 6))
        for name in options.kinds:
            rows += coverage(n_classes, name, rounds)
            if options.json:
                write_lines(options.json, rows)  # as it goes: the whole takes a while
    print(table(rows, COLUMNS))
    held = np.array([float(row["held %"]) for row in rows])  # type: ignore[arg-type]
    print(f"\n{len(held)} figures: held {held.mean():.1f} % on average, {held.min():.1f} to {held.max():.1f}")
    print(told(environment()))


if __name__ == "__main__":
    main()
