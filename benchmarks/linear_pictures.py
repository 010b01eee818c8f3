"""Pictures of the linear results: critical differences, regret, and recall against candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from linear_accuracy import Ranks
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from likewise.report.figures import Theme

__all__ = ["critical_differences", "curves", "picture"]

STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "likewise", "svg.fonttype": "path"}
COLOURS = {
    False: ("#0072b2", "#d55e00", "#009e73", "#7a4f9e"),
    True: ("#56b4e9", "#e69f00", "#5fd3a8", "#cc79a7"),
}
MARKS = ("o", "s", "^", "D")


def _save(
    name: str, folder: Path, size: tuple[float, float], paint: Callable[[Figure, Theme, bool], None]
) -> None:
    """Write NAME.svg and NAME-dark.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for dark, theme in ((False, Theme.light()), (True, Theme.dark())):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=size, facecolor=theme.background, layout="constrained")
            paint(figure, theme, dark)
            path = folder / f"{name}{'-dark' if dark else ''}.svg"
            figure.savefig(path, facecolor=theme.background, metadata={"Date": None})


def picture(name: str, alt: str) -> str:
    """The Markdown that shows a picture in the reader's theme."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">\n'
        f'<img alt="{alt}" src="images/{name}.svg"></picture>'
    )


def critical_differences(found: Ranks, folder: Path, name: str = "linear-ranks") -> None:
    """Mean ranks as dots from best to worst, each with Nemenyi's reach: disjoint reaches differ.

    J. Demsar, Statistical comparisons of classifiers over multiple data sets, 2006; a line a method instead
    of his one axis, as there are many.
    """

    def paint(figure: Figure, theme: Theme, dark: bool) -> None:
        axes = figure.subplots()
        for place, (method, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
            plain = method in ("raw", "standardised", "PCA-whitened")
            colour = COLOURS[dark][int(plain)]
            half = found.critical / 2
            axes.plot([rank - half, rank + half], [place, place], color=colour, linewidth=1.5)
            axes.plot([rank], [place], marker=MARKS[int(plain)], color=colour, markersize=5)
        axes.set_yticks(range(len(found.methods)), found.methods)
        axes.set_ylim(len(found.methods) - 0.4, -0.6)
        axes.set_xlim(0, None)  # a reach below the first rank says nothing
        axes.set_xlabel(f"mean rank over {found.n_tables} tables (1 is best)", color=theme.ink)
        _dress(axes, theme)

    _save(name, folder, (7.0, 1.0 + 0.24 * len(found.methods)), paint)


def curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    folder: Path,
    *,
    name: str,
    across: str,
    up: str,
    log: bool = False,
    percent: bool = False,
) -> None:
    """A panel a key, a line a key within it; zero is marked where lines lie on both sides of it."""

    def paint(figure: Figure, theme: Theme, dark: bool) -> None:
        for axes, (title, lines) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for i, (label, (x, y)) in enumerate(lines.items()):
                dots = MARKS[i] if len(x) < 30 else ""
                axes.plot(
                    x, y, color=COLOURS[dark][i % 4], marker=dots, markersize=4, linewidth=1.6, label=label
                )
            if log:
                axes.set_xscale("log")
            if percent:
                axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if min(min(y) for _, y in lines.values()) < 0 < max(max(y) for _, y in lines.values()):
                axes.axhline(0, color=theme.faint, linewidth=1.2)
            axes.set_title(title, color=theme.ink, loc="left", fontweight="bold")
            axes.set_xlabel(across, color=theme.ink)
            axes.set_ylabel(up, color=theme.ink)
            axes.legend(frameon=False, labelcolor=theme.ink)
            _dress(axes, theme)

    _save(name, folder, (max(5.6, 3.6 * len(panels)), 3.4), paint)


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.background)
    axes.grid(color=theme.faint, alpha=0.25, linewidth=0.6)
    axes.tick_params(colors=theme.ink, which="both")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
