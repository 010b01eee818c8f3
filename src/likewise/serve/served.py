"""What is served: one index with its model, swapped in one step, and the jobs that are asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.encoders import WordMapped
from likewise.errors import ArtifactError, InputError
from likewise.model import Model, Verdict
from likewise.search import Hit, Index, KReciprocal, QueryExpansion
from likewise.search.reranking import averaged
from likewise.serve.items import accepted
from likewise.serve.schemas import Item, RecordsRequest, TextItem

__all__ = ["AnotherModelError", "Embedding", "Question", "Served"]


class AnotherModelError(InputError):
    """Embeddings that another model made than the one that is served."""


@dataclass(frozen=True)
class Question:
    """A search: all that must be equal for two of them to be answered together, but k."""

    where: str | None = None
    radius: float | None = None
    expand: int | None = None
    rerank: bool = False


@dataclass(frozen=True)
class Embedding:
    """What is to be embedded, or is embedded already, or lies in the index."""

    items: Sequence[Item] | None = None
    vectors: Sequence[Sequence[float]] | None = None
    ids: Sequence[str] | None = None
    model: str | None = None
    k: int = 10
    together: bool = False  # several are one query


def _spoken(model: Model, wanted: Embedding) -> NDArray[np.float32] | None:
    """Embeddings of texts, where all items are, of a model of pictures with words; else none."""
    if wanted.items is None or not isinstance(model.encoder, WordMapped):
        return None
    texts = [item.text for item in wanted.items if isinstance(item, TextItem)]
    return model.encoder.text(texts) if len(texts) == len(wanted.items) else None


class Served:
    """An index that can be exchanged for another while requests run.

    Parameters
    ----------
    index : Index
        Open for writing where records may be added and removed.
    writable : bool
        Whether they may.
    pixels : int
        That a picture may have.
    """

    def __init__(self, index: Index, *, writable: bool = False, pixels: int = 16_000_000) -> None:
        self.index = index
        self.writable = writable
        self._pixels = pixels
        self._swapping = threading.Lock()

    def swap(self, make: Callable[[], Index]) -> None:
        """Replace the index: requests before see the old one whole, requests after the new one.

        The old one is closed first where it is open for writing, as one process holds an index at a time;
        where the new one can't be loaded, the old one serves on, for reading.
        """
        with self._swapping:
            writable, self.writable = self.writable, False
            if writable:
                self.index.close()
            self.index = make()
            self.writable = writable

    def work(self, kind: Any, payloads: Sequence[Any]) -> Sequence[Any]:
        """Answer jobs of one kind together; see :class:`~likewise.serve.batching.Batcher`."""
        if kind is None:
            return [self._alone(payload) for payload in payloads]
        index = self.index  # one for all of the batch
        answers: list[Any] = [None] * len(payloads)
        vectors = self._embedded_together(index, payloads, answers)
        if kind == "embed":
            for place, own in vectors:
                answers[place] = (own, index.model.fingerprint)
            return answers
        if vectors:
            self._search(index, kind, payloads, vectors, answers)
        return answers

    def _search(
        self,
        index: Index,
        question: Question,
        payloads: Sequence[Embedding],
        vectors: Sequence[tuple[int, NDArray[np.float32]]],
        answers: list[Any],
    ) -> None:
        together = np.concatenate([own for _, own in vectors])
        most = max(payloads[place].k for place, _ in vectors)
        try:
            found = self._hits(index, question, together, most)
        except (InputError, ArtifactError) as error:
            for place, _ in vectors:
                answers[place] = error
            return
        start = 0
        for place, own in vectors:
            hits = found[start : start + len(own)]
            answers[place] = ([one[: payloads[place].k] for one in hits], index.model.fingerprint)
            start += len(own)

    def _hits(
        self, index: Index, question: Question, vectors: NDArray[np.float32], k: int
    ) -> list[list[Hit]]:
        if question.radius is not None:
            return index.range_search_embeddings(vectors, question.radius, where=question.where, limit=k)
        return index.search_embeddings(
            vectors,
            k,
            where=question.where,
            expansion=None if question.expand is None else QueryExpansion(question.expand),
            reranking=KReciprocal() if question.rerank else None,
        )

    def _embedded_together(
        self, index: Index, payloads: Sequence[Embedding], answers: list[Any]
    ) -> list[tuple[int, NDArray[np.float32]]]:
        """The embeddings of each payload, by its place; what is wrong with one becomes its answer.

        Items of one form go through the encoder at once: for a few it costs nearly as much as for one.
        """
        made: dict[int, NDArray[np.float32]] = {}
        forms: dict[Any, list[tuple[int, NDArray[Any]]]] = {}
        for place, payload in enumerate(payloads):
            try:
                spoken = _spoken(index.model, payload)
                if spoken is not None:
                    made[place] = spoken
                elif payload.items is None:
                    made[place] = self._embedded(index, payload)
                else:
                    items = accepted(index.model, payload.items, pixels=self._pixels)
                    forms.setdefault((items.dtype, items.shape[1:]), []).append((place, items))
            except (InputError, ArtifactError) as error:
                answers[place] = error
        for group in forms.values():
            try:
                together = index.model.embed(np.concatenate([items for _, items in group]))
                ends = np.cumsum([len(items) for _, items in group])
                made.update(zip([place for place, _ in group], np.split(together, ends[:-1]), strict=True))
            except (InputError, ArtifactError):  # of one of them
                for place, items in group:
                    try:
                        made[place] = index.model.embed(items)
                    except (InputError, ArtifactError) as error:
                        answers[place] = error
        for place, own in list(made.items()):
            if payloads[place].together:
                try:
                    made[place] = averaged(own, distance=index.model.distance)
                except InputError as error:
                    answers[place] = error
                    del made[place]
        return sorted(made.items())

    def _embedded(self, index: Index, wanted: Embedding) -> NDArray[np.float32]:
        if wanted.items is not None:
            return index.model.embed(accepted(index.model, wanted.items, pixels=self._pixels))
        if wanted.ids is not None:
            return np.stack([index.record(name).embedding for name in wanted.ids])
        if wanted.model != index.model.fingerprint:
            raise AnotherModelError(
                "model must be the fingerprint of the model that made the embeddings, as /v1/embed tells it; "
                "this index was filled by another, or none was given"
            )
        lengths = {len(vector) for vector in wanted.vectors or ()}
        if lengths != {index.dimension}:
            raise InputError(
                f"embeddings must have {index.dimension} numbers each; found {sorted(lengths)[:5]}"
            )
        with np.errstate(over="ignore"):
            vectors = np.asarray(wanted.vectors, dtype=np.float32)
        if not np.isfinite(vectors).all() or np.abs(vectors).max() > 1e18:
            raise InputError("embeddings must be below 1e18 in size")
        return vectors

    def _alone(self, payload: Callable[[Index], Any]) -> Any:
        try:
            return payload(self.index)
        except (InputError, ArtifactError) as error:
            return error

    def verdict(self, index: Index, a: Embedding, b: Embedding) -> Verdict:
        """Whether two things are alike."""
        first, second = self._embedded(index, a), self._embedded(index, b)
        distance = float(index.model.distances(first, second)[0])
        threshold = index.model.threshold
        return Verdict(
            alike=distance <= threshold,
            distance=distance,
            threshold=threshold,
            probability=float(index.model.probability(distance)),
        )

    def add(self, index: Index, request: RecordsRequest) -> int:
        """Add records; they are on the disk when this returns."""
        self._check_writable()
        vectors = self._embedded(index, Embedding(request.items, request.embeddings, None, request.model))
        index.add_embeddings(vectors, ids=request.ids, labels=request.labels, metadata=request.metadata)
        return len(request.ids)

    def remove(self, index: Index, ids: Sequence[str]) -> int:
        """Remove records; that is on the disk when this returns."""
        self._check_writable()
        index.remove(ids)
        return len(ids)

    def _check_writable(self) -> None:
        if not self.writable:
            raise InputError("the index is served for reading only; start the server with --writable")
