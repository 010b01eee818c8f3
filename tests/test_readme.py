"""What the README claims: its code runs as written, its commands exist, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from likewise.cli.parser import build_parser, parse

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(likewise .+?)(?:  .*)?$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    """``docs/refresh_readme.py`` as a module."""
    spec = importlib.util.spec_from_file_location("refresh_readme", ROOT / "docs" / "refresh_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plain_loop_runs_and_learns_what_alike_means() -> None:
    from likewise import evaluation
    from likewise.data import load

    names: dict = {}
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    digits, net, torch = load("digits:classes=0-4"), names["net"], names["torch"]
    with torch.no_grad():
        learned = evaluation.retrieval(net(torch.from_numpy(digits.X)), digits.y, distance="cosine")
    raw = evaluation.retrieval(digits.X.reshape(len(digits), -1), digits.y)
    assert learned["map@r"].value > raw["map@r"].value + 0.1


def test_the_plain_loop_is_fifteen_lines() -> None:
    assert len([line for line in BLOCKS[1].splitlines() if line.strip()]) <= 16


def test_a_loss_of_ones_own_has_a_gradient() -> None:
    names: dict = {}
    exec(compile(BLOCKS[2], "README.md", "exec"), names)
    names["value"].backward()
    assert names["value"].ndim == 0


def test_there_are_no_other_blocks() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str) -> None:
    request = parse(build_parser(), shlex.split(command)[1:])
    assert callable(request.run)


def test_the_commands_were_found() -> None:
    assert len(COMMANDS) >= 5


def test_local_links_and_pictures_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT) + re.findall(r'(?:src|srcset)="([^"]+)"', TEXT)
    assert {"docs/images/distances.png", "CONTRIBUTING.md", "LICENSE"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_file_tree_is_that_of_the_package(refresh: ModuleType) -> None:
    assert refresh.replace(TEXT, "tree", refresh.tree()) == TEXT, "run: python docs/refresh_readme.py --tree"
    assert refresh.FILES.read_text("utf-8") == refresh.files(), "run: python docs/refresh_readme.py --tree"


def test_every_measured_page_is_listed(refresh: ModuleType) -> None:
    listed = (refresh.RESULTS / "README.md").read_text("utf-8")
    assert listed == refresh.results(), "run: python docs/refresh_readme.py --tree"


def test_the_figures_stand_in_their_place(refresh: ModuleType) -> None:
    figures = TEXT.partition("<!-- figures -->")[2].partition("<!-- /figures -->")[0]
    from likewise.report import HEADLINES

    for told in HEADLINES.values():
        assert re.search(rf"^\| {re.escape(told)} \| \*\*\d\.\d{{3}} \(", figures, re.MULTILINE)


def test_the_table_of_losses_is_that_of_the_package(refresh: ModuleType) -> None:
    assert refresh.replace(TEXT, "methods", refresh.methods()) == TEXT, (
        "run: python docs/refresh_readme.py --tree"
    )


def test_every_loss_and_method_is_in_the_table() -> None:
    from likewise import losses
    from likewise.training import METHODS

    rows = "".join(re.findall(r"^\| .*$", TEXT, re.MULTILINE))
    missing = [
        name for name in losses.__all__ if f"`{name}`" not in rows and name not in ("Loss", "TableLoss")
    ]
    assert missing + [name for name in METHODS if f"`{name}`" not in rows] == []
