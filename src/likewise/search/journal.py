"""A journal: changes of an index since it was saved, each on disk before it is acknowledged.

::

    magic and version (16 bytes)     digest of the manifest that it continues (32)
    slot A (80)  slot B (80)         sequence, length, digest of the chain; a checksum of its own
    entries                          length of the JSON, length of the arrays; JSON; arrays

An entry is written and synced; then the slot that isn't the newest is overwritten and synced, and only
then does the call return. What lies beyond the newest slot's length was never acknowledged and is passed
over, so a process killed at any point leaves a journal that reads. Every byte up to there is covered by
a chain of SHA-256: one that was changed, dropped or swapped is refused. A journal without entries is part
of every folder that an index is saved as, and comes to its place with it in one step: a file that is empty
was cut, and one that is missing was removed. What can't be told is an older copy of a journal in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ArtifactError

__all__ = ["Entry", "Journal", "check_free", "empty_journal", "read_journal"]

_MAGIC = b"likewise journ\x00\x01"
_SLOT = struct.Struct("<QQ32s32s")
_HEAD = struct.Struct("<QQ")
_START = len(_MAGIC) + 32 + 2 * _SLOT.size


@dataclass(frozen=True)
class Entry:
    """One change: what is to be done, as JSON, and the embeddings (m, d) that belong to it, if any."""

    content: dict[str, Any]
    embeddings: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Slot:
    sequence: int
    length: int
    chain: bytes

    def packed(self) -> bytes:
        bare = _SLOT.pack(self.sequence, self.length, self.chain, bytes(32))
        return _SLOT.pack(self.sequence, self.length, self.chain, hashlib.sha256(bare).digest())


class Journal:
    """The journal of one saved index, open for writing by this process alone.

    Parameters
    ----------
    path : Path
        The file.
    manifest_sha256 : str
        Of the saved index that it continues.

    Raises
    ------
    ArtifactError
        Another process writes to it, it continues another index, it is damaged, or there is none.
    """

    def __init__(self, path: Path, manifest_sha256: str) -> None:
        self.path = path
        self._base = bytes.fromhex(manifest_sha256)
        try:
            self._stream = _locked(path)
        except FileNotFoundError as error:
            raise _missing(path) from error
        try:
            self.entries, self._slot = _read(self._stream.read(), self._base, path)
        except BaseException:
            self._stream.close()
            raise

    def append(self, entry: Entry) -> None:
        """Write a change; it has reached the disk when this returns.

        Raises
        ------
        ArtifactError
            The disk refuses (full, read-only); the journal is as it was. Or its file isn't there any more,
            or another process has taken it meanwhile.
        """
        if self._stream.closed:
            raise ArtifactError(f"{self.path}: isn't held by this process any more; open the index again")
        if not os.fstat(self._stream.fileno()).st_nlink:
            raise ArtifactError(
                f"{self.path}: was removed while the index was open, so nothing was changed; save the index, "
                "which writes it whole again"
            )
        text = json.dumps(entry.content, allow_nan=False).encode()
        arrays = b"" if entry.embeddings is None else np.ascontiguousarray(entry.embeddings, "<f4").tobytes()
        data = _HEAD.pack(len(text), len(arrays)) + text + arrays
        slot = _Slot(
            self._slot.sequence + 1,
            self._slot.length + len(data),
            hashlib.sha256(self._slot.chain + data).digest(),
        )
        try:
            self._write(self._slot.length, data)
            self._write(len(_MAGIC) + 32 + (slot.sequence % 2) * _SLOT.size, slot.packed())
        except OSError as error:
            raise _unwritten(self.path, error) from error
        self._slot = slot

    def close(self) -> None:
        """Let another process write."""
        self._stream.close()

    def _write(self, place: int, data: bytes) -> None:
        """All of the data at a place, and on the disk when this returns."""
        self._stream.seek(place)
        left = memoryview(data)
        while left:
            left = left[self._stream.write(left) :]
        os.fsync(self._stream.fileno())


def check_free(path: Path) -> None:
    """Refuse a journal that another process is writing to; ArtifactError."""
    if path.exists():
        with contextlib.suppress(FileNotFoundError):
            _locked(path).close()


def empty_journal(manifest_sha256: str) -> bytes:
    """The bytes of a journal without entries, of the saved index with this manifest.

    >>> len(empty_journal("00" * 32))
    208
    """
    base = bytes.fromhex(manifest_sha256)
    first = _Slot(0, _START, hashlib.sha256(_MAGIC + base).digest()).packed()
    return _MAGIC + base + first + first


def read_journal(path: Path, manifest_sha256: str) -> list[Entry]:
    """The acknowledged changes of a journal, in order.

    Raises
    ------
    ArtifactError
        A byte was changed, it continues another index, or there is none.
    """
    try:
        if path.is_symlink():
            raise ArtifactError(f"{path}: a link, where the journal of an index is expected")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read ({error.strerror or error})") from error
    return _read(data, bytes.fromhex(manifest_sha256), path)[0]


def _read(data: bytes, base: bytes, path: Path) -> tuple[list[Entry], _Slot]:
    if len(data) < _START or data[: len(_MAGIC)] != _MAGIC:
        raise ArtifactError(f"{path}: not a journal of this version of likewise, or cut short{_mend(path)}")
    slots = [_slot(data, place, path) for place in (0, 1)]
    newest = max(slots, key=lambda slot: slot.sequence)
    if data[len(_MAGIC) : len(_MAGIC) + 32] != base:
        raise ArtifactError(
            f"{path}: continues another saved index than the one beside it; it was copied here or "
            f"damaged{_mend(path)}"
        )
    entries, chain, place = [], hashlib.sha256(_MAGIC + base).digest(), _START
    damaged = ArtifactError(
        f"{path}: the file was changed, damaged or cut short (its chain of SHA-256 differs){_mend(path)}"
    )
    reached = {(0, _START, chain)}
    for sequence in range(1, newest.sequence + 1):
        if place + _HEAD.size > min(len(data), newest.length):
            raise damaged
        text, arrays = _HEAD.unpack_from(data, place)
        stop = place + _HEAD.size + text + arrays
        if stop > min(len(data), newest.length):
            raise damaged
        chain = hashlib.sha256(chain + data[place:stop]).digest()
        entries.append((place + _HEAD.size, text, arrays))
        place = stop
        reached.add((sequence, place, chain))
    if any((slot.sequence, slot.length, slot.chain) not in reached for slot in slots):
        raise damaged
    if newest.sequence - min(slot.sequence for slot in slots) > 1:
        raise damaged
    try:
        return [_entry(data, *entry) for entry in entries], newest
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged from error


def _slot(data: bytes, place: int, path: Path) -> _Slot:
    start = len(_MAGIC) + 32 + place * _SLOT.size
    sequence, length, chain, _ = _SLOT.unpack_from(data, start)
    slot = _Slot(sequence, length, chain)
    if slot.packed() != data[start : start + _SLOT.size]:
        raise ArtifactError(
            f"{path}: the file was changed or damaged (a slot doesn't match its checksum){_mend(path)}"
        )
    return slot


def _entry(data: bytes, start: int, text: int, arrays: int) -> Entry:
    content = json.loads(data[start : start + text].decode())
    if not isinstance(content, dict):
        raise TypeError("an entry must be a JSON object")
    if not arrays:
        return Entry(content)
    values = np.frombuffer(data[start + text : start + text + arrays], dtype="<f4")
    return Entry(content, values.reshape(-1, int(content["dimension"])).astype(np.float32))


def _locked(path: Path) -> Any:
    """The file, open and locked; it is the one at the path, also where a writer has just replaced it.

    FileNotFoundError where there is none.
    """
    import fcntl  # not on Windows, where an index is saved and loaded but not opened for writing

    for _ in range(10):
        try:
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unwritten(path, error) from error
        stream = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.close()
            raise ArtifactError(
                f"{path.parent}: another process is writing to this index; stop it first, or only read"
            ) from error
        try:
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return stream
        except FileNotFoundError:
            pass
        stream.close()
    raise ArtifactError(f"{path.parent}: another process keeps replacing this index; try again")


def _missing(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path}: the journal is missing, and with it every change since the index was saved{_mend(path)}"
    )


def _mend(path: Path) -> str:
    return (
        "; put it back from a copy, or go on with what was saved: "
        f"likewise index --from {path.parent} --as-saved -o NEW"
    )


def _unwritten(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"{path}: can't be written ({error.strerror or error}); nothing was changed")
