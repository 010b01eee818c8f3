"""What is to be learned: from records to the items and the relation of one batch.

A task draws from labelled items, from entries of a table (pairs, scores, triplets), or from items about
which nothing is known, each of which is then shown twice, changed at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Records
from likewise.data.entries import chosen_entries, entries_of, places_of, restricted
from likewise.errors import DataError
from likewise.relations import Pairs, Relation, Scores, Triplets
from likewise.training.methods import Supervision

__all__ = ["Batch", "Task", "learnable_relation", "supervision_of"]

_KINDS: dict[type[Relation], Supervision] = {Pairs: "pairs", Scores: "scores", Triplets: "triplets"}


@dataclass(frozen=True)
class Batch:
    """The items of one batch, and who should be near whom.

    Parameters
    ----------
    rows : int64 array (r,)
        Which items to read, each once.
    relation : int64 tensor (n,) or Relation
        Labels, or another relation, about the embeddings.
    views : int
        How often the items are shown, one whole turn after the other; n = views r.
    ids : int64 tensor (n,), optional
        Who each is across batches.
    weights : float32 tensor (n,), optional
        Each row's, in the loss.
    """

    rows: NDArray[np.int64]
    relation: Tensor | Relation
    views: int = 1
    ids: Tensor | None = None
    weights: Tensor | None = None


class Task:
    """Records, and what one batch of them is.

    Parameters
    ----------
    records : Records
        With labels, with a relation, or with neither.
    class_weights : bool
        Weigh each item by the inverse of its class's size, 1 on average over the items.

    >>> from likewise.data import load
    >>> task = Task(load("iris"))
    >>> task.supervision, task.count, task.batch([0, 50]).relation
    ('labels', 150, tensor([0, 1]))
    """

    def __init__(self, records: Records, *, class_weights: bool = False) -> None:
        self.records = records
        self.supervision = supervision_of(records)
        self._relation = learnable_relation(records)
        self._labels = torch.from_numpy(records.codes) if self.supervision == "labels" else None
        self._weights: Tensor | None = None
        if class_weights and self._labels is not None:
            sizes = torch.bincount(self._labels)
            self._weights = (len(records) / (len(sizes) * sizes.double()))[self._labels].float()

    @property
    def count(self) -> int:
        """How many there are to draw from: items, or entries of the table."""
        if self._relation is not None:
            return len(next(iter(entries_of(self._relation).values())))
        return len(self.records)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Each item's class, from 0."""
        return self.records.codes

    @property
    def strata(self) -> NDArray[np.int64] | None:
        """Which kind each entry is of, where batches should hold some of each: pairs alike and not."""
        if self.supervision != "pairs" or self._relation is None:
            return None
        return entries_of(self._relation)["same"].astype(np.int64)

    def batch(self, chosen: list[int]) -> Batch:
        """The batch of these items or entries."""
        if self._relation is not None:
            some = chosen_entries(self._relation, np.asarray(chosen, dtype=np.int64))
            rows = np.unique(np.concatenate(list(places_of(some).values())))
            return Batch(rows, restricted(some, rows, len(self.records))[1])
        rows = np.asarray(chosen, dtype=np.int64)
        numbers = torch.from_numpy(rows)
        if self._labels is None:
            # A row's number is its class: under several processes no two items share one.
            return Batch(rows, numbers.repeat(2), views=2)
        weights = None if self._weights is None else self._weights[numbers]
        return Batch(rows, self._labels[numbers], ids=numbers, weights=weights)


def learnable_relation(records: Records) -> Relation | None:
    """The records' relation without pairs of a thing with itself.

    Two equal sentences that were scored are such a pair: its distance is what it is, whatever is learned.

    Raises
    ------
    DataError
        There are no other pairs.
    """
    relation = records.relation
    if not isinstance(relation, Pairs | Scores):
        return relation
    left, right = places_of(relation)["left"], places_of(relation)["right"]
    of_two = np.flatnonzero(left != right)
    if not len(of_two):
        raise DataError(f"{records.name}: every pair is of a thing with itself, which teaches nothing")
    return relation if len(of_two) == len(left) else chosen_entries(relation, of_two)


def supervision_of(records: Records) -> Supervision:
    """What is known of the records; a relation counts before labels.

    Raises
    ------
    DataError
        A relation from which nothing here learns.
    """
    if records.relation is None:
        return "views" if records.y is None else "labels"
    if isinstance(records.relation, Scores) and bool((records.relation.score == 1).all()):
        return "preferences"  # as a table of better and worse gives them; equal scores order nothing
    for kind, supervision in _KINDS.items():
        if isinstance(records.relation, kind):
            return supervision
    raise DataError(
        f"{records.name}: training takes labels, pairs, scores, triplets or preferences; "
        f"found {type(records.relation).__name__}"
    )
