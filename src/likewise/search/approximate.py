"""What the approximate engines share: candidates from a structure, exact distances, and a measured recall.

A structure is built over the distance's features: unit vectors for cosine, ``L x`` for Mahalanobis, the
embeddings themselves for Euclidean. For a distance that no product gives (PDDM, city block) it is built over
the embeddings, more candidates are taken, and the model's own distance orders them.

How much is looked at follows from the recall that is wanted. Records that are held out while the structure
is built are searched for, with ever more effort, until as many of their true neighbours are found; what was
reached is told. Under 1,000 records there is no structure, and the answers are exact.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.distances import (
    Distance,
    Euclidean,
    Form,
    ProductDistance,
    SignedDifference,
    SquaredEuclidean,
)
from likewise.errors import InputError
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

__all__ = ["ApproximateEngine", "Effort", "array_of", "own_method", "whole_of"]

_faiss: Any = importlib.import_module("faiss")  # the stubs that it brings lag behind it

_FEWEST = 1_000  # rows under which everything is looked at
_ALWAYS_EXACT = 4_000  # allowed rows up to which a filter's answer is exact
_HELD_OUT = 200
_K = 10
_REGROW = 4  # measured anew when there are so many times as many rows


def own_method(index: Any, name: str) -> Any:
    """A method of a faiss index as faiss has it: of NumPy arrays, and with all its options.

    Importing faiss.contrib.torch_utils, as other libraries do, puts others in their places that take and give
    tensors.
    """
    return getattr(index, f"{name}_numpy", getattr(index, name))


@dataclass(frozen=True)
class Effort:
    """How much of the structure is looked at.

    Parameters
    ----------
    width : int >= 1
        The structure's own: ``efSearch`` of HNSW, cells of IVF, unused by binary codes.
    candidates : int >= 1
        Candidates for each neighbour that is wanted.
    """

    width: int
    candidates: int


class ApproximateEngine(Engine):
    """An engine that looks at a part of the rows.

    Abstract: a structure overrides ``_build``, ``_insert``, ``_find``, ``_ladder`` and ``_told``.
    """

    def __init__(
        self, distance: Distance, vectors: Vectors, *, recall: float = 0.95, address: str | None = None
    ) -> None:
        super().__init__(distance, vectors, recall=recall, address=address)
        if isinstance(distance, SignedDifference):
            raise InputError(
                f"engine must be flat for the distance {type(distance).__name__}, a signed number; "
                f"found {self.name}"
            )
        self._by_product = isinstance(distance, ProductDistance)
        self._inner = isinstance(distance, ProductDistance) and distance.form is Form.NEGATIVE_PRODUCT
        self._order = Rows((), np.int64)  # the row of each number of the structure; empty while there is none
        self._tuned_at = 0
        self._effort = Effort(1, 1)
        self._measured: float | None = None
        self._queries = 0

    @abstractmethod
    def _build(self, columns: NDArray[np.float32]) -> None:
        """Make an empty structure, with parameters from features (n, f) of the rows so far."""

    @abstractmethod
    def _insert(self, columns: NDArray[np.float32]) -> None:
        """Take features (m, f) in; they get the structure's next numbers."""

    @abstractmethod
    def _find(
        self,
        rows: NDArray[np.float32],
        count: int,
        effort: Effort,
        allowed: NDArray[np.uint8] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
        """Numbers of candidates (q, count) of query features (q, f), -1 for none.

        With them the exact squared distances or products, where the structure takes these; else None.
        ``allowed`` has one bit for each number, the lowest first.
        """

    @abstractmethod
    def _ladder(self) -> Iterator[Effort]:
        """Efforts to try, ever greater."""

    @abstractmethod
    def _told(self) -> dict[str, int | float | str]:
        """The structure's parameters."""

    def report(self) -> EngineReport:
        """What it is, the parameters it chose, and the recall that was measured."""
        if not len(self._order):
            note: dict[str, int | float | str] = {"exact up to": _FEWEST}
            return EngineReport(self.name, exact=False, parameters=note, wanted_recall=self.recall)
        return EngineReport(
            self.name,
            exact=False,
            parameters={**self._told(), "candidates": self._effort.candidates},
            wanted_recall=self.recall,
            measured_recall=self._measured,
            queries=self._queries,
        )

    def add(self, rows: NDArray[np.int64]) -> None:
        """Take rows in that were just appended, in order."""
        del rows
        n = len(self.vectors)
        if n < _FEWEST:
            return
        fresh = np.arange(len(self._order), n)
        anew = n >= _REGROW * self._tuned_at
        if not len(self._order):
            self._build(self._columns(fresh))
        if not anew or len(fresh) < 2 * _HELD_OUT:
            self._grow(fresh)
            return
        # Numbers of the structure needn't follow rows, so any may be held out: rows often come by class.
        fresh = np.random.default_rng(0).permutation(fresh)
        self._grow(fresh[_HELD_OUT:])
        self._tune(fresh[:_HELD_OUT])
        self._grow(fresh[:_HELD_OUT])
        self._tuned_at = n

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Never find these rows again; they stay in the structure until the index is saved."""

    def search(
        self, queries: NDArray[np.float32], k: int, *, allowed: NDArray[np.int64] | None = None
    ) -> Found:
        """The k nearest of queries (q, d), among the allowed rows (ascending, all alive) when given."""
        n = self.vectors.n_alive if allowed is None else len(allowed)
        if not len(self._order) or (allowed is not None and n <= _ALWAYS_EXACT) or 2 * k > n:
            return searched_exactly(self.distance, self.vectors, queries, k, allowed=allowed)
        found = self._approximately(queries, k, self._effort, self._bits(allowed))
        short = found.rows[:, -1] < 0  # k <= n / 2 could be found, and the structure led to fewer
        if short.any():
            again = searched_exactly(self.distance, self.vectors, queries[short], k, allowed=allowed)
            found.distances[short], found.rows[short] = again.distances, again.rows
        return found

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """The structure's arrays and parameters."""
        if not len(self._order):
            return {}, {}
        arrays, described = self._structure()
        described = {
            **described,
            "effort": asdict(self._effort),
            "measured": self._measured,
            "queries": self._queries,
            "tuned_at": self._tuned_at,
        }
        return {**arrays, "order": self._order.view}, described

    def restore(self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any]) -> None:
        """Take in all rows of the vectors, with what :meth:`state` gave.

        Raises
        ------
        InputError
            The state doesn't fit the vectors.
        """
        n = len(self.vectors)
        if not arrays:
            self.add(np.arange(n))
            return
        order = array_of(arrays, "order", np.int64, 1)
        if len(order) != n or not np.array_equal(np.sort(order), np.arange(n)):
            raise InputError("the engine's order isn't one of the rows")
        effort = Effort(
            **{key: whole_of(described["effort"], key, 2**20, least=1) for key in ("width", "candidates")}
        )
        measured = described["measured"]
        if measured is not None and not 0 <= float(measured) <= 1:
            raise InputError("the engine's recall must lie in [0, 1]")
        self._effort, self._measured = effort, None if measured is None else float(measured)
        self._queries, self._tuned_at = (whole_of(described, key, 2**62) for key in ("queries", "tuned_at"))
        self._order.append(order)
        self._restore(arrays, described, self._columns(order))

    def _approximately(
        self, queries: NDArray[np.float32], k: int, effort: Effort, bits: NDArray[np.uint8] | None
    ) -> Found:
        rows = features(self.distance, queries, columns=False)
        count = min(k * effort.candidates, len(self._order))
        numbers, keys = self._find(rows, count, effort, bits)
        candidates = self._order.view[numbers]
        if (numbers[:, -1] < 0).any():  # what is missing stands at the end
            candidates[numbers < 0] = -1
        if keys is None:
            return self._ranked(queries, rows, candidates, k)
        distances = self._from_keys(keys)
        distances[numbers < 0] = np.inf
        # A structure's answer ascends: only rows with equal distances are left to be ordered, by number.
        tied = np.flatnonzero(~(distances[:, 1:] > distances[:, :-1]).all(1))
        if len(tied):
            order = np.lexsort((candidates[tied], distances[tied]))
            distances[tied] = np.take_along_axis(distances[tied], order, 1)
            candidates[tied] = np.take_along_axis(candidates[tied], order, 1)
        return Found(distances, candidates)

    def _from_keys(self, keys: NDArray[np.float32]) -> NDArray[np.float32]:
        """The distances of what a structure orders by: squared distances, or products."""
        assert isinstance(self.distance, ProductDistance)
        match self.distance.form:
            case Form.NEGATIVE_PRODUCT:
                return -keys
            case Form.EUCLIDEAN:
                roots: NDArray[np.float32] = np.sqrt(keys)
                return roots
            case Form.HALF_SQUARED:
                return keys * np.float32(0.5)
        return keys

    def _ranked(
        self, queries: NDArray[np.float32], rows: NDArray[np.float32], candidates: NDArray[np.int64], k: int
    ) -> Found:
        """The candidates by the model's own distance; what features are taken of are the candidates alone."""
        if not self._by_product:
            return ranked(self.distance, queries, candidates, self.vectors.embeddings, k)
        if type(self.distance) in (Euclidean, SquaredEuclidean):
            return self._ranked_in_place(rows, candidates, k)
        different, places = np.unique(candidates, return_inverse=True)
        columns = features(self.distance, self.vectors.embeddings[different], columns=True)
        chosen = np.where(candidates >= 0, places.reshape(candidates.shape), -1)
        found = ranked(self.distance, rows, chosen, columns, k)
        return Found(found.distances, np.where(found.rows >= 0, different[found.rows], -1))

    def _ranked_in_place(self, rows: NDArray[np.float32], candidates: NDArray[np.int64], k: int) -> Found:
        """The nearest candidates by float32 distances, without copying any row."""
        held = self.vectors.embeddings
        squares: NDArray[np.float32] = np.empty(candidates.shape, dtype=np.float32)
        candidates = np.ascontiguousarray(candidates)
        _faiss.fvec_L2sqr_by_idx(
            _faiss.swig_ptr(squares),
            _faiss.swig_ptr(rows),
            _faiss.swig_ptr(held),
            _faiss.swig_ptr(candidates),
            held.shape[1],
            *candidates.shape,
        )
        if (candidates[:, -1] < 0).any():
            squares[candidates < 0] = np.inf
        if k < squares.shape[1]:
            places = np.argpartition(squares, k - 1, axis=1)[:, :k]
            squares = np.take_along_axis(squares, places, 1)
            candidates = np.take_along_axis(candidates, places, 1)
        distances = np.sqrt(squares) if type(self.distance) is Euclidean else squares
        order = np.lexsort((candidates, distances))
        return Found(np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1))

    def _bits(self, allowed: NDArray[np.int64] | None) -> NDArray[np.uint8] | None:
        """One bit for each number of the structure, set where it may be found."""
        if allowed is None:
            if self.vectors.n_alive == len(self.vectors):
                return None
            mask = self.vectors.alive
        else:
            mask = np.zeros(len(self.vectors), dtype=np.bool_)
            mask[allowed] = True
        return np.packbits(mask[self._order.view], bitorder="little")

    def _columns(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return features(self.distance, self.vectors.embeddings[rows], columns=True)

    def _grow(self, rows: NDArray[np.int64]) -> None:
        if len(rows):
            self._insert(self._columns(rows))
            self._order.append(rows)

    def _tune(self, held_out: NDArray[np.int64]) -> None:
        """The least effort on the ladder that finds as many of the true neighbours as wanted."""
        queries = self.vectors.embeddings[held_out]
        known = np.sort(self._order.view)
        known = known[self.vectors.alive[known]]
        truth = searched_exactly(self.distance, self.vectors, queries, _K, allowed=known)
        bits = self._bits(known)
        self._queries = len(queries)
        for effort in self._ladder():
            found = self._approximately(queries, _K, effort, bits)
            # By distance, as a record at the same distance as the last true neighbour is as good.
            last = truth.distances[:, -1:]
            reached = float((found.distances <= last * (1 + 1e-6 * np.sign(last))).mean())
            self._effort, self._measured = effort, reached
            if reached >= self.recall:
                return

    @abstractmethod
    def _structure(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and JSON of the structure."""

    @abstractmethod
    def _restore(
        self, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any], columns: NDArray[np.float32]
    ) -> None:
        """The structure over features (n, f), by its numbers, from checked arrays; else an InputError."""


def array_of(arrays: Mapping[str, NDArray[Any]], name: str, dtype: Any, dimensions: int) -> NDArray[Any]:
    """A stored array of this type and so many dimensions, finite; else an InputError."""
    held = arrays.get(name)
    if held is None or held.dtype != dtype or held.ndim != dimensions or not np.isfinite(held).all():
        raise InputError(
            f"the engine's {name!r} must be a finite {np.dtype(dtype)} array of {dimensions} dimensions"
        )
    return held


def whole_of(described: Mapping[str, Any], name: str, most: int, *, least: int = 0) -> int:
    """A stored whole number from ``least`` to ``most``; else an InputError."""
    value = described[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"the engine's {name!r} must be a whole number from {least} to {most}")
    return value
