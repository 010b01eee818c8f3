"""The pages of the four set-ups: their examples run, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted((DOCS / "similarity-learning").glob("*.md"))


def test_each_set_up_has_its_page() -> None:
    assert [page.stem for page in PAGES] == ["classification", "hashing", "ranking", "regression"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs_and_holds(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    assert blocks and "assert" in blocks[0]
    for block in blocks:
        exec(compile(block, str(page), "exec"), {})  # the page is ours


@pytest.mark.parametrize("page", [DOCS / "similarity-learning.md", *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).is_file()] == []
