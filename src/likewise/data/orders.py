"""Preferences that go in a circle: no score can follow them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

__all__ = ["rows_in_a_circle"]


def rows_in_a_circle(better: Iterable[Hashable], worse: Iterable[Hashable]) -> list[int]:
    """Rows that go in a circle, each one's worse thing the next one's better; empty where there is none.

    Parameters
    ----------
    better, worse : iterables of equal length
        Row by row, the preferred thing and the other; a thing preferred to itself is a circle of one row.

    >>> rows_in_a_circle(["a", "b"], ["b", "c"])
    []
    >>> rows_in_a_circle(["x", "b", "c", "a"], ["a", "c", "a", "b"])
    [1, 2, 3]
    """
    sorter: TopologicalSorter[Hashable] = TopologicalSorter()
    rows: dict[tuple[Hashable, Hashable], int] = {}
    for row, (first, second) in enumerate(zip(better, worse, strict=True)):
        rows.setdefault((first, second), row)
        sorter.add(second, first)
    try:
        sorter.prepare()
    except CycleError as error:
        things = list(error.args[1])  # each comes before the next, the last is the first again
        circle = [rows[pair] for pair in pairwise(things)]
        begin = circle.index(min(circle))
        return [*circle[begin:], *circle[:begin]]
    return []
