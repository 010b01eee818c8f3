"""What the cells of a bench say: every row with its interval, and every two rows against each other.

A figure is the mean over queries and seeds. Its interval, and the paired test of two rows on the same
queries, knows two things that could have been others: which classes were drawn (the jackknife over classes,
in which a class is taken out as queries and as rivals) and which seeds. Both variances are added, which
counts what they share twice; with one seed only the classes are known. What it doesn't know: that folds share
most of the classes that they learn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.bench.contender import FIGURES
from likewise.bench.protocol import Protocol
from likewise.evaluation import Comparison, Figure, PairedDifference
from likewise.evaluation.comparison import holm
from likewise.evaluation.intervals import few
from likewise.evaluation.spread import jackknife_spread

__all__ = ["CONTROLS", "Row", "Summary", "summary_of"]

CONTROLS: Mapping[str, str] = {"raw items": "raw", "whitened items": "whitened", "untrained net": "untrained"}
"""Rows that are always there, and what :func:`likewise.evaluation.model_controls` calls them."""


@dataclass(frozen=True)
class Row:
    """A method, or a control.

    ``seeds`` holds for each figure its value at each seed; ``items`` is how many went through the net in each
    training, ``seconds`` what one took on average, ``failed`` what kept it from being judged.
    """

    name: str
    figures: Mapping[str, Figure]
    seeds: Mapping[str, tuple[float, ...]]
    items: int
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Summary:
    """All rows, the best MAP@R first, and for each figure every two rows against each other."""

    name: str
    protocol: Protocol
    rows: tuple[Row, ...]
    comparisons: Mapping[str, Comparison]

    def against_best(self, figure: str = "map@r") -> dict[str, PairedDifference]:
        """The tests in which the first row stands, by the name of the other."""
        best = self.rows[0].name
        found = {}
        for test in self.comparisons[figure].differences if figure in self.comparisons else ():
            if best in (test.first, test.second):
                found[test.second if test.first == best else test.first] = test
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the protocol, rows with their figures, and comparisons."""
        return {
            "data": self.name,
            "protocol": {**self.protocol.to_dict(), "seeds": self.protocol.seeds},
            "rows": {
                row.name: {
                    **{name: figure.to_dict() for name, figure in row.figures.items()},
                    "items": row.items,
                    "seconds": row.seconds,
                    "failed": row.failed,
                }
                for row in self.rows
            },
            "comparisons": {name: each.to_dict() for name, each in self.comparisons.items()},
        }


@dataclass(frozen=True, eq=False)
class _Table:
    """One row's cells of one figure: by seed the mean (S,), and over seeds by class what leaves it out."""

    means: NDArray[np.float64]  # (S,)
    left_out: NDArray[np.float64]  # (C,)

    def __sub__(self, other: _Table) -> _Table:
        return _Table(self.means - other.means, self.left_out - other.left_out)

    def figure(self) -> tuple[Figure, float]:
        """The mean with its interval, and the two-sided p-value that it is zero."""
        from scipy.stats import t

        value, count = float(self.means.mean()), len(self.left_out)
        classes = jackknife_spread(self.left_out, count)
        parts = [(classes.error**2, classes.freedom)]
        if len(self.means) > 1:
            parts.append((float(self.means.var(ddof=1)) / len(self.means), float(len(self.means) - 1)))
        variance = sum(each for each, _ in parts)
        if variance == 0:
            return Figure(value, value, value, "class", count, few(count)), 1.0 if value == 0 else 0.0
        freedom = variance**2 / sum(each**2 / own for each, own in parts)  # Satterthwaite's
        error = math.sqrt(variance)
        reach = float(t.ppf(0.975, freedom)) * error
        found = Figure(value, value - reach, value + reach, "class", count, few(count))
        return found, float(2 * t.sf(abs(value) / error, freedom))


def summary_of(
    cells: Iterable[Mapping[str, Any]], *, rows: Sequence[str], protocol: Protocol, name: str
) -> Summary:
    """Sum up the cells of a bench; rows with a cell that failed or isn't there are told, and not tested."""
    held = {(cell["row"], cell["fold"], cell["seed"]): cell for cell in cells}
    made: dict[str, dict[str, _Table]] = {}
    told: list[Row] = []
    for row in dict.fromkeys(rows):
        places = [(row, fold, seed) for seed in range(protocol.seeds) for fold in range(protocol.folds)]
        lacking = [place for place in places if place not in held]
        failed = [held[place]["failed"] for place in places if "failed" in held.get(place, {})]
        run = [held[place] for place in places if place in held]
        items = max((cell["items"] for cell in run), default=0)
        seconds = float(np.mean([cell.get("seconds", 0.0) for cell in run])) if run else 0.0
        if lacking or failed:
            reason = f"{len(failed)} of {len(places)} failed: {failed[0]}" if failed else "not run"
            told.append(Row(row, {}, {}, items, seconds, reason))
            continue
        made[row] = {figure: _table(held, row, figure, protocol) for figure in FIGURES}
        figures = {figure: _within(table.figure()[0]) for figure, table in made[row].items()}
        values = {figure: tuple(map(float, table.means)) for figure, table in made[row].items()}
        told.append(Row(row, figures, values, items, seconds))
    told.sort(key=lambda row: -row.figures["map@r"].value if row.figures else math.inf)
    comparisons = {figure: _compared(told, made, figure) for figure in FIGURES if len(made) > 1}
    return Summary(name, protocol, tuple(told), comparisons)


def _within(figure: Figure) -> Figure:
    """A share's interval ends at 0 and 1."""
    return replace(figure, low=max(figure.low, 0.0), high=min(figure.high, 1.0))


def _table(
    held: Mapping[tuple[str, int, int], Mapping[str, Any]], row: str, figure: str, protocol: Protocol
) -> _Table:
    means, left_out = [], []
    for seed in range(protocol.seeds):
        cells = [held[row, fold, seed] for fold in range(protocol.folds)]
        queries = np.concatenate([cell["queries"] for cell in cells]).astype(np.float64)
        sums = np.concatenate([cell["sums"][figure] for cell in cells])
        without = np.concatenate([cell["without"][figure] for cell in cells])
        asked = queries > 0
        means.append(sums.sum() / queries.sum())
        left_out.append(((sums.sum() - sums + without) / (queries.sum() - queries))[asked])
    return _Table(np.array(means), np.mean(left_out, axis=0))


def _compared(rows: Sequence[Row], made: Mapping[str, Mapping[str, _Table]], figure: str) -> Comparison:
    known = [row for row in rows if row.figures]
    pairs = list(combinations([row.name for row in known], 2))
    found = [(made[first][figure] - made[second][figure]).figure() for first, second in pairs]
    corrected = holm([p_value for _, p_value in found])
    differences = []
    for (first, second), (difference, p_value), own in zip(pairs, found, corrected, strict=True):
        verdict = "the data can't tell them apart"
        if own < 0.05:
            verdict = f"{first if difference.value > 0 else second} is better"
        differences.append(PairedDifference(first, second, difference, p_value, own, verdict))
    return Comparison(figure, {row.name: row.figures[figure] for row in known}, tuple(differences))
