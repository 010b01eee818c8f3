"""What the commands show on a terminal: tables, progress bars, JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.table import Table

    from likewise.search import Hit

__all__ = [
    "console",
    "figure_notes",
    "figures_table",
    "hits_table",
    "print_table",
    "printable",
    "program_name",
    "stage_bar",
    "stages_bars",
    "table",
    "write_json",
]

_ENDLESS = 10_000  # columns
_CONTROLS = {"raw": "raw features", "whitened": "PCA-whitened", "untrained": "untrained net"}


def console(*, error: bool = False) -> Console:
    """A console on standard output, or on standard error."""
    from rich.console import Console

    return Console(stderr=error, highlight=False, soft_wrap=not sys.stdout.isatty())


def print_table(shown: Table, *, narrower: Table | None = None) -> None:
    """Print a table: at its natural width when the output isn't a terminal, and the narrower one where it
    wouldn't fit.
    """
    from rich.console import Console

    natural = Console(width=_ENDLESS, highlight=False)
    room = Console().width if sys.stdout.isatty() else _ENDLESS
    chosen = narrower if narrower is not None and natural.measure(shown).maximum > room else shown
    Console(width=min(room, natural.measure(chosen).maximum), highlight=False).print(chosen)


def table(*columns: str) -> Table:
    """An empty table in the house's look: a rule under the header, nothing else."""
    from rich import box
    from rich.table import Table

    empty = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        empty.add_column(column, justify="left" if position == 0 else "right", no_wrap=True)
    return empty


def figures_table(
    figures: Mapping[str, Any],
    *,
    names: Mapping[tuple[str, str], str] | None = None,
    bare_controls: bool = False,
) -> Table:
    """An evaluation's figures with their intervals, the controls beside them.

    Parameters
    ----------
    figures : mapping
        An evaluation as ``to_dict()`` gives it.
    names : mapping of (task, figure) to str, optional
        Which figures to show, and what to call them; all of them under their own names by default.
    bare_controls : bool
        Leave out the controls' intervals, for want of room.
    """
    controls = {key: told for key, told in _CONTROLS.items() if key in figures.get("controls", {})}
    shown = table("", "this model", *controls.values())
    every = {
        (task, name): f"{task.replace('_', '-')} {name}"
        for task, measured in figures.items()
        if task != "controls"
        for name in measured
    }
    for (task, name), told in (names or every).items():
        beside = [
            _interval(figures["controls"][key].get(task, {}).get(name), bare=bare_controls)
            for key in controls
        ]
        shown.add_row(told, f"[bold]{_interval(figures[task][name])}[/]", *beside)
    return shown


def hits_table(hits: Sequence[Hit]) -> Table:
    """What a search found, the nearest first."""
    from rich.text import Text

    shown = table("id", "label", "distance")
    for hit in hits:
        # As Text, so that brackets in a name aren't read as markup.
        shown.add_row(Text(printable(hit.id)), Text(printable(str(hit.label))), f"{hit.distance:.4f}")
    return shown


def program_name() -> str:
    """How to call this program from here: by its name, or by its place where the name isn't known."""
    place = Path(sys.executable).parent / "likewise"
    if shutil.which("likewise") or not place.exists():
        return "likewise"
    return os.path.relpath(place) if place.is_relative_to(Path.cwd()) else str(place)


def printable(text: str) -> str:
    r"""The text on one line, with what a terminal would obey rather than show written as escapes.

    >>> printable("a\n  b \x1b[31mc")
    'a b \\x1b[31mc'
    """
    joined = " ".join(text.split())
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in joined)


def figure_notes(figures: Mapping[str, Any]) -> list[str]:
    """What a reader must know of single figures: each note once, with the figures that it is about.

    >>> figure_notes({"retrieval": {"map@r": {"note": "few classes"}, "recall@1": {"note": "few classes"}}})
    ['few classes: retrieval (all)']
    """
    about: dict[str, dict[str, list[str]]] = {}
    for task, measured in figures.items():
        for name, figure in measured.items() if task != "controls" else ():
            if figure.get("note"):
                about.setdefault(figure["note"], {}).setdefault(task, []).append(name)
    return [
        f"{note}: "
        + "; ".join(
            f"{task.replace('_', '-')} {'(all)' if len(names) == len(figures[task]) else ', '.join(names)}"
            for task, names in tasks.items()
        )
        for note, tasks in about.items()
    ]


def _interval(figure: Mapping[str, Any] | None, *, bare: bool = False) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    if bare or figure.get("low") is None or figure.get("high") is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} - {figure['high']:.3f})"


@contextmanager
def stages_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on standard error, one a stage; yields what is called with stage, done, total."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=console(error=True))
    tasks: dict[str, TaskID] = {}

    def advance(stage: str, done: int, total: int) -> None:
        if not tasks:
            progress.start()  # not before: a request that is refused at once shows no bar
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total)
        progress.update(tasks[stage], completed=done, total=total)

    try:
        yield advance
    finally:
        if tasks:
            progress.stop()


@contextmanager
def stage_bar(stage: str) -> Iterator[Callable[[int, int], None]]:
    """One progress bar on standard error; yields what is called with done and total."""
    with stages_bars() as advance:
        yield lambda done, total: advance(stage, done, total)


def write_json(content: Mapping[str, Any] | Sequence[Any], target: str) -> None:
    """Write JSON to a file, or to standard output when the target is ``-``."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
    else:
        from pathlib import Path

        Path(target).write_text(text + "\n", encoding="utf-8")
