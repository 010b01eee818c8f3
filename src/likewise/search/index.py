"""An index: embedded records that can be searched, with the model that embedded them.

An index remembers its model's fingerprint and refuses the vectors of another. Opened (:meth:`Index.open`),
every change is on the disk before the call returns. What it doesn't know: the items themselves; only their
ids, labels, metadata and embeddings are kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.artifacts import check_output, sha256
from likewise.data import Record, Records, Source, load, record
from likewise.encoders import WordMapped
from likewise.errors import ArtifactError, InputError
from likewise.model import Model
from likewise.search.catalogue import Label, Metadata, check_ids, check_label, check_metadata
from likewise.search.changes import addition, amendment, applied, removal, replacement
from likewise.search.columns import Value
from likewise.search.engine import EngineReport, Vectors
from likewise.search.holdings import EngineChoice, Holdings
from likewise.search.journal import Entry, Journal, check_free, read_journal
from likewise.search.querying import Hit, StoredRecord, hits_of, nearest_in, within
from likewise.search.reranking import KReciprocal, QueryExpansion
from likewise.search.storage import KIND, MANIFEST, Snapshot, read_snapshot, write_snapshot

__all__ = ["Hit", "Index", "StoredRecord"]

_JOURNAL = "journal"
_EMBED_AT_ONCE = 1024

_MetadataGiven: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | None


class Index:
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
        self.model = model
        self._fingerprint = model.fingerprint
        self._holdings = Holdings(model.distance, EngineChoice(engine, recall, address))
        self._home: Path | None = None  # the folder that it was opened from, or whose server's store it uses
        self._journal: Journal | None = None

    def __len__(self) -> int:
        return len(self._holdings)

    def __contains__(self, name: object) -> bool:
        return name in self._holdings.catalogue

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ids(self) -> tuple[str, ...]:
        """The records' ids, by row."""
        held = self._holdings
        return tuple(held.catalogue.ids[row] for row in held.alive.tolist())

    @property
    def labels(self) -> tuple[Label, ...]:
        """The records' labels, by row."""
        held = self._holdings
        return tuple(held.catalogue.labels[row] for row in held.alive.tolist())

    @property
    def metadata(self) -> tuple[Metadata, ...]:
        """The records' metadata, by row."""
        held = self._holdings
        return tuple(dict(held.catalogue.metadata[row]) for row in held.alive.tolist())

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the metadata's columns, sorted."""
        return self._holdings.catalogue.column_names()

    @property
    def dimension(self) -> int | None:
        """The length of an embedding; None while the index has never held a record."""
        return None if self._holdings.vectors is None else self._holdings.vectors.dimension

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The records' embeddings (n, d), by row."""
        return self._holdings.embeddings

    @property
    def engine(self) -> EngineReport:
        """Which engine it is, the parameters it chose, and the recall it was seen to reach."""
        held = self._holdings
        if held.vectors is None:
            return held.choice.make(held.distance, Vectors(1)).report()
        return held.engine.report()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's fingerprint, the records and their embeddings."""
        held = self._holdings
        described = self._fingerprint.encode() + held.catalogue.to_json(held.alive)
        return sha256(described + held.embeddings.tobytes())

    @classmethod
    def build(
        cls,
        model: Model,
        data: Source,
        *,
        ids: Sequence[str] | None = None,
        metadata: _MetadataGiven = None,
        engine: str = "flat",
        recall: float = 0.95,
        address: str | None = None,
    ) -> Index:
        """Embed records and index them; see :meth:`add` and the class."""
        made = cls(model, engine=engine, recall=recall, address=address)
        made.add(data, ids=ids, metadata=metadata)
        return made

    def add(
        self, data: Source, *, ids: Sequence[str] | None = None, metadata: _MetadataGiven = None
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
        told = self._told(_columns_of(records) if metadata is None else metadata, len(records))
        self._append(self._embedded(records), names, _labels_of(records), told)
        return tuple(names)

    def add_embeddings(
        self,
        embeddings: Any,
        *,
        ids: Sequence[str],
        labels: Sequence[Label] | None = None,
        metadata: _MetadataGiven = None,
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
        given = _checked_labels([None] * len(names) if labels is None else labels, len(names))
        self._append(vectors, names, given, self._told(metadata, len(names)))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove records by id; all or none.

        Raises
        ------
        InputError
            An id that isn't in the index, or one twice.
        """
        names = _ids_given(ids)
        self._holdings.catalogue.rows_of(names)
        if names:
            self._log(removal(names))
            self._holdings.remove(names)

    def update(
        self,
        ids: Sequence[str],
        data: Source | None = None,
        *,
        labels: Sequence[Label] | None = None,
        metadata: _MetadataGiven = None,
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
        names, held = _ids_given(ids), self._holdings.catalogue
        rows = held.rows_of(names).tolist()
        told = None if metadata is None else self._told(metadata, len(names))
        given = None if labels is None else _checked_labels(labels, len(names))
        if not names:
            return
        if data is None:
            self._log(amendment(names, given, told))
            self._holdings.amend(names, given, told)
            return
        records = load(data)
        if len(records) != len(names):
            raise InputError(f"data must have one item an id; found {len(records)} for {len(names)} ids")
        embeddings = self._embedded(records)
        if given is None:
            given = [held.labels[row] for row in rows] if records.y is None else _labels_of(records)
        if told is None:
            told = [held.metadata[row] for row in rows]
        self._log(replacement(embeddings, names, given, told))
        self._holdings.remove(names)
        self._holdings.take(embeddings, names, given, told)

    def record(self, name: str) -> StoredRecord:
        """A record by id.

        Raises
        ------
        InputError
            It isn't in the index.
        """
        held = self._holdings
        rows = held.catalogue.rows_of([name])
        row = int(rows[0])
        return StoredRecord(
            name,
            held.catalogue.labels[row],
            dict(held.catalogue.metadata[row]),
            int(held.places(rows)[0]),
            held.engine.vectors.embeddings[row].copy(),
        )

    def find(self, where: str) -> tuple[str, ...]:
        """The ids of the records that a filter finds, by row; see :mod:`likewise.search.filters`.

        Raises
        ------
        InputError
            The filter can't be read; the place is told.
        """
        rows = self._holdings.allowed(where)
        return () if rows is None else tuple(self._holdings.catalogue.ids[row] for row in rows.tolist())

    def search(
        self,
        query: str | os.PathLike[str] | Record | Any,
        k: int = 10,
        *,
        where: str | None = None,
        expansion: QueryExpansion | None = None,
        reranking: KReciprocal | None = None,
    ) -> Any:
        """Find the nearest records; a query that is in the index finds itself.

        Parameters
        ----------
        query : str, path, Record, one item, or several items (n, ...)
            One item (``digits:17``, ``query.jpg``), or several.
        k : int >= 1
            How many; fewer come when the index, or the filter, holds fewer.
        where : str, optional
            A filter over ``id``, ``label`` and the metadata's columns: ``shop = 'A' and price < 20``; see
            :mod:`likewise.search.filters`.
        expansion : QueryExpansion, optional
        reranking : KReciprocal, optional

        Returns
        -------
        list of Hit
            Nearest first, equal distances by the lower row. A list of such lists for several items.

        Raises
        ------
        InputError
            k under 1, another shape, NaN, an empty index, a filter that can't be read.
        """
        vectors, single = self._query(query)
        found = self.search_embeddings(vectors, k, where=where, expansion=expansion, reranking=reranking)
        return found[0] if single else found

    def search_embeddings(
        self,
        embeddings: Any,
        k: int = 10,
        *,
        where: str | None = None,
        expansion: QueryExpansion | None = None,
        reranking: KReciprocal | None = None,
        fingerprint: str | None = None,
    ) -> list[list[Hit]]:
        """Find the nearest records of embeddings (n, d) that the index's own model made.

        Parameters and errors are those of :meth:`search`; ``fingerprint`` is that of the model which made
        them, and another model's are refused (ArtifactError).
        """
        self._check_model(fingerprint)
        vectors = self._holdings.checked(embeddings)
        found = nearest_in(self._holdings, vectors, k, where=where, expansion=expansion, reranking=reranking)
        return hits_of(self._holdings, self.model, found)

    def range_search(
        self,
        query: str | os.PathLike[str] | Record | Any,
        radius: float | None = None,
        *,
        where: str | None = None,
        limit: int = 10_000,
    ) -> Any:
        """All records within a distance of the query.

        Parameters
        ----------
        query : as :meth:`search`
        radius : float, optional
            Records at most this far; by default the model's threshold, under which two things are alike.
        where : str, optional
            A filter.
        limit : int >= 1
            At most this many, the nearest.

        Returns
        -------
        list of Hit
            Nearest first; a list of such lists for several items. All of them where the engine is exact.
        """
        vectors, single = self._query(query)
        found = self.range_search_embeddings(vectors, radius, where=where, limit=limit)
        return found[0] if single else found

    def range_search_embeddings(
        self,
        embeddings: Any,
        radius: float | None = None,
        *,
        where: str | None = None,
        limit: int = 10_000,
        fingerprint: str | None = None,
    ) -> list[list[Hit]]:
        """As :meth:`range_search`, of embeddings (n, d) that the index's own model made."""
        self._check_model(fingerprint)
        bound = self.model.threshold if radius is None else radius
        vectors = self._holdings.checked(embeddings)
        found = within(self._holdings, vectors, bound, where=where, limit=limit)
        return [hits_of(self._holdings, self.model, own.as_rows())[0] for own in found]

    def with_engine(self, engine: str, *, recall: float = 0.95, address: str | None = None) -> Index:
        """The same records in another engine, as an index of its own; see the class for the arguments."""
        made = Index(self.model, engine=engine, recall=recall, address=address)
        if len(self):
            made._holdings.take(
                self.embeddings.copy(), self.ids, self.labels, [dict(told) for told in self.metadata]
            )
        return made

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
        target = self._home if path is None else Path(path)
        if target is None:
            raise InputError("path must be given: the index wasn't opened from a folder")
        check_output(target, manifest=MANIFEST, kind=KIND)
        held = self._holdings
        if not len(held):
            raise InputError("the index is empty; add records first")
        at_home = self._home is not None and os.path.realpath(target) == os.path.realpath(self._home)
        if self._home is not None and not at_home and held.choice.address is not None:
            raise InputError(
                f"path must be {self._home}, as two folders can't share one store of a server; give the "
                "records a store of their own: likewise index --from"
            )
        if not at_home or self._journal is None:
            check_free(target / _JOURNAL)
        held.renumber()
        arrays, state = held.engine.state()
        choice = held.choice
        stated = write_snapshot(
            target,
            model=self.model,
            embeddings=held.embeddings,
            records=held.catalogue.to_json(held.alive),
            engine={"name": choice.name, "recall": choice.recall, "address": choice.address, "state": state},
            engine_arrays=arrays,
        )
        if choice.address is not None:
            self._home = target
        if at_home and self._journal is not None:
            self._journal.close()
            self._journal = None
            self._journal = Journal(target / _JOURNAL, stated)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, model: Model | None = None) -> Index:
        """Load an index; every byte is verified before anything reads it.

        Changes of what was loaded stay in memory until they are saved; to keep each on the disk as it is
        made, use :meth:`open`.

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
        for attempt in range(3):
            snapshot = read_snapshot(path, model=model)
            try:
                entries = read_journal(Path(path) / _JOURNAL, snapshot.manifest_sha256)
            except ArtifactError:
                # A writer may have folded its journal in between the two.
                if (
                    attempt < 2
                    and read_snapshot(path, model=model).manifest_sha256 != snapshot.manifest_sha256
                ):
                    continue
                raise
            break
        return cls._restored(path, snapshot, entries)

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
        snapshot = read_snapshot(path, model=model)
        journal = Journal(Path(path) / _JOURNAL, snapshot.manifest_sha256)
        try:
            made = cls._restored(path, snapshot, journal.entries)
            made._holdings.engine.reconcile()
        except BaseException:
            journal.close()
            raise
        journal.entries.clear()
        made._journal, made._home = journal, Path(path)
        return made

    def close(self) -> None:
        """Let another process write, and let go of a server."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._holdings.vectors is not None:
            self._holdings.engine.close()

    def drop(self) -> None:
        """Remove the store of an engine that lies in a server or a file; the index's folder stays."""
        if self._holdings.vectors is not None:
            self._holdings.engine.drop()

    @classmethod
    def _restored(cls, path: str | os.PathLike[str], snapshot: Snapshot, entries: Sequence[Entry]) -> Index:
        described, place = snapshot.engine, MANIFEST
        try:
            made = cls(
                snapshot.model,
                engine=described["name"],
                recall=described["recall"],
                address=described["address"],
            )
            held = made._holdings
            held.catalogue.check_kinds(snapshot.metadata)
            held.catalogue.append(snapshot.ids, snapshot.labels, snapshot.metadata)
            vectors, engine = held.start(snapshot.embeddings.shape[1])
            vectors.append(held.checked(snapshot.embeddings))
            engine.restore(snapshot.engine_arrays, described["state"])
            place = _JOURNAL
            for entry in entries:
                applied(entry, held)
        except (InputError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__} {error}"
            raise ArtifactError(
                f"{os.path.join(os.fspath(path), place)}: can't be used ({reason})"
            ) from error
        if described["address"] is not None:
            made._home = Path(path)
        return made

    def _new(self, ids: Sequence[str], count: int) -> list[str]:
        names = check_ids(ids, count)
        self._holdings.check_new(names)
        return names

    def _told(self, metadata: _MetadataGiven, count: int) -> list[dict[str, Value]]:
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
            self._log(addition(embeddings, names, labels, told))
            self._holdings.take(embeddings, names, labels, told)

    def _query(self, query: str | os.PathLike[str] | Record | Any) -> tuple[NDArray[np.float32], bool]:
        if isinstance(query, str) and isinstance(self.model.encoder, WordMapped):
            words = query
            try:
                query = record(words)
            except InputError:  # not the name of a record: words, in which this model is asked too
                return self.model.encoder.text([words]), True
        if isinstance(query, str) and self.model.kind == "text":
            try:
                query = record(query)
            except InputError:  # not the name of a record: a text of its own
                return self.model.embed([query]), True
        if isinstance(query, (str, os.PathLike)):
            query = record(query)
        # A row of a table is one value of many fields.
        row = isinstance(query, (np.ndarray, np.void)) and query.dtype.names is not None
        single = isinstance(query, Record) or np.ndim(query) + row == len(self.model.item_shape)
        return self.model.embed([query] if single else query), single

    def _embedded(self, records: Records) -> NDArray[np.float32]:
        """Embeddings of records, a part at a time, as the items may not fit in memory."""
        parts = [
            self.model.embed(records.items(slice(start, start + _EMBED_AT_ONCE)))
            for start in range(0, len(records), _EMBED_AT_ONCE)
        ]
        return self._holdings.checked(np.concatenate(parts))

    def _check_model(self, fingerprint: str | None) -> None:
        if fingerprint is not None and fingerprint != self._fingerprint:
            raise ArtifactError(
                f"the embeddings are another model's (fingerprint {str(fingerprint)[:12]}; this index was "
                f"filled by {self._fingerprint[:12]}); embed with the index's own model"
            )

    def _log(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.append(entry)


def _labels_of(records: Records) -> list[Label]:
    labels: list[Label] = [None] * len(records) if records.y is None else records.y.tolist()
    return _checked_labels(labels, len(records))


def _checked_labels(labels: Any, count: int) -> list[Label]:
    given = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if len(given) != count:
        raise InputError(f"labels must be one a record; found {len(given)} for {count}")
    for label in given:
        check_label(label)
    return given


def _columns_of(records: Records) -> dict[str, list[Value | None]]:
    """The records' own columns, as far as they are texts, numbers or truth values; NaN is missing."""
    taken = {}
    for name, values in records.columns.items():
        if values.ndim == 1 and values.dtype.kind in "UOiufb" and name.lower() not in ("id", "label"):
            listed = [None if value != value else value for value in values.tolist()]
            if {type(value) for value in listed} <= {str, int, float, bool, type(None)}:
                taken[name] = listed
    return taken


def _ids_given(ids: Any) -> list[str]:
    if isinstance(ids, str):
        raise InputError(f"ids must be a sequence of ids; found one text, {ids!r}")
    names = list(ids)
    return check_ids(names, len(names))
