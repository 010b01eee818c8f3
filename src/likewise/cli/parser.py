"""The parser of the command line: every command in one place, and errors of one line.

argparse prints its usage above every error and lists every choice; here a wrong word is an
:class:`~likewise.errors.InputError` of one line that offers the nearest right one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import NoReturn

from likewise import __version__
from likewise.cli import (
    audit,
    bench,
    compare,
    demo,
    doctor,
    embed,
    evaluate,
    export,
    index,
    listing,
    rank,
    report,
    reproduce,
    search,
    serve,
    train,
    verify,
)
from likewise.errors import InputError

__all__ = ["build_parser", "nearest", "parse"]

_COMMANDS = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "embed": embed,
    "index": index,
    "search": search,
    "verify": verify,
    "rank": rank,
    "serve": serve,
    "export": export,
    "audit": audit,
    "compare": compare,
    "bench": bench,
    "report": report,
    "reproduce": reproduce,
    "list": listing,
    "doctor": doctor,
}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are raised, in one line, rather than printed under a usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{_readable(message)}; see {self.prog} --help")


class _Format(argparse.HelpFormatter):
    """Help with room for the names of options, so that each takes one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)
        self._action_max_length = 13  # the commands stand indented, and argparse leaves no room for that


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; a parsed request carries its ``run``."""
    parser = _Parser(
        prog="likewise",
        usage="likewise COMMAND ...",
        description="Learn from examples what is alike; then evaluate, search and verify.",
        epilog="New here? Run: likewise demo",
        formatter_class=_Format,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"likewise {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(
        prog="likewise",
        title="commands",
        dest="command",
        metavar="COMMAND",
        required=True,
        parser_class=_Parser,
    )
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=(module.__doc__ or "").strip(),
            formatter_class=_description_as_written,
            allow_abbrev=False,
        )
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, options=sorted(command._option_string_actions))
    return parser


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the words of a request.

    Raises
    ------
    InputError
        A command, an option or a value is wrong; the nearest right name is offered.
    """
    given = next((word for word in words if not word.startswith("-")), None)
    if given is not None and given not in _COMMANDS:
        raise InputError(f"there is no command {given!r}; {nearest(given, _COMMANDS)}")
    if given is None:
        for word in words:
            _known(word.split("=")[0], sorted(parser._option_string_actions), parser.prog)
    request, left = parser.parse_known_args(words)
    for word in left:
        if word.startswith("-"):
            _known(word.split("=")[0], request.options, f"likewise {request.command}")
        raise InputError(f"likewise {request.command} can't use {word!r}: one argument too many")
    return request


def _known(name: str, options: Sequence[str], command: str) -> None:
    if name not in options:
        raise InputError(f"{command} has no option {name!r}; {nearest(name, options)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is the nearest to a wrong one, or which names there are.

    >>> nearest("trian", ["train", "list"])
    "did you mean 'train'?"
    >>> nearest("zzz", ["train", "list"])
    'one of train, list'
    """
    from difflib import get_close_matches  # only after a mistake: it costs start-up time

    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"one of {', '.join(names)}"


def _description_as_written(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=100)


def _readable(message: str) -> str:
    """The words of argparse, with the offered choices shortened to the nearest one."""
    if "invalid choice: " not in message:
        return message
    argument, _, rest = message.partition(": invalid choice: ")
    wrong, _, choices = rest.partition(" (choose from ")
    known = [choice.strip(" '\")") for choice in choices.split(",")]
    return f"{argument}: {wrong} isn't one of its values, {nearest(wrong.strip(chr(39)), known)}"
