"""The picture that says what metric learning is for: distances of alike and unlike pairs.

Drawn with matplotlib's own objects and no pyplot: no window, no global state, any thread. Blue and
orange are those of Okabe and Ito (2008), told apart by every kind of colour vision; the orange is
hatched as well, so that grey print tells them apart too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from likewise.errors import InputError
from likewise.evaluation import VerificationPairs, threshold_at_eer

__all__ = ["STYLE", "PairDistances", "Theme", "before_and_after", "panel_svg", "saved"]

_BINS = 60
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "svg.hashsalt": "likewise",
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
"""The settings that every picture is drawn with."""


@dataclass(frozen=True)
class Theme:
    """The colours of a figure.

    >>> Theme.light().background, Theme.dark().background
    ('#ffffff', '#15191e')
    """

    background: str
    ink: str
    faint: str
    same: str
    different: str

    @classmethod
    def light(cls) -> Theme:
        """Dark on white."""
        return cls(background="#ffffff", ink="#1c2128", faint="#5a6472", same="#0072b2", different="#d55e00")

    @classmethod
    def dark(cls) -> Theme:
        """Light on near black."""
        return cls(background="#15191e", ink="#e8ebef", faint="#a3adb8", same="#56b4e9", different="#e69f00")


@dataclass(frozen=True, eq=False)
class PairDistances:
    """Distances of pairs, those of one class and those of different classes.

    Parameters
    ----------
    title : str
        What measured them.
    same, different : array (n,), (m,)
        Finite distances, at least one of each.

    Raises
    ------
    InputError
        An array is empty, isn't flat or holds NaN or infinity.

    >>> pairs = PairDistances("raw pixels", [1.0, 2.0], [3.0, 4.0])
    >>> pairs.threshold, pairs.error_rate
    (2.5, 0.0)
    """

    title: str
    same: ArrayLike
    different: ArrayLike

    def __post_init__(self) -> None:
        for name in ("same", "different"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
                raise InputError(
                    f"{name} must hold finite distances (n,), at least one; found shape {values.shape}"
                )
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, title: str, pairs: VerificationPairs) -> PairDistances:
        """The distances of some pairs, parted into alike and unlike ones."""
        return cls(title, pairs.distances[pairs.same], pairs.distances[~pairs.same])

    @cached_property
    def threshold(self) -> float:
        """The distance below which the share of different pairs reaches that of same pairs above."""
        same, different = np.asarray(self.same), np.asarray(self.different)
        kinds = np.repeat([True, False], [len(same), len(different)])
        return threshold_at_eer(np.concatenate([same, different]), kinds)

    @cached_property
    def error_rate(self) -> float:
        """The share of pairs on the wrong side of :attr:`threshold`, the mean over both kinds."""
        missed = np.mean(np.asarray(self.same) > self.threshold)
        admitted = np.mean(np.asarray(self.different) <= self.threshold)
        return float(missed + admitted) / 2


def panel_svg(pairs: PairDistances, *, theme: Theme) -> str:
    """Draw one panel as SVG, its text as outlines so that it needs no font.

    Parameters
    ----------
    pairs : PairDistances
        What to draw.
    theme : Theme
        The colours.

    Returns
    -------
    str
        An SVG document, the same bytes for the same input.

    >>> panel_svg(PairDistances("raw", [1.0, 2.0], [3.0, 4.0]), theme=Theme.light())[:5]
    '<?xml'
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.5), facecolor=theme.background, layout="constrained")
        _panel(figure.add_subplot(), pairs, theme)
        return saved(figure, "svg").decode("utf-8")


def before_and_after(
    panels: Sequence[PairDistances], *, title: str, theme: Theme, file_format: str = "png"
) -> bytes:
    """Draw panels side by side under one title: the picture of the README.

    Parameters
    ----------
    panels : sequence of PairDistances
        From left to right; at least one.
    title : str
        What the picture says.
    theme : Theme
        The colours.
    file_format : {"png", "svg"}
        Of the result.

    Returns
    -------
    bytes
        The file's content.

    >>> pairs = PairDistances("raw", [1.0, 2.0], [3.0, 4.0])
    >>> before_and_after([pairs, pairs], title="Twice the same", theme=Theme.light())[1:4]
    b'PNG'
    """
    if file_format not in ("png", "svg"):
        raise InputError(f"file_format must be 'png' or 'svg'; found {file_format!r}")
    if not panels:
        raise InputError("panels must hold at least one PairDistances; found none")
    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=(5.2 * len(panels), 3.9), facecolor=theme.background, layout=layout)
        figure.suptitle(title, color=theme.ink, fontsize=14, fontweight="bold")
        for axes, pairs in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
            _panel(axes, pairs, theme)
        return saved(figure, file_format)


def saved(figure: Figure, file_format: str) -> bytes:
    """A figure as the bytes of a file, the same for the same figure."""
    stream = io.BytesIO()
    metadata = {"Date": None} if file_format == "svg" else {}
    figure.savefig(stream, format=file_format, dpi=160, metadata=metadata, facecolor=figure.get_facecolor())
    return stream.getvalue()


def _panel(axes: Axes, pairs: PairDistances, theme: Theme) -> None:
    same, different = np.asarray(pairs.same), np.asarray(pairs.different)
    # A few far pairs would squeeze the rest into a corner: they are drawn in the last bin.
    limit = float(np.quantile(np.concatenate([same, different]), 0.999))
    low = min(0.0, float(same.min()), float(different.min()))
    edges = np.linspace(low, limit if limit > low else low + 1.0, _BINS + 1)
    heights = [_histogram(values, edges) for values in (same, different)]
    axes.set_facecolor(theme.background)
    looks = ((theme.same, "same class", None), (theme.different, "different classes", "///"))
    for height, (colour, _, hatch) in zip(heights, looks, strict=True):
        axes.stairs(height, edges, fill=True, color=colour, alpha=0.30, linewidth=0)
        if hatch:
            axes.stairs(
                height,
                edges,
                fill=True,
                facecolor="none",
                edgecolor=colour,
                hatch=hatch,
                alpha=0.35,
                linewidth=0,
            )
        axes.stairs(height, edges, color=colour, linewidth=1.8)
    top = float(max(height.max() for height in heights)) * 1.28
    axes.set(ylim=(0, top), xlim=(edges[0], edges[-1]), yticks=[])
    axes.axvline(pairs.threshold, ymax=0.80, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_title(pairs.title, color=theme.ink, loc="left", fontsize=12, fontweight="bold")
    axes.text(
        0.995,
        1.02,
        f"{100 * pairs.error_rate:.1f} % on the wrong side",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        color=theme.ink,
        fontsize=10.5,
    )
    axes.set_xlabel("distance of a pair  (nearer is more alike)", color=theme.faint)
    axes.tick_params(colors=theme.faint)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
    axes.xaxis.get_offset_text().set_color(theme.faint)
    axes.spines["bottom"].set_color(theme.faint)
    places = [_peak(height) for height in heights]
    if abs(places[0][0] - places[1][0]) < 0.36 and abs(places[0][1] - places[1][1]) < 0.10 * top:
        upper = int(places[1][1] >= places[0][1])
        places[upper] = (places[upper][0], max(places[0][1], places[1][1]) + 0.10 * top)
    for (across, up), (colour, told, _) in zip(places, looks, strict=True):
        name = axes.text(
            edges[0] + across * (edges[-1] - edges[0]),
            up + 0.03 * top,
            told,
            ha="center",
            va="bottom",
            color=colour,
            fontsize=11,
            fontweight="bold",
        )
        name.set_path_effects([withStroke(linewidth=3, foreground=theme.background)])


def _peak(height: NDArray[np.float64]) -> tuple[float, float]:
    """Where a curve's name stands, over its peak: a share of the width, and a height."""
    peak = int(np.argmax(height))
    return float(np.clip((peak + 0.5) / len(height), 0.16, 0.80)), float(height[peak])


def _histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the values in each bin, so that many unlike pairs don't bury the few alike ones."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    return counts / len(values)
