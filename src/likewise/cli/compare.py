"""Hold several runs against each other on the same labelled things.

Runs answer the same queries, so what makes a query hard drops out; p-values are corrected for the number
of pairs of runs (Holm), and where the data can't tell two runs apart it says so.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "hold runs against each other, with paired tests"
_FIGURES = ("recall@1", "map@r", "r_precision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise compare``."""
    parser.add_argument("run_folders", metavar="RUN", nargs="+", help='saved runs, two or more; "raw" is one')
    parser.add_argument("--data", metavar="DATA", required=True, help="labelled things")
    parser.add_argument(
        "--figure", metavar="NAME", action="append", help=f"of retrieval ({', '.join(_FIGURES)})"
    )
    parser.add_argument(
        "--level", metavar="P", type=float, default=0.05, help="corrected p that decides (0.05)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the comparison there; - is standard output")


def run(request: argparse.Namespace) -> None:
    """Compare and print the tables, or JSON."""
    from likewise.cli.terminal import write_json
    from likewise.data import load
    from likewise.errors import InputError
    from likewise.evaluation import compare, retrieval_scores
    from likewise.evaluation.reads import DataRead, record_read
    from likewise.model import Model

    names = list(dict.fromkeys(request.run_folders))
    if len(names) < 2:
        raise InputError(f"compare needs two different runs or more; found {len(names)}")
    if not 0 < request.level < 1:
        raise InputError(f"--level must lie between 0 and 1; found {request.level}")
    figures = list(dict.fromkeys(request.figure or _FIGURES))
    models = {name: None if name == "raw" else Model.load(name) for name in names}
    records = load(request.data)
    if "raw" in names and records.kind not in ("features", "image"):
        raise InputError(f"{records.name}: only numbers can be compared raw; leave raw out")
    runs = {}
    for name, model in models.items():
        embeddings = records.items().reshape(len(records), -1) if model is None else model.embed(records)
        distance = "euclidean" if model is None else model.distance
        runs[name] = retrieval_scores(embeddings, records.labels, distance=distance, figures=figures)
        if model is not None:
            record_read(name, DataRead.now(records.name, records.fingerprint, purpose="compare"))
    found = {
        each: compare(runs, figure=each, level=request.level)
        for figure in figures
        for each in next(iter(runs.values())).scores
        if each == figure or each.startswith(f"{figure}@")
    }
    if request.json is not None:
        write_json({name: comparison.to_dict() for name, comparison in found.items()}, request.json)
    if request.json != "-":
        for comparison in found.values():
            print(comparison)
