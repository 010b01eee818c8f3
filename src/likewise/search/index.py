"""An index: embedded records that can be searched, with the model that embedded them.

An index remembers its model's fingerprint and refuses the vectors of another. Opened (:meth:`Index.open`),
every change is on the disk before the call returns. What it doesn't know: the items themselves; only their
ids, labels, metadata and embeddings are kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Source, load
from likewise.errors import InputError
from likewise.model import Model
from likewise.search.catalogue import Label, check_ids, check_metadata
from likewise.search.changes import addition, amendment, removal, replacement
from likewise.search.columns import Value
from likewise.search.given import MetadataGiven, checked_labels, columns_of, embedded, ids_given, labels_of
from likewise.search.holdings import EngineChoice, Holdings
from likewise.search.home import Home, loaded, opened
from likewise.search.querying import Hit, StoredRecord
from likewise.search.reading import ReadableIndex

__all__ = ["Hit", "Index", "StoredRecord"]


class Index(ReadableIndex):
    """Embedded records, searched by the model's own distance.

    Make one by :meth:`build`, :meth:`load` or :meth:`open`.

    Parameters
    ----------
    model : Model
        What embeds records and queries.
    engine : str
        ``flat`` (exact), ``hnsw``, ``ivfpq``, ``binary``, ``milvus`` or ``postgres``.
    recall : float in (0, 1]
        At 10 neighbours, wanted of an approximate engine, which chooses its parameters by it.
    address : str, optional
        Of the server or file, for ``milvus`` and ``postgres``.

    >>> from likewise.distances import Cosine
    >>> from likewise.encoders import Standardize, encoder_for
    >>> model = Model(encoder_for((4,), dimension=4), Cosine(), Standardize((4,)))
    >>> index = Index.build(model, "iris")
    >>> index.search("iris:7", k=1)[0].id
    'iris:7'
    """

    def __init__(
        self, model: Model, *, engine: str = "flat", recall: float = 0.95, address: str | None = None
    ) -> None:
        self._hold(model, Holdings(model.distance, EngineChoice(engine, recall, address)), Home())

    def _hold(self, model: Model, holdings: Holdings, home: Home) -> None:
        model.fingerprint  # noqa: B018  # taken now: a model that changes later isn't the one that filled it
        self._model, self._held, self._home = model, holdings, home

    @property
    def model(self) -> Model:
        """What embeds records and queries."""
        return self._model

    @property
    def _holdings(self) -> Holdings:
        return self._held

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def build(
        cls,
        model: Model,
        data: Source,
        *,
        ids: Sequence[str] | None = None,
        metadata: MetadataGiven = None,
        engine: str = "flat",
        recall: float = 0.95,
        address: str | None = None,
    ) -> Index:
        """Embed records and index them; see :meth:`add` and the class."""
        made = cls(model, engine=engine, recall=recall, address=address)
        made.add(data, ids=ids, metadata=metadata)
        return made

    def add(
        self, data: Source, *, ids: Sequence[str] | None = None, metadata: MetadataGiven = None
    ) -> tuple[str, ...]:
        """Embed records and take them in; all or none.

        Parameters
        ----------
        data : name, path, (X, y) or Records
            As :func:`likewise.data.load`.
        ids : sequence of str, optional
            One for each, all different and new to the index. By default the records' own, ``name:row``.
        metadata : mapping of column to values, or sequence of mappings, optional
            More of each record, for filters; by default the records' own columns.

        Returns
        -------
        tuple of str
            The ids.

        Raises
        ------
        InputError
            Ids that occur twice or are taken already, items of another shape, columns of two kinds.
        ArtifactError
            The index is open and the disk refuses; nothing was added.
        """
        records = load(data)
        names = self._new(records.ids if ids is None else ids, len(records))
        told = self._told(columns_of(records) if metadata is None else metadata, len(records))
        self._append(self._holdings.checked(embedded(self.model, records)), names, labels_of(records), told)
        return tuple(names)

    def add_embeddings(
        self,
        embeddings: Any,
        *,
        ids: Sequence[str],
        labels: Sequence[Label] | None = None,
        metadata: MetadataGiven = None,
        fingerprint: str | None = None,
    ) -> None:
        """Take embeddings in that this index's model made; all or none.

        Parameters
        ----------
        embeddings : array (n, d)
        ids : sequence of str
        labels : sequence of int, str or None, optional
        metadata : as :meth:`add`
        fingerprint : str, optional
            Of the model that made them; another than the index's own is refused.

        Raises
        ------
        InputError
            As :meth:`add`; NaN; another dimension.
        ArtifactError
            Another model's embeddings.
        """
        self._check_model(fingerprint)
        vectors = self._holdings.checked(embeddings)
        names = self._new(ids, len(vectors))
        given = checked_labels([None] * len(names) if labels is None else labels, len(names))
        self._append(vectors, names, given, self._told(metadata, len(names)))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove records by id; all or none.

        Raises
        ------
        InputError
            An id that isn't in the index, or one twice.
        """
        names = ids_given(ids)
        self._holdings.catalogue.rows_of(names)
        if names:
            self._home.log(removal(names))
            self._holdings.remove(names)

    def update(
        self,
        ids: Sequence[str],
        data: Source | None = None,
        *,
        labels: Sequence[Label] | None = None,
        metadata: MetadataGiven = None,
    ) -> None:
        """Replace items, labels or metadata of records by id; what isn't given stays. All or none.

        Records whose items are replaced move to the last rows.

        Parameters
        ----------
        ids : sequence of str
        data : name, path, (X, y) or Records, optional
            New items, one an id; their labels replace the old ones unless ``labels`` is given.
        labels : sequence of int, str or None, optional
        metadata : as :meth:`add`, optional
            In place of all that a record had.

        Raises
        ------
        InputError
            An id that isn't in the index, and as :meth:`add`.
        """
        names, held = ids_given(ids), self._holdings.catalogue
        rows = held.rows_of(names).tolist()
        told = None if metadata is None else self._told(metadata, len(names))
        given = None if labels is None else checked_labels(labels, len(names))
        if not names:
            return
        if data is None:
            self._home.log(amendment(names, given, told))
            self._holdings.amend(names, given, told)
            return
        records = load(data)
        if len(records) != len(names):
            raise InputError(f"data must have one item an id; found {len(records)} for {len(names)} ids")
        embeddings = self._holdings.checked(embedded(self.model, records))
        if given is None:
            given = [held.labels[row] for row in rows] if records.y is None else labels_of(records)
        if told is None:
            told = [held.metadata[row] for row in rows]
        self._home.log(replacement(embeddings, names, given, told))
        self._holdings.remove(names)
        self._holdings.take(embeddings, names, given, told)

    def with_engine(self, engine: str, *, recall: float = 0.95, address: str | None = None) -> Index:
        """The same records in another engine, as an index of its own; see the class for the arguments."""
        made = Index(self.model, engine=engine, recall=recall, address=address)
        if len(self):
            made._holdings.take(
                self.embeddings.copy(), self.ids, self.labels, [dict(told) for told in self.metadata]
            )
        return made

    def reembed(self, model: Model, data: Source) -> None:
        """Embed the same records anew with another model; ids, labels, metadata and engine stay.

        An index that was opened is saved too, in one step: whoever loads the folder finds all of the old
        index until all of the new one is there, and nobody else can write to it meanwhile.

        Parameters
        ----------
        model : Model
        data : name, path, (X, y) or Records
            The items, found by the records' ids; others are passed over.

        Raises
        ------
        InputError
            A record whose item isn't in the data, or an engine whose records lie in a server.
        ArtifactError
            The index is open and the disk refuses; it is as it was.
        """
        choice, names = self._held.choice, self.ids
        if choice.address is not None:
            raise InputError(
                f"engine {choice.name}: its records lie at {choice.address}; build an index with a store of "
                "its own, likewise index RUN DATA --engine --address, and remove the old one"
            )
        records = load(data)
        rows = {name: row for row, name in enumerate(records.ids)}
        lacking = [name for name in names if name not in rows]
        if lacking:
            raise InputError(
                f"data must hold every record of the index; {len(lacking)} aren't there, "
                f"such as {lacking[0]!r}"
            )
        held = Holdings(model.distance, choice)
        if names:
            embeddings = held.checked(embedded(model, records.take([rows[name] for name in names])))
            held.take(embeddings, names, self.labels, [dict(told) for told in self.metadata])
        if self._home.journal is not None:
            self._home.save(held, model, None)
        self._hold(model, held, self._home)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Save index and model as one folder, whole or not at all.

        Parameters
        ----------
        path : path, optional
            By default the folder that the index was opened from; its journal is folded in.

        Raises
        ------
        ArtifactError
            The path exists and isn't an index of ours, or can't be written.
        """
        self._home.save(self._holdings, self.model, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, model: Model | None = None, as_saved: bool = False
    ) -> Index:
        """Load an index; every byte is verified before anything reads it.

        Changes of what was loaded stay in memory until they are saved; to keep each on the disk as it is
        made, use :meth:`open`.

        Parameters
        ----------
        path : path
            A folder that :meth:`save` wrote.
        model : Model, optional
            By default the copy in the folder. Another model's index is refused.
        as_saved : bool
            Whether to leave the changes since the last :meth:`save` out, where their journal was lost or
            damaged; without it such an index is refused.

        Raises
        ------
        ArtifactError
            Not an index, a changed byte (the file is named), no journal, or a model that didn't fill it.
        """
        return cls._of(*loaded(path, model=model, as_saved=as_saved))

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, model: Model | None = None) -> Index:
        """Load an index for writing: every change is on the disk before its call returns.

        One process at a time; it holds the index until :meth:`close`, or use ``with``. A process that is
        killed loses nothing that was acknowledged. :meth:`save` folds the changes in.

        Raises
        ------
        ArtifactError
            As :meth:`load`, or another process has it open.
        """
        return cls._of(*opened(path, model=model))

    @classmethod
    def _of(cls, model: Model, holdings: Holdings, home: Home) -> Index:
        made = cls.__new__(cls)
        made._hold(model, holdings, home)
        return made

    def close(self) -> None:
        """Let another process write, and let go of a server."""
        self._home.close()
        if self._holdings.vectors is not None:
            self._holdings.engine.close()

    def drop(self) -> None:
        """Remove the store of an engine that lies in a server or a file; the index's folder stays."""
        if self._holdings.vectors is not None:
            self._holdings.engine.drop()

    def _new(self, ids: Sequence[str], count: int) -> list[str]:
        names = check_ids(ids, count)
        self._holdings.check_new(names)
        return names

    def _told(self, metadata: MetadataGiven, count: int) -> list[dict[str, Value]]:
        told = check_metadata(metadata, count)
        self._holdings.catalogue.check_kinds(told)
        return told

    def _append(
        self,
        embeddings: NDArray[np.float32],
        names: list[str],
        labels: list[Label],
        told: list[dict[str, Value]],
    ) -> None:
        if names:
            self._home.log(addition(embeddings, names, labels, told))
            self._holdings.take(embeddings, names, labels, told)
