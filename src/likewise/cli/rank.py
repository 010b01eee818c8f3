"""Put the things of a folder or a table in the order of a learned score, the best first.

RUN must give one number a thing: a run with a score as its head, such as
`likewise reproduce aesthetics --save RUN` writes.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "order things by a learned score"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise rank``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run that gives a score")
    parser.add_argument("data", metavar="DATA", help="a folder of photographs, a table, a built-in set")
    parser.add_argument("-k", metavar="N", type=int, help="show the first N only")
    parser.add_argument("--worst", action="store_true", help="the lowest score first")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(request: argparse.Namespace) -> None:
    """Score, sort and print."""
    from rich.text import Text

    from likewise.cli.terminal import print_table, printable, table, write_json
    from likewise.data import load
    from likewise.errors import InputError
    from likewise.model import Model

    if request.k is not None and request.k < 1:
        raise InputError(f"-k must be at least 1; found {request.k}")
    model = Model.load(request.run_folder)
    if model.dimension != 1:
        raise InputError(
            f"{request.run_folder}: gives {model.dimension} numbers a thing, not one score; rank needs a "
            "run whose head is a score"
        )
    images = len(model.item_shape) > 1
    colour = "rgb" if len(model.item_shape) == 3 else "grey"
    records = load(request.data, size=model.item_shape[-2:], colour=colour) if images else load(request.data)
    scores = model.embed(records.items())[:, 0]
    order = scores.argsort(kind="stable")
    order = order if request.worst else order[::-1]
    ranked = [(records.ids[row], float(scores[row])) for row in order[: request.k].tolist()]
    if request.json:
        write_json(
            [{"rank": n, "id": name, "score": score} for n, (name, score) in enumerate(ranked, 1)], "-"
        )
        return
    shown = table("id", "score")
    for name, score in ranked:
        shown.add_row(Text(printable(name)), f"{score:.4f}")
    print_table(shown)
