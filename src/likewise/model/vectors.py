"""Embeddings as a file: a ``.npz`` that NumPy reads anywhere, written whole or not at all."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import ArtifactError, InputError

__all__ = ["check_vectors", "write_vectors"]


def check_vectors(path: str | os.PathLike[str]) -> Path:
    """Refuse a place where no file of vectors can be written, before anything is computed.

    Raises
    ------
    ArtifactError
        It isn't named ``.npz``, is a folder, or its folder isn't there or can't be written.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ArtifactError(
            f"{path}: the file of vectors must end in .npz; found {target.suffix or 'nothing'}"
        )
    if target.is_dir():
        raise ArtifactError(f"{path}: the file of vectors is a folder; choose another name")
    parent = target.resolve().parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ArtifactError(f"{path}: {parent} isn't a folder that can be written; choose another place")
    return target


def write_vectors(
    path: str | os.PathLike[str],
    embeddings: NDArray[np.float32],
    *,
    ids: Sequence[str],
    labels: NDArray[Any] | None,
    fingerprint: str,
) -> None:
    """Write embeddings with their ids and labels.

    The file holds ``embeddings`` float32 (n, d), ``ids`` str (n,), ``labels`` (n,) where there are any, and
    ``model_fingerprint``, of the model that made them.

    Raises
    ------
    InputError
        Lengths differ.
    ArtifactError
        As :func:`check_vectors`, or the disk refuses; what stood there stays as it was.
    """
    target = check_vectors(path)
    arrays: dict[str, NDArray[Any]] = {"embeddings": embeddings, "ids": np.array(list(ids), dtype=np.str_)}
    if labels is not None:
        arrays["labels"] = labels
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"embeddings, ids and labels must be of one length; found {lengths}")
    arrays["model_fingerprint"] = np.array(fingerprint)
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    beside: str | None = None
    try:
        descriptor, beside = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".partial", dir=target.resolve().parent
        )
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(held.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, target.resolve())
        beside = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"{path}: can't be written ({reason}); nothing was changed there") from error
    finally:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
