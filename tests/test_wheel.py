"""The wheel holds the package and its type marker, and neither data nor tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a freshly built wheel holds."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    # The backend alone, without pip: no network, nothing installed.
    subprocess.run(
        [sys.executable, "-c", build, str(built)],
        cwd=source,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return wheel.namelist()


def test_every_module_and_the_type_marker_are_there(names: list[str]) -> None:
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert modules <= set(names)
    assert "likewise/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_nothing_else_is_there(names: list[str]) -> None:
    others = [name for name in names if not name.endswith((".py", "/py.typed")) and ".dist-info/" not in name]
    table = ROOT / "src" / "likewise" / "table"
    kernels = [f"likewise/table/{path.name}" for path in table.iterdir() if path.suffix in (".c", ".h")]
    assert "likewise/table/hinges.c" in kernels
    assert sorted(others) == ["likewise/serve/explorer.html", *sorted(kernels)]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"likewise"}
