"""The torture program's short form: the same tests, a hundredth of their number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")


@pytest.mark.parametrize("part", ["kills", "mutations", "pictures", "names", "requests"])
def test_promises_hold(part: str) -> None:
    finished = subprocess.run(
        [sys.executable, str(PROGRAM), "--short", "--only", part],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr[-2000:]
    assert finished.stdout.count("ok ") == {"mutations": 8}.get(part, 1)
