"""Evaluation beside its floor, the bare product of all embeddings, and beside pytorch-metric-learning.

    python benchmarks/evaluation.py [--n 10000] [--dimension 128] [--json FILE]

Random unit embeddings of five a class, the worst case for a ranking. Times are of one thread. "product"
is one matrix product a block of 256 queries, with nothing done to it. "plain" is what one would write
in PyTorch without this library: the product, topk, and a comparison of labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from harness import best_of, environment, own_peak_megabytes, peak_megabytes, table, told, write_lines

from likewise import evaluation

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
    "plain PyTorch, recall@1": plain,
    "pytorch-metric-learning, R figures": peer,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory-of", choices=WORKS, help="print this work's peak memory only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        rows, labels = data(options.n, options.dimension)
        work = WORKS[options.memory_of]
        work(rows[:600], labels[:600])  # what the libraries themselves take
        print(own_peak_megabytes(lambda: work(rows, labels)))
        return
    arguments = ["--n", str(options.n), "--dimension", str(options.dimension), "--memory-of"]
    # Before the times: a child begins with its parent's peak.
    memory = {name: peak_megabytes(Path(__file__), [*arguments, name]) for name in WORKS}
    rows, labels = data(options.n, options.dimension)
    times = best_of({name: lambda work=work: work(rows, labels) for name, work in WORKS.items()})
    found = []
    for name, seconds in times.items():
        row = {"n": options.n, "dimension": options.dimension, "work": name, "seconds": seconds}
        found.append(row | {"of the product": seconds / times["product"], "extra MB": memory[name]})
    print(table(found, COLUMNS))
    print(told(environment()))
    if options.json:
        write_lines(options.json, found)


if __name__ == "__main__":
    main()
