"""What every evaluation gives back: figures with intervals, under their names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Figure", "Report"]


@dataclass(frozen=True)
class Figure:
    """One number and its 95 % interval.

    Parameters
    ----------
    value : float
        The figure; NaN where it can't be measured, and then ``note`` says why.
    low, high : float
        The interval's ends.
    unit : str
        What was taken as drawn independently: "class" unless the caller gave none.
    n_units : int
        How many of them.
    note : str
        What a reader must know with the number: "few classes", "not measurable with this many pairs".

    >>> print(Figure(0.912, 0.88, 0.94, n_units=40))
    0.912 [0.880, 0.940]
    """

    value: float
    low: float
    high: float
    unit: str = "class"
    n_units: int = 0
    note: str = ""

    @property
    def measurable(self) -> bool:
        """Whether there is a value at all."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """JSON values by name; NaN becomes None."""
        return {
            "value": _number(self.value),
            "low": _number(self.low),
            "high": _number(self.high),
            "unit": self.unit,
            "n_units": self.n_units,
            "note": self.note,
        }

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        if not self.measurable:
            return f"-{note}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]{note}"


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Report(Mapping[str, Figure]):
    """Figures by name, with what was counted on the way; a read-only mapping.

    Parameters
    ----------
    title : str
    figures : mapping of str to Figure
    counts : mapping of str to int
        How much went in, and how much was left out: "queries", "queries without a match".
    notes : tuple of str
        Sentences that hold for all figures.

    >>> report = Report("retrieval", {"recall@1": Figure(0.5, 0.25, 0.75, n_units=4)}, {"queries": 8})
    >>> report["recall@1"].value, report.to_dict()["recall@1"]["high"]
    (0.5, 0.75)
    >>> print(report)
    retrieval (queries: 8)
      recall@1  0.500 [0.250, 0.750]
    """

    title: str
    figures: Mapping[str, Figure]
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Figure:
        try:
            return self.figures[name]
        except KeyError:
            raise KeyError(f"{name!r}; this report has {', '.join(self.figures)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def to_dict(self) -> dict[str, dict[str, float | int | str | None]]:
        """``{"recall@1": {"value": v, "low": l, "high": h, ...}, ...}``, fit for JSON."""
        return {name: figure.to_dict() for name, figure in self.figures.items()}

    def table(self) -> str:
        """A line for each figure, the counts above and the notes below."""
        counted = ", ".join(f"{name}: {count:,}" for name, count in self.counts.items() if count)
        lines = [f"{self.title} ({counted})" if counted else self.title]
        width = max((len(name) for name in self.figures), default=0)
        lines += [f"  {name:<{width}}  {figure}" for name, figure in self.figures.items()]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()
