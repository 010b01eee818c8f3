"""Audit of labelled data: likely wrong labels, near duplicates, leaks between splits, outliers."""

from __future__ import annotations

from likewise.audit.findings import Finding, Kind, findings_csv
from likewise.audit.labels import LabelDoubts, label_doubts
from likewise.audit.neighbours import Outliers, Twins, near_duplicates, outliers, twins_between
from likewise.audit.whole import Audit, audit

__all__ = [
    "Audit",
    "Finding",
    "Kind",
    "LabelDoubts",
    "Outliers",
    "Twins",
    "audit",
    "findings_csv",
    "label_doubts",
    "near_duplicates",
    "outliers",
    "twins_between",
]
