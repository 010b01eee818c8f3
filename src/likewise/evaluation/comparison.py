"""Paired comparison: which of several runs is better on the same queries, and can the data tell.

Runs answer the same queries, so their scores are compared query by query: what makes a query hard is
hard for all of them and drops out. The unit is the class, as in every interval here; p-values are
corrected for the number of pairs of runs by Holm's step-down rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from likewise.errors import InputError
from likewise.evaluation.figures import Figure
from likewise.evaluation.intervals import few
from likewise.evaluation.retrieval import QueryScores
from likewise.evaluation.spread import mean_spread

__all__ = ["Comparison", "PairedDifference", "compare", "holm"]


@dataclass(frozen=True)
class PairedDifference:
    """One run's figure less another's, over the same queries.

    ``p_value`` is two-sided, of Student's t over classes; ``corrected_p_value`` is
    Holm's. ``verdict`` is the better run's name, or "the data can't tell them apart".
    """

    first: str
    second: str
    difference: Figure
    p_value: float
    corrected_p_value: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Every pair of runs on one figure."""

    figure: str
    runs: Mapping[str, Figure]
    differences: tuple[PairedDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"runs": {name: figure}, "differences": [...]}``."""
        return {
            "runs": {name: figure.to_dict() for name, figure in self.runs.items()},
            "differences": [
                {
                    "first": each.first,
                    "second": each.second,
                    **each.difference.to_dict(),
                    "p_value": each.p_value,
                    "corrected_p_value": each.corrected_p_value,
                    "verdict": each.verdict,
                }
                for each in self.differences
            ],
        }

    def __str__(self) -> str:
        lines = [self.figure]
        lines += [f"  {name}  {figure}" for name, figure in self.runs.items()]
        for d in self.differences:
            lines.append(
                f"  {d.first} - {d.second}  {d.difference}  p = {d.corrected_p_value:.3g}  {d.verdict}"
            )
        return "\n".join(lines)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values: the i-th smallest of m times m - i + 1, never below an earlier one.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    References
    ----------
    Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    m = len(p_values)
    corrected, largest = [0.0] * m, 0.0
    for i, place in enumerate(sorted(range(m), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (m - i) * p_values[place]))
        corrected[place] = largest
    return corrected


def compare(runs: Mapping[str, QueryScores], *, figure: str = "map@r", level: float = 0.05) -> Comparison:
    """Compare runs pair by pair over the queries that they share.

    Parameters
    ----------
    runs : mapping of str to QueryScores
        From :func:`likewise.evaluation.retrieval_scores`, over the same items in the same order.
    figure : str
        One that every run has.
    level : float
        Corrected p-values below it decide for a run.

    Raises
    ------
    InputError
        Fewer than two runs, a figure that a run lacks, or runs over different queries or classes.

    >>> from likewise.evaluation import retrieval_scores
    >>> labels = [0, 0, 1, 1, 2, 2]
    >>> good = retrieval_scores([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]], labels)
    >>> bad = retrieval_scores([[0.0], [5.0], [5.1], [0.2], [9.0], [9.1]], labels)
    >>> compare({"good": good, "bad": bad}, figure="recall@1").differences[0].verdict
    "the data can't tell them apart"
    """
    if len(runs) < 2:
        raise InputError(f"runs must be two or more to compare; found {len(runs)}")
    for name, run in runs.items():
        if figure not in run.scores:
            raise InputError(f"figure must be one that every run has; found {figure!r}, which {name!r} lacks")
    _, reference = next(iter(runs.items()))
    for name, run in runs.items():
        if not (
            np.array_equal(run.queries, reference.queries)
            and np.array_equal(run.classes[run.codes], reference.classes[reference.codes])
        ):
            raise InputError(f"runs must answer the same queries; found other items or labels in {name!r}")
    pairs = list(combinations(runs, 2))
    found = [_difference(runs[first], runs[second], figure) for first, second in pairs]
    corrected = holm([p_value for _, p_value in found])
    differences = []
    for (first, second), (difference, p_value), corrected_p in zip(pairs, found, corrected, strict=True):
        verdict = "the data can't tell them apart"
        if corrected_p < level:
            verdict = f"{first if difference.value > 0 else second} is better"
        differences.append(PairedDifference(first, second, difference, p_value, corrected_p, verdict))
    return Comparison(figure, {name: run.figure(figure) for name, run in runs.items()}, tuple(differences))


def _difference(first: QueryScores, second: QueryScores, figure: str) -> tuple[Figure, float]:
    """The mean difference and the two-sided p-value that it is zero."""
    from scipy.stats import t

    differences = np.asarray(first.scores[figure]) - np.asarray(second.scores[figure])
    own, n_units = first.codes, len(np.unique(first.codes))
    value = float(differences.mean())
    if n_units < 2:
        return Figure(value, -1.0, 1.0, "class", n_units, few(n_units)), 1.0
    # A query moves with its class and with its rivals in both runs.
    rivals = np.concatenate([first.rivals, second.rivals], axis=1)
    changes = np.concatenate([first.changes[figure], -second.changes[figure]], axis=1)
    spread = mean_spread(differences, own, rivals, changes)
    reach = float(t.ppf(0.975, spread.freedom)) * spread.error
    note = few(n_units, freedom=spread.freedom)
    found = Figure(value, value - reach, value + reach, "class", n_units, note)
    if spread.error == 0:
        return found, 1.0 if value == 0 else 0.0
    return found, float(2 * t.sf(abs(value) / spread.error, spread.freedom))
