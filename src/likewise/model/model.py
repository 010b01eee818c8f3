"""A model: preprocessing, an encoder and a distance; what training makes and everything else uses.

Saving and loading is :mod:`likewise.model.storage`'s: a folder of arrays and JSON that runs no code.
A model does not know how it was trained; it carries that along (``training``, ``history``) for the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from likewise.artifacts import check_output, read_folder, signed_files, write_folder
from likewise.data import ItemKind, Loader, Record, Records
from likewise.distances import Distance
from likewise.encoders import Preprocessing
from likewise.errors import InputError
from likewise.model.adapting import accepted_items, adapted_records
from likewise.model.calibration import Calibration, Verdict
from likewise.model.parts import Parts
from likewise.model.storage import KIND, MANIFEST, Stored, restored, written

__all__ = ["Model"]


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
        return self._parts().fingerprint()

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
        slices = (slice(start, start + batch_size) for start in range(0, count, batch_size))
        return self._parts().embedded(read(slices), count)

    def items(self, X: Any) -> NDArray[Any]:
        """What people hand over as items, as one array (n, ...) of the model's kind and shape.

        Raises
        ------
        InputError
            As :meth:`embed`.
        """
        return accepted_items(self.preprocessing, X)

    def adapted(self, records: Records) -> Records:
        """Records whose items are as this model takes them: what evaluation and indexing read.

        Images of files are brought to the model's size and colour, and columns of tables into the order of
        the training data, by their names.

        Raises
        ------
        InputError
            Items of another kind or shape, a column that isn't there, no item at all.
        """
        return adapted_records(self.preprocessing, records)

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
        check_output(path, manifest=MANIFEST, kind=KIND)
        contents, card = written(self._stored())
        clash = sorted({*contents, MANIFEST} & set(files or {}))
        if clash:
            raise InputError(f"files: {clash[0]} is written by the model itself; choose another name")
        write_folder(path, {**contents, **(files or {})}, card, manifest=MANIFEST, kind=KIND)

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
        content, files = read_folder(path, manifest=MANIFEST, kind=KIND)
        return cls.deserialize(content, files, name=os.fspath(path), encoder=encoder)

    def serialize(self) -> dict[str, bytes]:
        """The files that :meth:`save` writes, by name: a run inside of something else."""
        contents, card = written(self._stored())
        return signed_files(contents, card, manifest=MANIFEST, kind=KIND)

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
        stored = restored(content, files, name=name, encoder=encoder)
        parts = stored.parts
        return cls(
            parts.encoder,
            parts.distance,
            parts.preprocessing,
            stored.calibration,
            stored.classes,
            stored.training,
            stored.history,
        )

    def _parts(self) -> Parts:
        return Parts(self.encoder, self.distance, self.preprocessing)

    def _stored(self) -> Stored:
        return Stored(self._parts(), self.calibration, self.classes, self.training, self.history)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise InputError(
                "the model has no threshold and no probability: among the pairs held back in training, "
                "nearer ones weren't more often alike; train on more items, or longer"
            )
        return self.calibration
