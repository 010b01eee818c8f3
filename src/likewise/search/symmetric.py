"""Nearest rows of rows: each product of two serves both, so half of the table is never taken.

A tile of the table (:mod:`likewise.table.symmetric`) is read while it is in cache, and no row of the table
is ever whole. Of each query what lies up to its k-th smallest key is kept, and put in order by distances
as :mod:`likewise.search.candidates` does. Ranks of chosen columns, the query's members, are counted in the
same walk: keys surely below a member's, and those within rounding of it by their distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.search.candidates import in_order
from likewise.search.keys import Keys, ProductKeys
from likewise.table import compiled
from likewise.table.symmetric import NONE, Counts, Near

__all__ = ["Symmetric", "symmetric"]

_ROWS, _COLUMNS = 512, 1024
_LEAST = 4 * _COLUMNS  # rows below which there is nothing to gain
_MOST_UNSURE = 128  # columns of a query that lie within rounding of its members
_TIED = 32  # columns beyond k that can't be told from the k-th
_ROUNDINGS = 4.0
_PAIRS = 30_000
_GATHERED = 200_000  # numbers


@dataclass(frozen=True)
class Symmetric:
    """What the walk found for all queries."""

    keys: ProductKeys
    near: Near
    members: Tensor  # (n, p) int64, -1 for none
    before: Tensor  # (p, n) int64: columns that come before each member, other members aside
    unsure: Tensor  # (n,) bool: to be asked in another way

    def nearest(self, start: int, stop: int, k: int, *, distances: bool) -> tuple[Tensor, Tensor]:
        """As :func:`likewise.search.candidates.nearest_in`."""
        width = max(int(self.near.count[start:stop].max()), k)
        kept = self.near.value[start:stop, :width], self.near.place[start:stop, :width].long()
        values, indices = in_order(start, self.keys, *kept, self.near.slack[start:stop])
        values, indices = values[:, :k], indices[:, :k].contiguous()
        if not distances:
            return values[:, :0], indices
        found = self.keys.distances(start, stop, values, indices.clamp(min=0))
        return found.masked_fill(indices < 0, torch.inf), indices

    def ranks(self, start: int, stop: int) -> Tensor:
        """The rank from 1 of each member (rows, p); 0 for none."""
        members = self.members[start:stop]
        there = members >= 0
        apart = _member_distances(self.keys, members, start)
        nearer = apart[:, None, :] < apart[:, :, None]
        nearer |= (apart[:, None, :] == apart[:, :, None]) & (members[:, None, :] < members[:, :, None])
        ahead = (nearer & there[:, None, :]).sum(2)
        return (self.before[:, start:stop].T + ahead + 1).masked_fill(~there, 0)


def symmetric(keys: Keys, k: int, barred: Tensor | None, members: Tensor | None) -> Symmetric | None:
    """The walk over half of the table, or None where the table isn't of that kind.

    Parameters
    ----------
    keys : Keys
        Of products of rows with themselves.
    k : int
    barred : int64 Tensor (n,), optional
        The column that each query may not find: itself, else there is no such walk.
    members : int64 Tensor (n, p), optional
        Columns whose ranks are wanted, -1 for none; a column is a query's member where the query is the
        column's.
    """
    if not isinstance(keys, ProductKeys) or keys.u is not keys.v or not keys.few or len(keys.u) < _LEAST:
        return None
    if compiled.library() is None or not compiled.takes(keys.keyed):
        return None
    n = len(keys.keyed)
    if barred is None or not torch.equal(barred, torch.arange(n)):
        return None
    near = Near.empty(keys.slack(0, n), k, k + _TIED)
    counts = None if members is None else _counts(keys, members)
    half = keys.keyed.new_zeros(n) if keys.half_squares is None else keys.half_squares
    walk = _Walk(keys, half, near, counts, members)
    walk.all()
    unsure = near.count < 0
    before = torch.empty(0, n, dtype=torch.int64)
    if counts is not None:
        unsure |= counts.times >= counts.most
        before = counts.below.long()
    none = torch.empty(n, 0, dtype=torch.int64)
    return Symmetric(keys, near, none if members is None else members, before, unsure)


@dataclass(frozen=True)
class _Walk:
    keys: ProductKeys
    half: Tensor
    near: Near
    counts: Counts | None
    members: Tensor | None

    def all(self) -> None:
        """Every tile on and above the diagonal, once."""
        keyed = self.keys.keyed
        n = len(keyed)
        room = keyed.new_empty(_ROWS * _COLUMNS)
        for row in range(0, n, _ROWS):
            turned = -keyed[row : row + _ROWS]
            rows = len(turned)
            starts = [row, *range(row + rows, n, _COLUMNS)]
            for column, end in zip(starts, [row + rows, *starts[2:], n], strict=False):
                tile = room[: rows * (end - column)].view(rows, end - column)
                torch.mm(turned, keyed[column:end].T, out=tile)
                if column == row:
                    tile.fill_diagonal_(torch.inf)
                self.near.see(tile, self.half, row, column)
                if self.counts is not None:
                    self.counts.see(tile, self.half, row, column)
                    if self.counts.full:
                        self.resolve(self.counts)
        self.near.settle()
        if self.counts is not None:
            self.resolve(self.counts)

    def resolve(self, counts: Counts) -> None:
        """Count by their distances those columns that keys can't tell from a member."""
        assert self.members is not None
        listed = counts.listed()
        for start in range(0, len(listed), _PAIRS):
            query, number, column = listed[start : start + _PAIRS].T
            member = self.members[query, number]
            unused = torch.empty(0)
            mine = self.keys.of_pairs(query, member, unused)
            theirs = self.keys.of_pairs(query, column, unused)
            first = (theirs < mine) | ((theirs == mine) & (column < member))
            counts.below.index_put_((number, query), first.to(torch.int32), accumulate=True)


def _counts(keys: ProductKeys, members: Tensor) -> Counts:
    """Limits between which a key is within rounding of a member's."""
    n, d = keys.keyed.shape
    dtype = keys.keyed.dtype
    low = torch.empty(members.shape[1], n, dtype=dtype)
    high = torch.empty_like(low)
    eps = torch.finfo(dtype).eps
    step = max(1, _GATHERED // max(1, members.shape[1] * d))
    for start in range(0, n, step):
        own, some = keys.keyed[start : start + step].double(), members[start : start + step]
        their = keys.keyed[some.clamp(min=0)].double()
        product = (their @ own[:, :, None]).squeeze(2)
        squares = their.square().sum(2) / 2 if keys.half_squares is not None else torch.zeros_like(product)
        # Rounding of a sum of d products grows with the square root of d but for rare bad luck; distances
        # that are equal in their own precision have keys that differ by the second term.
        norm, wide = torch.linalg.vector_norm(own, dim=1)[:, None], keys.widest**0.5
        reach = (_ROUNDINGS + d**0.5) * eps * (norm * wide + keys.widest / 2) + eps * (norm + wide) ** 2
        if keys.half_squares is None:
            reach = reach + keys.uneven
        key = (squares - product).masked_fill(some < 0, -torch.inf)
        low[:, start : start + step] = (key - reach).to(dtype).T
        high[:, start : start + step] = (key + reach).to(dtype).T
    member = torch.where(members < 0, NONE, members).T.to(torch.int32).contiguous()
    return Counts.empty(member, low, high, most=_MOST_UNSURE, sides=_ROWS + _COLUMNS)


def _member_distances(keys: ProductKeys, members: Tensor, start: int) -> Tensor:
    """The distances (rows, p) of members, infinite for none."""
    row, number = (members >= 0).nonzero(as_tuple=True)
    out = torch.full(members.shape, torch.inf, dtype=torch.float64)
    out[row, number] = keys.of_pairs(row + start, members[row, number], torch.empty(0))
    return out
