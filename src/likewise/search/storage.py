"""An index as a folder: embeddings, records, the engine's structure, the model, and a manifest of it all.

::

    index.json               checksums of all files, the model's fingerprint and calibration, the engine
    embeddings.safetensors   float32 (n, d)
    records.json             ids, labels, metadata, by row
    engine.safetensors       arrays of an approximate engine's structure
    model/                   the run that filled it
    journal                  changes since, checked by itself; see :mod:`likewise.search.journal`

The journal comes with the folder, without changes at first: where there is none, it was removed.
Every byte is verified before a parser sees it, and every array is checked after, as a checksum finds
damage and not malice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

import likewise
from likewise.artifacts import check_output, read_folder, write_folder
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search.catalogue import Label, check_ids, check_label, check_metadata
from likewise.search.columns import Value
from likewise.search.journal import empty_journal

__all__ = ["JOURNAL", "KIND", "MANIFEST", "Snapshot", "read_snapshot", "write_snapshot"]

MANIFEST, KIND, JOURNAL = "index.json", "likewise-index", "journal"
_VERSION = 3
_VECTORS, _RECORDS, _ENGINE, _MODEL = "embeddings.safetensors", "records.json", "engine.safetensors", "model/"
_CARD = _MODEL + "model.json"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a folder holds but the journal, checked."""

    model: Model
    embeddings: NDArray[np.float32]
    ids: list[str]
    labels: list[Label]
    metadata: list[dict[str, Value]]
    engine: Mapping[str, Any]
    engine_arrays: Mapping[str, NDArray[Any]]
    manifest_sha256: str


def write_snapshot(
    path: str | os.PathLike[str],
    *,
    model: Model,
    embeddings: NDArray[np.float32],
    records: bytes,
    engine: Mapping[str, Any],
    engine_arrays: Mapping[str, NDArray[Any]],
) -> str:
    """Write the folder, whole or not at all; the SHA-256 that its manifest states of itself."""
    check_output(path, manifest=MANIFEST, kind=KIND)
    files = {
        _VECTORS: safetensors.numpy.save({"embeddings": embeddings}),
        _RECORDS: records,
        **{_MODEL + name: data for name, data in model.serialize().items()},
    }
    if engine_arrays:
        files[_ENGINE] = safetensors.numpy.save(
            {key: np.ascontiguousarray(a) for key, a in engine_arrays.items()}
        )
    content = {
        "format_version": _VERSION,
        "library_version": likewise.__version__,
        "records": len(embeddings),
        "dimension": int(embeddings.shape[1]),
        "model_fingerprint": model.fingerprint,
        "calibration": None if model.calibration is None else asdict(model.calibration),
        "distance": model.distance.config(),
        "engine": dict(engine),
    }
    return write_folder(
        path,
        files,
        content,
        manifest=MANIFEST,
        kind=KIND,
        unlisted=lambda stated: {JOURNAL: empty_journal(stated)},
    )


def read_snapshot(path: str | os.PathLike[str], *, model: Model | None) -> Snapshot:
    """Read and check a folder.

    Raises
    ------
    ArtifactError
        Not an index, a changed byte (the file is named), parts that don't fit, another model's.
    """
    content, files = read_folder(path, manifest=MANIFEST, kind=KIND)
    place = os.path.join(os.fspath(path), MANIFEST)
    if content.get("format_version") != _VERSION:
        raise ArtifactError(
            f"{place}: expected format_version {_VERSION}; found {content.get('format_version')}; "
            "use the version of likewise that wrote it"
        )
    try:
        if model is None:
            within = {name.removeprefix(_MODEL): data for name, data in files.items()}
            model = Model.deserialize(
                json.loads(files[_CARD]), within, name=os.path.join(os.fspath(path), "model")
            )
        if model.fingerprint != content["model_fingerprint"]:
            raise ArtifactError(
                f"{place}: the index was filled by another model (fingerprint "
                f"{content['model_fingerprint'][:12]}, found {model.fingerprint[:12]}); build it again"
            )
        if content["distance"] != model.distance.config():
            raise ArtifactError(f"{place}: states another distance than its model's")
        embeddings = safetensors.numpy.load(files[_VECTORS])["embeddings"]
        held = json.loads(files[_RECORDS])
        shape = (content["records"], content["dimension"])
        if embeddings.shape != shape or embeddings.dtype != np.float32 or not np.isfinite(embeddings).all():
            raise ArtifactError(f"{place}: expected finite float32 embeddings {shape}; found another array")
        labels, metadata = held["labels"], held["metadata"]
        if (
            not isinstance(held["ids"], list)
            or not isinstance(labels, list)
            or len(labels) != len(embeddings)
        ):
            raise ArtifactError(f"{place}: ids, labels and embeddings don't fit each other")
        ids = check_ids(held["ids"], len(embeddings))
        for label in labels:
            check_label(label)
        records = check_metadata(metadata or None, len(embeddings))
        engine = dict(content["engine"])
        if not isinstance(engine["name"], str):
            raise TypeError("the engine's name must be text")
        arrays = safetensors.numpy.load(files[_ENGINE]) if _ENGINE in files else {}
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
        safetensors.SafetensorError,
    ) as error:
        if isinstance(error, ArtifactError):
            raise
        reason = str(error) if isinstance(error, InputError) else type(error).__name__
        raise ArtifactError(f"{place}: doesn't describe its files ({reason})") from error
    return Snapshot(model, embeddings, ids, labels, records, engine, arrays, str(content["manifest_sha256"]))
