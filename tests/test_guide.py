"""What the guide says: its commands parse, its methods exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from likewise.cli.parser import build_parser, parse

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "guide.md").read_text("utf-8")
COMMANDS = re.findall(r"^(likewise .+)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str) -> None:
    request = parse(build_parser(), shlex.split(command)[1:])
    assert callable(request.run)


def test_every_kind_of_command_is_shown() -> None:
    shown = {command.split()[1] for command in COMMANDS}
    assert {"train", "evaluate", "compare", "audit", "index", "search", "verify", "serve", "export"} <= shown


def test_the_methods_named_are_there() -> None:
    from likewise.training import METHODS
    from likewise.training.linear_heads import linear_methods

    table = TEXT.partition("| you know | begin with |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z-]+)`", table))
    assert len(named) > 12
    assert sorted(named - {*METHODS, *linear_methods()}) == []


def test_settings_and_parts_named_are_understood() -> None:
    from likewise.data import load
    from likewise.settings import settings_from_assignments, settings_from_mapping

    settings = settings_from_mapping(
        settings_from_assignments(re.findall(r"--set (\S+?)`?(?=[ `)\n])", TEXT))
    )
    assert settings.batch_size == 256 and settings.loss == {"temperature": 0.05} and settings.refit is False
    assert load("digits:classes=0-4").classes.tolist() == [0, 1, 2, 3, 4]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", TEXT)
    assert links and [link for link in links if not (DOCS / link).is_file()] == []
