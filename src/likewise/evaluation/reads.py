"""How often a run has looked at its test data: kept in the run, and told wherever figures are shown.

A test set is honest once. Whoever looks at its figures, changes something and looks again has begun to
train on it, and no interval knows of that. So every evaluation of a saved run writes a line into the
run's ``reads.jsonl``. What it doesn't know: evaluations of copies of the run, or by other programs.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from likewise.artifacts import amend_folder, canonical_json, read_folder
from likewise.errors import ArtifactError

__all__ = ["DataRead", "data_reads", "reads_sentence", "record_read"]

_FILE = "reads.jsonl"
_MANIFEST, _KIND = "model.json", "likewise-run"


@dataclass(frozen=True)
class DataRead:
    """One look of a run at labelled data: when, at what, and for which command."""

    time: str
    data: str
    fingerprint: str
    purpose: str

    @classmethod
    def now(cls, data: str, fingerprint: str, *, purpose: str) -> DataRead:
        """A look at this moment, in universal time."""
        moment = datetime.datetime.now(datetime.UTC)
        return cls(moment.strftime("%Y-%m-%d %H:%M:%S"), data, fingerprint, purpose)


def data_reads(run: str | os.PathLike[str]) -> tuple[DataRead, ...]:
    """All looks that a saved run has recorded, the earliest first.

    Raises
    ------
    ArtifactError
        It isn't a run, or was changed by hand.
    """
    _, files = read_folder(run, manifest=_MANIFEST, kind=_KIND)
    return _parsed(files, os.fspath(run))


def record_read(run: str | os.PathLike[str], read: DataRead) -> tuple[DataRead, ...]:
    """Write one look into a saved run, and return all looks including it.

    Where the run's folder can't be written the look is returned among the others but not kept.

    Raises
    ------
    ArtifactError
        It isn't a run, or was changed by hand.
    """
    reads = (*data_reads(run), read)
    if os.access(os.path.dirname(os.path.realpath(run)), os.W_OK | os.X_OK):
        lines = "".join(canonical_json(asdict(each)) + "\n" for each in reads)
        amend_folder(run, {_FILE: lines.encode()}, manifest=_MANIFEST, kind=_KIND)
    return reads


def reads_sentence(reads: Sequence[DataRead], fingerprint: str) -> str:
    """What a reader must know of the looks at this data.

    >>> read = DataRead("2026-01-01 00:00:00", "digits", "f", "evaluate")
    >>> reads_sentence([read], "f")
    'This run has looked at this data once.'
    >>> reads_sentence([read, read], "f").startswith("This run has looked at this data 2 times")
    True
    """
    times = sum(read.fingerprint == fingerprint for read in reads)
    if times == 0:
        return "How often this run has looked at this data isn't recorded."
    if times == 1:
        return "This run has looked at this data once."
    return (
        f"This run has looked at this data {times} times; whatever was chosen after the first look makes "
        "the figures flattering, and no interval knows of it."
    )


def _parsed(files: Mapping[str, bytes], run: str) -> tuple[DataRead, ...]:
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in files.get(_FILE, b"").splitlines()]
        return tuple(DataRead(**line) for line in lines)
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{os.path.join(run, _FILE)}: not a list of reads ({reason})") from error
