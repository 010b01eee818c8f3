"""Samplers: which rows make a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from likewise.data.records import check_labels
from likewise.errors import DataError, InputError

__all__ = ["ClassBalancedSampler"]


class ClassBalancedSampler(Sampler[list[int]]):
    """Batches of P classes with K items each; a ``batch_sampler`` for PyTorch's DataLoader.

    What it promises: a batch holds exactly P different classes, and of each of them K different items
    (all of them where the class has fewer than K), never one item twice. Within an epoch each class
    comes up once before any comes up again, and so does each item of a class. An epoch depends on
    ``(seed, epoch)`` alone; iterating moves on to the next.

    Parameters
    ----------
    labels : (n,)
        Whole numbers or strings; every class needs at least two items.
    classes_per_batch : int >= 2
        P, at most the number of classes.
    items_per_class : int >= 2
        K.
    batches : int
        Batches an epoch; by default as many as it takes to draw about n items.
    seed : int
        Of the draw.

    Raises
    ------
    InputError
        P or K is out of range, or a class has one item only.

    >>> sampler = ClassBalancedSampler([0, 0, 1, 1, 2, 2], classes_per_batch=2, items_per_class=2)
    >>> len(sampler), [len(batch) for batch in sampler]
    (2, [4, 4])
    """

    def __init__(
        self,
        labels: Any,
        *,
        classes_per_batch: int,
        items_per_class: int,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        y = check_labels(labels, name="labels")
        classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        if not 2 <= classes_per_batch <= len(classes):
            raise InputError(
                f"classes_per_batch must lie between 2 and the number of classes, {len(classes)}; "
                f"found {classes_per_batch}"
            )
        if items_per_class < 2:
            raise InputError(
                f"items_per_class must be at least 2, or no two are alike; found {items_per_class}"
            )
        if counts.min() < 2:
            raise DataError(f"labels: class {classes[counts.argmin()]} has one item; every class needs two")
        if batches is not None and batches < 1:
            raise InputError(f"batches must be at least 1; found {batches}")
        self._members = [np.flatnonzero(codes == code) for code in range(len(classes))]
        self.classes_per_batch = classes_per_batch
        self.items_per_class = items_per_class
        self.batches = batches or math.ceil(len(y) / (classes_per_batch * items_per_class))
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Draw this epoch next, as when a run is resumed."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        classes = _Deck(np.arange(len(self._members)), generator)
        items = [_Deck(members, generator) for members in self._members]
        for _ in range(self.batches):
            rows = [items[code].deal(self.items_per_class) for code in classes.deal(self.classes_per_batch)]
            yield [int(row) for row in np.concatenate(rows)]


class _Deck:
    """Cards dealt in random order: a hand never holds one twice, and all are dealt before any again."""

    def __init__(self, cards: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._cards = cards
        self._generator = generator
        self._rest = generator.permutation(cards)

    def deal(self, count: int) -> NDArray[np.int64]:
        count = min(count, len(self._cards))
        hand, self._rest = self._rest[:count], self._rest[count:]
        if len(hand) < count:
            # What was just dealt goes to the end of the new deck, so that the hand stays without doubles.
            others = self._generator.permutation(np.setdiff1d(self._cards, hand))
            self._rest = np.concatenate([others, self._generator.permutation(hand)])
            missing = count - len(hand)
            hand, self._rest = np.concatenate([hand, self._rest[:missing]]), self._rest[missing:]
        return hand
