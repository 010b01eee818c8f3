"""Neither ``import likewise`` nor ``likewise --help`` pays for torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "faiss", "rich")


def heavy_modules_after(code: str) -> list[str]:
    """Which heavy modules a fresh interpreter holds after running some code."""
    tail = f"import sys; sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tail}"], capture_output=True, text=True, timeout=60, check=True
    )
    return finished.stderr.split()


@pytest.mark.parametrize(
    "code",
    [
        "import likewise",
        "from likewise.cli import main; main(['--help'])",
        "from likewise.cli import main; main(['train', '--help'])",
        "from likewise.cli import main; main([])",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert heavy_modules_after(code) == []


def test_the_check_sees_torch_when_it_is_there() -> None:
    assert "torch" in heavy_modules_after("import likewise; likewise.distances")
