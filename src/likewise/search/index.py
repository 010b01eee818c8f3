"""An index: embedded records that can be searched, with the model that embedded them.

Searching is exact. An index remembers its model's fingerprint and refuses the vectors of another. What
it doesn't know: the items themselves; only their ids, labels and embeddings are kept.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

import likewise
from likewise.artifacts import check_output, read_folder, sha256, write_folder
from likewise.data import Record, Source, load, record
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search.engine import engine_for

__all__ = ["Hit", "Index"]

_MANIFEST, _KIND, _VERSION = "index.json", "likewise-index", 1
_VECTORS, _RECORDS, _MODEL = "embeddings.safetensors", "records.json", "model/"
_CARD = _MODEL + "model.json"


@dataclass(frozen=True)
class Hit:
    """A record that was found: its id, label, distance to the query (smaller is nearer) and row."""

    id: str
    label: int | str
    distance: float
    row: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Index:
    """Embedded records, searched exactly by the model's own distance.

    Make one by :meth:`build` or :meth:`load`.

    Parameters
    ----------
    model : Model
        What embeds records and queries.

    >>> from likewise.distances import Cosine
    >>> from likewise.encoders import Standardize, encoder_for
    >>> model = Model(encoder_for((4,), dimension=4), Cosine(), Standardize((4,)))
    >>> index = Index.build(model, "iris")
    >>> index.search("iris:7", k=1)[0].id
    'iris:7'
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._engine = engine_for(model.distance)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._labels: list[int | str] = []
        self._fingerprint = model.fingerprint

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """The records' ids, by row."""
        return tuple(self._ids)

    @property
    def labels(self) -> tuple[int | str, ...]:
        """The records' labels, by row."""
        return tuple(self._labels)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The records' embeddings (n, d), by row."""
        return self._engine.embeddings

    @classmethod
    def build(cls, model: Model, data: Source, *, ids: Sequence[str] | None = None) -> Index:
        """Embed records and index them; see :meth:`add`."""
        made = cls(model)
        made.add(data, ids=ids)
        return made

    def add(self, data: Source, *, ids: Sequence[str] | None = None) -> None:
        """Embed records and take them in; all or none.

        Parameters
        ----------
        data : name, path, (X, y) or Records
            As :func:`likewise.data.load`.
        ids : sequence of str, optional
            One for each, all different and new to the index. By default ``name:row``.

        Raises
        ------
        InputError
            Ids that occur twice or are taken already, items of another shape.
        """
        records = load(data)
        names = [f"{records.name}:{row}" for row in range(len(records))] if ids is None else list(ids)
        if len(names) != len(records):
            raise InputError(f"ids must be one an item; found {len(names)} for {len(records)} items")
        wrong = next((name for name in names if not isinstance(name, str) or not name), None)
        if wrong is not None:
            raise InputError(f"ids must be strings that aren't empty; found {wrong!r}")
        taken = next((name for name in names if name in self._rows), None)
        if taken is not None:
            raise InputError(f"ids: {taken!r} is in the index already; give other ids")
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise InputError(f"ids must all differ; found {twice!r} twice")
        self._take(self.model.embed(records.X), names, records.y.tolist())

    def search(
        self, query: str | os.PathLike[str] | Record | Any, k: int = 10
    ) -> list[Hit] | list[list[Hit]]:
        """Find the nearest records; a query that is in the index finds itself.

        Parameters
        ----------
        query : str, path, Record, array of item_shape, or array (n, *item_shape)
            One item (``digits:17``), or several.
        k : int >= 1
            How many; fewer come when the index holds fewer.

        Returns
        -------
        list of Hit
            Nearest first, equal distances by the lower row. A list of such lists for several items.

        Raises
        ------
        InputError
            k under 1, another shape, NaN, or an empty index.
        """
        if isinstance(query, (str, os.PathLike)):
            query = record(query)
        items = query.item if isinstance(query, Record) else query
        single = np.ndim(items) == len(self.model.item_shape)
        embeddings = self.model.embed(items[None] if single else items)
        found = self.search_embeddings(embeddings, k)
        return found[0] if single else found

    def search_embeddings(self, embeddings: Any, k: int = 10) -> list[list[Hit]]:
        """Find the nearest records of embeddings (n, d) that the index's own model made."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InputError(f"k must be a whole number of at least 1; found {k!r}")
        if not len(self):
            raise InputError("the index is empty; add records first")
        vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.embeddings.shape[1]:
            raise InputError(
                f"embeddings must have shape (n, {self.embeddings.shape[1]}); found {vectors.shape}"
            )
        if not np.isfinite(vectors).all():
            raise InputError("embeddings must be finite; found NaN or infinity")
        found = self._engine.search(vectors, min(int(k), len(self)))
        return [
            [
                Hit(self._ids[row], self._labels[row], distance, row)
                for distance, row in zip(distances, rows, strict=True)
            ]
            for distances, rows in zip(found.distances.tolist(), found.rows.tolist(), strict=True)
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save index and model as one folder, whole or not at all.

        Raises
        ------
        ArtifactError
            The path exists and isn't an index of ours, or can't be written.
        """
        check_output(path, manifest=_MANIFEST, kind=_KIND)
        if not len(self):
            raise InputError("the index is empty; add records first")
        contents = {
            _VECTORS: safetensors.numpy.save({"embeddings": self.embeddings}),
            _RECORDS: json.dumps({"ids": self._ids, "labels": self._labels}).encode(),
            **{_MODEL + name: data for name, data in self.model.serialize().items()},
        }
        content = {
            "format_version": _VERSION,
            "library_version": likewise.__version__,
            "records": len(self),
            "dimension": int(self.embeddings.shape[1]),
            "model_fingerprint": self._fingerprint,
        }
        write_folder(path, contents, content, manifest=_MANIFEST, kind=_KIND)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, model: Model | None = None) -> Index:
        """Load an index; every byte is verified before anything reads it.

        Parameters
        ----------
        path : path
            A folder that :meth:`save` wrote.
        model : Model, optional
            By default the copy in the folder. Another model's index is refused.

        Raises
        ------
        ArtifactError
            Not an index, a changed byte (the file is named), or a model that didn't fill it.
        """
        content, files = read_folder(path, manifest=_MANIFEST, kind=_KIND)
        place = os.path.join(os.fspath(path), _MANIFEST)
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
            embeddings = safetensors.numpy.load(files[_VECTORS])["embeddings"]
            held = json.loads(files[_RECORDS])
            ids, labels = held["ids"], held["labels"]
            shape = (content["records"], content["dimension"])
        except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise ArtifactError(f"{place}: doesn't describe its files ({type(error).__name__})") from error
        if embeddings.shape != shape or embeddings.dtype != np.float32 or not np.isfinite(embeddings).all():
            raise ArtifactError(f"{place}: expected finite float32 embeddings {shape}; found another array")
        if len(ids) != len(labels) or len(ids) != len(embeddings) or len(set(ids)) != len(ids):
            raise ArtifactError(f"{place}: ids, labels and embeddings don't fit each other")
        made = cls(model)
        made._take(embeddings, ids, labels)
        return made

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's fingerprint, the ids and the embeddings."""
        described = json.dumps([self._fingerprint, self._ids, self._labels]).encode()
        return sha256(described + self.embeddings.tobytes())

    def _take(self, embeddings: NDArray[np.float32], ids: Sequence[str], labels: Sequence[int | str]) -> None:
        self._engine.add(embeddings)
        self._rows.update({name: len(self._ids) + place for place, name in enumerate(ids)})
        self._ids.extend(ids)
        self._labels.extend(labels)
