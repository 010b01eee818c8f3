"""Imports go only down the floors: every import is read, those inside functions and for types too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# From the roof down; a module may import from its own floor and from those below it.
FLOORS = (
    "__main__",
    "cli",
    "serve",
    "bench",
    "recipes",
    "api",
    "report",
    "training",
    "audit",
    "evaluation",
    "search",
    "export",
    "linear",
    "model",
    "encoders",
    "data",
    "losses",
    "mining",
    "table",
    "relations",
    "distances",
    "artifacts",
    "settings",
    "errors",
)
ROOT_NAMES = {"__version__"}  # what any floor may take from the package itself
PACKAGE = Path(__file__).parent.parent / "src" / "likewise"


def floor_of(path: Path, package: Path) -> str | None:
    """The floor that a file stands on; None for the package's own ``__init__``, which stands on none."""
    first = path.relative_to(package).parts[0].removesuffix(".py")
    return None if first == "__init__" else first


def imported_floors(source: str, *, module: str) -> Iterator[tuple[int, str]]:
    """Every floor of likewise that a source imports, with its line; also of relative imports.

    ``module`` is the package in which the source lies, such as ``likewise.cli``.
    """
    nodes = list(ast.walk(ast.parse(source)))
    whole = set()  # what the package itself is called in this source
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] != "likewise":
                    continue
                if len(parts) > 1:
                    yield node.lineno, parts[1]
                if len(parts) == 1 or alias.asname is None:
                    whole.add(alias.asname or "likewise")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: len(module.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            parts = base.split(".")
            if parts[0] != "likewise":
                continue
            if len(parts) > 1:
                yield node.lineno, parts[1]
            else:
                yield from ((node.lineno, alias.name) for alias in node.names if alias.name not in ROOT_NAMES)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
            yield from [] if node.attr in ROOT_NAMES else [(node.lineno, node.attr)]


def violations(package: Path) -> list[str]:
    """Every import of a package's files that doesn't go down."""
    found = []
    for path in sorted(package.rglob("*.py")):
        floor = floor_of(path, package)
        if floor is None:
            continue
        module = ".".join(["likewise", *path.relative_to(package).parent.parts])
        for line, target in imported_floors(path.read_text("utf-8"), module=module):
            if target not in FLOORS or floor not in FLOORS or FLOORS.index(target) < FLOORS.index(floor):
                found.append(f"{path.relative_to(package)}:{line} imports {target}, above {floor}")
    return found


def test_every_file_stands_on_a_floor() -> None:
    floors = {floor_of(path, PACKAGE) for path in PACKAGE.rglob("*.py")} - {None}
    assert floors - set(FLOORS) == set()
    assert {"cli", "distances", "errors"} <= floors


def test_imports_go_only_down() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    "source",
    [
        "from likewise.cli import main",
        "import likewise.api as api",
        "from likewise import training",
        "from .. import cli",
        "def run():\n    from likewise.report import figures",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from likewise.model import Model",
        "from likewise.nowhere import thing",
        "import likewise\nlikewise.train(1)",
        "import likewise as lw\nlw.model",
    ],
)
def test_an_upward_import_is_found_wherever_it_hides(tmp_path: Path, source: str) -> None:
    (tmp_path / "losses").mkdir()
    (tmp_path / "losses" / "pair.py").write_text(source)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from likewise.errors import InputError",
        "from likewise.losses.base import Loss",
        "from . import base",
        "from ..distances import Cosine",
        "from likewise import __version__",
        "import likewise\nlikewise.__version__",
        "import torch",
    ],
)
def test_a_downward_import_is_let_through(tmp_path: Path, source: str) -> None:
    (tmp_path / "losses").mkdir()
    (tmp_path / "losses" / "pair.py").write_text(source)
    assert violations(tmp_path) == []
