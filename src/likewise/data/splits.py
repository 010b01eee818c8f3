"""Splits: by class, so that what is tested was never seen; by group; by row. Leaks are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.entries import entries_of
from likewise.data.reading import nearest_name
from likewise.data.records import Records
from likewise.errors import DataError, InputError

__all__ = [
    "ClassSplit",
    "Split",
    "check_disjoint",
    "split_by_class",
    "split_by_group",
    "split_by_row",
    "split_items",
    "take_classes",
]


@dataclass(frozen=True)
class ClassSplit:
    """Two parts of some records: to learn from, and to hold back."""

    seen: Records
    unseen: Records


@dataclass(frozen=True)
class Split:
    """Two parts of some records: to learn from, and to test on."""

    train: Records
    test: Records


def split_by_group(
    records: Records, column: str, *, test_fraction: float = 0.2, seed: int = 0, allow_leaks: bool = False
) -> Split:
    """Split so that no group (a person, a document, a day) is on both sides.

    Parameters
    ----------
    records : Records
    column : str
        One of ``records.columns``: the group of each item.
    test_fraction : float in (0, 1)
        How many of the groups are for the test, at least one and never all.
    seed : int
        Of the draw.
    allow_leaks : bool
        Let equal items be on both sides.

    Raises
    ------
    DataError
        There is no such column, one group only, or equal items in two groups on both sides.

    >>> import numpy as np
    >>> records = Records(np.eye(4, dtype=np.float32), None, "four", columns={"day": np.array([1, 1, 2, 2])})
    >>> split_by_group(records, "day", test_fraction=0.5).test.columns["day"].tolist()
    [1, 1]
    """
    if column not in records.columns:
        told = nearest_name(column, list(records.columns))
        raise DataError(f"{records.name}: there is no column {column!r} to split by; {told}")
    groups = records.columns[column]
    chosen = _drawn(np.unique(groups), test_fraction, seed, f"{records.name}: a split by {column}")
    held_back = np.isin(groups, chosen)
    return _parted(records, held_back, allow_leaks)


def split_by_row(
    records: Records, *, test_fraction: float = 0.2, seed: int = 0, allow_leaks: bool = False
) -> Split:
    """Split items (or, where there is a relation, its entries) without regard to anything else.

    Items with equal content stay together, so that none is on both sides.

    Raises
    ------
    DataError
        There are fewer than two different items, or an item is in pairs on both sides.

    >>> from likewise.data import load
    >>> parts = split_by_row(load("iris"), test_fraction=0.2)
    >>> len(parts.train) + len(parts.test)
    150
    """
    if records.relation is not None:
        count = len(next(iter(entries_of(records.relation).values())))
        chosen = _drawn(np.arange(count), test_fraction, seed, f"{records.name}: a split by row")
        held_back = np.zeros(count, dtype=bool)
        held_back[chosen] = True
        parts = Split(records.take_entries(~held_back), records.take_entries(held_back))
        if not allow_leaks:
            check_disjoint(parts.train, parts.test)
        return parts
    _, same = np.unique(records.digests, return_inverse=True)
    chosen = _drawn(np.unique(same), test_fraction, seed, f"{records.name}: a split by row")
    return _parted(records, np.isin(same, chosen), allow_leaks)


def check_disjoint(first: Records, second: Records, *, group: str | None = None) -> None:
    """Refuse two parts that share an item: equal content, or equal groups.

    Parameters
    ----------
    first, second : Records
    group : str, optional
        A column of both, no value of which may be in both.

    Raises
    ------
    DataError
        They share one; a row of each is named.

    >>> from likewise.data import load
    >>> iris = load("iris")
    >>> check_disjoint(iris.take([0, 1]), iris.take([1, 2]))
    Traceback (most recent call last):
    ...
    likewise.errors.DataError: iris: a leak: row 1 of one part and row 0 of the other are the same item...
    """
    _refuse_shared(first.digests, second.digests, first, second, "are the same item")
    if group is not None:
        for part in (first, second):
            if group not in part.columns:
                told = nearest_name(group, list(part.columns))
                raise DataError(f"{part.name}: there is no column {group!r}; {told}")
        values = [[str(value) for value in part.columns[group].tolist()] for part in (first, second)]
        _refuse_shared(values[0], values[1], first, second, f"are of one {group}")


def _refuse_shared(
    mine: Sequence[str], others: Sequence[str], first: Records, second: Records, told: str
) -> None:
    rows = {value: row for row, value in reversed(list(enumerate(mine)))}
    shared = [(rows[value], row) for row, value in enumerate(others) if value in rows]
    if shared:
        row, other = shared[0]
        names = first.name if first.name == second.name else f"{first.name} and {second.name}"
        raise DataError(
            f"{names}: a leak: row {row} of one part and row {other} of the other {told} "
            f"({len(shared)} such rows); drop them from one part"
        )


def _drawn(values: NDArray[Any], fraction: float, seed: int, told: str) -> NDArray[Any]:
    if not 0 < fraction < 1:
        raise InputError(f"test_fraction must lie between 0 and 1; found {fraction}")
    if len(values) < 2:
        raise DataError(f"{told} needs at least two of them; found {len(values)}")
    count = min(max(round(len(values) * fraction), 1), len(values) - 1)
    return np.random.default_rng(seed).permutation(values)[:count]


def _parted(records: Records, held_back: NDArray[np.bool_], allow_leaks: bool) -> Split:
    parts = Split(records.take(~held_back), records.take(held_back))
    if not allow_leaks:
        check_disjoint(parts.train, parts.test)
    return parts


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
    labels = records.labels
    held = set(records.classes.tolist())
    lacking = [label for label in classes if label not in held]
    if lacking or not len(classes):
        found = f"no class {lacking[0]!r}" if lacking else "an empty list"
        raise DataError(f"{records.name}: classes must be among its {len(held)} classes; found {found}")
    return records.take(np.isin(labels, np.asarray(list(classes), dtype=labels.dtype)), name=name)


def split_by_class(
    records: Records,
    *,
    seen: Sequence[Any] | None = None,
    unseen_fraction: float = 0.5,
    seed: int = 0,
    allow_leaks: bool = True,
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
    allow_leaks : bool
        Let items of equal content be on both sides under two labels, as many data sets have a few;
        False refuses them.

    Raises
    ------
    InputError
        A side would be empty, a class isn't there, or a leak.

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
    parts = ClassSplit(first, take_classes(records, rest))
    if not allow_leaks:
        check_disjoint(parts.seen, parts.unseen)
    return parts


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
