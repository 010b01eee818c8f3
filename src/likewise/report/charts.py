"""The report's charts: ROC and DET, reliability, confusion between classes; each in light and in dark.

Drawn with matplotlib's own objects and no pyplot, as in :mod:`likewise.report.figures`; the text is
outlines, so that no font is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from likewise.evaluation import OperatingPoints, Reliability
from likewise.report.figures import STYLE, Theme, saved
from likewise.report.page import Markup, data_uri

__all__ = ["Curve", "confusion_chart", "det_chart", "reliability_chart", "roc_chart"]

_POINTS = 400
_LINES = ("-", "--", ":")


@dataclass(frozen=True)
class Curve:
    """One line of a chart: what it is called, and its operating points."""

    title: str
    points: OperatingPoints


def roc_chart(curves: Sequence[Curve]) -> Markup:
    """True accepts against false accepts, the latter on a logarithmic scale."""

    def draw(axes: Axes, theme: Theme) -> None:
        least = 1.0
        for curve, line, colour in zip(curves, _LINES, _colours(theme), strict=False):
            far, frr = _thinned(curve.points)
            least = min([least, *far[far > 0]])
            axes.plot(far, 1 - frr, line, color=colour, linewidth=1.8, label=curve.title)
        axes.set_xscale("log")
        axes.set(xlim=(max(least, 1e-6), 1), ylim=(0, 1.01))
        axes.set_xlabel("false accepts, of unlike pairs", color=theme.faint)
        axes.set_ylabel("true accepts, of alike pairs", color=theme.faint)
        _legend(axes, theme)

    return _chart(
        "ROC", draw, "ROC: the part of alike pairs accepted against the part of unlike pairs accepted"
    )


def det_chart(curves: Sequence[Curve]) -> Markup:
    """False rejects against false accepts, both on the normal deviate's scale (Martin et al. 1997)."""
    from scipy.stats import norm

    ticks = np.array([0.001, 0.01, 0.05, 0.2, 0.4, 0.6])

    def draw(axes: Axes, theme: Theme) -> None:
        for curve, line, colour in zip(curves, _LINES, _colours(theme), strict=False):
            far, frr = (np.clip(rate, 1e-6, 1 - 1e-6) for rate in _thinned(curve.points))  # the axes cut
            axes.plot(norm.ppf(far), norm.ppf(frr), line, color=colour, linewidth=1.8, label=curve.title)
        ends = norm.ppf([5e-4, 0.7])
        axes.plot(ends, ends, color=theme.faint, linewidth=0.8)
        names = [f"{100 * tick:g} %" for tick in ticks]
        axes.set_xticks(norm.ppf(ticks), names)
        axes.set_yticks(norm.ppf(ticks), names)
        axes.set(xlim=ends, ylim=ends)
        axes.set_xlabel("false accepts", color=theme.faint)
        axes.set_ylabel("false rejects", color=theme.faint)
        _legend(axes, theme)

    return _chart(
        "DET", draw, "DET: false rejects against false accepts; where a curve meets the diagonal is the EER"
    )


def reliability_chart(bins: Reliability) -> Markup:
    """The part that truly is alike against the probability that was said, with how many pairs said it."""

    def draw(axes: Axes, theme: Theme) -> None:
        there = bins.count > 0
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=0.8)
        edges = np.linspace(0, 1, len(bins.count) + 1)
        share = bins.count / bins.count.sum()
        axes.stairs(0.25 * share / share.max(), edges, fill=True, color=theme.faint, alpha=0.3)
        axes.plot(
            bins.probability[there], bins.alike[there], "o-", color=theme.same, linewidth=1.8, markersize=5
        )
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("probability of being alike, as told", color=theme.faint)
        axes.set_ylabel("part that is alike", color=theme.faint)

    told = "Reliability: the part of pairs that is alike against the probability told"
    return _chart("Reliability", draw, told)


def confusion_chart(shares: NDArray[np.float64], names: Sequence[str]) -> Markup:
    """Of the items of each class (rows), the part whose nearest neighbour is of each class (columns)."""

    def draw(axes: Axes, theme: Theme) -> None:
        shades = LinearSegmentedColormap.from_list("shades", [theme.background, theme.same])
        axes.imshow(np.sqrt(shares), cmap=shades, vmin=0, vmax=1, aspect="auto")
        size = max(5.0, min(9.0, 110 / len(names)))
        short = [name if len(name) <= 14 else name[:13] + "…" for name in names]
        axes.set_xticks(
            range(len(names)), short, rotation=90 if max(map(len, short)) > 2 else 0, fontsize=size
        )
        axes.set_yticks(range(len(names)), short, fontsize=size)
        if len(names) <= 16:
            for i, j in zip(*np.nonzero(shares >= 0.005), strict=True):
                strong = np.sqrt(shares[i, j]) > 0.6
                axes.text(
                    j,
                    i,
                    f"{100 * shares[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=size - 1,
                    color=theme.background if strong else theme.ink,
                )
        axes.set_xlabel("class of the nearest neighbour", color=theme.faint)
        axes.set_ylabel("class", color=theme.faint)

    told = "Confusion: for the items of each class, the class of the nearest neighbour, in percent"
    return _chart("Nearest neighbour's class, %", draw, told, size=(5.2, 4.6))


def _chart(
    title: str, draw: Callable[[Axes, Theme], None], told: str, *, size: tuple[float, float] = (5.2, 3.9)
) -> Markup:
    addresses = []
    for theme in (Theme.light(), Theme.dark()):
        style: dict[Any, Any] = {**STYLE, "axes.spines.left": True}
        with mpl.rc_context(style):
            figure = Figure(figsize=size, facecolor=theme.background, layout="constrained")
            axes = figure.add_subplot()
            axes.set_facecolor(theme.background)
            axes.set_title(title, color=theme.ink, loc="left", fontsize=12, fontweight="bold")
            draw(axes, theme)
            axes.tick_params(colors=theme.faint, which="both")
            for side in ("bottom", "left"):
                axes.spines[side].set_color(theme.faint)
            addresses.append(data_uri(saved(figure, "svg"), "image/svg+xml"))
    light, dark = addresses
    width, height = (round(100 * side) for side in size)
    return Markup(
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" width="{width}" height="{height}" alt="{escape(told)}"></picture>'
    )


def _colours(theme: Theme) -> tuple[str, str, str]:
    return theme.same, theme.different, theme.faint


def _legend(axes: Axes, theme: Theme) -> None:
    axes.legend(loc="best", frameon=False, labelcolor=theme.ink, fontsize=10)


def _thinned(points: OperatingPoints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FAR and FRR at some of the thresholds: evenly many along the logarithm of FAR and along FRR."""
    far, frr = points.far, points.frr
    if len(far) <= 2 * _POINTS:
        return far, frr
    floor = far[far > 0].min()
    along = np.searchsorted(far, np.geomspace(floor, 1, _POINTS))
    across = np.searchsorted(-frr, np.linspace(-1, 0, _POINTS))
    kept = np.unique(np.clip(np.concatenate([[0, len(far) - 1], along, across]), 0, len(far) - 1))
    return far[kept], frr[kept]
