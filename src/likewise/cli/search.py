"""Find the things of an index that are most like one thing.

QUERY is one thing: a file, or a set and a row, as in digits:17 or things.npz:17; or a text, where the run
learned from texts or from pictures with words: "a red car".
Several are one query, views of one thing: what is near the mean of their embeddings is found.

--where keeps to records of which something holds: "shop = 'A' and price < 20". Columns are id, label and
the metadata's; and, or, not, in (...), between, like and is null are understood.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "find what is most like one thing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise search``."""
    parser.add_argument("index", metavar="INDEX", help="a saved index")
    parser.add_argument(
        "query", metavar="QUERY", nargs="+", help="a file, a set and a row (digits:17), or a text"
    )
    parser.add_argument("-k", metavar="N", type=int, default=10, help="how many to find (10)")
    parser.add_argument("--where", metavar="FILTER", help="only records of which this holds")
    parser.add_argument("--within", metavar="D", type=float, help="all records at most this far, not N")
    parser.add_argument("--rerank", action="store_true", help="order by shared k-reciprocal neighbours")
    parser.add_argument("--expand", metavar="N", type=int, help="average the query with its N nearest first")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(request: argparse.Namespace) -> None:
    """Search and print the hits, the nearest first."""
    from likewise.cli.terminal import hits_table, print_table, write_json
    from likewise.errors import InputError
    from likewise.search import Index, KReciprocal, QueryExpansion

    index = Index.load(request.index)
    query = request.query[0] if len(request.query) == 1 else request.query
    if request.within is not None:
        if len(request.query) > 1:
            raise InputError(f"--within takes one QUERY; found {len(request.query)}")
        if request.rerank or request.expand:
            raise InputError("--within finds all that is near enough; leave out --rerank and --expand")
        hits = index.range_search(query, request.within, where=request.where)
    else:
        hits = index.search(
            query,
            k=request.k,
            together=len(request.query) > 1,
            where=request.where,
            expansion=None if request.expand is None else QueryExpansion(request.expand),
            reranking=KReciprocal() if request.rerank else None,
        )
    if request.json:
        write_json([hit.to_dict() for hit in hits], "-")
    else:
        print_table(hits_table(hits))
