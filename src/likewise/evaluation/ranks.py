"""The ranks at which queries find what is relevant to them, over the whole gallery.

What lies within the first few places is ranked exactly (:mod:`likewise.search.exact`). For a relevant
item farther down the gallery's keys below its own are counted, a tile at a time while the tile is in
cache: one comparison a gallery item, and no sort. Such a rank rests on float32 products, so items
whose distances agree to about six digits may count as nearer or farther; at equal keys the item with
the lower place is nearer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.search.exact import nearest_blocks

__all__ = ["Relevant", "ranked_blocks"]

_EXACT_PLACES = 32
_MOST_COUNTED = 64  # with more relevant items a query, a sort of the whole row is cheaper
_RIVALS = 8  # other classes whose absence is tried for each query
_LISTED = 1024  # places that are searched for the rivals' items
_COMPARED = 64  # places that are compared with one another
_SLACK = 8  # places looked at beyond the depth, for what moves up where a class is left out
_FAR = 2**62  # the rank of what isn't there


@dataclass(frozen=True)
class Relevant:
    """A block of queries: their relevant items' ranks from 1, ascending, ``padding`` beyond R.

    ``ranks`` is (rows, P), exact up to ``depth`` at least; ``count`` is R (rows,). ``rivals`` (rows, V) are
    the other classes nearest to a query, each once, and -1 where fewer were seen.
    """

    start: int
    stop: int
    ranks: Tensor
    count: Tensor
    rivals: Tensor
    listed: Tensor  # (rows, places): the class at each of the first places, -1 for none

    padding = _FAR

    def chosen(self, rows: Tensor) -> Relevant:
        """Some of the queries, by a mask (rows,)."""
        return Relevant(
            self.start,
            self.stop,
            self.ranks[rows],
            self.count[rows],
            self.rivals[rows],
            self.listed[rows],
        )

    def without_rivals(self) -> Relevant:
        """The same queries in a gallery without their first rival, then all without the second, (V rows, P).

        A relevant item moves up by the rival's items among the first places; one beyond the depth that
        would move into it isn't seen.
        """
        width = self.rivals.shape[1]
        gone = self.listed[None] == self.rivals.T[:, :, None]  # (V, rows, places)
        gone &= (self.rivals.T >= 0)[:, :, None]
        ahead = gone.to(torch.int32).cumsum(2)
        at = (self.ranks - 1).clamp(max=self.listed.shape[1] - 1)
        moved = self.ranks - ahead.gather(2, at.expand(width, -1, -1))
        ranks = torch.where(self.ranks == _FAR, _FAR, moved).flatten(0, 1)
        count = self.count.expand(width, -1).flatten()
        return Relevant(self.start, self.stop, ranks, count, self.rivals[:0], self.listed[:0])


@dataclass(frozen=True)
class _Classes:
    """Gallery places grouped by class."""

    order: Tensor  # (m,)
    first: Tensor  # (C,)
    size: Tensor  # (C,)

    @classmethod
    def of(cls, codes: Tensor, n_classes: int) -> _Classes:
        size = torch.bincount(codes, minlength=n_classes)
        return cls(torch.sort(codes, stable=True).indices, size.cumsum(0) - size, size)

    def members(self, codes: Tensor) -> Tensor:
        """The places of each code's class, (rows, P), -1 beyond its size."""
        places = torch.arange(max(int(self.size[codes].max()), 1), device=codes.device)
        at = (self.first[codes][:, None] + places).clamp(max=len(self.order) - 1)
        return self.order[at].masked_fill(places >= self.size[codes][:, None], -1)


@torch.no_grad()
def ranked_blocks(
    rows: Tensor,
    columns: Tensor,
    codes: Tensor,
    column_codes: Tensor,
    *,
    distance: Distance,
    exclude: Tensor | None,
    depth: int | None,
) -> Iterator[Relevant]:
    """The ranks of each query's class in the gallery, a block of queries at a time.

    Parameters
    ----------
    rows, columns : Tensor (n, d), (m, d)
    codes, column_codes : int64 Tensor (n,), (m,)
    distance : Distance
    exclude : int64 Tensor (n,), optional
        For each query the gallery item that it may not find (itself, say), -1 for none.
    depth : int or None
        Up to which rank to look; what lies beyond counts as not there. None for all.
    """
    classes = _Classes.of(column_codes, int(torch.max(codes.max(), column_codes.max())) + 1)
    largest = int(classes.size[codes].max())
    counted = depth is None and largest <= _MOST_COUNTED and len(columns) > 2 * _EXACT_PLACES
    # One place beyond R shows a rival even where all within R are hits.
    reach = len(columns) if depth is None else max(depth, largest + 1)
    places = _EXACT_PLACES if counted else min(reach + _SLACK, len(columns))
    members = None
    if counted:
        members = classes.members(codes)
        if exclude is not None:
            members = members.masked_fill(members == exclude[:, None].to(members.device), -1)
    for block in nearest_blocks(
        rows, columns, places, distance=distance, exclude=exclude, distances=False, members=members
    ):
        asked = codes[block.start : block.stop]
        count = classes.size[asked]
        if exclude is not None:
            barred = exclude[block.start : block.stop].to(columns.device)
            count = count - ((barred >= 0) & (column_codes[barred.clamp(min=0)] == asked)).long()
        found = column_codes[block.indices].masked_fill(block.indices < 0, -1)
        hits = found == asked[:, None]
        if counted:
            ranks = block.ranks.masked_fill(block.ranks == 0, _FAR).sort(1).values
        else:
            place = torch.arange(1, hits.shape[1] + 1, device=hits.device)
            ranks = torch.where(hits, place, _FAR).sort(1).values[:, : max(largest, 1)]
        yield Relevant(block.start, block.stop, ranks, count, _rivals(found, asked), found[:, :_LISTED])


def _rivals(found: Tensor, asked: Tensor) -> Tensor:
    """The first other classes of each row of codes, each once, (rows, V); -1 where there are fewer."""
    most = min(_RIVALS, found.shape[1])
    out = torch.full((len(found), most), -1, device=found.device)
    free = (found != asked[:, None]) & (found >= 0)
    if found.shape[1] <= _COMPARED:  # each place with all before it
        again = (found[:, :, None] == found[:, None, :]).tril(-1).any(2)
        count = (free & ~again).cumsum(1)
        row, at = (free & ~again & (count <= most)).nonzero(as_tuple=True)
        out[row, count[row, at] - 1] = found[row, at]
        return out
    for place in range(most):
        some = free.any(1)
        if not bool(some.any()):
            break
        first = found.gather(1, free.byte().argmax(1, keepdim=True)).squeeze(1)
        out[:, place] = torch.where(some, first, -1)
        free &= (found != out[:, place : place + 1]) | ~some[:, None]
    return out
