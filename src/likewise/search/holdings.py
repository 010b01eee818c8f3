"""What an index holds in memory: records, their embeddings, and the engine that finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.search.catalogue import Catalogue, Label, Metadata
from likewise.search.columns import Value
from likewise.search.engine import Engine, Vectors
from likewise.search.engines import engine_named

__all__ = ["EngineChoice", "Holdings"]

_LARGEST = 1e18  # its square, times a dimension, still fits in float32


@dataclass(frozen=True)
class EngineChoice:
    """Which engine an index was asked for, with the recall that is wanted and the address."""

    name: str = "flat"
    recall: float = 0.95
    address: str | None = None

    def make(self, distance: Distance, vectors: Vectors) -> Engine:
        """An empty engine of this kind; see :func:`~likewise.search.engines.engine_named`."""
        return engine_named(self.name, distance, vectors, recall=self.recall, address=self.address)


class Holdings:
    """Records by row: a catalogue, embeddings, and an engine over them.

    A removed record's row stays until :meth:`renumber`; the places that users see leave such rows out.
    """

    def __init__(self, distance: Distance, choice: EngineChoice) -> None:
        self.distance, self.choice = distance, choice
        self.catalogue = Catalogue()
        self.vectors: Vectors | None = None  # made when the dimension is known
        self._engine: Engine | None = None
        self._places: NDArray[np.int64] | None = None
        choice.make(distance, Vectors(1))  # refuses a wrong choice at once

    def __len__(self) -> int:
        return 0 if self.vectors is None else self.vectors.n_alive

    @property
    def engine(self) -> Engine:
        """The engine; InputError while the index has never held a record."""
        if self._engine is None:
            raise InputError("the index is empty; add records first")
        return self._engine

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The embeddings of the records that count (n, d)."""
        if self.vectors is None:
            return np.empty((0, 0), dtype=np.float32)
        return self.vectors.embeddings if self.whole else self.vectors.embeddings[self.alive]

    @property
    def alive(self) -> NDArray[np.int64]:
        """The rows that count, ascending."""
        return np.empty(0, dtype=np.int64) if self.vectors is None else self.vectors.rows

    @property
    def whole(self) -> bool:
        """Whether no row was ever removed, so that rows are places."""
        return self.vectors is None or self.vectors.n_alive == len(self.vectors)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places among the records that count, of rows."""
        if self.whole:
            return rows
        if self._places is None:
            assert self.vectors is not None
            self._places = np.cumsum(self.vectors.alive) - 1
        return self._places[rows]

    def allowed(self, where: str | None) -> NDArray[np.int64] | None:
        """The rows that a filter finds, ascending; None without a filter."""
        if where is None:
            return None
        alive = np.empty(0, dtype=np.bool_) if self.vectors is None else self.vectors.alive
        return self.catalogue.allowed(where, alive)

    def checked(self, embeddings: Any) -> NDArray[np.float32]:
        """Embeddings (n, d) as float32; an InputError for another dimension, NaN and what would overflow."""
        try:
            with np.errstate(over="ignore"):
                vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InputError("embeddings must be numbers of shape (n, d); found something else") from error
        wanted = None if self.vectors is None else self.vectors.dimension
        if vectors.ndim != 2 or not vectors.shape[1] or (wanted is not None and vectors.shape[1] != wanted):
            raise InputError(
                f"embeddings must have shape (n, {'d' if wanted is None else wanted}); found {vectors.shape}"
            )
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise InputError(f"embeddings must be finite; found NaN or infinity in row {row}")
        if vectors.size and float(np.abs(vectors).max()) > _LARGEST:
            raise InputError(
                f"embeddings must be below {_LARGEST:g} in size, so that their squares fit in float32"
            )
        return vectors

    def check_new(self, names: Sequence[str]) -> None:
        """Refuse ids that are taken."""
        taken = next((name for name in names if name in self.catalogue), None)
        if taken is not None:
            raise InputError(f"ids: {taken!r} is in the index already; give other ids")

    def start(self, dimension: int) -> tuple[Vectors, Engine]:
        """Begin with a dimension; nothing is held yet."""
        self.vectors = Vectors(dimension)
        self._engine = self.choice.make(self.distance, self.vectors)
        return self.vectors, self._engine

    def take(
        self,
        embeddings: NDArray[np.float32],
        names: Sequence[str],
        labels: Sequence[Label],
        metadata: Sequence[dict[str, Value]],
    ) -> None:
        """Take checked records in; they get the last rows."""
        if self.vectors is None or self._engine is None:
            self.start(embeddings.shape[1])
        assert self.vectors is not None and self._engine is not None
        rows = self.vectors.append(embeddings)
        self._places = None
        self.catalogue.append(names, labels, metadata)
        self._engine.add(rows)

    def remove(self, names: Sequence[str]) -> None:
        """Remove records whose ids are there."""
        assert self.vectors is not None
        rows = self.catalogue.remove(names)
        self.vectors.remove(rows)
        self._places = None
        self.engine.remove(rows)

    def amend(
        self, names: Sequence[str], labels: Sequence[Label] | None, metadata: Sequence[Metadata] | None
    ) -> None:
        """Give records other labels, other metadata, or both."""
        for place, name in enumerate(names):
            if labels is not None:
                self.catalogue.relabel(name, labels[place])
            if metadata is not None:
                self.catalogue.describe(name, metadata[place])

    def renumber(self) -> None:
        """Leave out the rows that no longer count."""
        if self.vectors is None or self.whole:
            return
        kept = self.vectors.rows
        vectors, catalogue = Vectors(self.vectors.dimension), Catalogue()
        vectors.append(self.vectors.embeddings[kept])
        chosen, held = kept.tolist(), self.catalogue
        catalogue.append(
            [held.ids[row] for row in chosen],
            [held.labels[row] for row in chosen],
            [held.metadata[row] for row in chosen],
        )
        self._engine = self.engine.renumbered(vectors, kept)
        self.vectors, self.catalogue, self._places = vectors, catalogue, None
