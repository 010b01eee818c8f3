"""HNSW: a graph of neighbours on several levels (Y. Malkov, D. Yashunin, 2018), built by _faiss.

What is saved are the graph's arrays, not faiss's own file: each is checked before faiss sees it, so that
no byte of a file reaches a parser in C++.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.search.approximate import ApproximateEngine, Effort, array_of, own_method, whole_of

__all__ = ["HNSWEngine"]

_faiss: Any = importlib.import_module("faiss")  # the stubs that it brings lag behind it

_LEVELS = 32


class HNSWEngine(ApproximateEngine):
    """A graph in which a search walks from neighbour to neighbour towards the query.

    M, the neighbours a record keeps on a level, follows from the recall that is wanted and the dimension;
    ``efSearch``, how many records a walk holds, from what is measured.
    """

    name = "hnsw"

    def _build(self, columns: NDArray[np.float32]) -> None:
        width = columns.shape[1]
        links = 16 if self.recall < 0.9 or width <= 16 else 24 if self.recall < 0.97 else 32
        self._make(width, links, 4 * links)

    def _make(self, width: int, links: int, construction: int) -> None:
        metric = _faiss.METRIC_INNER_PRODUCT if self._inner else _faiss.METRIC_L2
        self._index = _faiss.IndexHNSWFlat(width, links, metric)
        self._index.hnsw.efConstruction = construction
        self._links, self._construction = links, construction

    def _insert(self, columns: NDArray[np.float32]) -> None:
        self._index.add(columns)

    def _find(
        self, rows: NDArray[np.float32], count: int, effort: Effort, allowed: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        settings = _faiss.SearchParametersHNSW(efSearch=max(effort.width, count))
        if allowed is not None:
            settings.sel = _faiss.IDSelectorBitmap(allowed)
        keys, numbers = own_method(self._index, "search")(rows, count, params=settings)
        return numbers, keys if self._by_product else None

    def _ladder(self) -> Iterator[Effort]:
        # A distance that no product gives needs candidates; for the others the graph's order is the true one.
        for step in range(9):
            yield Effort(16 << step, 1 if self._by_product else 2 << step)

    def _told(self) -> dict[str, int | float | str]:
        return {"M": self._links, "efConstruction": self._construction, "efSearch": self._effort.width}

    def _structure(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        graph = self._index.hnsw
        arrays = {
            "levels": _faiss.vector_to_array(graph.levels),
            "neighbours": _faiss.vector_to_array(graph.neighbors),
        }
        described = {
            "links": self._links,
            "construction": self._construction,
            "entry": int(graph.entry_point),
        }
        return arrays, described

    def _restore(
        self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any], columns: NDArray[np.float32]
    ) -> None:
        n = len(columns)
        links = whole_of(described, "links", 256)
        if links < 2:
            raise InputError("the engine's 'links' must be at least 2")
        levels = array_of(arrays, "levels", np.int32, 1)
        neighbours = array_of(arrays, "neighbours", np.int32, 1)
        entry = whole_of(described, "entry", max(n - 1, 0))
        self._make(columns.shape[1], links, whole_of(described, "construction", 4096))
        graph = self._index.hnsw
        room = _faiss.vector_to_array(graph.cum_nneighbor_per_level)
        if len(levels) != n or levels.min() < 1 or levels.max() >= min(len(room), _LEVELS):
            raise InputError("the engine's 'levels' don't fit its records")
        if levels[entry] != levels.max():
            raise InputError("the engine's 'entry' isn't on the highest level")
        offsets = np.concatenate([[0], np.cumsum(room[levels].astype(np.int64))])
        if len(neighbours) != offsets[-1] or neighbours.min() < -1 or neighbours.max() >= n:
            raise InputError("the engine's 'neighbours' don't fit its levels")
        # A neighbour on a level must itself be on that level: faiss reads its links there unchecked.
        place = np.arange(len(neighbours)) - np.repeat(offsets[:-1], np.diff(offsets))
        level = np.searchsorted(room, place, side="right") - 1
        if (levels[neighbours[neighbours >= 0]] <= level[neighbours >= 0]).any():
            raise InputError("the engine's 'neighbours' lead to records that aren't on their level")
        _faiss.copy_array_to_vector(levels, graph.levels)
        _faiss.copy_array_to_vector(neighbours, graph.neighbors)
        _faiss.copy_array_to_vector(offsets.astype(np.uint64), graph.offsets)
        graph.entry_point = entry
        graph.max_level = int(levels.max()) - 1
        self._index.storage.add(columns)
        self._index.ntotal = n
