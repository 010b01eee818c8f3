"""Figures, and a report of one HTML file."""

from __future__ import annotations

from likewise.report.audit_page import audit_page
from likewise.report.figures import PairDistances, Theme, before_and_after, panel_svg
from likewise.report.page import HEADLINES, Column, Markup, Section, report_page
from likewise.report.run_report import run_report

__all__ = [
    "HEADLINES",
    "Column",
    "Markup",
    "PairDistances",
    "Section",
    "Theme",
    "audit_page",
    "before_and_after",
    "panel_svg",
    "report_page",
    "run_report",
]
