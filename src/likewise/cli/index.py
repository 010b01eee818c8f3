"""Embed things with a run and keep them in an index that can be searched.

  likewise index RUN DATA -o INDEX                      build one
  likewise index --from INDEX --engine hnsw -o NEW      move one to another engine
  likewise index RUN DATA --from INDEX -o INDEX         embed its records anew, with another run
  likewise index --from INDEX --as-saved -o NEW         leave out what changed since it was saved

ENGINE is flat (exact; the default, up to about 100,000 things), hnsw, ivfpq or binary (approximate, for
more; they choose their parameters for the wanted recall and tell what they reach), milvus or postgres
(a server or a file, by --address). --as-saved is for an index whose journal was lost or damaged.
Embedded anew, an index keeps its ids, labels, metadata and engine, and is replaced in one step; a server that
runs with --follow takes the new one by itself.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from likewise.search import Index

__all__ = ["HELP", "add_arguments", "run"]

HELP = "make things searchable: embed them and keep an index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise index``."""
    parser.add_argument("run_folder", metavar="RUN", nargs="?", help="a saved run")
    parser.add_argument("data", metavar="DATA", nargs="?", help="things, as for training; labels may lack")
    parser.add_argument("-o", "--out", metavar="INDEX", required=True, help="the index's folder")
    parser.add_argument("--from", metavar="INDEX", dest="source", help="take the records of this index")
    parser.add_argument("--as-saved", action="store_true", help="of --from, without its journal of changes")
    parser.add_argument("--engine", metavar="ENGINE", help="what finds neighbours (flat)")
    parser.add_argument(
        "--recall", metavar="R", type=float, default=0.95, help="wanted of an approximate engine (0.95)"
    )
    parser.add_argument("--address", metavar="A", help="of a server, or a Milvus Lite file that ends in .db")


def _in_place(request: argparse.Namespace) -> bool:
    """Whether an index is embedded anew where it lies."""
    from os.path import realpath

    both = request.source is not None and request.run_folder is not None
    return both and realpath(request.source) == realpath(request.out)


def _embedded_anew(request: argparse.Namespace) -> Index:
    """The records of --from, embedded by RUN; where they lie, saved while nobody else may write."""
    from likewise.errors import InputError
    from likewise.model import Model
    from likewise.search import Index

    if request.engine is not None or request.address is not None:
        raise InputError("an index keeps its engine when it is embedded anew; move it after, by --from alone")
    model = Model.load(request.run_folder)
    if _in_place(request) and not request.as_saved:
        index = Index.open(request.source)
    else:
        index = Index.load(request.source, as_saved=request.as_saved)
    try:
        index.reembed(model, request.data)
    except BaseException:
        index.close()
        raise
    if _in_place(request) and request.as_saved:
        index.save(request.out)
    return index


def run(request: argparse.Namespace) -> None:
    """Build or move, save, and say where the index lies."""
    from likewise.artifacts import check_output
    from likewise.cli.terminal import program_name
    from likewise.errors import InputError
    from likewise.model import Model
    from likewise.search import Index

    if (request.run_folder is None) != (request.data is None) or not (request.run_folder or request.source):
        raise InputError(
            "likewise index needs RUN and DATA, or --from INDEX, or both; see likewise index --help"
        )
    if request.as_saved and request.source is None:
        raise InputError("--as-saved needs --from INDEX, the index whose journal is to be left out")
    check_output(request.out, manifest="index.json", kind="likewise-index")
    chosen = {"engine": request.engine or "flat", "recall": request.recall, "address": request.address}
    if request.source is not None and request.run_folder is not None:
        index = _embedded_anew(request)
    elif request.source is not None:
        index = Index.load(request.source, as_saved=request.as_saved).with_engine(**chosen)
    else:
        index = Index.build(Model.load(request.run_folder), request.data, **chosen)
    if not _in_place(request):
        index.save(request.out)
    print(f"saved {request.out}: {len(index):,} records, {index.engine}")
    example = request.data and f"{request.data}:0"
    print(f"next: {program_name()} search {request.out} {example or 'QUERY'}")
    index.close()
