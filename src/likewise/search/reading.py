"""Asking an index: what it holds, and what lies nearest; nothing here changes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.artifacts import sha256
from likewise.errors import ArtifactError
from likewise.model import Model
from likewise.search.catalogue import Label, Metadata
from likewise.search.engine import EngineReport, Vectors
from likewise.search.given import Query, query_vectors
from likewise.search.holdings import Holdings
from likewise.search.querying import Hit, StoredRecord, hits_of, nearest_in, within
from likewise.search.reranking import KReciprocal, QueryExpansion, averaged

__all__ = ["ReadableIndex"]


class ReadableIndex(ABC):
    """The half of an index that answers.

    Abstract: who holds the records gives ``model`` and ``_holdings``.
    """

    @property
    @abstractmethod
    def model(self) -> Model:
        """What embeds records and queries."""

    @property
    @abstractmethod
    def _holdings(self) -> Holdings:
        """The records with their engine."""

    def __len__(self) -> int:
        return len(self._holdings)

    def __contains__(self, name: object) -> bool:
        return name in self._holdings.catalogue

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
        described = self.model.fingerprint.encode() + held.catalogue.to_json(held.alive)
        return sha256(described + held.embeddings.tobytes())

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
        query: Query,
        k: int = 10,
        *,
        where: str | None = None,
        expansion: QueryExpansion | None = None,
        reranking: KReciprocal | None = None,
        together: bool = False,
    ) -> Any:
        """Find the nearest records; a query that is in the index finds itself.

        Parameters
        ----------
        query : str, path, Record, one item, or several items (n, ...)
            One item (``digits:17``, ``query.jpg``), or several; with ``together`` also a list of names.
        k : int >= 1
            How many; fewer come when the index, or the filter, holds fewer.
        where : str, optional
            A filter over ``id``, ``label`` and the metadata's columns: ``shop = 'A' and price < 20``; see
            :mod:`likewise.search.filters`.
        expansion : QueryExpansion, optional
        reranking : KReciprocal, optional
        together : bool
            Whether several items are one query, views of one thing: what is near the mean of their
            embeddings is found (of unit vectors under cosine). Distances and probabilities are to that mean.

        Returns
        -------
        list of Hit
            Nearest first, equal distances by the lower row. A list of such lists for several items that
            aren't one query.

        Raises
        ------
        InputError
            k under 1, another shape, NaN, an empty index, a filter that can't be read.
        """
        vectors, single = query_vectors(self.model, query, several=together)
        found = self.search_embeddings(
            vectors, k, where=where, expansion=expansion, reranking=reranking, together=together
        )
        return found[0] if single or together else found

    def search_embeddings(
        self,
        embeddings: Any,
        k: int = 10,
        *,
        where: str | None = None,
        expansion: QueryExpansion | None = None,
        reranking: KReciprocal | None = None,
        fingerprint: str | None = None,
        together: bool = False,
    ) -> list[list[Hit]]:
        """Find the nearest records of embeddings (n, d) that the index's own model made.

        Parameters and errors are those of :meth:`search`; ``fingerprint`` is that of the model which made
        them, and another model's are refused (ArtifactError). Together they give one list.
        """
        self._check_model(fingerprint)
        vectors = self._holdings.checked(embeddings)
        if together:
            vectors = averaged(vectors, distance=self.model.distance)
        found = nearest_in(self._holdings, vectors, k, where=where, expansion=expansion, reranking=reranking)
        return hits_of(self._holdings, self.model, found)

    def range_search(
        self,
        query: Query,
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
        vectors, single = query_vectors(self.model, query)
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

    def _check_model(self, fingerprint: str | None) -> None:
        if fingerprint is not None and fingerprint != self.model.fingerprint:
            raise ArtifactError(
                f"the embeddings are another model's (fingerprint {str(fingerprint)[:12]}; this index was "
                f"filled by {self.model.fingerprint[:12]}); embed with the index's own model"
            )
