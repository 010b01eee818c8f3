"""Embed things with a run and write the vectors to a .npz: embeddings, ids, and labels if there are any."""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "embed things with a run and write the vectors to a .npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise embed``."""
    parser.add_argument("run_folder", metavar="RUN", help="a saved run")
    parser.add_argument("data", metavar="DATA", help="things, as for training; labels may lack")
    parser.add_argument("-o", "--out", metavar="VECTORS", required=True, help="the file, named .npz")
    parser.add_argument("--batch-size", metavar="N", type=int, default=256, help="things at once (256)")
    parser.add_argument("--workers", metavar="N", type=int, default=0, help="processes that read ahead (0)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that can't be read")
    parser.add_argument("--data", metavar="DIR", dest="data_folder", help="where built-in sets lie")


def run(request: argparse.Namespace) -> None:
    """Embed, write the file whole or not at all, and say what it holds."""
    from likewise.data import load
    from likewise.model import Model, check_vectors, write_vectors

    check_vectors(request.out)
    model = Model.load(request.run_folder)
    records = load(request.data, skip_bad=request.skip_bad, data=request.data_folder)
    embeddings = model.embed(records, batch_size=request.batch_size, workers=request.workers)
    write_vectors(request.out, embeddings, ids=records.ids, labels=records.y, fingerprint=model.fingerprint)
    count, dimension = embeddings.shape
    labelled = "with labels" if records.labelled else "without labels"
    print(f"saved {request.out}: {count:,} embeddings of length {dimension}, {labelled}")
    if records.skipped:
        print(f"left out {records.skipped:,} that couldn't be read")
