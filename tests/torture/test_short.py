"""The torture program's short form: the same trials, a small part of their number."""

from __future__ import annotations

import subprocess
import sys

import pytest

from torture.program import HERE, PARTS


@pytest.mark.parametrize("part", PARTS)
def test_promises_hold(part: str) -> None:
    finished = subprocess.run(
        [sys.executable, str(HERE / "program.py"), "--short", "--only", part],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr[-2000:]
    assert "ok " in finished.stdout
