"""The report: one file, nothing from elsewhere, and it opens."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from likewise.report import Column, PairDistances, Section, report_page

FIGURE = {"value": 0.5, "low": 0.25, "high": 0.75}
FIGURES = {"retrieval": {"recall@1": FIGURE}, "verification": {"eer": FIGURE}}
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


def page(**changes: object) -> str:
    arguments: dict = {
        "title": "Digits",
        "lead": "Nearer.",
        "columns": [Column("this model", FIGURES), Column("raw pixels", FIGURES)],
        "sections": [
            Section(
                "Distances", "Of pairs.", panels=[PairDistances("now", np.arange(9.0), np.arange(5.0, 20.0))]
            ),
            Section("Made", facts={"data": "digits"}),
        ],
    }
    return report_page(**{**arguments, **changes})


class Reader(HTMLParser):
    """Collects tags, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_nothing_is_loaded_from_elsewhere() -> None:
    reader = read(page())
    assert reader.links
    assert all(link.startswith("data:") for link in reader.links)
    assert "script" not in reader.tags
    assert "url(" not in page()


def test_every_figure_stands_there_with_its_interval() -> None:
    text = page()
    assert text.count("<strong>0.500</strong><small>0.250 to 0.750</small>") == 4
    assert "MAP@R" not in text


def test_a_figure_that_is_missing_or_not_a_number_is_a_dash() -> None:
    columns = [
        Column("this model", {"retrieval": {"recall@1": {"value": float("nan")}, "map@r": FIGURE}}),
        Column("raw pixels", {"retrieval": {"recall@1": {"value": None, "low": None, "high": None}}}),
    ]
    text = page(columns=columns)
    assert text.count(">-</td>") == 3
    assert "nan" not in text.lower()


def test_names_from_strangers_are_text_and_not_markup() -> None:
    text = page(
        title=HOSTILE,
        lead=HOSTILE,
        footer=HOSTILE,
        columns=[Column(HOSTILE, {HOSTILE: {HOSTILE: FIGURE}})],
        sections=[
            Section(HOSTILE, HOSTILE, panels=[PairDistances(HOSTILE, [1.0], [2.0])]),
            Section(HOSTILE, HOSTILE, facts={HOSTILE: HOSTILE}),
        ],
    )
    tags = read(text).tags
    assert "script" not in tags
    assert tags.count("img") == 1  # the panel


def test_a_report_without_sections_or_columns_is_still_a_page() -> None:
    assert "<h1>Digits</h1>" in page(columns=[], sections=[])


@pytest.mark.parametrize("width", [400, 1200])
def test_the_report_opens_in_a_browser_and_fits(tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium here; CI installs it")
    # A script of the test's own tells the frame around it what a reader would see. It is framed because
    # a headless window can't be narrower than 500 pixels.
    probe = """<script>addEventListener('load', () => {
      const shown = [...document.images].map(image => image.complete && image.naturalWidth > 0);
      const edges = [...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right);
      const fits = Math.max(...edges) <= innerWidth;
      parent.postMessage([shown.length, shown.every(Boolean), fits].join(' '), '*');
    })</script>"""
    frame = f"""<body><script>onmessage = event => document.body.dataset.seen = event.data</script>
      <iframe src="report.html" width="{width}" height="900"></iframe></body>"""
    watched = page().replace("script-src 'none'", "script-src 'unsafe-inline'")
    assert watched != page()
    (tmp_path / "report.html").write_text(watched.replace("</body>", probe + "</body>"), encoding="utf-8")
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    finished = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert 'data-seen="1 true true"' in finished.stdout
