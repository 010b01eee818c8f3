"""Binary codes: one bit a direction, compared by Hamming distance, by _faiss.

Under the model's own Hamming distance the codes are the embeddings. Under any other a bit says on which
side of a plane through the records' mean a record lies, the planes orthogonal in groups; Hamming distance
then only finds candidates.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.distances import Hamming
from likewise.errors import InputError
from likewise.search.approximate import ApproximateEngine, Effort, array_of, own_method

__all__ = ["BinaryEngine"]

_faiss: Any = importlib.import_module("faiss")  # the stubs that it brings lag behind it

_MOST_BITS = 1024


class BinaryEngine(ApproximateEngine):
    """All codes are compared, 64 bits at a time; the best candidates by their exact distances.

    Twice as many bits as dimensions, from 64 to 1,024. How many candidates are taken follows from what is
    measured.
    """

    name = "binary"

    def _build(self, columns: NDArray[np.float32]) -> None:
        width = columns.shape[1]
        if isinstance(self.distance, Hamming):
            self._values = np.unique(columns)
            if len(self._values) > 2:
                raise InputError(
                    "engine binary under the Hamming distance needs codes of two values; "
                    f"found {len(self._values)} values; use the engine flat"
                )
            self._make(np.eye(width, dtype=np.float32), np.full(width, self._values.mean(), dtype=np.float32))
            return
        bits = min(_MOST_BITS, max(64, -(-2 * width // 8) * 8))
        generator = np.random.default_rng(0)
        groups = [np.linalg.qr(generator.normal(size=(width, width)))[0] for _ in range(-(-bits // width))]
        self._make(
            np.concatenate(groups)[:bits].astype(np.float32),
            columns.mean(axis=0, dtype=np.float64).astype(np.float32),
        )

    def _make(self, planes: NDArray[np.float32], centre: NDArray[np.float32]) -> None:
        self._planes, self._centre = planes, centre
        self._index = _faiss.IndexBinaryFlat(-(-len(planes) // 8) * 8)

    def _codes(self, rows: NDArray[np.float32], *, queries: bool = False) -> NDArray[np.uint8]:
        if isinstance(self.distance, Hamming):
            return np.packbits(rows > self._centre, axis=1)
        centred = rows if queries and self._inner else rows - self._centre
        return np.packbits(centred @ self._planes.T > 0, axis=1)

    def _insert(self, columns: NDArray[np.float32]) -> None:
        if isinstance(self.distance, Hamming) and not np.isin(columns, self._values).all():
            raise InputError("embeddings must be codes of the two values that the index holds already")
        self._index.add(self._codes(columns))

    def _find(
        self, rows: NDArray[np.float32], count: int, effort: Effort, allowed: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.int64], None]:
        del effort
        settings = _faiss.SearchParameters()
        if allowed is not None:
            settings.sel = _faiss.IDSelectorBitmap(allowed)
        return own_method(self._index, "search")(self._codes(rows, queries=True), count, params=settings)[
            1
        ], None

    def _ladder(self) -> Iterator[Effort]:
        for step in range(10):
            yield Effort(1, 1 << step)

    def _told(self) -> dict[str, int | float | str]:
        return {"bits": len(self._planes)}

    def _structure(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        arrays = {"planes": self._planes, "centre": self._centre}
        if isinstance(self.distance, Hamming):
            arrays["values"] = self._values
        return arrays, {}

    def _restore(
        self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any], columns: NDArray[np.float32]
    ) -> None:
        del described
        planes, centre = array_of(arrays, "planes", np.float32, 2), array_of(arrays, "centre", np.float32, 1)
        if (
            planes.shape[1] != columns.shape[1]
            or centre.shape != planes.shape[1:]
            or not 0 < len(planes) <= 4096
        ):
            raise InputError("the engine's 'planes' don't fit the records")
        if isinstance(self.distance, Hamming):
            self._values = array_of(arrays, "values", np.float32, 1)
        self._make(planes, centre)
        self._insert(columns)
