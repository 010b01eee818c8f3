"""Train an embedding on things of which it is known what is alike, and save it as a run.

DATA is a folder of class folders, a table (CSV, TSV, Parquet, JSONL), a .npz with X and y, or a
built-in set (see: likewise list datasets). Tables of pairs, scores or triplets do as well, and
so do things without labels.
"""

from __future__ import annotations

import argparse
from dataclasses import fields

from likewise.settings import TrainingSettings

__all__ = ["HELP", "add_arguments", "run"]

HELP = "learn an embedding from what is alike, and save it"
_OPTIONS = ("label", "skip_bad", "method", "encoder", "epochs", "seed")
_LETTERS = {int: "N", float: "X"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise train``; those of settings come from their one list."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="what to learn from")
    parser.add_argument("-o", "--out", metavar="RUN", required=True, help="the run's folder")
    named = {one.name: one for one in fields(TrainingSettings)}
    for name in _OPTIONS:
        one, flag = named[name], f"--{name.replace('_', '-')}"
        kind = str if one.metadata["rule"].or_text else one.metadata["rule"].kind
        if kind is bool:
            parser.add_argument(flag, action="store_true", default=None, help=one.metadata["about"])
        else:
            letter = _LETTERS.get(kind, name[0].upper())
            parser.add_argument(flag, metavar=letter, type=kind, help=one.metadata["about"])
    parser.add_argument("--config", metavar="FILE", help="settings of a file; a run's own trains it again")
    parser.add_argument(
        "--set", metavar="K=V", action="append", default=[], help="any setting, as learning_rate=1e-3"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished training in RUN")
    rest = [one for name, one in named.items() if name not in ("data", *_OPTIONS)]
    parser.epilog = "settings, for --set and --config (Python's train() has the same):\n" + "\n".join(
        f"  {one.name:<20} {one.metadata['about']}{_default(one.default)}" for one in rest
    )


def _default(value: object) -> str:
    plain = isinstance(value, str | int | float)
    return f" ({str(value).lower() if isinstance(value, bool) else value})" if plain else ""


def run(request: argparse.Namespace) -> None:
    """Train and say where the run lies."""
    import os
    import sys
    from pathlib import Path

    from likewise.api import train
    from likewise.cli.terminal import program_name
    from likewise.settings import merged_settings, settings_from_assignments

    named = {name: getattr(request, name) for name in _OPTIONS if getattr(request, name) is not None}
    settings = merged_settings(settings_from_assignments(request.set), named)
    try:
        model = train(request.data, out=request.out, config=request.config, resume=request.resume, **settings)
    except KeyboardInterrupt:
        if Path(request.out, "checkpoint").exists():
            print(f"likewise: to go on: {program_name()} train -o {request.out} --resume", file=sys.stderr)
        raise
    if os.environ.get("RANK", "0") != "0":  # of several processes, as torchrun starts them, one speaks
        return
    skipped = model.training["trained"].get("skipped", 0)
    if skipped:
        print(f"left out {skipped} items that can't be read")
    print(_told(model.training["trained"]["best_epoch"], model.history))
    print(f"saved {request.out}")
    print(f"next: likewise evaluate {request.out} DATA    with things of classes it has not seen")


def _told(best_epoch: int, history: object) -> str:
    """Which epoch was the best, and how good it was on what was held back."""
    assert isinstance(history, tuple)
    for line in history:
        if line["stage"] == "held-out" and line["epoch"] == best_epoch:
            figures = [
                f"{name.removeprefix('validation_')} {value:.3f}"
                for name, value in line.items()
                if name.startswith("validation_")
            ]
            return f"best: epoch {best_epoch}, {', '.join(figures)} on what was held back"
    return f"trained for {best_epoch} epochs; nothing was held back"
