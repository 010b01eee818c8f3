"""The table and the picture of a bench."""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from likewise.bench.contender import FIGURES
from likewise.bench.summary import CONTROLS, Summary
from likewise.report.figures import STYLE, Theme, saved

__all__ = ["notes", "picture", "table", "write_page"]

_MAIN = "map@r"


def table(summary: Summary) -> str:
    """All rows in Markdown, each held against the best by the paired test, Holm's correction for all pairs.

    A row that failed somewhere has no figures and says why.
    """
    against = summary.against_best(_MAIN)
    lines = [
        f"| | {' | '.join(FIGURES)} | {_MAIN} less than the best's | Holm's p | seconds a training |",
        "| --- |" + " --- |" * (len(FIGURES) + 3),
    ]
    for row in summary.rows:
        if not row.figures:
            lines.append(f"| {row.name} |{' - |' * (len(FIGURES) + 2)} {row.failed} |")
            continue
        cells = [
            f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]" for figure in row.figures.values()
        ]
        test = against.get(row.name)
        cells += (
            ["-", "-"]
            if test is None
            else [f"{abs(test.difference.value):.3f}", f"{test.corrected_p_value:.2g}"]
        )
        cells.append("-" if row.name in CONTROLS else f"{row.seconds:.1f}")
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(summary: Summary) -> str:
    """What a reader must know of the table, in sentences."""
    protocol = summary.protocol
    figure = next((row.figures[_MAIN] for row in summary.rows if row.figures), None)
    few = f" There are {figure.note}." if figure is not None and figure.note else ""
    tuned = (
        f"Each method tried {protocol.trials} choices of hyper-parameters in each fold, each for the whole "
        "budget, judged by MAP@R on classes held back from those that the fold learns from."
        if protocol.trials
        else "Hyper-parameters are the methods' own: nothing was tuned."
    )
    alone = " With one seed nothing is known of another seed." if protocol.seeds == 1 else ""
    return (
        f"{summary.name}: {protocol.folds} folds of classes, seeds 0 to {protocol.seeds - 1}, "
        f"{protocol.steps} steps of {protocol.batch_size} items, the same for every method. {tuned} "
        "Intervals are of 95 %, over classes and seeds; paired tests are of the same queries, corrected by "
        f"Holm's rule for all pairs of rows.{few}{alone}"
    )


def picture(summary: Summary, *, theme: Theme | None = None) -> bytes:
    """MAP@R of every row as SVG: the mean with its interval, each seed a dot, controls in grey."""
    colours = Theme.light() if theme is None else theme
    rows = [row for row in summary.rows if row.figures]
    with mpl.rc_context(STYLE):
        canvas = Canvas(
            figsize=(8, 0.38 * len(rows) + 1.1), facecolor=colours.background, layout="constrained"
        )
        axes = canvas.add_subplot()
        axes.set_facecolor(colours.background)
        for place, row in enumerate(reversed(rows)):
            figure = row.figures[_MAIN]
            colour = colours.faint if row.name in CONTROLS else colours.same
            axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=2.2)
            axes.plot(row.seeds[_MAIN], [place] * len(row.seeds[_MAIN]), "o", color=colour, markersize=3.5)
            axes.plot([figure.value], [place], "D", color=colour, markersize=6)
        axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
        axes.set_xlabel("MAP@R on classes never seen, 95 % interval; a dot a seed", color=colours.faint)
        axes.tick_params(colors=colours.ink)
        axes.grid(axis="x", color=colours.faint, alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines["bottom"].set_color(colours.faint)
        return saved(canvas, "svg")


def write_page(summary: Summary, folder: str | os.PathLike[str]) -> None:
    """Write ``table.md``, ``bench.svg`` and ``figures.json`` into a bench's folder."""
    place = Path(folder)
    text = f"# {summary.name}: methods under one protocol\n\n{notes(summary)}\n\n{table(summary)}\n\n"
    (place / "table.md").write_text(text + "![MAP@R of every row](bench.svg)\n", "utf-8")
    (place / "bench.svg").write_bytes(picture(summary))
    figures = json.dumps(summary.to_dict(), indent=1, allow_nan=False)
    (place / "figures.json").write_text(figures + "\n", "utf-8")
