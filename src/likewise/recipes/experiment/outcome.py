"""What one run of a recipe gives, and what its page asks: cells, tables, claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.evaluation import QueryScores

__all__ = ["Claim", "Key", "Outcome", "Paper", "Scores", "Table", "check_cells"]

Key = tuple[str, str, str]  # table, row, figure


@dataclass(frozen=True)
class Paper:
    """The paper's own number for a cell, as it prints it, and whether it was checked against the paper."""

    value: str
    from_memory: bool = True

    def __str__(self) -> str:
        return f"paper {self.value}{'*' if self.from_memory else ''}"


@dataclass(frozen=True)
class Table:
    """A table of the page: which rows and figures it has, whether or not a run filled them.

    Parameters
    ----------
    name : str
        Its heading, and the first part of a cell's key.
    rows, figures : tuple of str
        In this order; a cell that wasn't run is printed as such.
    about : str
        What is measured, on what, by which protocol.
    paper : mapping of (row, figure) to Paper
    digits : int
        Behind the point.
    """

    name: str
    rows: tuple[str, ...]
    figures: tuple[str, ...]
    about: str = ""
    paper: Mapping[tuple[str, str], Paper] = field(default_factory=dict)
    digits: int = 3


@dataclass(frozen=True)
class Claim:
    """A statement that figures can support or refute: one row is better than another, or than a number.

    Parameters
    ----------
    says : str
        The claim, in words, without a full stop.
    table, figure : str
    better : str
        A row.
    than : str or float
        Another row of the same table, or a number.
    smaller : bool
        Whether smaller is better, as for errors.
    control : bool
        Whether this is the comparison with a raw control that a quick run must win.
    """

    says: str
    table: str
    figure: str
    better: str
    than: str | float
    smaller: bool = False
    control: bool = False


@dataclass(frozen=True)
class Scores:
    """The scores whose mean is a cell, so that rows can be paired where there is one seed only.

    Parameters
    ----------
    values : array (q,)
        Of queries, pairs, episodes, folds: the same ones in every row of the table.
    clusters : array (q,)
        What was drawn independently: the class, the person, the episode of each.
    rivals : array (q,), optional
        A second class that each hangs on; see :func:`likewise.evaluation.retrieval_scores`.
    """

    values: NDArray[np.float64]
    clusters: NDArray[np.int64]
    rivals: NDArray[np.int64] | None = None

    @staticmethod
    def of_queries(scores: QueryScores, figure: str) -> Scores:
        """One figure of a retrieval."""
        first = scores.rivals.reshape(len(scores.codes), -1)[:, 0].astype(np.int64)
        return Scores(np.asarray(scores.scores[figure], dtype=np.float64), scores.codes, first)


@dataclass
class Outcome:
    """The cells of one seed.

    >>> outcome = Outcome()
    >>> outcome.record("one-shot", "raw pixels", {"accuracy": 0.2})
    >>> outcome.cells
    {('one-shot', 'raw pixels', 'accuracy'): 0.2}
    """

    cells: dict[Key, float] = field(default_factory=dict)
    scores: dict[Key, Scores] = field(default_factory=dict)
    seconds: float = 0.0

    def record(
        self,
        table: str,
        row: str,
        figures: Mapping[str, float],
        *,
        scores: Mapping[str, Scores] | None = None,
    ) -> None:
        """Enter figures of a row, and the scores behind some of them."""
        for figure, value in figures.items():
            self.cells[table, row, figure] = float(value)
        for figure, held in (scores or {}).items():
            self.scores[table, row, figure] = held

    def record_retrieval(self, table: str, row: str, scores: QueryScores, figures: Mapping[str, str]) -> None:
        """Enter figures of a retrieval with the scores behind them: ``{"map@r": "MAP@R"}`` names them."""
        found = {told: Scores.of_queries(scores, name) for name, told in figures.items()}
        self.record(
            table, row, {told: float(each.values.mean()) for told, each in found.items()}, scores=found
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the cells, without the scores behind them."""
        return {
            "seconds": round(self.seconds, 1),
            "cells": [
                {
                    "table": table,
                    "row": row,
                    "figure": figure,
                    "value": value if math.isfinite(value) else None,
                }
                for (table, row, figure), value in self.cells.items()
            ],
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def check_cells(outcome: Outcome, tables: tuple[Table, ...]) -> None:
    """Refuse a cell that no table has: it would never be shown."""
    known = {(table.name, row, figure) for table in tables for row in table.rows for figure in table.figures}
    strange = [key for key in outcome.cells if key not in known]
    if strange:
        raise InputError(f"no table has a place for the cell {' / '.join(strange[0])}")
