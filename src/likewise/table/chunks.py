"""The least cell of every chunk of a row, and the cells up to a bound: what a search for the nearest reads.

Each has a form in PyTorch and one in C (:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["CHUNK", "cells_up_to", "chunk_minima"]

CHUNK = 64
"""Cells whose least one stands for them."""

_WIDTH = 64
"""Cells a row that are written at once; where a row has more, all are read again."""


def chunk_minima(table: Tensor, out: Tensor) -> None:
    """Write the least cell of each chunk of the rows.

    Parameters
    ----------
    table : (r, c)
        c is a multiple of ``CHUNK``; rows may lie apart in memory.
    out : (r, c / CHUNK)
        Rows may lie apart in memory.
    """
    by_row = table.stride(1) == 1 and out.stride(1) == 1
    library = compiled.library() if by_row and compiled.takes(table[0], out[0]) else None
    if library is None:
        torch.amin(table.view(len(table), -1, CHUNK), -1, out=out)
        return
    getattr(library, f"chunk_minima_{compiled.name_of(table)}")(
        compiled.at(table), *map(compiled.whole, (len(table), table.stride(0), out.shape[1])),
        compiled.at(out), compiled.whole(out.stride(0)), compiled.threads(),
    )  # fmt: skip


def cells_up_to(table: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The finite cells up to each row's bound, and their places, in the order of places: (r, w).

    Beyond a row's own number stand infinity and -1; w is the largest number, at least one.

    Parameters
    ----------
    table : (r, c)
    bound : (r,)
    """
    library = compiled.library() if compiled.takes(table, bound) else None
    width, largest = _WIDTH, 0
    while library is not None:
        values = table.new_full((len(table), width), torch.inf)
        places = torch.full((len(table), width), -1, dtype=torch.int64)
        counts = torch.empty(len(table), dtype=torch.int64)
        getattr(library, f"cells_up_to_{compiled.name_of(table)}")(
            compiled.at(table), *compiled.shape(table), compiled.at(bound), compiled.whole(width),
            compiled.at(values), compiled.at(places), compiled.at(counts), compiled.threads(),
        )  # fmt: skip
        largest = int(counts.max()) if len(counts) else 0
        if largest <= width:
            return values[:, : max(largest, 1)], places[:, : max(largest, 1)]
        width = largest
    mask = (table <= bound[:, None]) & (table < torch.inf)
    row, place = mask.nonzero(as_tuple=True)
    counts = mask.sum(1)
    first = counts.cumsum(0) - counts
    at = torch.arange(len(row), device=row.device) - first[row]
    width = max(int(counts.max()) if len(counts) else 0, 1)
    values = table.new_full((len(table), width), torch.inf)
    places = torch.full((len(table), width), -1, device=table.device)
    values[row, at] = table[row, place]
    places[row, at] = place
    return values, places
