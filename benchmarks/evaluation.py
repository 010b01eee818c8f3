"""Evaluation beside its floor, the bare product of all embeddings, and beside pytorch-metric-learning.

    python benchmarks/evaluation.py [--n 10000] [--dimension 128 512] [--works NAME ...] [--json FILE]
        [--oml PYTHON] [--memory]

The rows are added to FILE, each run with its environment, so that the whole can be measured in parts;
`benchmarks/evaluation_page.py` makes the page.

Random unit embeddings of five a class, the worst case for a ranking. Times are processor seconds of one
thread, works in turn, the best of up to nine. "product" is one matrix product a block of 256 queries, with
nothing done to it. "plain" is what one would write in PyTorch without this library: the product, topk, and
a comparison of labels. "the same without intervals" takes the same scores of queries, but tries no class
without its rivals and makes no report of them. NMI is beside faiss's k-means alone at the same clusters,
iterations and restarts. Open Metric Learning pins other packages: ``--oml`` names the Python of an
environment of its own, and its time is held against the product in its own process. ``--memory`` measures
memory alone, for a change that touches nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from harness import best_of, environment, own_peak_megabytes, peak_megabytes, table, told

from likewise import evaluation
from likewise.evaluation import ranks
from likewise.evaluation.clustering import kmeans_clusters

COLUMNS = ("n", "dimension", "work", "seconds", "of the product", "extra MB")
BLOCK = 256


def data(n: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(n, dimension, generator=generator), dim=1)
    return rows, torch.arange(n) // 5


def product(rows: torch.Tensor, _labels: torch.Tensor) -> None:
    out = torch.empty(BLOCK, len(rows))
    for start in range(0, len(rows) - BLOCK + 1, BLOCK):
        torch.mm(rows[start : start + BLOCK], rows.T, out=out)


def plain(rows: torch.Tensor, labels: torch.Tensor) -> float:
    hits = 0
    for start in range(0, len(rows), BLOCK):
        found = (rows[start : start + BLOCK] @ rows.T).topk(9).indices[:, 1:]
        hits += int((labels[found[:, 0]] == labels[start : start + BLOCK]).sum())
    return hits / len(rows)


def peer(rows: torch.Tensor, labels: torch.Tensor) -> object:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    include = ("mean_average_precision_at_r", "r_precision", "precision_at_1")
    return AccuracyCalculator(include, k="max_bin_count", device=torch.device("cpu")).get_accuracy(
        rows, labels
    )


WORKS = {
    "product": product,
    "top-K and R figures": lambda rows, labels: evaluation.retrieval(rows, labels),
    "full-rank figures": lambda rows, labels: evaluation.retrieval(
        rows, labels, figures=["map", "mrr", "ndcg"]
    ),
    "the same without intervals": lambda rows, labels: without_intervals(rows, labels),
    "plain PyTorch, recall@1": plain,
    "pytorch-metric-learning, R figures": peer,
    "k-means alone (faiss)": lambda rows, labels: kmeans_clusters(rows.numpy(), len(labels) // 5),
    "NMI": lambda rows, labels: evaluation.clustering(
        rows, labels, n_clusters=len(labels) // 5, figures=["nmi"]
    ),
}
USUAL = tuple(name for name in WORKS if name not in ("NMI", "k-means alone (faiss)"))


def without_intervals(rows: torch.Tensor, labels: torch.Tensor) -> evaluation.QueryScores:
    """Scores of queries alone."""
    rivals, ranks._RIVALS = ranks._RIVALS, 0
    try:
        return evaluation.retrieval_scores(rows, labels)
    finally:
        ranks._RIVALS = rivals


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, nargs="+", default=[128])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(USUAL), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=20.0, help="of rounds, for each dimension")
    parser.add_argument("--oml", help="the Python that has Open Metric Learning")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that OML may take")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", action="store_true", help="no times")
    parser.add_argument("--memory-of", choices=WORKS, help="print this work's peak memory only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        rows, labels = data(options.n, options.dimension[0])
        work = WORKS[options.memory_of]
        work(rows[:600], labels[:600])  # what the libraries themselves take
        print(own_peak_megabytes(lambda: work(rows, labels)))
        return
    said = environment() | {"load": os.getloadavg()[0]}
    found = []
    for dimension in options.dimension:
        if options.memory:
            found += memory(options.n, dimension, options.works)
            continue
        found += measured(options.n, dimension, options.works, options.seconds)
        if options.oml:
            found.append(of_oml(options.oml, options.n, dimension, options.limit))
    if options.json:
        with options.json.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in [said, *found]))
    print(table(found, COLUMNS))
    print(told(environment()))


def of_oml(python: str, n: int, dimension: int, limit: float) -> dict[str, object]:
    """The same data in OML's environment."""
    row = {"n": n, "dimension": dimension, "work": "OML, top-K figures"}
    command = [python, str(Path(__file__).with_name("oml_worker.py")), str(n), str(dimension)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return row | {"seconds": f"none in {limit:.0f}"}
    said = json.loads(done.stdout.splitlines()[-1])
    versions = said["versions"]
    row["work"] = f"OML {versions['open-metric-learning']} (torch {versions['torch']}), top-K figures"
    row |= {"seconds": said["figures"], "of the product": said["figures"] / said["product"]}
    return row | {"extra MB": said["megabytes"]}


def measured(n: int, dimension: int, names: Sequence[str], seconds: float) -> list[dict[str, object]]:
    works = {name: WORKS[name] for name in dict.fromkeys(["product", *names])}
    # Before the times: a child begins with its parent's peak.
    peaks = {row["work"]: row["extra MB"] for row in memory(n, dimension, list(works))}
    rows, labels = data(n, dimension)
    times = best_of(
        {name: lambda work=work: work(rows, labels) for name, work in works.items()},
        seconds=seconds,
        clock=time.process_time,
    )
    return [
        {
            "n": n,
            "dimension": dimension,
            "work": name,
            "seconds": took,
            "of the product": took / times["product"],
            "extra MB": peaks[name],
        }
        for name, took in times.items()
    ]


def memory(n: int, dimension: int, names: Sequence[str]) -> list[dict[str, object]]:
    """Rows of peak memory, each work in a process of its own."""
    arguments = ["--n", str(n), "--dimension", str(dimension), "--memory-of"]
    return [
        {"n": n, "dimension": dimension, "work": name}
        | {"extra MB": peak_megabytes(Path(__file__), [*arguments, name])}
        for name in names
    ]


if __name__ == "__main__":
    main()
