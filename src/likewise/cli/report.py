"""Write the report of a run: one HTML file that loads nothing.

It has the figures with their intervals and controls, galleries, curves, a map, the hardest errors, the
health of the embedding and a card of the data. Without --data it is about the data that the run was last
evaluated on. Every report counts as a look at the data, and says how many there were.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write the HTML report of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise report``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("--data", metavar="DATA", help="labelled things (those of the last evaluation)")
    parser.add_argument("-o", "--out", metavar="FILE", help="the page (report.html in the run)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of what is sampled (0)")


def run(request: argparse.Namespace) -> None:
    """Write the page and say where it lies."""
    from pathlib import Path

    from likewise.artifacts import amend_folder
    from likewise.data import load
    from likewise.errors import InputError
    from likewise.evaluation import DataRead, data_reads, record_read
    from likewise.model import Model
    from likewise.report import run_report

    model = Model.load(request.run_folder)
    earlier = data_reads(request.run_folder)
    if request.data is None and not earlier:
        raise InputError(
            f"{request.run_folder}: it was evaluated on nothing yet; name labelled things: --data DATA"
        )
    records = load(request.data or earlier[-1].data)
    look = DataRead.now(records.name, records.fingerprint, purpose="report")
    page = run_report(model, records, reads=(*earlier, look), seed=request.seed).encode("utf-8")
    record_read(request.run_folder, look)
    if request.out is None:
        amend_folder(request.run_folder, {"report.html": page}, manifest="model.json", kind="likewise-run")
        print(f"wrote {Path(request.run_folder) / 'report.html'}")
    else:
        Path(request.out).write_bytes(page)
        print(f"wrote {request.out}")
