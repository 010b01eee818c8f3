"""All the systems and the best of today with one encoder, budget and search, on the same unseen classes.

    python benchmarks/comparison.py [--seeds 5] [--steps 1000] [--data DIR] [--page FILE]

Every method trains the same small network on the 964 background characters of Omniglot, from the same
batches, for the same steps, and is searched by the cosine among about 100 evaluation characters, each item a
query to all others. Each method has the same search before it: three learning rates of the network, tried for
the same steps with every fifth background alphabet held back, by MAP@R there; the evaluation characters
aren't looked at. Margins and scales are the library's, which are the papers'. Vectors of classes start at the
classes' mean embeddings, as random ones need more passes than this budget has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from likewise import losses
from likewise.data import load
from likewise.evaluation import QueryScores, compare, retrieval_scores
from likewise.losses.classes import ClassLoss
from likewise.mining import SemiHard
from likewise.recipes.experiment import embedded, fit, thread_seconds
from likewise.recipes.experiment.runner import commit_of_checkout, machine, over_seeds
from likewise.recipes.proxies import start_among_items
from likewise.recipes.unseen import UnseenClasses, balanced_batches, small_encoder, unseen_classes

matplotlib.use("Agg")

_DIMENSION, _FIGURES = 64, ("recall@1", "map@r")
RATES, _OWN_RATE = (1e-3, 3e-3, 1e-2), 1e-3  # Adam's: of the network, tried in turn; of the loss's vectors
_CONTROLS = ("raw pixels", "untrained net")
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
    """What a method gave: its scores by seed, the seconds of training, and the learning rate chosen."""

    scores: list[QueryScores] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rate: float = RATES[0]

    def values(self, figure: str) -> np.ndarray:
        """A figure by seed."""
        return np.array([float(np.mean(each.scores[figure])) for each in self.scores])


def held_back(held: UnseenClasses, data: str | None) -> UnseenClasses:
    """The classes to learn from, cut again: every fifth background alphabet is judged by."""
    records = load("omniglot:part=background", data=data)
    names = np.unique(records.columns["alphabet"])
    back = np.isin(records.columns["alphabet"], names[::5])
    items, labels = torch.from_numpy(records.items()), records.labels
    learned, codes = np.unique(labels[~back], return_inverse=True)
    judged = np.flatnonzero(back & np.isin(labels, np.unique(labels[back])[:100]))
    return UnseenClasses(
        held.name,
        items[~back],
        torch.from_numpy(codes),
        items[judged],
        torch.from_numpy(labels[judged]),
        len(learned),
    )


def train(
    name: str, held: UnseenClasses, rate: float, request: argparse.Namespace, seed: int
) -> tuple[nn.Module, float]:
    """A network by a method, and the processor seconds of its steps."""
    torch.manual_seed(seed)
    net = small_encoder(held.item_shape, _DIMENSION)
    loss = methods(held.n_classes)[name]()
    groups = [{"params": list(net.parameters()), "lr": rate}]
    if list(loss.parameters()):
        groups.append({"params": list(loss.parameters()), "lr": _OWN_RATE})
    begun = thread_seconds()
    if isinstance(loss, ClassLoss):
        start_among_items(loss, embedded(net, held.items), held.labels)
    begun = thread_seconds() - begun
    batches = balanced_batches(held.labels, batch=request.batch, each=4, seed=seed)
    optimiser = torch.optim.Adam(groups)
    seconds = fit(net, loss, held.items, held.labels, batches, steps=request.steps, optimiser=optimiser)
    return net, begun + seconds


@torch.no_grad()
def judge(net: nn.Module | None, held: UnseenClasses) -> QueryScores:
    """Scores of every query; of raw pixels without a network."""
    found = held.unseen_items.flatten(1) if net is None else embedded(net, held.unseen_items)
    measure = "euclidean" if net is None else "cosine"
    return retrieval_scores(found, held.unseen_labels, distance=measure, figures=list(_FIGURES))


def main() -> None:
    """Search, run, and write the page, its lines and its picture after every seed."""
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
    rows = {name: Row() for name in [*methods(held.n_classes), *_CONTROLS]}
    back = held_back(held, request.data)
    for name, row in rows.items():
        if name in _CONTROLS:
            continue
        tried = [
            float(judge(train(name, back, rate, request, 0)[0], back).scores["map@r"].mean())
            for rate in RATES
        ]
        row.rate = RATES[int(np.argmax(tried))]
        print(f"{name:<32} {' '.join(f'{each:.3f}' for each in tried)}  {row.rate:g}", flush=True)
    for seed in range(request.seeds):
        for name, row in rows.items():
            if name == "raw pixels":
                row.scores.append(judge(None, held))
            elif name == "untrained net":
                torch.manual_seed(seed)
                row.scores.append(judge(small_encoder(held.item_shape, _DIMENSION), held))
            else:
                net, seconds = train(name, held, row.rate, request, seed)
                row.scores.append(judge(net, held))
                row.seconds.append(seconds)
            print(f"seed {seed}  {name:<32} {row.values('recall@1')[-1]:.3f}", flush=True)
        write(rows, request, len(held.unseen_labels))


def over_all_seeds(scores: list[QueryScores]) -> QueryScores:
    """The mean over seeds of each query's scores, with all its rivals: what paired tests compare."""
    first = scores[0]
    return replace(
        first,
        scores={name: np.mean([each.scores[name] for each in scores], axis=0) for name in first.scores},
        rivals=np.concatenate([each.rivals for each in scores], axis=1),
        changes={
            name: np.concatenate([each.changes[name] / len(scores) for each in scores], axis=1)
            for name in first.changes
        },
    )


def write(rows: dict[str, Row], request: argparse.Namespace, queries: int) -> None:
    """The page in Markdown, one JSON line a method and seed, and the picture."""
    page = Path(request.page)
    order = sorted(rows, key=lambda name: -float(rows[name].values("recall@1").mean()))
    best, seeds = order[0], len(rows[order[0]].scores)
    tests = compare({name: over_all_seeds(rows[name].scores) for name in order}, figure="recall@1")
    against = {
        other: test
        for test in tests.differences
        for one, other in ((test.first, test.second), (test.second, test.first))
        if one == best
    }
    lines = [
        "| | recall@1 | MAP@R | seconds | learning rate | recall@1 less than the best's | Holm's p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in order:
        row = rows[name]
        recall, map_r = (over_seeds(row.values(figure)) for figure in _FIGURES)
        seconds = f"{np.mean(row.seconds):.1f}" if row.seconds else "-"
        test = against.get(name)
        told = "- | -"
        if test is not None:
            told = f"{abs(test.difference.value):.3f} | {test.corrected_p_value:.2g}"
        rate = "-" if name in _CONTROLS else f"{row.rate:g}"
        lines.append(f"| {name} | {_told(recall)} | {_told(map_r)} | {seconds} | {rate} | {told} |")
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
        "other on the same queries, each query's score its mean over the seeds, over classes, corrected by "
        "Holm's rule for all pairs. Seconds are of the processor, for the steps of one network.",
        "\n".join(lines),
        f"![recall@1 of every method](images/{picture.name})",
        "## Findings\n\n"
        f"- The most is found by {best}. "
        + (f"Not told apart from it: {', '.join(level)}." if level else "Every other is told apart from it.")
        + f"\n- {request.steps} steps of {request.batch} items are a short budget: about "
        f"{request.steps * request.batch / 19_280:.1f} passes over the 19,280 items.",
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
