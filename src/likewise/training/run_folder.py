"""The folder of a run while it is trained: checkpoints, the lines of its epochs, a batch that failed.

A checkpoint is a folder of arrays and JSON, written beside and renamed, so a killed process leaves the last
one whole. Beside a run that stands there already everything lies in its ``checkpoint/``, and the run stays
as it is until the new one is done.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from likewise.artifacts import canonical_json, read_folder, write_folder
from likewise.errors import ArtifactError
from likewise.training.state import Saved

__all__ = ["FAILED", "METRICS", "RunFolder"]

_MANIFEST, _KIND, _VERSION = "checkpoint.json", "likewise-checkpoint", 1
_ARRAYS = "state.safetensors"
METRICS, FAILED = "metrics.jsonl", "failed-batch.json"


class RunFolder:
    """Where a training keeps itself.

    Parameters
    ----------
    path : path
        The run's folder.
    seconds : float
        How often a checkpoint is due.
    writes : bool
        False for all processes but the first: they read alone.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float = 30.0, writes: bool = True) -> None:
        self.path = Path(path)
        self.seconds, self.writes = seconds, writes
        self._last = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        """Where the state lies."""
        return self.path / "checkpoint" / "state"

    @property
    def live(self) -> Path:
        """Where lines and events are written while training runs."""
        finished = (self.path / "model.json").exists()
        return self.path / "checkpoint" if finished else self.path

    def unfinished(self) -> bool:
        """Whether a training was begun here and hasn't ended."""
        return (self.checkpoint / _MANIFEST).is_file()

    def load(self) -> Saved:
        """The last checkpoint, every byte of it verified.

        Raises
        ------
        ArtifactError
            There is none, or it was damaged.
        """
        content, files = read_folder(self.checkpoint, manifest=_MANIFEST, kind=_KIND)
        if content.get("format_version") != _VERSION:
            raise ArtifactError(
                f"{self.checkpoint}: expected format_version {_VERSION}; found "
                f"{content.get('format_version')}; resume with the version of likewise that wrote it"
            )
        try:
            return Saved(safetensors.torch.load(files[_ARRAYS]), content["facts"])
        except (KeyError, ValueError, safetensors.SafetensorError) as error:
            raise ArtifactError(f"{self.checkpoint}: doesn't hold a state ({error})") from error

    def save(self, state: Saved) -> None:
        """Replace the checkpoint, whole or not at all.

        Raises
        ------
        ArtifactError
            The disk refuses; the checkpoint before stays.
        """
        if self.writes:
            files = {_ARRAYS: safetensors.torch.save(dict(state.arrays))}
            content = {"format_version": _VERSION, "facts": dict(state.facts)}
            write_folder(self.checkpoint, files, content, manifest=_MANIFEST, kind=_KIND)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether a checkpoint is."""
        return time.monotonic() - self._last >= self.seconds

    def begin(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Make the folder as it was at the checkpoint: these lines, and nothing half-written.

        Raises
        ------
        ArtifactError
            The disk refuses.
        """
        if not self.writes:
            return
        try:
            for leftover in self.checkpoint.parent.glob(".state.*"):
                shutil.rmtree(leftover, ignore_errors=True)
            for name in (FAILED, f".{FAILED}.partial", f".{METRICS}.partial"):
                (self.live / name).unlink(missing_ok=True)
            text = "".join(canonical_json(dict(line)) + "\n" for line in lines)
            if text or (self.live / METRICS).exists():
                _replace(self.live / METRICS, text)
        except OSError as error:
            raise _refused(self.live / METRICS, error) from error

    def append(self, line: Mapping[str, Any]) -> None:
        """Add the line of an epoch.

        Raises
        ------
        ArtifactError
            The disk refuses.
        """
        if not self.writes:
            return
        try:
            with open(self.live / METRICS, "a", encoding="utf-8") as stream:
                stream.write(canonical_json(dict(line)) + "\n")
        except OSError as error:
            raise _refused(self.live / METRICS, error) from error

    def failed(self, facts: Mapping[str, Any]) -> str:
        """Keep what is known of a batch whose loss isn't finite, and say where."""
        place = self.live / FAILED
        if self.writes:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                _replace(place, json.dumps(dict(facts), indent=1) + "\n")
            except OSError as error:
                raise _refused(place, error) from error
        return f"its rows are in {place}"


def _replace(place: Path, text: str) -> None:
    beside = place.with_name(f".{place.name}.partial")
    try:
        with open(beside, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, place)
    finally:
        beside.unlink(missing_ok=True)


def _refused(place: Path, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"{place}: can't be written ({error.strerror or error}); the last checkpoint is whole: free some "
        "room and go on with --resume"
    )
