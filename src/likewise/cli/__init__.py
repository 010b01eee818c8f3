"""The command line: thin commands, each of which calls one function of the library.

Written with argparse: importing typer alone costs 92 ms where ``python -c pass`` costs 13.6, and
``likewise --help`` may cost at most 8 times that. For the same reason a command imports what it
needs inside ``run``; nothing here imports torch, NumPy or scikit-learn before it must.

Exit status: 0 done; 2 the request is wrong, with one line on stderr; 1 a failure of ours; 130
interrupted. ``--debug`` shows the traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from likewise.cli.parser import build_parser, parse
from likewise.errors import LikewiseError

__all__ = ["main"]

_REQUEST_IS_WRONG = (LikewiseError, FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after ``likewise`` on the command line; ``sys.argv`` when not given.

    >>> main(["list", "datasets", "--json"])
    ["20newsgroups", "att-faces", ...]
    0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parser = build_parser()
        if not words:
            parser.print_help()
            return 0
        request = parse(parser, words)
        request.run(request)
        sys.stdout.flush()
    except SystemExit as end:  # argparse ends so after --help and --version
        return end.code if isinstance(end.code, int) else 2
    except KeyboardInterrupt:
        return _stop(130, "interrupted")
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except _REQUEST_IS_WRONG as error:
        if "--debug" in words:
            raise
        return _stop(2, _one_line(error))
    except Exception as error:
        if "--debug" in words:
            raise
        told = f"{type(error).__name__}: {_one_line(error)}"
        return _stop(1, f"a failure of likewise itself, {told}; run it again with --debug for the traceback")
    return 0


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'unreadable').lower()}"
    return str(error)


def _stop(status: int, message: str) -> int:
    from likewise.cli.terminal import printable

    print(f"likewise: {printable(message)}", file=sys.stderr)
    return status
