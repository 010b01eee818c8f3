"""The flat engine: exact, prepared once, and a matrix product for every block of queries.

No batch size falls off a cliff: a block of queries is multiplied with tiles of rows that stay in cache,
the smallest key of every 64 rows stands for them, and only the best of those chunks are read again. A few
queries look for their candidates in rows of 16 bits a number, as the memory is slower than the product.
Distances that no matrix product gives are answered by their table.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, Form, ProductDistance
from likewise.search.engine import Engine, Found, Rows, Vectors, features, ranked, searched_exactly
from likewise.search.short import ShortRows

__all__ = ["FlatEngine"]

_SPARE = 16  # candidates beyond k, so that rounding rarely asks for a second look
_CHUNK = 64
_TILE = 2048  # rows that are multiplied at once, and more of them for few queries
_TILE_ELEMENTS = 131_072
_BLOCK_ROWS = 256
_BLOCK_BYTES = 64_000_000
_SHORT_QUERIES = 32  # up to so many look into rows of 16 bits
_SHORT_ROWS = 4_096  # where there are as many; fewer lie in the processor's cache anyway
_FEW = 8  # below one row in so many, the allowed rows are copied out rather than masked


class FlatEngine(Engine):
    """Exact neighbours under any distance.

    Of a product distance (Euclidean, cosine, Mahalanobis, bilinear) the rows' features are held, and their
    half squares; once a few queries have come, the features in 16 bits as well. A product finds a few more
    candidates than asked; their distances are then taken by subtraction in float64. Where the product's
    rounding could have hidden a true neighbour, that query is answered by all of its distances.
    """

    name = "flat"
    exact = True

    def __init__(
        self, distance: Distance, vectors: Vectors, *, recall: float = 0.95, address: str | None = None
    ) -> None:
        super().__init__(distance, vectors, recall=recall, address=address)
        self._prepared = _Prepared(distance) if isinstance(distance, ProductDistance) else None

    def add(self, rows: NDArray[np.int64]) -> None:
        """Take rows in that were just appended, in order."""
        if self._prepared is not None and len(rows):
            self._prepared.append(self.vectors.embeddings[rows[0] : rows[-1] + 1])
            dead = rows[~self.vectors.alive[rows]]
            self._prepared.hide(dead)

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Never find these rows again."""
        if self._prepared is not None:
            self._prepared.hide(rows)

    def search(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> Found:
        """The k nearest of queries (q, d), among the allowed rows (ascending, all alive) when given."""
        n = self.vectors.n_alive if allowed is None else len(allowed)
        few = allowed is not None and n < len(self.vectors) // _FEW
        if self._prepared is None or few or n == 0:
            return searched_exactly(self.distance, self.vectors, queries, k, allowed=allowed)
        found, unsure = self._prepared.search(queries, k, n, allowed)
        if unsure.any():
            again = searched_exactly(self.distance, self.vectors, queries[unsure], k, allowed=allowed)
            found.distances[unsure], found.rows[unsure] = again.distances, again.rows
        return found


class _Prepared:
    """Features of all rows, centred where that sharpens the product, with what orders them."""

    def __init__(self, distance: ProductDistance) -> None:
        self.distance, self.form = distance, distance.form
        self.features: Rows | None = None  # made when the width is known
        self.keyed = Rows((), np.float32)
        self.offsets = Rows((), np.float32)  # |v|^2 / 2, or 0 for a product; inf for what mustn't be found
        self.centre = np.empty(0, dtype=np.float32)
        self.widest = 0.0
        self._table = torch.empty(0)
        self._short: ShortRows | None = None  # made when a few queries come

    def append(self, embeddings: NDArray[np.float32]) -> None:
        made = features(self.distance, embeddings, columns=True)
        if self.features is None:
            self.features = Rows(made.shape[1:], np.float32)
            self.centre = self._centre(made)
            self.keyed = Rows(made.shape[1:], np.float32) if self.centre.any() else self.features
        self.features.append(made)
        centred = made - self.centre if self.centre.any() else made
        if self.keyed is not self.features:
            self.keyed.append(centred)
        squares = np.einsum("ij,ij->i", centred, centred, dtype=np.float64)
        self.widest = max(self.widest, float(np.sqrt(squares.max())))
        half = np.zeros(len(made)) if self.form is Form.NEGATIVE_PRODUCT else squares / 2
        self.offsets.append(half.astype(np.float32))

    def hide(self, rows: NDArray[np.int64]) -> None:
        self.offsets.view[rows] = np.inf

    def search(
        self, queries: NDArray[np.float32], k: int, n: int, allowed: NDArray[np.int64] | None
    ) -> tuple[Found, NDArray[np.bool_]]:
        """Neighbours, and for which queries they aren't sure; ``n`` rows may be found."""
        assert self.features is not None  # a row is held, as n > 0
        rows = features(self.distance, queries, columns=False)
        short = self._follow_short(len(rows))
        found, unsure = self._ranked(rows, k, n, allowed, short=short)
        if short is not None and unsure.any():
            again, still = self._ranked(rows[unsure], k, n, allowed, short=None)
            found.distances[unsure], found.rows[unsure] = again.distances, again.rows
            unsure[unsure] = still
        return found, unsure

    def _follow_short(self, queries: int) -> ShortRows | None:
        """The rows in 16 bits, where so many queries should look into them."""
        if queries > _SHORT_QUERIES or len(self.keyed) < _SHORT_ROWS or not ShortRows.pay():
            return None
        if self._short is None:
            self._short = ShortRows(self.keyed.view.shape[1])
        self._short.follow(self.keyed.view)
        return self._short

    def _ranked(
        self,
        rows: NDArray[np.float32],
        k: int,
        n: int,
        allowed: NDArray[np.int64] | None,
        *,
        short: ShortRows | None,
    ) -> tuple[Found, NDArray[np.bool_]]:
        assert self.features is not None
        centred = torch.from_numpy(rows - self.centre)
        wanted = min(k + _SPARE, n)
        keys, candidates = self._candidates(centred, wanted, allowed, short)
        found = ranked(self.distance, rows, candidates, self.features.view, k)
        last = min(k, n) - 1
        unsure = np.zeros(len(rows), dtype=np.bool_)
        if wanted < n:
            bound = self._rounding(centred.numpy())
            if short is not None:
                bound += 2 * short.errors(centred)
            unsure = keys[:, -1] <= keys[:, last] + bound
        return found, unsure

    def _candidates(
        self, queries: Tensor, wanted: int, allowed: NDArray[np.int64] | None, short: ShortRows | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The smallest keys of each query, ascending, and their rows; both (q, wanted)."""
        offsets = torch.from_numpy(self.offsets.view)
        if allowed is not None:
            masked = torch.full_like(offsets, torch.inf)
            chosen = torch.from_numpy(allowed)
            masked[chosen] = offsets[chosen]
            offsets = masked
        n = len(offsets)
        padded = -(-n // _CHUNK) * _CHUNK
        size = max(1, min(_BLOCK_ROWS, len(queries), _BLOCK_BYTES // (4 * padded)))
        if self._table.numel() < size * padded:
            self._table = torch.empty(size * padded)
        keys, found = [], []
        with torch.inference_mode():
            for start in range(0, len(queries), size):
                block = queries[start : start + size]
                table = self._table[: len(block) * padded].view(len(block), padded)
                table[:, n:] = torch.inf
                if short is None:
                    self._fill(table, block, offsets)
                else:
                    short.fill(table, block, offsets)
                values, places = _smallest(table, wanted)
                keys.append(values.double().numpy())
                found.append(places.numpy())
        return np.concatenate(keys), np.concatenate(found)

    def _fill(self, table: Tensor, block: Tensor, offsets: Tensor) -> None:
        columns = torch.from_numpy(self.keyed.view)
        n = len(columns)
        tile = max(_TILE, _TILE_ELEMENTS // len(block))
        for first in range(0, n, tile):
            last = min(first + tile, n)
            torch.addmm(offsets[first:last], block, columns[first:last].T, alpha=-1, out=table[:, first:last])

    def _centre(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the first columns, where it is so far off that subtracting it sharpens the product."""
        mean: NDArray[np.float32] = columns.mean(axis=0, dtype=np.float64).astype(np.float32)
        total = float(np.einsum("ij,ij->", columns, columns, dtype=np.float64)) / len(columns)
        off = (
            self.form is not Form.NEGATIVE_PRODUCT and float((mean.astype(np.float64) ** 2).sum()) > total / 4
        )
        return mean if off else np.zeros_like(mean)

    def _rounding(self, centred: NDArray[np.float32]) -> NDArray[np.float64]:
        # A sum of d products is off by at most d eps/2 of the sum of their sizes; twice, for the k-th
        # candidate and the one that was missed, and generously for centring and the half squares.
        norms = np.linalg.norm(centred.astype(np.float64), axis=1)
        eps = float(np.finfo(np.float32).eps)
        bound: NDArray[np.float64] = 2.0 * eps * (centred.shape[1] + 4) * (norms + self.widest) ** 2
        return bound


def _smallest(table: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """The ``wanted`` smallest of each row in order, and where; only the best chunks are read twice."""
    chunks = table.view(len(table), -1, _CHUNK)
    if chunks.shape[1] < 4 * wanted:
        values, places = torch.topk(table, wanted, largest=False)
        return values, places
    best = torch.topk(chunks.amin(-1), wanted, largest=False, sorted=False).indices
    read = chunks.gather(1, best[:, :, None].expand(-1, -1, _CHUNK))
    values, places = torch.topk(read.flatten(1), wanted, largest=False)
    return values, best.gather(1, places // _CHUNK) * _CHUNK + places % _CHUNK
