"""Asking an index: the nearest, all within a radius, and the orders that look twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.model import Model
from likewise.search.catalogue import Label, Metadata
from likewise.search.engine import Found
from likewise.search.holdings import Holdings
from likewise.search.reranking import KReciprocal, QueryExpansion, expanded, k_reciprocal_order

__all__ = ["Hit", "StoredRecord", "hits_of", "nearest_in", "within"]

_RANGE_START = 64


@dataclass(frozen=True)
class Hit:
    """A record that was found.

    Parameters
    ----------
    id : str
    label : int, str or None
    distance : float
        To the query; smaller is nearer.
    row : int
        Its place among the index's records.
    probability : float in [0, 1], optional
        Of being alike, where the model is calibrated.
    metadata : mapping
    """

    id: str
    label: Label
    distance: float
    row: int
    probability: float | None = None
    metadata: Metadata = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class StoredRecord:
    """A record as the index holds it: its id, label, metadata, row and embedding (d,)."""

    id: str
    label: Label
    metadata: Metadata
    row: int
    embedding: NDArray[np.float32]


def nearest_in(
    holdings: Holdings,
    vectors: NDArray[np.float32],
    k: int,
    *,
    where: str | None = None,
    expansion: QueryExpansion | None = None,
    reranking: KReciprocal | None = None,
) -> Found:
    """The k nearest rows of checked embeddings (q, d); fewer where the filter finds fewer.

    Raises
    ------
    InputError
        k under 1, an empty index, a filter that can't be read.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k must be a whole number of at least 1; found {k!r}")
    engine = holdings.engine
    if not len(holdings):
        raise InputError("the index is empty; add records first")
    allowed = holdings.allowed(where)
    most = len(holdings) if allowed is None else len(allowed)
    if most == 0 or not len(vectors):
        return Found(np.empty((len(vectors), 0), np.float32), np.empty((len(vectors), 0), np.int64))
    held = engine.vectors.embeddings
    if expansion is not None:
        near = engine.search(vectors, min(expansion.neighbours, most), allowed=allowed)
        vectors = np.stack(
            [
                expanded(query, held[rows[rows >= 0]], expansion=expansion, distance=holdings.distance)
                for query, rows in zip(vectors, near.rows, strict=True)
            ]
        )
    wanted = min(int(k), most)
    if reranking is None:
        return engine.search(vectors, wanted, allowed=allowed)
    found = engine.search(vectors, min(max(wanted, reranking.candidates), most), allowed=allowed)
    return _reranked(holdings, vectors, found, wanted, reranking)


def within(
    holdings: Holdings, vectors: NDArray[np.float32], radius: float, *, where: str | None = None, limit: int
) -> list[Found]:
    """For each of checked embeddings (q, d) the rows at most ``radius`` away, at most ``limit``.

    Raises
    ------
    InputError
        A radius that isn't a number, a limit under 1, an empty index, a filter that can't be read.
    """
    numeric = isinstance(radius, (int, float, np.floating)) and not isinstance(radius, bool)
    if not numeric or not np.isfinite(radius):
        raise InputError(f"radius must be a finite number; found {radius!r}")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InputError(f"limit must be a whole number of at least 1; found {limit!r}")
    if not len(holdings):
        raise InputError("the index is empty; add records first")
    allowed = holdings.allowed(where)
    most = min(limit, len(holdings) if allowed is None else len(allowed))
    found = [Found(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in vectors]
    left, k = np.arange(len(vectors)), min(_RANGE_START, most)
    while len(left) and k:
        near = holdings.engine.search(vectors[left], k, allowed=allowed)
        inside = (near.distances <= radius) & (near.rows >= 0)
        more = inside[:, -1] & (k < most)
        for place in np.flatnonzero(~more).tolist():
            chosen = inside[place]
            found[left[place]] = Found(near.distances[place][chosen], near.rows[place][chosen])
        left, k = left[more], min(k * 8, most)
    return found


def hits_of(holdings: Holdings, model: Model, found: Found) -> list[list[Hit]]:
    """What was found, (q, k), as lists of hits; -1 is left out."""
    if not found.rows.size:
        return [[] for _ in found.rows]
    chances: Any = None
    if model.calibration is not None:
        chances = model.probability(np.where(found.rows >= 0, found.distances, 0)).tolist()
    places = holdings.places(found.rows).tolist()
    distances, held = found.distances.tolist(), holdings.catalogue
    return [
        [
            Hit(
                held.ids[row],
                held.labels[row],
                distances[query][rank],
                places[query][rank],
                None if chances is None else chances[query][rank],
                held.metadata[row],
            )
            for rank, row in enumerate(rows)
            if row >= 0
        ]
        for query, rows in enumerate(found.rows.tolist())
    ]


def _reranked(
    holdings: Holdings, vectors: NDArray[np.float32], found: Found, k: int, reranking: KReciprocal
) -> Found:
    held = holdings.engine.vectors.embeddings
    distances = np.full((len(vectors), k), np.inf, dtype=np.float32)
    rows = np.full((len(vectors), k), -1, dtype=np.int64)
    for place, query in enumerate(vectors):
        own = found.rows[place][found.rows[place] >= 0]
        order = k_reciprocal_order(query, held[own], reranking=reranking, distance=holdings.distance)[:k]
        rows[place, : len(order)] = own[order]
        distances[place, : len(order)] = found.distances[place][order]
    return Found(distances, rows)
