"""The README's first block, from training to search, as written, on fewer digits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("small_digits")


def test_the_ten_lines_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    first = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]
    names: dict = {}
    exec(compile(first, "README.md", "exec"), names)
    assert 0 <= names["report"]["retrieval"]["recall@1"].value <= 1
    assert (tmp_path / "runs" / "digits" / "model.json").is_file()
    assert capsys.readouterr().out.splitlines()[-3].startswith("digits:classes=5-9:")
