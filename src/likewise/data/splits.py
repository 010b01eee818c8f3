"""Splits by class: what is tested was never seen, not even another item of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from likewise.data.records import Records
from likewise.errors import DataError, InputError

__all__ = ["ClassSplit", "split_by_class", "split_items", "take_classes"]


@dataclass(frozen=True)
class ClassSplit:
    """Two parts of some records: to learn from, and to hold back."""

    seen: Records
    unseen: Records


def take_classes(records: Records, classes: Sequence[Any], *, name: str | None = None) -> Records:
    """The items of these classes, in their order.

    Raises
    ------
    DataError
        A class isn't there.

    >>> from likewise.data import load
    >>> len(take_classes(load("iris"), [0, 2]))
    100
    """
    held = set(records.classes.tolist())
    lacking = [label for label in classes if label not in held]
    if lacking or not len(classes):
        found = f"no class {lacking[0]!r}" if lacking else "an empty list"
        raise DataError(f"{records.name}: classes must be among its {len(held)} classes; found {found}")
    return records.take(np.isin(records.y, np.asarray(list(classes), dtype=records.y.dtype)), name=name)


def split_by_class(
    records: Records,
    *,
    seen: Sequence[Any] | None = None,
    unseen_fraction: float = 0.5,
    seed: int = 0,
) -> ClassSplit:
    """Split so that no class is on both sides.

    Parameters
    ----------
    records : Records
        At least two classes.
    seen : sequence of labels
        The classes to learn from; all others are unseen. When not given they are drawn.
    unseen_fraction : float in (0, 1)
        How many of the classes to hold back when they are drawn, at least one and never all.
    seed : int
        Of the draw.

    Raises
    ------
    InputError
        A side would be empty, or a class isn't there.

    >>> from likewise.data import load
    >>> parts = split_by_class(load("digits"), seen=range(5))
    >>> parts.seen, parts.unseen
    (<digits: 901 items (8, 8), 5 classes>, <digits: 896 items (8, 8), 5 classes>)
    """
    classes = records.classes.tolist()
    if len(classes) < 2:
        raise DataError(f"{records.name}: a split by class needs at least two classes; found {len(classes)}")
    if seen is None:
        if not 0 < unseen_fraction < 1:
            raise InputError(f"unseen_fraction must lie between 0 and 1; found {unseen_fraction}")
        count = min(max(round(len(classes) * unseen_fraction), 1), len(classes) - 1)
        order = np.random.default_rng(seed).permutation(len(classes))
        kept = [classes[i] for i in sorted(order[count:])]
    else:
        kept = list(seen)
    first = take_classes(records, kept)
    rest = [label for label in classes if label not in set(kept)]
    if not rest:
        raise InputError(
            f"seen must leave at least one class of {records.name} unseen; found all {len(classes)}"
        )
    return ClassSplit(first, take_classes(records, rest))


def split_items(records: Records, *, fraction: float, seed: int = 0) -> ClassSplit:
    """Split every class alike, for data with too few classes to hold any back.

    Each side gets at least two items of every class that has four or more; a class with fewer stays
    whole on the ``seen`` side.
    """
    generator = np.random.default_rng(seed)
    held_back = np.zeros(len(records), dtype=bool)
    for code in range(len(records.classes)):
        rows = np.flatnonzero(records.codes == code)
        if len(rows) >= 4:
            count = min(max(round(len(rows) * fraction), 2), len(rows) - 2)
            held_back[generator.permutation(rows)[:count]] = True
    return ClassSplit(records.take(~held_back), records.take(held_back))
