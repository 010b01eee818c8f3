"""What was run: one JSON line a cell, so that a bench that was broken off goes on where it stopped.

A line is written at once and synced; a last line that a killed process left unfinished is cut off when the
ledger is opened again. Beside the lines stands what they depend on, and a folder is refused that was begun
with anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from likewise.errors import ArtifactError, InputError

__all__ = ["Ledger"]

_KIND = "likewise-bench"
_FACTS, _LINES = "bench.json", "cells.jsonl"
_KEYS = {
    "cell": {"row": str, "fold": int, "seed": int},
    "trial": {"row": str, "fold": int, "number": int},
}
_NEEDED = {
    "cell": {"items", "queries", "sums", "without"},
    "failed": {"items"},
    "trial": {"items", "choice", "map@r"},
}


class Ledger:
    """The lines of a bench, by what they are of.

    Parameters
    ----------
    folder : path
        Made where it isn't there.
    facts : mapping
        What every line depends on, as JSON holds it.

    Raises
    ------
    ArtifactError
        The folder isn't a bench's, or a line can't be read.
    InputError
        It was begun with other facts; which one, is told.
    """

    def __init__(self, folder: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise ArtifactError(f"{folder}: the output must be a folder; found a file; choose another name")
        place = self.folder / _FACTS
        if place.exists():
            _check_same(place, facts)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ArtifactError(
                f"{folder}: the output folder exists and holds no {_FACTS}; choose another name"
            )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"format": _KIND, **facts}, indent=1, allow_nan=False) + "\n"
            scratch = place.with_suffix(".partial")
            scratch.write_text(text, "utf-8")
            os.replace(scratch, place)
        self._lines = {self._key(line): line for line in self._read()}

    def find(self, **key: Any) -> dict[str, Any] | None:
        """The line of a cell (row, fold, seed) or a trial (row, fold, number)."""
        return self._lines.get(tuple(sorted(key.items())))

    def add(self, line: dict[str, Any]) -> None:
        """Append one line, whole or not at all."""
        text = json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n"
        with open(self.folder / _LINES, "ab", buffering=0) as stream:
            stream.write(text.encode())
            os.fsync(stream.fileno())
        self._lines[self._key(line)] = line

    def cells(self) -> Iterator[dict[str, Any]]:
        """Every cell."""
        return (line for line in self._lines.values() if line["kind"] == "cell")

    def _read(self) -> Iterator[dict[str, Any]]:
        place = self.folder / _LINES
        if not place.exists():
            return
        content = place.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(place, "r+b") as stream:
                stream.truncate(whole)
        for number, text in enumerate(content[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
                known = _KEYS[line["kind"]]
                needed = _NEEDED["failed" if "failed" in line else line["kind"]]
                fits = line.keys() >= needed and all(type(line[name]) is kind for name, kind in known.items())
            except (ValueError, KeyError, TypeError):
                fits = False
            if not fits:
                raise ArtifactError(f"{place}: line {number} isn't one of a bench; delete that line")
            yield line

    @staticmethod
    def _key(line: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted((name, line[name]) for name in _KEYS[line["kind"]]))


def _check_same(place: Path, facts: Mapping[str, Any]) -> None:
    try:
        held = json.loads(place.read_bytes())
        ours = held.pop("format", None) == _KIND
    except (ValueError, AttributeError):
        ours = False
    if not ours:
        raise ArtifactError(f"{place}: this isn't the file of a bench; choose another folder")
    for name, value in facts.items():
        if held.get(name) != value:
            raise InputError(
                f"{place.parent}: this bench was begun with {name} {held.get(name)!r}; found {value!r}; "
                "ask for the same, or choose another folder"
            )
