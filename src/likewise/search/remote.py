"""What engines beyond this process share: keys of their own, candidates from afar, exact distances here.

The index's folder holds all records and embeddings, and stays the truth; a store is a structure that can be
filled again from it. A store is named by a random word, so that no two indexes share one. What it doesn't
know: passwords, which are never written down; they come from the environment.
"""

from __future__ import annotations

import re
import secrets
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from likewise.distances import Distance, Form, ProductDistance, SignedDifference
from likewise.errors import InputError
from likewise.search.approximate import array_of
from likewise.search.engine import (
    Engine,
    EngineReport,
    Found,
    Rows,
    Vectors,
    features,
    ranked,
    searched_exactly,
)

__all__ = ["RemoteEngine", "StoreError"]

_NAME = re.compile(r"likewise_[0-9a-f]{16}")
_AT_ONCE = 1_000
_OVERSAMPLING = 10  # of a distance that no product gives
_ALWAYS_HERE = 1_000  # allowed rows up to which a filter's answer is taken here


class StoreError(InputError):
    """A server or a file in which an engine keeps its structure can't be reached, or refuses."""


class RemoteEngine(Engine):
    """An engine whose structure lies in a server or a file of its own.

    Abstract: a store overrides ``_exists``, ``_create``, ``_upsert``, ``_delete``, ``_keys_held``,
    ``_nearest``, ``drop`` and ``_errors``.
    """

    def __init__(
        self, distance: Distance, vectors: Vectors, *, recall: float = 0.95, address: str | None = None
    ) -> None:
        super().__init__(distance, vectors, recall=recall, address=address)
        if not isinstance(address, str) or not address or not address.isprintable():
            raise InputError(f"address must be given for the engine {self.name}; found {address!r}")
        if urlsplit(address).password or "password=" in address.lower() or "token=" in address.lower():
            raise InputError(
                f"address must not hold a password, as the index writes it down; {self._secret_hint()}"
            )
        if isinstance(distance, SignedDifference):
            raise InputError("engine must be flat for the distance SignedDifference")
        self._by_product = isinstance(distance, ProductDistance)
        self._inner = isinstance(distance, ProductDistance) and distance.form is Form.NEGATIVE_PRODUCT
        self._keys = Rows((), np.int64)  # ascending, by row; never used twice
        self.store = f"likewise_{secrets.token_hex(8)}"
        self._ready = False

    @classmethod
    @abstractmethod
    def _secret_hint(cls) -> str:
        """Where a password comes from instead."""

    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]:
        """What the store's library raises."""

    @abstractmethod
    def _exists(self) -> bool:
        """Whether the store is there."""

    @abstractmethod
    def _create(self, width: int) -> None:
        """Make the store, empty; nothing where it is there."""

    @abstractmethod
    def _upsert(self, keys: NDArray[np.int64], columns: NDArray[np.float32]) -> None:
        """Put features under keys, whatever stood there."""

    @abstractmethod
    def _delete(self, keys: NDArray[np.int64]) -> None:
        """Forget keys, whether they are there or not."""

    @abstractmethod
    def _keys_held(self) -> NDArray[np.int64]:
        """All keys of the store, ascending."""

    @abstractmethod
    def _nearest(
        self, rows: NDArray[np.float32], count: int, keys: NDArray[np.int64] | None
    ) -> Sequence[Sequence[int]]:
        """Keys of candidates for query features, nearest first, at most ``count`` each."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the store and all that it holds."""

    def report(self) -> EngineReport:
        """What it is; nothing is measured, as a server is tuned where it runs."""
        parameters = {"address": str(self.address), "store": self.store}
        return EngineReport(self.name, exact=False, parameters=parameters, wanted_recall=self.recall)

    def add(self, rows: NDArray[np.int64]) -> None:
        """Take rows in that were just appended, in order."""
        if not len(rows):
            return
        first = int(self._keys.view[-1]) + 1 if len(self._keys) else 0
        keys = np.arange(first, first + len(rows))
        self._keys.append(keys)
        with self._reached():
            self._open()
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                columns = features(self.distance, self.vectors.embeddings[part], columns=True)
                self._upsert(keys[start : start + _AT_ONCE], columns)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Never find these rows again."""
        with self._reached():
            self._open()
            self._delete(self._keys.view[rows])

    def search(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> Found:
        """The k nearest of queries (q, d), among the allowed rows (ascending, all alive) when given."""
        if allowed is not None and len(allowed) <= max(_ALWAYS_HERE, k):
            return searched_exactly(self.distance, self.vectors, queries, k, allowed=allowed)
        rows = features(self.distance, queries, columns=False)
        count = k if self._by_product else k * _OVERSAMPLING
        keys = None if allowed is None else self._keys.view[allowed]
        with self._reached():
            self._open(filled=True)
            found = self._nearest(rows, count, keys)
        candidates = np.full((len(queries), max(count, 1)), -1, dtype=np.int64)
        for query, own in enumerate(found):
            candidates[query, : len(own)] = self._rows_of(np.asarray(own, dtype=np.int64))[:count]
        return self._ranked(queries, rows, candidates, k)

    def _rows_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of keys; -1 for one that another process has added, or that no longer counts."""
        places = np.minimum(np.searchsorted(self._keys.view, keys), len(self._keys) - 1)
        known = (self._keys.view[places] == keys) & self.vectors.alive[places]
        return np.where(known, places, -1)

    def _ranked(
        self, queries: NDArray[np.float32], rows: NDArray[np.float32], candidates: NDArray[np.int64], k: int
    ) -> Found:
        if not self._by_product:
            return ranked(self.distance, queries, candidates, self.vectors.embeddings, k)
        different, places = np.unique(candidates, return_inverse=True)
        columns = features(self.distance, self.vectors.embeddings[different], columns=True)
        chosen = np.where(candidates >= 0, places.reshape(candidates.shape), -1)
        found = ranked(self.distance, rows, chosen, columns, k)
        return Found(found.distances, np.where(found.rows >= 0, different[found.rows], -1))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The store's name and the rows' keys."""
        return {"keys": self._keys.view}, {"store": self.store}

    def restore(self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Know the rows' keys again; the store is asked when something is searched."""
        keys = array_of(arrays, "keys", np.int64, 1)
        if len(keys) != len(self.vectors) or (len(keys) and (keys[0] < 0 or (np.diff(keys) <= 0).any())):
            raise InputError("the engine's 'keys' don't fit the records")
        store = described["store"]
        if not isinstance(store, str) or not _NAME.fullmatch(store):
            raise InputError("the engine's 'store' isn't a name of ours")
        self.store = store
        self._keys.append(keys)

    def reconcile(self) -> None:
        """Make the store hold exactly the rows that count, after a process was killed between the two."""
        with self._reached():
            self._open()
            wanted = self._keys.view[self.vectors.rows]
            held = self._keys_held()
            self._delete(np.setdiff1d(held, wanted))
            lacking = np.setdiff1d(wanted, held)
            rows = np.searchsorted(self._keys.view, lacking)
            for start in range(0, len(rows), _AT_ONCE):
                part = rows[start : start + _AT_ONCE]
                columns = features(self.distance, self.vectors.embeddings[part], columns=True)
                self._upsert(self._keys.view[part], columns)

    def renumbered(self, vectors: Vectors, kept: NDArray[np.int64]) -> Engine:
        """The same store, with the keys of the kept rows."""
        keys = self._keys.view[kept].copy()
        self.vectors, self._keys = vectors, Rows((), np.int64)
        self._keys.append(keys)
        return self

    def _open(self, *, filled: bool = False) -> None:
        """Connect; ``filled`` refuses a store that isn't there, as an empty one would find nothing."""
        if not self._ready:
            if filled and not self._exists():
                raise StoreError(
                    f"{self.address}: there is no {self.store}, in which this index's records were; "
                    "open the index for writing to fill it again, or move it: likewise index --from"
                )
            width = features(self.distance, self.vectors.embeddings[:1], columns=True).shape[1]
            self._create(width)
            self._ready = True

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Errors of the store as one line that names the address."""
        try:
            yield
        except self._errors() as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise StoreError(
                f"{self.address}: the {self.name} server can't be reached or refuses ({reason})"
            ) from error
