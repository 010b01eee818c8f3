"""A model: preprocessing, an encoder and a distance; what training makes and everything else uses.

Saving and loading is in :mod:`likewise.artifacts`' terms: a folder of arrays and JSON that runs no code.
A model does not know how it was trained; it carries that along (``training``, ``history``) for the run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import likewise
from likewise.artifacts import canonical_json, check_output, read_folder, sha256, signed_files, write_folder
from likewise.data import ArrayItems, ItemKind, Loader, Record, Records, TableItems
from likewise.distances import Distance, distance_from_config
from likewise.encoders import Preprocessing, config_of, encoder_from_config, preprocessing_from_config
from likewise.errors import ArtifactError, InputError
from likewise.model.calibration import Calibration, Verdict
from likewise.settings import toml_text

__all__ = ["Model"]

_MANIFEST, _KIND, _VERSION = "model.json", "likewise-run", 1
_ARRAYS = "model.safetensors"


@dataclass(eq=False)
class Model:
    """Preprocessing, encoder and distance.

    Parameters
    ----------
    encoder : nn.Module
        Maps items (n, ...) to embeddings (n, d). One of ours is saved with its description; of any
        other the arrays alone are saved, and loading takes ``encoder=``.
    distance : Distance
        Compares embeddings; smaller is more alike.
    preprocessing : Preprocessing
        What is done to items before, which says of what kind and shape they are.
    calibration : Calibration, optional
        Turns distances into probabilities and a verdict.
    classes : sequence of labels
        What it was trained on.
    training : mapping
        What trains it again; ``config.toml`` of the run.
    history : sequence of mappings
        Figures by epoch; ``metrics.jsonl`` of the run.

    >>> from likewise.distances import Cosine
    >>> from likewise.encoders import Standardize, encoder_for
    >>> model = Model(encoder_for((8, 8), dimension=4), Cosine(), Standardize((8, 8)))
    >>> model.embed(np.zeros((3, 8, 8), dtype=np.float32)).shape
    (3, 4)
    """

    encoder: nn.Module
    distance: Distance
    preprocessing: Preprocessing
    calibration: Calibration | None = None
    classes: Sequence[int | str] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        self.encoder.eval()

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one item; ``()`` for a text, ``(columns,)`` for a row of a table."""
        return self.preprocessing.item_shape

    @property
    def kind(self) -> ItemKind:
        """What the items are: ``features``, ``image``, ``text`` or ``table``."""
        return self.preprocessing.kind

    @property
    def dimension(self) -> int:
        """d, the length of an embedding."""
        return int(self.embed(self.preprocessing.examples()[:1]).shape[1])

    @property
    def threshold(self) -> float:
        """Two items are called alike where their distance is at most this."""
        return self._calibrated().threshold

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides a distance: architecture, arrays, preprocessing and distance.

        Taken once; calibration isn't part of it, as it moves no embedding.
        """
        return self._fingerprint()

    def embed(self, X: Any, *, batch_size: int = 1024, workers: int = 0) -> NDArray[np.float32]:
        """Embed items.

        Parameters
        ----------
        X : items (n, *item_shape)
            Records; an array or a tensor of finite numbers; a list of texts; a list of images as files,
            as bytes or by PIL, which are brought to the model's size and colour; rows of a table; one
            :class:`~likewise.data.Record`, or a list of them.
        batch_size : int >= 1
            How many go through the encoder at once; the result doesn't depend on it beyond rounding.
        workers : int >= 0
            Processes that read records ahead, where reading is work; see :class:`likewise.data.Loader`.

        Returns
        -------
        float32 array (n, d)

        Raises
        ------
        InputError
            Another kind or shape, NaN or infinity, a file that can't be read, or the encoder gives something
            other than (n, d).
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1; found {batch_size}")
        read: Callable[[Iterable[slice]], Iterable[Any]]
        if isinstance(X, Records):
            count, read = len(X), Loader(self.adapted(X), workers=workers)
        else:
            items = self.items(X)
            count, read = len(items), partial(map, items.__getitem__)
        device = _device_of(self.encoder)
        parts = []
        was_training = self.encoder.training
        self.encoder.eval()
        try:
            with torch.inference_mode():
                for part in read(slice(start, start + batch_size) for start in range(0, count, batch_size)):
                    batch = self.preprocessing(part)
                    parts.append(self.encoder(batch.to(device)).float().cpu().numpy())
        finally:
            self.encoder.train(was_training)
        embeddings: NDArray[np.float32] = np.concatenate(parts)
        if embeddings.ndim != 2 or len(embeddings) != count:
            raise InputError(f"encoder must give (n, d) for {count} items; found {embeddings.shape}")
        if not np.isfinite(embeddings).all():
            raise InputError("encoder gave NaN or infinity for finite items; the model is broken")
        return embeddings

    def items(self, X: Any) -> NDArray[Any]:
        """What people hand over as items, as one array (n, ...) of the model's kind and shape.

        Raises
        ------
        InputError
            As :meth:`embed`.
        """
        if isinstance(X, Records):
            return self.adapted(X).items()
        if isinstance(X, Record):
            X = [X]
        if isinstance(X, (list, tuple)):
            X = [value.item if isinstance(value, Record) else value for value in X]
        return self.preprocessing.accept(X)

    def adapted(self, records: Records) -> Records:
        """Records whose items are as this model takes them: what evaluation and indexing read.

        Images of files are brought to the model's size and colour, and columns of tables into the order of
        the training data, by their names.

        Raises
        ------
        InputError
            Items of another kind or shape, a column that isn't there, no item at all.
        """
        if not len(records):
            raise InputError(f"{records.name}: there is no item to embed")
        held, numbers = records.held, ("features", "table")
        if records.kind == "image" == self.kind and records.item_shape != self.item_shape:
            held = held.reshaped(self.item_shape)
        elif isinstance(held, ArrayItems) and held.names is not None and self.kind in numbers:
            by_name = self.preprocessing.accept(held.table())
            held = TableItems(by_name) if self.kind == "table" else ArrayItems(by_name)
        elif records.kind != self.kind and records.kind in numbers and self.kind in numbers:
            accepted = self.preprocessing.accept(records.items())
            held = TableItems(accepted) if self.kind == "table" else ArrayItems(accepted)
        elif records.kind == "table" == self.kind:
            self.preprocessing.accept(records.items([0]))
        same = held.kind == self.kind and (self.kind == "table" or held.item_shape == self.item_shape)
        if not same:
            wanted, found = (
                f"{kind} {shape}" if shape else kind
                for kind, shape in ((self.kind, self.item_shape), (records.kind, records.item_shape))
            )
            hint = "; say size= when loading them" if self.kind == records.kind == "image" else ""
            raise InputError(f"{records.name}: items must be {wanted}, as in training; found {found}{hint}")
        return records if held is records.held else replace(records, source=held)

    def compare(self, A: Any, B: Any) -> NDArray[np.float32]:
        """Distances row by row: items A (n, *item_shape) and B (n, *item_shape) give (n,).

        Raises
        ------
        InputError
            As :meth:`embed`, or the lengths differ.
        """
        first, second = self.embed(A), self.embed(B)
        if len(first) != len(second):
            raise InputError(f"A and B must have equally many items; found {len(first)} and {len(second)}")
        return self.distances(first, second)

    def distances(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances row by row of embeddings: (n, d) and (n, d) give (n,)."""
        with torch.inference_mode():
            out: NDArray[np.float32] = self.distance(
                torch.from_numpy(first), torch.from_numpy(second)
            ).numpy()
        return out

    def probability(self, distance: Any) -> NDArray[np.float64]:
        """The calibrated probability of being alike, of distances of any shape.

        Raises
        ------
        InputError
            The model has no calibration.
        """
        return self._calibrated().probability(distance)

    def verify(self, a: Record | Any, b: Record | Any) -> Verdict:
        """Are two items alike? Each is what :meth:`embed` takes in a list, or a Record.

        Raises
        ------
        InputError
            Another shape, NaN, or a model without calibration.
        """
        calibration = self._calibrated()
        distance = float(self.compare([a], [b])[0])
        return Verdict(
            alike=distance <= calibration.threshold,
            distance=distance,
            threshold=calibration.threshold,
            probability=float(calibration.probability(distance)),
        )

    def save(self, path: str | os.PathLike[str], *, files: Mapping[str, bytes] | None = None) -> None:
        """Save as a folder, whole or not at all; a run of ours that stands there is replaced.

        Parameters
        ----------
        path : path
            The folder.
        files : mapping of name to bytes, optional
            More for the folder, such as ``report.html``; checksummed like the rest.

        Raises
        ------
        ArtifactError
            The path exists and isn't ours, or can't be written.
        """
        check_output(path, manifest=_MANIFEST, kind=_KIND)
        contents, card = self._described()
        clash = sorted({*contents, _MANIFEST} & set(files or {}))
        if clash:
            raise InputError(f"files: {clash[0]} is written by the model itself; choose another name")
        write_folder(path, {**contents, **(files or {})}, card, manifest=_MANIFEST, kind=_KIND)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, encoder: nn.Module | None = None) -> Model:
        """Load a saved model; every byte is verified first, and no code of the folder runs.

        Parameters
        ----------
        path : path
            A folder that :meth:`save` wrote.
        encoder : nn.Module, optional
            The architecture, when it isn't one of ours; its weights are replaced.

        Raises
        ------
        ArtifactError
            Not a run, a changed byte (the file is named), or an encoder that doesn't fit.
        """
        content, files = read_folder(path, manifest=_MANIFEST, kind=_KIND)
        return cls.deserialize(content, files, name=os.fspath(path), encoder=encoder)

    def serialize(self) -> dict[str, bytes]:
        """The files that :meth:`save` writes, by name: a run inside of something else."""
        contents, card = self._described()
        return signed_files(contents, card, manifest=_MANIFEST, kind=_KIND)

    def _described(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """The files, and what the manifest says of them."""
        arrays = self._arrays()
        architecture = self._architecture()
        if "name" not in architecture:
            arrays.update(_probe(self))
        history = "".join(canonical_json(dict(line)) + "\n" for line in self.history)
        files = {
            _ARRAYS: safetensors.torch.save(arrays),
            "config.toml": toml_text(self.training).encode(),
            "metrics.jsonl": history.encode(),
        }
        manifest = {
            "format_version": _VERSION,
            "library_version": likewise.__version__,
            "fingerprint": self._fingerprint(),
            "architecture": architecture,
            "distance": self.distance.config(),
            "preprocessing": self.preprocessing.config(),
            "item_shape": list(self.item_shape),
            "classes": list(self.classes),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "training": dict(self.training),
        }
        return files, manifest

    @classmethod
    def deserialize(
        cls,
        content: Mapping[str, Any],
        files: Mapping[str, bytes],
        *,
        name: str,
        encoder: nn.Module | None = None,
    ) -> Model:
        """The model of a verified manifest and its files; ``name`` is what messages call it."""
        place = os.path.join(name, _MANIFEST)
        if content.get("format_version") != _VERSION:
            raise ArtifactError(
                f"{place}: expected format_version {_VERSION}; found {content.get('format_version')}; "
                "use the version of likewise that wrote it"
            )
        try:
            arrays = safetensors.torch.load(files[_ARRAYS])
            made = cls(
                _encoder_from(content["architecture"], encoder, place),
                distance_from_config(content["distance"]),
                preprocessing_from_config(content["preprocessing"]),
                Calibration(**content["calibration"]) if content["calibration"] else None,
                classes=tuple(content["classes"]),
                training=content["training"],
                history=tuple(json.loads(line) for line in files["metrics.jsonl"].splitlines()),
            )
            for part, module in made._parts().items():
                module.load_state_dict(
                    {
                        key[len(part) + 1 :]: value
                        for key, value in arrays.items()
                        if key.startswith(f"{part}.")
                    }
                )
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
        if made._fingerprint() != content.get("fingerprint"):
            raise ArtifactError(
                f"{place}: the model's fingerprint differs from the one stated; it was altered"
            )
        if "probe.embeddings" in arrays:
            _check_probe(made, arrays, place)
        return made

    def _parts(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "distance": self.distance, "preprocessing": self.preprocessing}

    def _arrays(self) -> dict[str, Tensor]:
        return {
            f"{part}.{key}": value.detach().cpu().contiguous().clone()
            for part, module in self._parts().items()
            for key, value in module.state_dict().items()
        }

    def _architecture(self) -> dict[str, Any]:
        config = config_of(self.encoder)
        return {"class": type(self.encoder).__qualname__} if config is None else config

    def _fingerprint(self) -> str:
        described = [self._architecture(), self.distance.config(), self.preprocessing.config()]
        # safetensors orders arrays by name and type, so equal arrays give equal bytes.
        return sha256(canonical_json(described).encode() + b"\n" + safetensors.torch.save(self._arrays()))

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise InputError(
                "the model has no threshold and no probability: among the pairs held back in training, "
                "nearer ones weren't more often alike; train on more items, or longer"
            )
        return self.calibration


def _device_of(module: nn.Module) -> torch.device:
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def _encoder_from(architecture: Mapping[str, Any], encoder: nn.Module | None, place: str) -> nn.Module:
    if "name" in architecture:
        if encoder is not None:
            raise InputError(f"encoder must not be given: {place} describes its own ({architecture['name']})")
        return encoder_from_config(dict(architecture))
    wanted = architecture["class"]
    if encoder is None:
        raise ArtifactError(
            f"{place}: the encoder is a {wanted}, which isn't part of likewise; pass one as encoder="
        )
    if type(encoder).__qualname__ != wanted:
        raise ArtifactError(f"{place}: encoder must be a {wanted}; found a {type(encoder).__qualname__}")
    return encoder


def _probe(model: Model) -> dict[str, Tensor]:
    """Two made-up items and their embeddings, by which loading checks a module that isn't ours."""
    items = model.preprocessing.examples()
    # Texts and rows of a table are made up anew when they are needed: they are no arrays of numbers.
    held = {"probe.items": torch.from_numpy(items)} if items.dtype.kind == "f" else {}
    return {**held, "probe.embeddings": torch.from_numpy(model.embed(items))}


def _check_probe(model: Model, arrays: Mapping[str, Tensor], place: str) -> None:
    expected = arrays["probe.embeddings"].numpy()
    found = model.embed(arrays.get("probe.items", model.preprocessing.examples()))
    tolerance = 1e-3 * max(float(np.abs(expected).max()), math.ulp(1.0))
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=tolerance):
        raise ArtifactError(
            f"{place}: the given encoder holds the saved weights but computes something else; "
            "pass the class that was saved"
        )
