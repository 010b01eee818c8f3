"""What an audit finds: one line for each thing that a person should look at."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

__all__ = ["Finding", "Kind", "findings_csv"]


class Kind(StrEnum):
    """What may be wrong."""

    WRONG_LABEL = "wrong label"
    NEAR_DUPLICATE = "near duplicate"
    LEAK = "leak"
    OUTLIER = "outlier"


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Parameters
    ----------
    kind : Kind
    row : int
        Its position in the data.
    label : str
        The label that it bears.
    score : float
        Larger is surer; comparable within one kind only.
    other_row : int
        The item that it was held against; -1 for none. Of a leak, a row of the other data.
    other_label : str
        For a wrong label the class that is likelier; else the label of the other item.
    reason : str
        One sentence for the reader.
    """

    kind: Kind
    row: int
    label: str
    score: float
    other_row: int = -1
    other_label: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        """For JSON; the kind as its words."""
        return {**asdict(self), "kind": str(self.kind)}


def findings_csv(findings: Iterable[Finding]) -> str:
    r"""The findings as a CSV table with a header.

    A text that a spreadsheet would run as a formula is led by an apostrophe.

    >>> print(findings_csv([Finding(Kind.OUTLIER, 3, "=cat", 4.5)]).splitlines()[1])
    outlier,3,'=cat,4.5,-1,,
    """
    stream = io.StringIO()
    names = [field.name for field in fields(Finding)]
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for finding in findings:
        row = finding.to_dict()
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return stream.getvalue()


def _inert(value: object) -> object:
    formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if formula else value
