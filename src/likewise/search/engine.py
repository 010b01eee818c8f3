"""What every engine of an index promises, and what they share: rows that grow, and distances taken exactly.

An engine finds places: the rows of one growing array of embeddings that the index and its engine share.
Whatever finds the candidates, the distances that come out are the model's own, taken by subtraction: in
float64 and rounded to float32, or in float32 alone (by HNSW, and by the other structures under Euclid's
distance); equal ones are ordered by the lower row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.search.exact import nearest

__all__ = ["Engine", "EngineReport", "Found", "Rows", "Vectors", "features", "ranked", "searched_exactly"]

_GATHER_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Found:
    """Neighbours, nearest first, equal distances by the lower row: distances and rows, both (n, k).

    Where fewer than k could be found, inf and -1.
    """

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]

    def as_rows(self) -> Found:
        """Of one query, (k,), as of a list of one query, (1, k)."""
        return Found(self.distances[None], self.rows[None])


@dataclass(frozen=True)
class EngineReport:
    """What an engine chose and what it was seen to reach.

    Parameters
    ----------
    name : str
        ``flat``, ``hnsw``, ``ivfpq``, ``binary``, ``milvus`` or ``postgres``.
    exact : bool
        Whether every answer is that of sorting all distances.
    parameters : mapping
        Of the structure and of the search.
    wanted_recall, measured_recall : float in [0, 1]
        At 10 neighbours; measured on ``queries`` records that were held out while it was built.
        None where nothing was measured.
    queries : int
    """

    name: str
    exact: bool
    parameters: Mapping[str, int | float | str] = field(default_factory=lambda: MappingProxyType({}))
    wanted_recall: float | None = None
    measured_recall: float | None = None
    queries: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "parameters": dict(self.parameters)}

    def __str__(self) -> str:
        chosen = ", ".join(f"{key} {value}" for key, value in self.parameters.items())
        told = f"{self.name} ({chosen})" if chosen else self.name
        if self.exact:
            return f"{told}: exact"
        if self.measured_recall is None:
            return f"{told}: recall not measured"
        short = (
            "" if self.measured_recall >= (self.wanted_recall or 0) else ": the wanted recall isn't reached"
        )
        return (
            f"{told}: recall@10 {self.measured_recall:.3f} on {self.queries} held-out records "
            f"(wanted {self.wanted_recall}){short}"
        )


class Rows:
    """An array that grows at its end in amortised constant time.

    >>> rows = Rows((2,), np.float32)
    >>> rows.append(np.ones((3, 2), dtype=np.float32))
    >>> rows.view.shape
    (3, 2)
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._held: NDArray[Any] = np.empty((0, *shape), dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def view(self) -> NDArray[Any]:
        """What is held (n, ...); writing into it changes it."""
        return self._held[: self._count]

    def append(self, more: NDArray[Any]) -> None:
        """Take more rows (m, ...)."""
        wanted = self._count + len(more)
        if wanted > len(self._held):
            exact = self._count == 0  # what is filled once, as on loading, needs no room to grow
            room = wanted if exact else max(wanted, len(self._held) + len(self._held) // 2)
            grown = np.empty((room, *self._held.shape[1:]), dtype=self._held.dtype)
            grown[: self._count] = self.view
            self._held = grown
        self._held[self._count : wanted] = more
        self._count = wanted


class Vectors:
    """The embeddings that an index and its engine share, and which of them still count."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._embeddings = Rows((dimension,), np.float32)
        self._alive = Rows((), np.bool_)
        self.n_alive = 0

    def __len__(self) -> int:
        return len(self._embeddings)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """All rows (n, d), removed ones among them."""
        return self._embeddings.view

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows count (n,)."""
        return self._alive.view

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows that count, ascending."""
        return np.flatnonzero(self.alive)

    def append(self, embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
        """Take embeddings (m, d) in; their rows."""
        first = len(self)
        self._embeddings.append(embeddings)
        self._alive.append(np.ones(len(embeddings), dtype=np.bool_))
        self.n_alive += len(embeddings)
        return np.arange(first, len(self))

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Let rows no longer count; each counts until now, and is named once."""
        self.alive[rows] = False
        self.n_alive -= len(rows)


class Engine(ABC):
    """Finds the nearest of the rows that count.

    Parameters
    ----------
    distance : Distance
        The model's own.
    vectors : Vectors
        Shared with the index, which appends to it before it calls :meth:`add`.
    recall : float in (0, 1]
        Wanted of an approximate engine, at 10 neighbours.
    address : str, optional
        Of a server or a file, for engines that need one.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = False

    def __init__(
        self,
        distance: Distance,
        vectors: Vectors,
        *,
        recall: float = 0.95,
        address: str | None = None,
    ) -> None:
        self.distance, self.vectors, self.recall, self.address = distance, vectors, recall, address

    @abstractmethod
    def add(self, rows: NDArray[np.int64]) -> None:
        """Take rows in that were just appended, in order."""

    @abstractmethod
    def remove(self, rows: NDArray[np.int64]) -> None:
        """Never find these rows again."""

    @abstractmethod
    def search(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> Found:
        """The k nearest of queries (q, d), among the allowed rows (ascending, all alive) when given."""

    def report(self) -> EngineReport:
        """What it is and what it reaches."""
        return EngineReport(self.name, self.exact)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON from which :meth:`restore` comes back without building anew."""
        return {}, {}

    def restore(self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take in all rows of the vectors, with what :meth:`state` gave.

        Raises
        ------
        InputError
            The state doesn't fit the vectors.
        """
        del arrays, described
        self.add(np.arange(len(self.vectors)))

    def reconcile(self) -> None:  # noqa: B027 - nothing to do where all is in this process
        """Make a store outside of this process hold exactly the rows that count."""

    def renumbered(self, vectors: Vectors, kept: NDArray[np.int64]) -> Engine:
        """An engine over the kept rows alone, which are the rows of other vectors in the same order."""
        del kept
        made = type(self)(self.distance, vectors, recall=self.recall, address=self.address)
        made.add(np.arange(len(vectors)))
        return made

    def close(self) -> None:  # noqa: B027
        """Let go of what it holds outside of this process."""

    def drop(self) -> None:  # noqa: B027
        """Remove what it keeps outside of this process and of the index's folder."""


def features(distance: Distance, embeddings: NDArray[np.float32], *, columns: bool) -> NDArray[np.float32]:
    """What a product distance reads of embeddings (n, d); the embeddings themselves for any other."""
    if not isinstance(distance, ProductDistance):
        return np.ascontiguousarray(embeddings)
    apply = distance.column_features if columns else distance.features
    with torch.inference_mode():
        out: NDArray[np.float32] = apply(torch.from_numpy(np.ascontiguousarray(embeddings))).float().numpy()
    return np.ascontiguousarray(out)


def ranked(
    distance: Distance,
    queries: NDArray[np.float32],
    candidates: NDArray[np.int64],
    gallery: NDArray[np.float32],
    k: int,
) -> Found:
    """The k nearest of each query's candidates.

    Parameters
    ----------
    distance : Distance
    queries : float32 array (q, f)
        Features of a product distance, embeddings of any other.
    candidates : int64 array (q, c)
        Rows of the gallery, -1 for none.
    gallery : float32 array (n, f)
        Of the same kind as the queries.
    k : int >= 1
    """
    taken = np.empty(candidates.shape, dtype=np.float32)
    step = max(1, _GATHER_ELEMENTS // max(1, candidates.shape[1] * gallery.shape[1]))
    for start in range(0, len(candidates), step):
        part = candidates[start : start + step]
        taken[start : start + step] = _distances(
            distance, torch.from_numpy(queries[start : start + step, None]), torch.from_numpy(gallery[part])
        )
    taken[candidates < 0] = np.inf
    order = np.lexsort((candidates, taken))[:, :k]
    distances, rows = np.take_along_axis(taken, order, 1), np.take_along_axis(candidates, order, 1)
    if distances.shape[1] < k:
        wide = ((0, 0), (0, k - distances.shape[1]))
        distances = np.pad(distances, wide, constant_values=np.inf)
        rows = np.pad(rows, wide, constant_values=-1)
    return Found(distances, rows)


def _distances(distance: Distance, queries: Tensor, candidates: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        if isinstance(distance, ProductDistance):
            out: NDArray[np.float32] = (
                distance.form.pairs(queries.double(), candidates.double()).float().numpy()
            )
        else:
            out = distance(queries, candidates).float().numpy()
    return out


def searched_exactly(
    distance: Distance,
    vectors: Vectors,
    queries: NDArray[np.float32],
    k: int,
    *,
    allowed: NDArray[np.int64] | None = None,
) -> Found:
    """The k nearest among the allowed rows, by all of their distances; nothing is prepared before."""
    rows = vectors.rows if allowed is None else allowed
    count = min(k, len(rows))
    if count == 0:
        shape = (len(queries), k)
        return Found(np.full(shape, np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64))
    found = nearest(queries, vectors.embeddings[rows], count, distance=distance)
    wide = ((0, 0), (0, k - count))
    return Found(
        np.pad(found.distances.float().numpy(), wide, constant_values=np.inf),
        np.pad(rows[found.indices.numpy()], wide, constant_values=-1),
    )
