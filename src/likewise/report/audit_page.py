"""The audit as a page of pictures: what a person should look at, beside what it was held against."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from likewise import __version__
from likewise.audit import Audit, Finding, Kind
from likewise.data import Records
from likewise.report.galleries import GALLERY_STYLE
from likewise.report.page import Markup, Section, report_page
from likewise.report.thumbnails import Thumbnails

__all__ = ["audit_page"]

_SHOWN = 60
_TOO_MANY = 0.2  # of all labels
_TEXTS = {
    Kind.WRONG_LABEL: (
        "Likely wrong labels",
        "Items whose own class lies farther off than another, the surest first; beside each the nearest item "
        "of the likelier class.",
    ),
    Kind.NEAR_DUPLICATE: ("Near duplicates", "Pairs that are nearly the same, the nearest first."),
    Kind.LEAK: ("Leaks", "Items that have a near duplicate in the other data, which stands beside them."),
    Kind.OUTLIER: ("Outliers", "Items that lie far from everything, the farthest first."),
}


def audit_page(audit: Audit, records: Records, *, against: Records | None = None) -> str:
    """Write the page of an audit.

    Parameters
    ----------
    audit : Audit
    records : Records
        The data that was audited.
    against : Records, optional
        The other data, where leaks were looked for.

    Returns
    -------
    str
        A whole HTML document that loads nothing and runs nothing.
    """
    thumbnails = Thumbnails.of(records)
    others = thumbnails if against is None else Thumbnails.of(against)
    sections = [Section("What was looked at", facts={name: f"{n:,}" for name, n in audit.counts.items()})]
    for kind, (title, text) in _TEXTS.items():
        if kind is Kind.LEAK and against is None:
            continue
        found = audit.of(kind)
        beside = others if kind is Kind.LEAK else thumbnails
        pieces = [_findings(found[:_SHOWN], thumbnails, beside)] if found else []
        said = text if found else "None were found."
        if len(found) > _SHOWN:
            said += f" The first {_SHOWN} of {len(found):,}; the table has them all."
        sections.append(Section(title, said, pieces=pieces))
    return report_page(
        title=f"Audit of {records.name}",
        lead=_lead(audit),
        columns=[],
        sections=sections,
        footer=f"Written by likewise {__version__}. The page is one file and loads nothing.",
        style=GALLERY_STYLE,
    )


def _lead(audit: Audit) -> str:
    named = {Kind.WRONG_LABEL: "labels to doubt", Kind.NEAR_DUPLICATE: "near duplicates", Kind.LEAK: "leaks"}
    parts = [f"{len(audit.of(kind)):,} {told}" for kind, told in named.items() if audit.of(kind)]
    parts += [f"{len(audit.of(Kind.OUTLIER)):,} outliers"] if audit.of(Kind.OUTLIER) else []
    found = ", ".join(parts) if parts else "nothing was found"
    said = f"Of {audit.counts['items']:,} items: {found}. Each is a suspicion, not a verdict."
    if len(audit.of(Kind.WRONG_LABEL)) > _TOO_MANY * audit.counts["items"]:
        said += (
            " So many doubts tell of an embedding that parts these classes badly: trust the first ones only."
        )
    return said


def _findings(found: Sequence[Finding], left: Thumbnails, right: Thumbnails) -> Markup:
    return Markup(f'<div class="pairs">{"".join(_finding(each, left, right) for each in found)}</div>')


def _finding(finding: Finding, left: Thumbnails, right: Thumbnails) -> str:
    shown = _tile(left, finding.row, finding.label, "wrong" if finding.kind is Kind.WRONG_LABEL else "")
    if finding.other_row >= 0:
        shown += _tile(right, finding.other_row, finding.other_label, "")
    return f'<div class="pair">{shown}<p>{escape(finding.reason)}</p></div>'


def _tile(thumbnails: Thumbnails, row: int, label: str, kind: str) -> str:
    told = f"row {row}, labelled {label}"
    return (
        f'<figure class="tile {kind}" title="{escape(told)}">{thumbnails.html(row, told)}'
        f"<figcaption>{escape(label)}<br>row {row}</figcaption></figure>"
    )
