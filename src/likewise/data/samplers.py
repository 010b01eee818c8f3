"""Samplers: which rows make a batch.

Each is a ``batch_sampler`` for PyTorch's DataLoader and depends on ``(seed, epoch)`` alone, so that it
repeats, resumes and is the same under several processes: each takes its slice of one global batch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from likewise.data.records import check_labels
from likewise.errors import DataError, InputError

__all__ = [
    "BalancedSampler",
    "BatchSampler",
    "ClassBalancedSampler",
    "HierarchicalSampler",
    "ShuffledSampler",
]

_Rows = NDArray[np.int64]


class BatchSampler(Sampler[list[int]]):
    """What the samplers share: epochs, where one goes on, and slices for several processes.

    Iterating moves on to the next epoch. :meth:`load_state_dict` goes on inside an epoch, at the batch that
    would have come next; rows that were drawn before are drawn again and passed over.

    Parameters
    ----------
    batches : int
        Batches an epoch.
    seed : int
        Of the draw.
    rank, world_size : int
        Which of how many processes this is: it gets the rank-th slice of every batch, of sizes that differ
        by at most one. Put end to end the slices are the batch of one process.
    """

    def __init__(self, *, batches: int, seed: int, rank: int, world_size: int) -> None:
        if batches < 1:
            raise InputError(f"batches must be at least 1; found {batches}")
        if not 0 <= rank < world_size:
            raise InputError(f"rank must lie between 0 and world_size - 1; found {rank} of {world_size}")
        self.batches, self.seed = batches, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._start = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Draw this epoch next, from its beginning."""
        self.epoch, self._start = epoch, 0

    def state_dict(self, *, batch: int = 0) -> dict[str, int]:
        """Where to go on: the epoch that is drawn next, and how many of its batches are done."""
        return {"epoch": self.epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a state says."""
        self.epoch, self._start = int(state["epoch"]), int(state["batch"])

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        start, self._start = self._start, 0
        self.epoch += 1
        for number, rows in enumerate(self.draw(generator)):
            if number >= start:
                yield [int(row) for row in np.array_split(rows, self.world_size)[self.rank]]

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> Iterator[_Rows]:
        """The global batches of one epoch."""


class ClassBalancedSampler(BatchSampler):
    """Batches of P classes with K items each.

    What it promises: a batch holds exactly P different classes, and of each of them K different items
    (all of them where the class has fewer than K), never one item twice. Within an epoch each class
    comes up once before any comes up again, and so does each item of a class.

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
    seed, rank, world_size : int
        As :class:`BatchSampler`.

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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._members = _members(labels)
        if not 2 <= classes_per_batch <= len(self._members):
            raise InputError(
                f"classes_per_batch must lie between 2 and the number of classes, {len(self._members)}; "
                f"found {classes_per_batch}"
            )
        _check_items_per_class(items_per_class)
        count = sum(map(len, self._members))
        per_epoch = math.ceil(count / (classes_per_batch * items_per_class)) if batches is None else batches
        super().__init__(batches=per_epoch, seed=seed, rank=rank, world_size=world_size)
        self.classes_per_batch, self.items_per_class = classes_per_batch, items_per_class

    def draw(self, generator: np.random.Generator) -> Iterator[_Rows]:
        """See :meth:`BatchSampler.draw`."""
        classes = _Deck(np.arange(len(self._members)), generator)
        items = [_Deck(members, generator) for members in self._members]
        for _ in range(self.batches):
            drawn = classes.deal(self.classes_per_batch)
            yield np.concatenate([items[code].deal(self.items_per_class) for code in drawn])


class BalancedSampler(BatchSampler):
    """Batches of a given size, spread as evenly as can be over as many classes as fit.

    What it promises: at most ``batch_size`` different items of at least two classes, at least two of each of
    them, and classes that have the items differ by at most one. A batch holds ``batch_size // 2`` classes,
    or all where there are fewer. Over an epoch the classes, and the items of a class, come up equally often.

    Parameters
    ----------
    labels : (n,)
        Whole numbers or strings; at least two classes, every one with at least two items.
    batch_size : int >= 4
    batches : int
        Batches an epoch; by default as many as it takes to draw about n items.
    seed, rank, world_size : int
        As :class:`BatchSampler`.

    >>> batch = next(iter(BalancedSampler([0, 0, 0, 0, 1, 1, 1], batch_size=5)))
    >>> sorted([0, 0, 0, 0, 1, 1, 1][row] for row in batch) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    True
    """

    def __init__(
        self,
        labels: Any,
        *,
        batch_size: int,
        batches: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._members = _members(labels)
        if batch_size < 4:
            raise InputError(
                f"batch_size must be at least 4, for two items of two classes; found {batch_size}"
            )
        count = sum(map(len, self._members))
        per_epoch = math.ceil(count / batch_size) if batches is None else batches
        super().__init__(batches=per_epoch, seed=seed, rank=rank, world_size=world_size)
        self.batch_size = batch_size

    def draw(self, generator: np.random.Generator) -> Iterator[_Rows]:
        """See :meth:`BatchSampler.draw`."""
        classes = _Deck(np.arange(len(self._members)), generator)
        items = [_Deck(members, generator) for members in self._members]
        chosen = min(len(self._members), self.batch_size // 2)
        each, more = divmod(self.batch_size, chosen)
        for _ in range(self.batches):
            drawn = classes.deal(chosen)
            yield np.concatenate(
                [items[code].deal(each + (place < more)) for place, code in enumerate(drawn)]
            )


class HierarchicalSampler(BatchSampler):
    """Batches of S superclasses, P classes of each, K items of each of those.

    Classes of one superclass are the hard ones to tell apart, so a batch holds several of them. What it
    promises: exactly S superclasses; of each, P different classes (all of them where it has fewer); of each
    of those, K different items (or all); at least two classes in all.

    Parameters
    ----------
    labels, superlabels : (n,)
        The class of each item, and the class of that class: one superclass a class.
    superclasses_per_batch, classes_per_superclass : int >= 1
        S and P.
    items_per_class : int >= 2
        K.
    batches : int
        Batches an epoch; by default as many as it takes to draw about n items.
    seed, rank, world_size : int
        As :class:`BatchSampler`.

    Raises
    ------
    InputError
        A class under two superclasses, S, P or K out of range, or batches that could hold one class only.

    >>> kinds = ["cat", "cat", "cat", "cat", "dog", "dog"]
    >>> sampler = HierarchicalSampler([0, 0, 1, 1, 2, 2], kinds, classes_per_superclass=1, items_per_class=2)
    >>> sorted(kinds[row] for row in next(iter(sampler)))
    ['cat', 'cat', 'dog', 'dog']
    """

    def __init__(
        self,
        labels: Any,
        superlabels: Any,
        *,
        superclasses_per_batch: int = 2,
        classes_per_superclass: int = 4,
        items_per_class: int = 4,
        batches: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._members = _members(labels)
        above = check_labels(superlabels, name="superlabels")
        if len(above) != sum(map(len, self._members)):
            raise InputError(
                f"superlabels must be as many as labels, {sum(map(len, self._members))}; found {len(above)}"
            )
        for members in self._members:
            several = np.unique(above[members])
            if len(several) > 1:
                raise InputError(
                    f"superlabels: the class of row {members[0]} is in {several[0]} and in {several[1]}; "
                    "a class needs one superclass"
                )
        names, of_class = np.unique([above[members[0]] for members in self._members], return_inverse=True)
        self._below = [np.flatnonzero(of_class == code) for code in range(len(names))]
        if not 1 <= superclasses_per_batch <= len(names) or classes_per_superclass < 1:
            raise InputError(
                f"superclasses_per_batch must lie between 1 and the number of superclasses, {len(names)}, "
                f"and classes_per_superclass be at least 1; found {superclasses_per_batch} and "
                f"{classes_per_superclass}"
            )
        _check_items_per_class(items_per_class)
        if superclasses_per_batch == 1 and (classes_per_superclass == 1 or min(map(len, self._below)) == 1):
            raise InputError(
                "a batch could hold one class only; use superclasses_per_batch of at least 2, or "
                "classes_per_superclass of at least 2 where every superclass has as many"
            )
        size = superclasses_per_batch * classes_per_superclass * items_per_class
        per_epoch = math.ceil(len(above) / size) if batches is None else batches
        super().__init__(batches=per_epoch, seed=seed, rank=rank, world_size=world_size)
        self.superclasses_per_batch = superclasses_per_batch
        self.classes_per_superclass = classes_per_superclass
        self.items_per_class = items_per_class

    def draw(self, generator: np.random.Generator) -> Iterator[_Rows]:
        """See :meth:`BatchSampler.draw`."""
        superclasses = _Deck(np.arange(len(self._below)), generator)
        classes = [_Deck(below, generator) for below in self._below]
        items = [_Deck(members, generator) for members in self._members]
        for _ in range(self.batches):
            drawn = [
                code
                for above in superclasses.deal(self.superclasses_per_batch)
                for code in classes[above].deal(self.classes_per_superclass)
            ]
            yield np.concatenate([items[code].deal(self.items_per_class) for code in drawn])


class ShuffledSampler(BatchSampler):
    """Every one once an epoch, in random order: entries of a table of pairs, or items without labels.

    What it promises: sizes of batches differ by at most one and are at most ``batch_size``; with ``strata``
    (alike and unlike pairs, say) each batch holds its share of every stratum, within one and half the
    number of strata.

    Parameters
    ----------
    count : int >= 2
        How many there are.
    batch_size : int >= 2
    strata : (count,), optional
        Whole numbers or strings: which kind each is of.
    seed, rank, world_size : int
        As :class:`BatchSampler`.

    >>> batches = list(ShuffledSampler(5, batch_size=3))
    >>> [len(batch) for batch in batches], sorted(sum(batches, []))
    ([3, 2], [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        strata: Any = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if count < 2 or batch_size < 2:
            raise InputError(f"count and batch_size must be at least 2; found {count} and {batch_size}")
        kinds = np.zeros(count, dtype=np.int64)
        if strata is not None:
            kinds = np.unique(check_labels(strata, name="strata"), return_inverse=True)[1]
            if len(kinds) != count:
                raise InputError(f"strata must be {count}, one for each; found {len(kinds)}")
        self._strata = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
        self.count = count
        super().__init__(batches=math.ceil(count / batch_size), seed=seed, rank=rank, world_size=world_size)

    def draw(self, generator: np.random.Generator) -> Iterator[_Rows]:
        """See :meth:`BatchSampler.draw`."""
        # Each stratum is laid out evenly from 0 to 1; what lies in one part of that goes into one batch.
        rows = np.concatenate([generator.permutation(stratum) for stratum in self._strata])
        places = np.concatenate([(np.arange(len(stratum)) + 0.5) / len(stratum) for stratum in self._strata])
        order = rows[np.argsort(places, kind="stable")]
        for part in np.array_split(order, self.batches):
            yield generator.permutation(part)


def _members(labels: Any) -> list[_Rows]:
    """The rows of each class; every class needs two."""
    y = check_labels(labels, name="labels")
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise DataError(f"labels: class {classes[counts.argmin()]} has one item; every class needs two")
    if len(classes) < 2:
        raise InputError(f"labels must be of at least two classes; found {classes[0]} alone")
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(counts)[:-1])


def _check_items_per_class(items_per_class: int) -> None:
    if items_per_class < 2:
        raise InputError(f"items_per_class must be at least 2, or no two are alike; found {items_per_class}")


class _Deck:
    """Cards dealt in random order: a hand never holds one twice, and all are dealt before any again."""

    def __init__(self, cards: _Rows, generator: np.random.Generator) -> None:
        self._cards = cards
        self._generator = generator
        self._rest = generator.permutation(cards)

    def deal(self, count: int) -> _Rows:
        count = min(count, len(self._cards))
        hand, self._rest = self._rest[:count], self._rest[count:]
        if len(hand) < count:
            # What was just dealt goes to the end of the new deck, so that the hand stays without doubles.
            others = self._generator.permutation(np.setdiff1d(self._cards, hand))
            self._rest = np.concatenate([others, self._generator.permutation(hand)])
            missing = count - len(hand)
            hand, self._rest = np.concatenate([hand, self._rest[:missing]]), self._rest[missing:]
        return hand
