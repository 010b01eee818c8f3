"""Train an embedding on labelled things and save it as a run.

DATA is a built-in set (see: likewise list datasets) or a .npz with X and y.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "learn an embedding from labelled things, and save it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise train``."""
    parser.add_argument("data", metavar="DATA", help="a built-in set, or a .npz with X and y")
    parser.add_argument("-o", "--out", metavar="RUN", required=True, help="the run's folder")
    parser.add_argument("--method", metavar="M", default="supcon", help="see: likewise list methods")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the data (as the method says)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of every random choice (0)")


def run(request: argparse.Namespace) -> None:
    """Train and say where the run lies."""
    from likewise.api import train
    from likewise.cli.terminal import stage_bar

    with stage_bar("training") as progress:
        train(
            request.data,
            method=request.method,
            epochs=request.epochs,
            seed=request.seed,
            out=request.out,
            progress=progress,
        )
    print(f"saved {request.out}")
    print(f"next: likewise evaluate {request.out} DATA    with things of classes it has not seen")
