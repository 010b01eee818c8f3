"""Embed things with a run and keep them in an index that can be searched."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "make things searchable: embed them and keep an index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise index``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("data", metavar="DATA", help="a built-in set, or a .npz with X and y")
    parser.add_argument("-o", "--out", metavar="INDEX", required=True, help="the index's folder")


def run(request: argparse.Namespace) -> None:
    """Build, save, and say where the index lies."""
    from likewise.cli.terminal import program_name
    from likewise.model import Model
    from likewise.search import Index

    Index.build(Model.load(request.run_folder), request.data).save(request.out)
    print(f"saved {request.out}")
    print(f"next: {program_name()} search {request.out} {request.data}:0")
