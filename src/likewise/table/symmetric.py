"""Passes over a tile of a table that equals its transpose: each of its cells serves its row and its column.

They are in C only (:mod:`~likewise.table.compiled`): where there is no compiler, whoever needs them takes
the whole table row by row instead. A tile (r, c) holds ``-u_i.v_j`` of rows from ``row`` and columns from
``column`` on. The key by which column j is near row i is the cell and ``half[j]``; that by which row i is
near column j is the cell and ``half[i]``. A tile on the diagonal (``row == column``) serves its rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["NONE", "Counts", "Near"]

NONE = -1
"""The place of what isn't there."""

_LISTED_AT_ONCE = 30_000


@dataclass(frozen=True)
class Near:
    """For each of n queries the columns up to its k-th smallest key and the slack.

    Parameters
    ----------
    slack : (n,)
        By how much keys of columns at equal distances can differ at most, 0 or more.
    k : int
    value : (n, w)
        Keys in ascending order; after :meth:`settle` infinite beyond.
    place : int32 (n, w)
        Their columns, -1 beyond.
    count : int32 (n,)
        How many there are; -1 where they were too many to be kept, w or more.
    bound : (n,)
    """

    slack: Tensor
    k: int
    value: Tensor
    place: Tensor
    count: Tensor
    bound: Tensor

    @classmethod
    def empty(cls, slack: Tensor, k: int, width: int) -> Near:
        """Nothing kept yet; ``width`` columns a query at most."""
        n = len(slack)
        return cls(
            slack,
            k,
            slack.new_empty(n, width),
            torch.empty(n, width, dtype=torch.int32),
            torch.zeros(n, dtype=torch.int32),
            slack.new_full((n,), torch.finfo(slack.dtype).max),  # infinite cells are never kept
        )

    def see(self, tile: Tensor, half: Tensor, row: int, column: int) -> None:
        """Keep what a tile holds for its rows and its columns."""
        _call(
            "near_of_both", tile, *_sides(tile, row, column), compiled.at(half), compiled.at(self.slack),
            *self._kept(), compiled.threads(),
        )  # fmt: skip

    def settle(self) -> None:
        """Mark what holds nothing, after the last tile."""
        beyond = torch.arange(self.value.shape[1]) >= self.count[:, None]
        self.value.masked_fill_(beyond, torch.inf)
        self.place.masked_fill_(beyond, NONE)

    def _kept(self) -> tuple[object, ...]:
        sizes = (compiled.whole(self.k), compiled.whole(self.value.shape[1]))
        return (
            compiled.at(self.bound), *sizes, compiled.at(self.value), compiled.at(self.place),
            compiled.at(self.count),
        )  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """For each member of n queries how many columns come before it, members aside.

    Parameters
    ----------
    member : int32 (p, n)
        Columns, -1 for none; a column is a query's member where the query is the column's.
    low, high : (p, n)
        Keys under ``low`` surely come before the member, those over ``high`` after it; minus infinity for
        none.
    below : int32 (p, n)
        The number of keys under ``low``, members' own aside.
    times : int32 (n,)
        How many columns between the two a query has; no more than ``most`` are listed.
    """

    member: Tensor
    low: Tensor
    high: Tensor
    below: Tensor
    times: Tensor
    most: int
    _listed: Tensor
    _used: Tensor

    @classmethod
    def empty(cls, member: Tensor, low: Tensor, high: Tensor, *, most: int, sides: int) -> Counts:
        """Nothing counted yet; tiles have at most ``sides`` rows and columns together."""
        room = _LISTED_AT_ONCE + sides * most
        return cls(
            member,
            low,
            high,
            torch.zeros_like(member),
            torch.zeros(member.shape[1], dtype=torch.int32),
            most,
            torch.empty(room, 3, dtype=torch.int32),
            torch.zeros(1, dtype=torch.int64),
        )

    @property
    def full(self) -> bool:
        """Whether :meth:`listed` must be taken before the next tile."""
        return int(self._used) >= _LISTED_AT_ONCE

    def see(self, tile: Tensor, half: Tensor, row: int, column: int) -> None:
        """Count what a tile holds for its rows and its columns. It overwrites the cells of members."""
        p, n = self.member.shape
        _call(
            "count_of_both", tile, *_sides(tile, row, column), compiled.at(half), compiled.whole(n),
            compiled.whole(p), *map(compiled.at, (self.member, self.low, self.high, self.below, self.times)),
            compiled.whole(self.most), compiled.at(self._listed), compiled.at(self._used), compiled.threads(),
        )  # fmt: skip

    def listed(self) -> Tensor:
        """Query, member's number and column (l, 3) of all keys between low and high; forgotten then."""
        found = self._listed[: int(self._used)].long()
        self._used.zero_()
        return found


def _sides(tile: Tensor, row: int, column: int) -> tuple[object, ...]:
    return tuple(map(compiled.whole, (row, tile.shape[0], column, tile.shape[1])))


def _call(name: str, tile: Tensor, *arguments: object) -> None:
    getattr(compiled.library(), f"{name}_{compiled.name_of(tile)}")(compiled.at(tile), *arguments)
