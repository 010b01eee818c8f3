"""Figures, and a report of one HTML file."""

from __future__ import annotations

from likewise.report.figures import PairDistances, Theme, before_and_after, panel_svg
from likewise.report.page import HEADLINES, Column, Section, report_page

__all__ = [
    "HEADLINES",
    "Column",
    "PairDistances",
    "Section",
    "Theme",
    "before_and_after",
    "panel_svg",
    "report_page",
]
