"""Say whether two things are alike, with the calibrated probability and the threshold.

A and B are records: a set and a row, as in digits:17 or things.npz:17.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "say whether two things are alike, and how surely"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise verify``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("a", metavar="A", help="one thing: digits:17, things.npz:17")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(request: argparse.Namespace) -> None:
    """Compare the two and print the answer."""
    from likewise.cli.terminal import write_json
    from likewise.data import record
    from likewise.model import Model

    verdict = Model.load(request.run_folder).verify(record(request.a), record(request.b))
    if request.json:
        write_json(verdict.to_dict(), "-")
    else:
        print(verdict)
