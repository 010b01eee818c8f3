"""How an index finds neighbours: exactly, by faiss where the distance is one of vectors, else by table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, Form, ProductDistance
from likewise.search.exact import nearest

__all__ = ["Engine", "FlatEngine", "Found", "TableEngine", "engine_for"]

_SPARE = 16


@dataclass(frozen=True)
class Found:
    """Neighbours, nearest first, equal distances by the lower row: distances and rows, both (n, k)."""

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]


class Engine(ABC):
    """Holds embeddings (n, d) and finds the nearest of them, exactly."""

    def __init__(self, distance: Distance) -> None:
        self.distance = distance
        self.embeddings: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def add(self, embeddings: NDArray[np.float32]) -> None:
        """Take more embeddings (m, d); they get the next rows."""
        held = self.embeddings
        self.embeddings = np.concatenate([held, embeddings]) if len(held) else np.array(embeddings)

    @abstractmethod
    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """The k nearest, 1 <= k <= n, of queries (q, d)."""


class TableEngine(Engine):
    """Any distance, by all of its values."""

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """The k nearest of queries (q, d)."""
        found = nearest(queries, self.embeddings, k, distance=self.distance)
        return Found(found.distances.numpy(), found.indices.numpy())


class FlatEngine(Engine):
    """Euclidean, cosine, Mahalanobis and bilinear, by faiss's flat index over the distance's features.

    faiss finds a few more candidates than asked; their distances are taken again by subtraction in
    float64, as its own come from rounded products. Where rounding could have kept a true neighbour from
    being a candidate, that query is answered by the table.
    """

    def __init__(self, distance: ProductDistance) -> None:
        super().__init__(distance)
        self._form = distance.form
        self._rows, self._columns = distance.features, distance.column_features
        self._features: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._centre: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._flat: Any = None  # made when the dimension is known
        self._widest = 0.0

    def add(self, embeddings: NDArray[np.float32]) -> None:
        """Take more embeddings (m, d)."""
        super().add(embeddings)
        features = _apply(self._columns, embeddings)
        if not len(self._features):
            self._features = features
            product = self._form is Form.NEGATIVE_PRODUCT
            self._centre = np.zeros_like(features[0]) if product else features.mean(axis=0)
            self._flat = (faiss.IndexFlatIP if product else faiss.IndexFlatL2)(features.shape[1])
        else:
            self._features = np.concatenate([self._features, features])
        centred = np.ascontiguousarray(features - self._centre)
        self._flat.add(centred)
        self._widest = max(self._widest, float(np.linalg.norm(centred.astype(np.float64), axis=1).max()))

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """The k nearest of queries (q, d)."""
        total = len(self.embeddings)
        features = _apply(self._rows, queries)
        wanted = min(k + _SPARE, total)
        keys, rows = self._flat.search(np.ascontiguousarray(features - self._centre), wanted)
        if self._form is Form.NEGATIVE_PRODUCT:
            keys = -keys
        distances = self._distances(features, rows)
        order = np.lexsort((rows, distances))[:, :k]
        found = Found(np.take_along_axis(distances, order, 1), np.take_along_axis(rows, order, 1))
        if wanted < total:
            unsure = keys[:, -1] <= keys[:, k - 1] + self._rounding(features)
            if unsure.any():
                exact = nearest(queries[unsure], self.embeddings, k, distance=self.distance)
                found.distances[unsure], found.rows[unsure] = exact.distances.numpy(), exact.indices.numpy()
        return found

    def _distances(self, features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.empty(rows.shape, dtype=np.float32)
        step = max(1, 2_000_000 // (rows.shape[1] * features.shape[1]))
        for start in range(0, len(rows), step):
            u = torch.from_numpy(features[start : start + step, None]).double()
            v = torch.from_numpy(self._features[rows[start : start + step]]).double()
            out[start : start + step] = self._form.pairs(u, v).numpy()
        return out

    def _rounding(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        # A sum of d products is off by at most d eps/2 of the sum of their sizes; twice, for the k-th
        # candidate and the one that was missed, and generously for centring and the sum of squares.
        norms = np.linalg.norm((features - self._centre).astype(np.float64), axis=1)
        eps = float(np.finfo(np.float32).eps)
        bound: NDArray[np.float64] = 4.0 * eps * (features.shape[1] + 4) * (norms + self._widest) ** 2
        return bound


def engine_for(distance: Distance) -> Engine:
    """The exact engine that a distance admits."""
    return FlatEngine(distance) if isinstance(distance, ProductDistance) else TableEngine(distance)


def _apply(features: Callable[[Tensor], Tensor], embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        out: NDArray[np.float32] = features(torch.from_numpy(embeddings)).float().numpy()
    return np.ascontiguousarray(out)
