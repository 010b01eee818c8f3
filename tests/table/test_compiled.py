"""Building the compiled kernels, and doing without."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from likewise.table import compiled


def fresh_library() -> object:
    """What a new process would find."""
    return compiled._found.__wrapped__()[0]


def test_it_is_built_once_into_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fresh_library() is not None
    (built,) = (tmp_path / "likewise").iterdir()
    changed = built.stat().st_mtime_ns
    assert fresh_library() is not None
    assert [path.stat().st_mtime_ns for path in (tmp_path / "likewise").iterdir()] == [changed]


@pytest.mark.parametrize(
    "hindrance", ["turned off", "no compiler", "broken compiler", "open to others", "no home"]
)
def test_without_it_there_is_pytorch(hindrance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if hindrance == "turned off":
        monkeypatch.setenv("LIKEWISE_COMPILED", "0")
    elif hindrance == "no compiler":
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setenv("PATH", "")
    elif hindrance == "broken compiler":
        monkeypatch.setenv("CC", "false")
    elif hindrance == "open to others":
        folder = tmp_path / "likewise"
        folder.mkdir()
        os.chmod(folder, 0o777)
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fresh_library() is None
