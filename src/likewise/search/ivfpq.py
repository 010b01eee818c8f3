"""IVF-PQ: cells around centroids, and short codes of what is left (H. Jegou et al., 2011), by _faiss.

Saved are the centroids and codebooks alone; the codes are taken again from the embeddings.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.search.approximate import ApproximateEngine, Effort, array_of, own_method, whole_of

__all__ = ["IVFPQEngine"]

_faiss: Any = importlib.import_module("faiss")  # the stubs that it brings lag behind it

_POINTS_A_CENTROID = 39  # what faiss's k-means asks for at least
_TRAINED_ON = 64  # points a centroid that are used
_WIDTH = 4  # numbers that one code stands for


class IVFPQEngine(ApproximateEngine):
    """A search looks into the nearest cells, at codes, and takes exact distances of the best.

    About ``4 sqrt(n)`` cells; a code of 8 bits (fewer for few records) for every 4 numbers. How many cells
    and how many candidates are looked at follows from what is measured.
    """

    name = "ivfpq"

    def _build(self, columns: NDArray[np.float32]) -> None:
        n = len(columns)
        cells = max(1, min(int(4 * n**0.5), n // _POINTS_A_CENTROID))
        bits = max(2, min(8, int(np.log2(n / _POINTS_A_CENTROID))))
        self._make(columns.shape[1], cells, bits)
        sample = columns
        if n > _TRAINED_ON * max(cells, 2**bits):
            chosen = np.random.default_rng(0).choice(n, _TRAINED_ON * max(cells, 2**bits), replace=False)
            sample = columns[np.sort(chosen)]
        self._index.train(self._padded(sample))

    def _make(self, width: int, cells: int, bits: int) -> None:
        self._width = -(-width // _WIDTH) * _WIDTH
        metric = _faiss.METRIC_INNER_PRODUCT if self._inner else _faiss.METRIC_L2
        self._coarse = (_faiss.IndexFlatIP if self._inner else _faiss.IndexFlatL2)(self._width)
        self._index = _faiss.IndexIVFPQ(self._coarse, self._width, cells, self._width // _WIDTH, bits, metric)
        self._index.cp.min_points_per_centroid = 1
        self._index.pq.cp.min_points_per_centroid = 1
        self._cells, self._code_bits = cells, bits

    def _padded(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features with zeros behind, so that codes divide them evenly."""
        return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, self._width - rows.shape[1]))))

    def _insert(self, columns: NDArray[np.float32]) -> None:
        self._index.add(self._padded(columns))

    def _find(
        self, rows: NDArray[np.float32], count: int, effort: Effort, allowed: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.int64], None]:
        settings = _faiss.SearchParametersIVF(nprobe=min(effort.width, self._cells))
        if allowed is not None:
            settings.sel = _faiss.IDSelectorBitmap(allowed)
        return own_method(self._index, "search")(self._padded(rows), count, params=settings)[1], None

    def _ladder(self) -> Iterator[Effort]:
        cells, candidates = 4, 4
        while True:
            yield Effort(min(cells, self._cells), candidates)
            if cells >= self._cells and candidates >= 256:
                return
            if candidates < 256 and (candidates <= cells or cells >= self._cells):
                candidates *= 2
            else:
                cells *= 2

    def _told(self) -> dict[str, int | float | str]:
        return {
            "cells": self._cells,
            "codes": self._width // _WIDTH,
            "bits": self._code_bits,
            "nprobe": self._effort.width,
        }

    def _structure(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays = {
            "centroids": own_method(self._coarse, "reconstruct_n")(0, self._cells),
            "codebooks": _faiss.vector_to_array(self._index.pq.centroids),
        }
        return arrays, {"bits": self._code_bits}

    def _restore(
        self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any], columns: NDArray[np.float32]
    ) -> None:
        centroids = array_of(arrays, "centroids", np.float32, 2)
        codebooks = array_of(arrays, "codebooks", np.float32, 1)
        bits = whole_of(described, "bits", 8)
        if bits < 1 or not 1 <= len(centroids) <= max(1, len(columns)):
            raise InputError("the engine's 'bits' or 'centroids' can't be used")
        self._make(columns.shape[1], len(centroids), bits)
        if centroids.shape[1] != self._width or len(codebooks) != self._width << bits:
            raise InputError("the engine's 'centroids' or 'codebooks' don't fit the records")
        self._coarse.add(centroids)
        _faiss.copy_array_to_vector(codebooks, self._index.pq.centroids)
        self._index.is_trained = True
        self._index.use_precomputed_table = 0
        if not self._inner:
            self._index.precompute_table()
        self._insert(columns)
