"""All the systems and the best of today with one encoder, budget and search, on the same unseen classes.

    python benchmarks/comparison.py [--seeds 5] [--steps 1000] [--data DIR] [--page FILE]

Every method trains the same small network on the 964 background characters of Omniglot, from the same
batches, for the same steps, and is searched by the cosine among about 100 evaluation characters, each item a
query to all others. Learning rates are the libraries' and papers' usual ones, not tuned here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from likewise import losses
from likewise.evaluation import QueryScores, compare, retrieval_scores
from likewise.mining import SemiHard
from likewise.recipes.experiment import embedded, fit
from likewise.recipes.experiment.runner import commit_of_checkout, machine, over_seeds
from likewise.recipes.unseen import balanced_batches, small_encoder, unseen_classes

matplotlib.use("Agg")

_DIMENSION, _PROXY_RATE, _FIGURES = 64, 1e-2, ("recall@1", "map@r")
Objective = Callable[[Tensor, Tensor], Tensor]


class OnUnitVectors(nn.Module):
    """A loss of embeddings brought to unit length."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss."""
        value: Tensor = self.loss(nn.functional.normalize(embeddings), labels)
        return value


def methods(n_classes: int) -> dict[str, Callable[[], nn.Module]]:
    """Each method's loss; the published systems first, then the best of today."""
    own = n_classes, _DIMENSION
    return {
        "siamese (BinaryPair), 2015": lambda: losses.BinaryPair(balanced=True, bias=4.0),
        "2005 energy": lambda: losses.ChopraContrastive(upper_bound=100.0),
        "2006 contrastive": lambda: OnUnitVectors(losses.Contrastive(margin=1.0)),
        "triplet ratio, 2015": lambda: losses.TripletRatio(),
        "semi-hard triplets, 2015": lambda: OnUnitVectors(
            losses.TripletMargin(margin=0.2, miner=SemiHard(otherwise="farthest"))
        ),
        "GDT without inputs, 2015": lambda: losses.GeometryAware(classification_weight=1.0, balanced=True),
        "PDDM, 2016": lambda: losses.DoubleHeaderHinge(_DIMENSION, per="anchor"),
        "Proxy-NCA, 2017": lambda: losses.ProxyNCA(*own),
        "multi-similarity, 2019": lambda: losses.MultiSimilarity(),
        "supervised contrastive, 2020": lambda: losses.SupCon(),
        "Proxy-Anchor, 2020": lambda: losses.ProxyAnchor(*own),
        "ArcFace, 2019": lambda: losses.ArcFace(*own),
    }


@dataclass
class Row:
    """What a method gave: its scores by seed, and the seconds of training."""

    scores: list[QueryScores] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def values(self, figure: str) -> np.ndarray:
        """A figure by seed."""
        return np.array([float(np.mean(each.scores[figure])) for each in self.scores])


def main() -> None:
    """Run, and write the page, its lines and its picture after every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--data")
    parser.add_argument("--page", default="docs/results/comparison.md")
    request = parser.parse_args()
    held = unseen_classes("Omniglot", request.data)
    rows: dict[str, Row] = {name: Row() for name in [*methods(held.n_classes), "raw pixels", "untrained net"]}
    for seed in range(request.seeds):
        for name, row in rows.items():
            torch.manual_seed(seed)
            net = small_encoder(held.item_shape, _DIMENSION)
            if name not in ("raw pixels", "untrained net"):
                loss = methods(held.n_classes)[name]()
                groups = [{"params": list(net.parameters()), "lr": 1e-3}]
                if list(loss.parameters()):
                    groups.append({"params": list(loss.parameters()), "lr": _PROXY_RATE})
                batches = balanced_batches(held.labels, batch=request.batch, each=4, seed=seed)
                optimiser = torch.optim.Adam(groups)
                row.seconds.append(
                    fit(net, loss, held.items, held.labels, batches, steps=request.steps, optimiser=optimiser)
                )
            with torch.no_grad():
                raw = name == "raw pixels"
                found = held.unseen_items.flatten(1) if raw else embedded(net, held.unseen_items)
            row.scores.append(
                retrieval_scores(
                    found,
                    held.unseen_labels,
                    distance="euclidean" if raw else "cosine",
                    figures=list(_FIGURES),
                )
            )
            print(f"seed {seed}  {name:<32} {row.values('recall@1')[-1]:.3f}", flush=True)
        write(rows, request, len(held.unseen_labels))


def write(rows: dict[str, Row], request: argparse.Namespace, queries: int) -> None:
    """The page in Markdown, one JSON line a method and seed, and the picture."""
    page = Path(request.page)
    order = sorted(rows, key=lambda name: -float(rows[name].values("recall@1").mean()))
    best, seeds = order[0], len(rows[order[0]].scores)
    tests = compare({name: rows[name].scores[0] for name in order}, figure="recall@1")
    against = {
        other: test
        for test in tests.differences
        for one, other in ((test.first, test.second), (test.second, test.first))
        if one == best
    }
    lines = [
        "| | recall@1 | MAP@R | seconds | recall@1 less than the best's | Holm's p |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in order:
        row = rows[name]
        recall, map_r = (over_seeds(row.values(figure)) for figure in _FIGURES)
        seconds = f"{np.mean(row.seconds):.1f}" if row.seconds else "-"
        test = against.get(name)
        told = "- | -"
        if test is not None:
            told = f"{abs(test.difference.value):.3f} | {test.corrected_p_value:.2g}"
        lines.append(f"| {name} | {_told(recall)} | {_told(map_r)} | {seconds} | {told} |")
    level = [name for name, test in against.items() if test.corrected_p_value >= 0.05]
    picture = page.parent / "images" / "comparison.png"
    draw(rows, order, picture)
    text = [
        "# One encoder, one budget, one search",
        "Written by the program that ran it; don't edit it by hand.",
        "| | |\n| --- | --- |\n"
        f"| command | `python benchmarks/comparison.py --seeds {request.seeds} --steps {request.steps} "
        f"--batch {request.batch}` |\n| commit | {commit_of_checkout()} |\n"
        f"| date | {time.strftime('%Y-%m-%d')} |\n"
        f"| seeds run | {seeds} of {request.seeds} |\n| machine | {machine()} |\n"
        f"| queries | {queries} of Omniglot's evaluation characters, none of them seen |",
        (__doc__ or "").partition("\n\n")[2].partition("\n\n")[2].strip(),
        "Intervals are Student's over seeds. The paired tests hold every pair of methods against each "
        "other on the same queries of the first seed, over classes, corrected by Holm's rule for all pairs.",
        "\n".join(lines),
        f"![recall@1 of every method](images/{picture.name})",
        "## Findings\n\n"
        f"- The most is found by {best}. "
        + (f"Not told apart from it: {', '.join(level)}." if level else "Every other is told apart from it.")
        + f"\n- {request.steps} steps of {request.batch} items are a short budget: about "
        f"{request.steps * request.batch / 19_280:.1f} passes over the 19,280 items. Methods that hold "
        "a vector a class see each class seldom in it.",
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(text) + "\n", "utf-8")
    with page.with_suffix(".jsonl").open("w", encoding="utf-8") as stream:
        for name in order:
            for seed in range(len(rows[name].scores)):
                values = {figure: float(rows[name].values(figure)[seed]) for figure in _FIGURES}
                stream.write(
                    json.dumps({"method": name, "seed": seed, "steps": request.steps, **values}) + "\n"
                )


def _told(figure: object) -> str:
    text = str(figure)
    return text.partition(" [nan")[0]


def draw(rows: dict[str, Row], order: list[str], path: Path) -> None:
    """Recall@1 of every method, each seed a dot and the mean a bar."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(8, 0.36 * len(order) + 1.2), layout="constrained")
    for place, name in enumerate(reversed(order)):
        values = rows[name].values("recall@1")
        control = name in ("raw pixels", "untrained net")
        axes.barh(place, values.mean(), color="#b8bec8" if control else "#4a7ab5", height=0.62)
        axes.plot(values, np.full(len(values), place), "o", color="#1d2733", markersize=3)
    axes.set_yticks(range(len(order)), list(reversed(order)))
    axes.set_xlabel("recall@1 on characters never seen")
    axes.set_xlim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
