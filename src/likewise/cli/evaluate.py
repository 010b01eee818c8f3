"""Say how good a run is on labelled things, best of classes that it never saw.

Every figure comes with a 95 % interval, beside two controls: the raw features, and the same network
untrained.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "judge a run on labelled things, with intervals and controls"
_TASKS = {"retrieval": "retrieval", "verification": "verification", "few-shot": "few_shot"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise evaluate``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("data", metavar="DATA", help="a built-in set, or a .npz with X and y")
    parser.add_argument("--task", choices=["all", *_TASKS], default="all", help="what to judge (all)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is standard output")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the resampling (0)")


def run(request: argparse.Namespace) -> None:
    """Evaluate and print the table, or JSON."""
    from likewise.api import evaluate
    from likewise.cli.terminal import figures_table, print_table, write_json
    from likewise.model import Model

    tasks = list(_TASKS.values()) if request.task == "all" else [_TASKS[request.task]]
    figures = evaluate(Model.load(request.run_folder), request.data, tasks=tasks, seed=request.seed).to_dict()
    if request.json is not None:
        write_json(figures, request.json)
    if request.json != "-":
        print_table(figures_table(figures))
