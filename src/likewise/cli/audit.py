"""Look for likely wrong labels, near duplicates, leaks between splits, and outliers.

Each item is judged by all the others and never by itself. Use a run that was not trained on the labels in
question: a network that has learned a wrong label no longer doubts it. RUN may be "raw" to compare the
items as they are.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likewise.audit import Audit
    from likewise.data import Records
    from likewise.distances import Distance

__all__ = ["HELP", "add_arguments", "run"]

HELP = "likely wrong labels, near duplicates, leaks, outliers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``likewise audit``."""
    parser.add_argument("run_folder", metavar="RUN", help='a saved run, or "raw"')
    parser.add_argument("data", metavar="DATA", help="labelled things")
    parser.add_argument("--against", metavar="DATA", help="data that must not share items with it")
    parser.add_argument(
        "--split",
        metavar="COLUMN",
        help="a column of DATA; its rarest value is held against the rest",
    )
    parser.add_argument("--csv", metavar="FILE", help="write the findings as a table there")
    parser.add_argument("--json", metavar="FILE", help="write the findings there; - is standard output")
    parser.add_argument("--page", metavar="FILE", help="write a page of pictures there")
    parser.add_argument(
        "-n", "--shown", metavar="N", type=int, default=10, help="findings to print of each kind (10)"
    )


def run(request: argparse.Namespace) -> None:
    """Audit, print the surest findings, and write what was asked for."""
    from pathlib import Path

    from likewise.audit import audit, findings_csv
    from likewise.cli.terminal import write_json
    from likewise.data import load
    from likewise.distances import Euclidean
    from likewise.errors import InputError
    from likewise.model import Model
    from likewise.report import audit_page

    if request.against is not None and request.split is not None:
        raise InputError("--against and --split can't go together; give one of them")
    model = None if request.run_folder == "raw" else Model.load(request.run_folder)
    distance: Distance = Euclidean() if model is None else model.distance
    records = load(request.data)
    against = None if request.against is None else load(request.against)
    if request.split is not None:
        records, against = _parted(records, request.split)
    found = audit(
        _embedded(model, records),
        records.labels,
        against=None if against is None else _embedded(model, against),
        against_labels=None if against is None or not against.labelled else against.labels,
        distance=distance,
    )
    if model is not None:  # so that pictures are those that the model saw
        records, against = model.adapted(records), None if against is None else model.adapted(against)
    if request.csv is not None:
        Path(request.csv).write_text(findings_csv(found.findings), encoding="utf-8")
    if request.page is not None:
        Path(request.page).write_text(audit_page(found, records, against=against), encoding="utf-8")
    if request.json is not None:
        write_json(found.to_dict(), request.json)
    if request.json != "-":
        _show(found, request.shown)


def _embedded(model: Any, records: Records) -> Any:
    from likewise.errors import InputError

    if model is not None:
        return model.embed(records)
    items = records.items()
    if items.dtype.kind not in "fiu":
        raise InputError(
            f"{records.name}: only numbers can be compared raw; name a run that embeds {records.kind}"
        )
    return items.reshape(len(items), -1)


def _parted(records: Records, column: str) -> tuple[Records, Records]:
    """The smallest part of the records by a column, and the rest."""
    import numpy as np

    from likewise.errors import InputError

    if column not in records.columns:
        known = ", ".join(records.columns) or "none"
        raise InputError(f"--split must name a column of {records.name}; found {column!r}, it has {known}")
    values = np.asarray(records.columns[column]).astype(str)
    names, counts = np.unique(values, return_counts=True)
    if len(names) < 2:
        raise InputError(f"--split: column {column!r} must hold two values or more; found one")
    held = values == names[int(np.argmin(counts))]
    return records.take(held), records.take(~held)


def _show(found: Audit, shown: int) -> None:
    from rich.text import Text

    from likewise.audit import Kind
    from likewise.cli.terminal import print_table, printable, table

    print(", ".join(f"{name}: {count:,}" for name, count in found.counts.items()))
    for kind in Kind:
        findings = found.of(kind)[:shown]
        if not findings:
            continue
        lines = table(str(kind), "row", "label", "other row", "other label", "why")
        for finding in findings:
            other = "" if finding.other_row < 0 else str(finding.other_row)
            words = ["", str(finding.row), finding.label, other, finding.other_label, finding.reason]
            lines.add_row(*(Text(printable(word)) for word in words))
        print_table(lines)
