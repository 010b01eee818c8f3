"""Folders that hold a saved run or index: written beside and renamed, and checked byte by byte.

A folder has one manifest (a JSON file) that lists every other file with its SHA-256, and carries a
checksum of itself. Reading verifies all of it before any byte reaches a parser of arrays. What it does
not know: whether the person who wrote the folder is to be trusted; a checksum finds damage, not malice.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from likewise.errors import ArtifactError

__all__ = [
    "amend_folder",
    "canonical_json",
    "check_output",
    "read_folder",
    "read_manifest",
    "sha256",
    "signed_files",
    "sync_folder",
    "write_folder",
]

_SELF = "manifest_sha256"
_ZEROS = "0" * 64
_MANIFEST_LIMIT = 64 * 1024 * 1024
_SCRATCH = frozenset({"checkpoint", "journal"})
_UNFINISHED = frozenset({"checkpoint", "metrics.jsonl", "failed-batch.json"})
"""What a training that was broken off leaves where no run stood before."""


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal.

    >>> sha256(b"")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text; NaN is refused.

    >>> canonical_json({"b": 1, "a": [1.5, "x"]})
    '{"a":[1.5,"x"],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_output(path: str | os.PathLike[str], *, manifest: str, kind: str) -> Path:
    """Refuse an output path that exists and isn't a folder of ours; return its real path.

    Parameters
    ----------
    path : path
        Where a folder is about to be written.
    manifest, kind : str
        The name of the manifest file, and the ``format`` that it must state.

    Raises
    ------
    ArtifactError
        The path is a file, a folder that isn't ours or holds files that aren't ours, or its parent
        isn't a folder that can be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_dir():
            raise ArtifactError(f"{path}: the output must be a folder; found a file; choose another name")
        held = sorted(entry.name for entry in target.iterdir())
        if held and not _is_unfinished(target, held):
            try:
                content = read_manifest(target, manifest=manifest, kind=kind)
            except ArtifactError as error:
                raise ArtifactError(
                    f"{path}: the output folder exists and isn't ours (it holds {held[0]}); "
                    "choose another name or remove it"
                ) from error
            for entry in sorted(target.rglob("*")):
                name = entry.relative_to(target)
                ours = name.as_posix() in {manifest, *content["files"]} or name.parts[0] in _SCRATCH
                if not ours and not (entry.is_dir() and any(entry.iterdir())):
                    raise ArtifactError(
                        f"{path}: the output folder holds {name}, which wasn't saved by likewise; "
                        "move it or choose another name"
                    )
    ancestor = target.parent
    while not ancestor.exists():
        ancestor = ancestor.parent
    if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        raise ArtifactError(f"{path}: {ancestor} isn't a folder that can be written; choose another place")
    return target


def signed_files(
    files: Mapping[str, bytes], content: Mapping[str, Any], *, manifest: str, kind: str
) -> dict[str, bytes]:
    """The files and the manifest that lists them with their checksums, as :func:`write_folder` writes them.

    Raises
    ------
    ArtifactError
        A name isn't relative or leads out of the folder.
    """
    for name in files:
        _check_name(name, Path(manifest))
    document = {
        "format": kind,
        **content,
        "files": {name: sha256(data) for name, data in sorted(files.items())},
        _SELF: _ZEROS,
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    signed = text.replace(f'"{_SELF}": "{_ZEROS}"', f'"{_SELF}": "{sha256(text.encode())}"')
    return {**files, manifest: signed.encode()}


def write_folder(
    path: str | os.PathLike[str],
    files: Mapping[str, bytes],
    content: Mapping[str, Any],
    *,
    manifest: str,
    kind: str,
    unlisted: Callable[[str], Mapping[str, bytes]] | None = None,
) -> str:
    """Write a folder so that at every moment the path holds all of the old or all of the new one.

    Parameters
    ----------
    path : path
        The folder; one of ours is replaced, anything else is refused.
    files : mapping of relative POSIX path to bytes
        Everything but the manifest.
    content : mapping
        What the manifest says beside ``format``, ``files`` and its own checksum: JSON values only.
    manifest, kind : str
        The manifest's file name, and its ``format``.
    unlisted : callable, optional
        Gives files that the manifest doesn't list, as they will change, from the manifest's checksum.

    Returns
    -------
    str
        The manifest's checksum of itself.

    Raises
    ------
    ArtifactError
        As :func:`check_output`, or the disk refuses (full, read-only); nothing is half-written.
    """
    target = check_output(path, manifest=manifest, kind=kind)
    whole = signed_files(files, content, manifest=manifest, kind=kind)
    stated: str = json.loads(whole[manifest])[_SELF]
    if unlisted is not None:
        whole.update(unlisted(stated))
    beside: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        for name, data in whole.items():
            place = Path(beside, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            _write_file(place, data)
        for folder, _, _ in os.walk(beside):
            sync_folder(folder)
        os.chmod(beside, 0o777 & ~_umask())
        _replace_folder(beside, target)
        sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"{path}: can't be written ({reason}); nothing was changed there") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return stated


def read_folder(
    path: str | os.PathLike[str], *, manifest: str, kind: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read and verify a folder: its manifest and the bytes of every file that it lists.

    Parameters
    ----------
    path : path
        The folder.
    manifest, kind : str
        The manifest's file name, and the ``format`` that it must state.

    Returns
    -------
    content, files
        The manifest as a dict, and relative path -> verified bytes.

    Raises
    ------
    ArtifactError
        It isn't such a folder, a file is missing, or a byte differs; the message names the file.
    """
    folder = Path(path)
    content = read_manifest(folder, manifest=manifest, kind=kind)
    files = {}
    for name, expected in content["files"].items():
        _check_name(name, folder / manifest)
        place = folder / name
        data = _read_file(place, folder)
        if sha256(data) != expected:
            raise ArtifactError(
                f"{place}: the file was changed or damaged (its SHA-256 differs from {manifest})"
            )
        files[name] = data
    return content, files


def amend_folder(
    path: str | os.PathLike[str], files: Mapping[str, bytes], *, manifest: str, kind: str
) -> None:
    """Add files to a folder of ours, or replace some of its own; all else stays to the byte.

    Parameters
    ----------
    path : path
        The folder; it is verified first.
    files : mapping of relative POSIX path to bytes
        What to add or replace.
    manifest, kind : str
        The manifest's file name, and the ``format`` that it must state.

    Raises
    ------
    ArtifactError
        As :func:`read_folder` and :func:`write_folder`.
    """
    content, held = read_folder(path, manifest=manifest, kind=kind)
    said = {key: value for key, value in content.items() if key not in ("format", "files", _SELF)}
    write_folder(path, {**held, **files}, said, manifest=manifest, kind=kind)


def read_manifest(folder: Path, *, manifest: str, kind: str) -> dict[str, Any]:
    """Read and verify the manifest alone.

    Raises
    ------
    ArtifactError
        It isn't such a folder, or the manifest was changed.
    """
    place = folder / manifest
    try:
        found = "" if folder.is_dir() else "a file" if folder.exists() else "nothing there"
    except OSError as error:  # a name too long, a folder that may not be entered
        found = error.strerror or str(error)
    if found:
        raise ArtifactError(f"{folder}: expected a {kind} folder; found {found}")
    if not place.is_file():
        raise ArtifactError(f"{folder}: expected a {kind} folder; found no {manifest} in it")
    if place.stat().st_size > _MANIFEST_LIMIT:
        raise ArtifactError(f"{place}: over {_MANIFEST_LIMIT} bytes, so it isn't a manifest of ours")
    data = _read_file(place, folder)
    damaged = ArtifactError(f"{place}: the file was changed or damaged (it doesn't match its own checksum)")
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged from error
    if not isinstance(content, dict) or content.get("format") != kind:
        stands = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(f"{place}: expected format {kind!r}; found {stands!r}")
    stated = content.get(_SELF)
    if not isinstance(stated, str) or len(stated) != 64 or data.count(stated.encode()) != 1:
        raise damaged
    if sha256(data.replace(stated.encode(), _ZEROS.encode())) != stated:
        raise damaged
    listed = content.get("files")
    if not isinstance(listed, dict) or not all(isinstance(value, str) for value in listed.values()):
        raise ArtifactError(f"{place}: 'files' must map names to SHA-256")
    return content


def _is_unfinished(target: Path, held: list[str]) -> bool:
    """Whether a folder holds what a training that was broken off leaves, and nothing else."""

    def left(name: str) -> bool:
        partial = name.startswith(".") and name.endswith(".partial")
        return name in _UNFINISHED or partial or name.startswith("events.out.tfevents.")

    if "checkpoint" not in held or not all(map(left, held)) or not (target / "checkpoint").is_dir():
        return False
    inside = [entry.name for entry in (target / "checkpoint").iterdir()]
    return all(name == "state" or name.startswith(".state.") or left(name) for name in inside)


def _check_name(name: str, place: Path) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in name:
        raise ArtifactError(f"{place}: lists the file {name!r}; names must be relative and stay inside")


def _read_file(place: Path, folder: Path) -> bytes:
    try:
        if not place.is_file() or not place.resolve().is_relative_to(folder.resolve()):
            raise ArtifactError(f"{place}: the file is missing, isn't a plain file or leads out of {folder}")
        return place.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{place}: can't be read ({error.strerror or error})") from error


def _write_file(place: Path, data: bytes) -> None:
    with open(place, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so; OSError if it refuses.

    >>> sync_folder(".")
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _replace_folder(new: str, target: Path) -> None:
    if not target.exists():
        os.rename(new, target)
    elif not _exchange(new, str(target)):
        # No exchange on this system: between these two renames the path is empty, and both whole
        # folders lie beside it.
        aside = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent)
        os.rename(target, os.path.join(aside, "folder"))
        os.rename(new, target)
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: str, second: str) -> bool:
    """Swap two paths in one step (Linux's renameat2 with RENAME_EXCHANGE); False where there is none."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2
    return bool(rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)
