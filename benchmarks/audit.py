"""How many of the labels that an audit doubts first were truly flipped, beside cleanlab where it is there.

    python benchmarks/audit.py [--data DIR] [--rate 0.05] [--seeds 3] [--json FILE] [--page FILE]

Labels of MNIST (raw pixels) and of Omniglot's evaluation alphabets (raw pixels, and 64 principal components)
are flipped to another class at random. "precision" is the part truly flipped among as many of the first
doubts as labels were flipped; "average precision" is over the whole order. cleanlab gets out-of-sample
probabilities from the 10 nearest neighbours without the item itself, weighted by closeness, and orders by
its self-confidence and by its normalised margin; the better of the two is shown.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from harness import environment, table, told, write_lines
from scipy.stats import t
from sklearn.metrics import average_precision_score

from likewise.audit import label_doubts
from likewise.data import load
from likewise.search.exact import nearest

COLUMNS = ("data", "items", "classes", "flipped", "method", "precision", "average precision", "seconds")

PAGE = """\
# Audit: labels flipped at random

Made by `benchmarks/audit.py`; don't edit it by hand.

{rate:.0%} of the labels of each set were given to another class at random, {seeds} times. The audit orders
all items by how much it doubts their labels. "precision" is the part truly flipped among as many of the first
doubts as labels were flipped, "average precision" is over the whole order; each is the mean over the draws
with its 95 % interval (Student's t over draws: how it would be for other flips of the same items). Precision
at MNIST was to be 0.9 or better. Nothing is trained: items are pixels, or 64 principal components of them.

cleanlab {cleanlab} gets out-of-sample probabilities from the 10 nearest neighbours, weighted by closeness,
and orders by self-confidence or by normalised margin; in each draw the better of the two is shown, which
favours it. "10 neighbours" orders by those probabilities without it. How good the probabilities are decides
how good cleanlab is: those of a trained classifier may be better than these. Seconds are the processor's,
of one thread.

{table}

{environment}
"""


def flipped(y: np.ndarray, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a part of them flipped to another class, and which."""
    generator = np.random.default_rng(seed)
    classes = int(y.max()) + 1
    wrong = np.zeros(len(y), dtype=bool)
    wrong[generator.permutation(len(y))[: round(rate * len(y))]] = True
    given = y.copy()
    given[wrong] = (y[wrong] + generator.integers(1, classes, int(wrong.sum()))) % classes
    return given, wrong


def neighbour_probabilities(X: np.ndarray, given: np.ndarray, k: int = 10) -> np.ndarray:
    found = nearest(X, X, k, exclude=torch.arange(len(X)))
    weights = 1 / (found.distances.numpy() + 1e-6)
    out = np.full((len(X), int(given.max()) + 1), 1e-6)
    np.add.at(out, (np.arange(len(X))[:, None], given[found.indices.numpy()]), weights)
    return out / out.sum(1, keepdims=True)


def ours(X: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    return [np.nan_to_num(label_doubts(X, given).score, nan=-9.0)]


def neighbours(X: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    return [-neighbour_probabilities(X, given)[np.arange(len(X)), given]]


def cleanlab(X: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    from cleanlab.rank import get_label_quality_scores

    probabilities = neighbour_probabilities(X, given)
    methods = ("self_confidence", "normalized_margin")
    return [-get_label_quality_scores(given, probabilities, method=method) for method in methods]


def data_sets(folder: str | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    mnist = load("mnist:split=train", data=folder)
    omniglot = load("omniglot:part=evaluation", data=folder)
    out = {"MNIST, raw": (mnist.items().reshape(len(mnist), -1), mnist.codes)}
    X = omniglot.items().reshape(len(omniglot), -1)
    centred = torch.from_numpy(X - X.mean(0))
    axes = torch.linalg.eigh(centred.T @ centred)[1][:, -64:]
    out["Omniglot evaluation, raw"] = (X, omniglot.codes)
    out["Omniglot evaluation, 64 components"] = ((centred @ axes).numpy(), omniglot.codes)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the folder of data sets")
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--items", type=int, default=20_000, help="of each set at most")
    parser.add_argument("--seeds", type=int, default=3, help="draws of flipped labels")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for name, (X, y) in data_sets(options.data).items()
        for row in judged(name, X, y, options.items, options.rate, options.seeds)
    ]
    print(table(rows, COLUMNS))
    print(told(environment()))
    if options.json:
        write_lines(options.json, rows)
    if options.page:
        said = PAGE.format(
            rate=options.rate,
            seeds=options.seeds,
            cleanlab=version("cleanlab"),
            table=table(rows, COLUMNS),
            environment=told(environment()),
        )
        options.page.write_text(said, encoding="utf-8")


def judged(
    name: str, X: np.ndarray, y: np.ndarray, most: int, rate: float, seeds: int
) -> list[dict[str, object]]:
    """The figures of every method on one set."""
    kept = np.sort(np.random.default_rng(0).permutation(len(X))[:most])
    X, y = X[kept], y[kept]
    rows = []
    for method, score in {"likewise": ours, "10 neighbours": neighbours, "cleanlab": cleanlab}.items():
        precisions, averages, seconds = [], [], []
        try:
            for seed in range(1, seeds + 1):
                given, wrong = flipped(y, rate, seed)
                start = time.process_time()
                scores = score(X, given)
                seconds.append(time.process_time() - start)
                firsts = [wrong[np.argsort(-s, kind="stable")[: wrong.sum()]].mean() for s in scores]
                best = int(np.argmax(firsts))
                precisions.append(firsts[best])
                averages.append(average_precision_score(wrong, scores[best]))
        except ImportError:
            continue
        rows.append(
            {
                "data": name,
                "items": len(X),
                "classes": len(np.unique(y)),
                "flipped": round(rate * len(X)),
                "method": method,
                "precision": with_interval(precisions),
                "average precision": with_interval(averages),
                "seconds": float(np.mean(seconds)),
            }
        )
    return rows


def with_interval(values: list[float]) -> str:
    """The mean over draws and its interval by Student's t."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return f"{mean:.3f}"
    reach = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / n**0.5
    return f"{mean:.3f} [{mean - reach:.3f}, {min(mean + reach, 1.0):.3f}]"


if __name__ == "__main__":
    main()
