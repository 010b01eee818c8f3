"""Find the things of an index that are most like one thing.

QUERY is one record: a set and a row, as in digits:17 or things.npz:17.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from likewise.search import Hit

__all__ = ["HELP", "add_arguments", "run"]

HELP = "find what is most like one thing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise search``."""
    parser.add_argument("index", metavar="INDEX", help="a saved index")
    parser.add_argument("query", metavar="QUERY", help="a set and a row: digits:17, things.npz:17")
    parser.add_argument("-k", metavar="N", type=int, default=10, help="how many to find (10)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(request: argparse.Namespace) -> None:
    """Search and print the hits, the nearest first."""
    from likewise.cli.terminal import hits_table, print_table, write_json
    from likewise.search import Index

    hits = cast("list[Hit]", Index.load(request.index).search(request.query, k=request.k))
    if request.json:
        write_json([hit.to_dict() for hit in hits], "-")
    else:
        print_table(hits_table(hits))
