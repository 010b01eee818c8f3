"""Serve an index: an HTTP API, and a page to look at it.

The page is at the address itself, the API under /v1, its description at /openapi.json. Beyond this machine
(--host) keys are required; --new-key makes one, shows it once, and keeps only its hash.
SIGHUP loads INDEX again and swaps it in one step; with --follow that happens whenever INDEX was saved anew.
"""

from __future__ import annotations

import argparse

__all__ = ["HELP", "add_arguments", "run"]

HELP = "serve an index: API and explorer page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise serve``."""
    parser.add_argument("index", metavar="INDEX", nargs="?", help="a saved index")
    parser.add_argument("--host", metavar="H", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", metavar="P", type=int, default=8000, help="0 takes a free one (8000)")
    parser.add_argument("--data", metavar="DATA", help="what was indexed, for the page's pictures")
    parser.add_argument("--writable", action="store_true", help="let records be added and removed")
    parser.add_argument("--follow", action="store_true", help="take INDEX anew whenever it is replaced")
    parser.add_argument("--corrections", metavar="FILE", help="a CSV for the page's verdicts on suspects")
    parser.add_argument("--keys", metavar="FILE", help="a file of API keys")
    parser.add_argument("--new-key", metavar="NAME", help="make a key in the file of --keys, and stop")
    parser.add_argument("--scopes", metavar="S", default="read", help="of the new key: read,write (read)")


def run(request: argparse.Namespace) -> None:
    """Serve until interrupted, or make a key."""
    from likewise.errors import InputError

    if request.new_key is not None:
        from likewise.serve.keys import new_key

        if request.keys is None:
            raise InputError("--new-key needs --keys FILE, the file that keeps the key's hash")
        secret = new_key(request.keys, request.new_key, scopes=request.scopes.split(","))
        print(secret)
        return
    if request.index is None:
        raise InputError("likewise serve needs INDEX, a saved index; see likewise serve --help")
    from likewise.serve.run import serve

    serve(
        request.index,
        host=request.host,
        port=request.port,
        data=request.data,
        keys=request.keys,
        writable=request.writable,
        corrections=request.corrections,
        follow=request.follow,
        started=lambda address: print(f"serving {request.index} at {address}  (Ctrl-C ends)", flush=True),
    )
