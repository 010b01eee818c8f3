"""Hold methods against each other: methods x seeds x folds, one encoder, one budget.

The classes are held out in turn; every method learns from the same batches for the same steps, and is
judged on classes that it never saw. With --trials each method may also try so many choices of
hyper-parameters in each fold, judged on classes held back from what the fold learns from. Called
again with the same DIR it runs what is missing.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "methods x seeds x folds under one protocol"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise bench``."""
    parser.add_argument("data", metavar="DATA", help="labelled things")
    parser.add_argument(
        "--methods", metavar="A,B", required=True, help="which; likewise list methods names them"
    )
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="the bench's folder")
    parser.add_argument("--seeds", metavar="N", type=int, default=3, help="trainings a method and fold (3)")
    parser.add_argument("--folds", metavar="N", type=int, default=4, help="parts of the classes (4)")
    parser.add_argument(
        "--trials", metavar="N", type=int, default=0, help="hyper-parameters tried a method and fold (0)"
    )
    parser.add_argument("--budget", metavar="STEPS", type=int, default=300, help="steps a training (300)")
    parser.add_argument("--batch-size", metavar="N", type=int, default=64, help="items a step (64)")
    parser.add_argument("--encoder", metavar="NAME", help="the network; by default what suits the items")
    parser.add_argument("--label", metavar="COLUMN", help="the column of labels, in a table")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - is standard output")


def run(request: argparse.Namespace) -> None:
    """Run what is missing; print the table and say where table and picture lie."""
    import sys

    from likewise.bench import Protocol, bench, methods_from_names, write_page
    from likewise.bench.page import notes
    from likewise.cli.terminal import print_table, table, write_json
    from likewise.data import load

    methods = methods_from_names(name.strip() for name in request.methods.split(",") if name.strip())
    protocol = Protocol(
        seeds=request.seeds,
        folds=request.folds,
        steps=request.budget,
        trials=request.trials,
        batch_size=request.batch_size,
        encoder=request.encoder,
    )
    records = load(request.data, label=request.label)

    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    summary = bench(records, methods, out=request.out, protocol=protocol, tell=tell)
    write_page(summary, request.out)
    if request.json is not None:
        write_json(summary.to_dict(), request.json)
    if request.json == "-":
        return
    shown = table("", "recall@1", "map@r", "less than the best", "Holm's p")
    tests = summary.against_best()
    for row in summary.rows:
        test = tests.get(row.name)
        cells = [f"{each.value:.3f} ({each.low:.3f} - {each.high:.3f})" for each in row.figures.values()]
        beside = (
            [""] * 2
            if test is None
            else [f"{abs(test.difference.value):.3f}", f"{test.corrected_p_value:.2g}"]
        )
        shown.add_row(row.name, *(cells or [row.failed, ""]), *beside)
    print_table(shown)
    print(notes(summary))
    print(f"wrote {request.out}")
