"""A model as files: arrays and JSON with a manifest, that run no code."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import likewise
from likewise.artifacts import canonical_json
from likewise.distances import distance_from_config
from likewise.encoders import preprocessing_from_config
from likewise.errors import ArtifactError
from likewise.model.calibration import Calibration
from likewise.model.parts import Parts, encoder_from
from likewise.settings import toml_text

__all__ = ["KIND", "MANIFEST", "Stored", "restored", "written"]

MANIFEST, KIND = "model.json", "likewise-run"
_VERSION = 1
_ARRAYS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Stored:
    """All that a folder holds of a model: the arguments of :class:`likewise.model.Model`."""

    parts: Parts
    calibration: Calibration | None
    classes: Sequence[int | str]
    training: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]


def written(stored: Stored) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files, and what the manifest says of them."""
    parts = stored.parts
    arrays, architecture = parts.arrays(), parts.architecture()
    if "name" not in architecture:
        arrays.update(_probe(parts))
    history = "".join(canonical_json(dict(line)) + "\n" for line in stored.history)
    files = {
        _ARRAYS: safetensors.torch.save(arrays),
        "config.toml": toml_text(stored.training).encode(),
        "metrics.jsonl": history.encode(),
    }
    manifest = {
        "format_version": _VERSION,
        "library_version": likewise.__version__,
        "fingerprint": parts.fingerprint(),
        "architecture": architecture,
        "distance": parts.distance.config(),
        "preprocessing": parts.preprocessing.config(),
        "item_shape": list(parts.preprocessing.item_shape),
        "classes": list(stored.classes),
        "calibration": None if stored.calibration is None else asdict(stored.calibration),
        "training": dict(stored.training),
    }
    return files, manifest


def restored(
    content: Mapping[str, Any], files: Mapping[str, bytes], *, name: str, encoder: nn.Module | None
) -> Stored:
    """What :func:`written` wrote, of a verified manifest; ``name`` is what messages call it.

    Raises
    ------
    ArtifactError
        Another version, a description that doesn't fit its arrays, an encoder that doesn't fit.
    """
    place = os.path.join(name, MANIFEST)
    if content.get("format_version") != _VERSION:
        raise ArtifactError(
            f"{place}: expected format_version {_VERSION}; found {content.get('format_version')}; "
            "use the version of likewise that wrote it"
        )
    try:
        arrays = safetensors.torch.load(files[_ARRAYS])
        made = Stored(
            Parts(
                encoder_from(content["architecture"], encoder, place),
                distance_from_config(content["distance"]),
                preprocessing_from_config(content["preprocessing"]),
            ),
            Calibration(**content["calibration"]) if content["calibration"] else None,
            classes=tuple(content["classes"]),
            training=content["training"],
            history=tuple(json.loads(line) for line in files["metrics.jsonl"].splitlines()),
        )
        made.parts.encoder.eval()
        made.parts.take(arrays)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        if isinstance(error, ArtifactError):
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise ArtifactError(
            f"{place}: doesn't describe its arrays ({type(error).__name__}: {reason})"
        ) from error
    if made.parts.fingerprint() != content.get("fingerprint"):
        raise ArtifactError(f"{place}: the model's fingerprint differs from the one stated; it was altered")
    if "probe.embeddings" in arrays:
        _check_probe(made.parts, arrays, place)
    return made


def _probe(parts: Parts) -> dict[str, Tensor]:
    """Two made-up items and their embeddings, by which loading checks a module that isn't ours."""
    items = parts.preprocessing.examples()
    # Texts and rows of a table are made up anew when they are needed: they are no arrays of numbers.
    held = {"probe.items": torch.from_numpy(items)} if items.dtype.kind == "f" else {}
    return {**held, "probe.embeddings": torch.from_numpy(_embedded(parts, items))}


def _check_probe(parts: Parts, arrays: Mapping[str, Tensor], place: str) -> None:
    expected = arrays["probe.embeddings"].numpy()
    found = _embedded(parts, arrays.get("probe.items", parts.preprocessing.examples()))
    tolerance = 1e-3 * max(float(np.abs(expected).max()), math.ulp(1.0))
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance):
        raise ArtifactError(
            f"{place}: the given encoder holds the saved weights but computes something else; "
            "pass the class that was saved"
        )


def _embedded(parts: Parts, items: Any) -> np.ndarray:
    accepted = parts.preprocessing.accept(items)
    return parts.embedded([accepted], len(accepted))
