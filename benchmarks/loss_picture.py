"""The picture of the losses' benchmark: time and memory against the size of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from likewise.report.figures import Theme

__all__ = ["draw"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """How one contender is drawn: told apart by colour, mark and dashes alike."""

    who: str
    label: str
    light: str
    dark: str
    mark: str
    dashes: str


LINES = (
    Line("theirs", "pytorch-metric-learning", "#d55e00", "#e69f00", "s", "--"),
    Line("dense", "dense PyTorch", "#7a4f9e", "#cc79a7", "^", "-."),
    Line("ours", "likewise", "#0072b2", "#56b4e9", "o", "-"),
    Line("floor", "floor", "#5a6472", "#a3adb8", "", ":"),
)
STYLE = {"font.family": "DejaVu Sans", "font.size": 10, "svg.hashsalt": "likewise", "svg.fonttype": "path"}


def _points(rows: Sequence[Row], loss: str, who: str, kind: str) -> list[tuple[int, float]]:
    """N and milliseconds, or N and megabytes, at d = 128 and 4 a class."""
    found = []
    for row in rows:
        if row["kind"] != kind or row["loss"] != loss or (row["d"], row["per_class"]) != (128, 4):
            continue
        if kind == "cell" and f"{who}_ms" in row:
            found.append((row["n"], row[f"{who}_ms"]))
        elif kind == "peak" and row["who"] == who and "megabytes" in row:
            found.append((row["n"], max(0.1, row["megabytes"])))
    return sorted(found)


def _panel(axes: Axes, rows: Sequence[Row], loss: str, kind: str, theme: Theme) -> None:
    dark = theme.background != Theme.light().background
    for line in LINES:
        points = _points(rows, loss, line.who, kind)
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=line.dark if dark else line.light,
                marker=line.mark,
                linestyle=line.dashes,
                linewidth=2.2 if line.who == "ours" else 1.5,
                markersize=5.5,
                label=line.label,
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_facecolor(theme.background)
    axes.grid(color=theme.faint, alpha=0.25, linewidth=0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value):,}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(colors=theme.ink, which="both")
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(theme.faint)
    axes.set_title(loss, color=theme.ink, loc="left", fontweight="bold")
    axes.set_ylabel("milliseconds" if kind == "cell" else "peak MB", color=theme.ink)
    axes.set_xlabel("N, d = 128, 4 a class", color=theme.ink)


def draw(rows: Sequence[Row], folder: Path, losses: Sequence[str] = ("TripletMargin", "SupCon")) -> None:
    """Write losses.svg and losses-dark.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, theme in (("losses.svg", Theme.light()), ("losses-dark.svg", Theme.dark())):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(9.0, 7.0), facecolor=theme.background, layout="constrained")
            panels = figure.subplots(2, len(losses), sharey="row", squeeze=False)
            for column, loss in enumerate(losses):
                for row, kind in enumerate(("cell", "peak")):
                    _panel(panels[row][column], rows, loss, kind, theme)
            handles, labels = panels[0][0].get_legend_handles_labels()
            figure.legend(
                handles, labels, loc="outside lower center", ncols=4, frameon=False, labelcolor=theme.ink
            )
            figure.savefig(folder / name, metadata={"Date": None})
