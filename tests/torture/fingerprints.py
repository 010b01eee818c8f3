"""A model and an index that don't fit: each thing a fingerprint stands for is altered once."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likewise.artifacts import signed_files
from likewise.distances import Cosine, Mahalanobis, SquaredEuclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import ArtifactError
from likewise.model import Model
from likewise.search import Index
from likewise.search.journal import empty_journal
from torture.trial import Result, Trial, outcomes

_D = 4
_ROWS = np.random.default_rng(0).normal(size=(8, _D)).astype(np.float32)


def trials(*, short: bool) -> list[Trial]:
    """Every single number of the model, every part of its description, and the index's own statement."""
    del short  # all of it takes a second
    return [
        Trial("another model's index, embeddings and queries", _models),
        Trial("an index whose manifest states another model, signed again", _statements),
    ]


def _model() -> Model:
    torch.manual_seed(0)
    distance = Mahalanobis(torch.randn(_D, _D))
    return Model(MLP(_D, dimension=_D, hidden=(3,)), distance, Standardize((_D,)))


def _others() -> Iterator[tuple[str, Model]]:
    """Models that differ from :func:`_model` in one thing, and in which."""
    made = _model()
    for part in ("encoder", "distance", "preprocessing"):
        for name, value in getattr(made, part).state_dict().items():
            if not value.is_floating_point():
                continue
            for place in range(value.numel()):
                other = _model()
                with torch.no_grad():
                    held = getattr(other, part).state_dict()[name].view(-1)
                    held[place] = torch.nextafter(held[place], torch.tensor(10.0, dtype=held.dtype))
                yield f"{part}.{name}[{place}]", other
    torch.manual_seed(0)
    yield "the distance", Model(made.encoder, Cosine(), Standardize((_D,)))
    yield "the distance", Model(made.encoder, SquaredEuclidean(), Standardize((_D,)))
    yield (
        "the encoder's width",
        Model(MLP(_D, dimension=_D, hidden=(5,)), _model().distance, Standardize((_D,))),
    )
    yield (
        "the encoder's depth",
        Model(MLP(_D, dimension=_D, hidden=()), _model().distance, Standardize((_D,))),
    )


def _models() -> Result:
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "index")
        index = Index(_model())
        index.add_embeddings(_ROWS, ids=[str(i) for i in range(8)])
        index.save(folder)
        for name, other in _others():
            for attempt in (
                lambda other=other: Index.load(folder, model=other),
                lambda other=other: Index.open(folder, model=other),
                lambda other=other: index.search_embeddings(_ROWS, fingerprint=other.fingerprint),
                lambda other=other: index.range_search_embeddings(_ROWS, 1.0, fingerprint=other.fingerprint),
                lambda other=other: index.add_embeddings(
                    _ROWS, ids=[f"n{i}" for i in range(8)], fingerprint=other.fingerprint
                ),
            ):
                found[_refused(attempt) or f"taken: {name}"] += 1
    return _told(found)


def _statements() -> Result:
    """The manifest states another fingerprint, distance, dimension or count; all checksums are right."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "index")
        index = Index(_model())
        index.add_embeddings(_ROWS, ids=[str(i) for i in range(8)])
        index.save(folder)
        whole = (folder / "index.json").read_text()
        changes: dict[str, Any] = {
            "model_fingerprint": "0" * 64,
            "distance": Cosine().config(),
            "dimension": _D + 1,
            "records": 7,
            "format_version": 99,
        }
        for name, value in changes.items():
            _sign(folder, json.loads(whole) | {name: value})
            found[_refused(lambda: Index.load(folder)) or f"taken: {name}"] += 1
    return _told(found)


def _sign(folder: Path, content: dict[str, Any]) -> None:
    files = {name: (folder / name).read_bytes() for name in content.pop("files")}
    content.pop("manifest_sha256")
    content.pop("format")
    signed = signed_files(files, content, manifest="index.json", kind="likewise-index")
    (folder / "index.json").write_bytes(signed["index.json"])
    stated = json.loads(signed["index.json"])["manifest_sha256"]
    (folder / "journal").write_bytes(empty_journal(stated))


def _refused(attempt: Any) -> str:
    try:
        attempt()
    except ArtifactError:
        return "refused"
    except Exception as error:
        return f"other error: {type(error).__name__}"
    return ""


def _told(found: Counter[str]) -> Result:
    return Result(found.total(), outcomes(found), found.total() - found["refused"])
