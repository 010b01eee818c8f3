"""Say how good a run is on labelled things, best of classes that it never saw.

Every figure comes with a 95 % interval, beside two controls: the raw features, and the same network
untrained.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "judge a run on labelled things, with intervals and controls"
_TASKS = ("retrieval", "verification", "few-shot", "clustering", "ranking")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise evaluate``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("data", metavar="DATA", help="labelled things, or a table of pairs or scores")
    parser.add_argument(
        "--task", choices=["all", *_TASKS], default="all", help="what to judge (all that is usual for DATA)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is standard output")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the resampling (0)")


def run(request: argparse.Namespace) -> None:
    """Evaluate and print the table, or JSON."""
    from likewise.api import evaluate
    from likewise.cli.terminal import figure_notes, figures_table, print_table, write_json
    from likewise.data import load
    from likewise.evaluation import DataRead, reads_sentence, record_read
    from likewise.model import Model

    tasks = None if request.task == "all" else [request.task.replace("-", "_")]
    records = load(request.data)
    judged = evaluate(Model.load(request.run_folder), records, tasks=tasks, seed=request.seed)
    figures = judged.to_dict()
    look = DataRead.now(records.name, records.fingerprint, purpose="evaluate")
    reads = record_read(request.run_folder, look)
    if request.json is not None:
        write_json(figures, request.json)
    if request.json != "-":
        print_table(figures_table(figures), narrower=figures_table(figures, bare_controls=True))
        for note in [*figure_notes(figures), *judged.told()]:
            print(note)
        print(reads_sentence(reads, records.fingerprint))
