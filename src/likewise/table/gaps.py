"""Hinges ``max(0, margin - d)`` of single cells: their sums and slopes.

In PyTorch half a dozen passes over a tile; in C one (:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["GapSums", "add_gaps"]


@dataclass
class GapSums:
    """The sum of terms of each row so far (r,), and how many aren't zero (r,) where that is asked for."""

    value: Tensor
    active: Tensor | None


def add_gaps(
    tile: Tensor,
    margin: float,
    *,
    squared: bool,
    rows: GapSums | None = None,
    columns: GapSums | None = None,
    slopes: bool = False,
) -> Tensor | None:
    """Add half the squares of a tile's gaps (r, c), or the gaps themselves, to the sums of rows and columns.

    Slopes are not for a call that adds to columns.

    Returns
    -------
    Tensor or None
        With ``slopes`` the derivatives by the cells: minus the gap, or minus one where there is one.
    """
    sums = [part for part in (rows, columns) if part is not None]
    tensors = [part for each in sums for part in (each.value, each.active) if part is not None]
    if compiled.takes(tile, *tensors) and compiled.library() is not None:
        kind = compiled.name_of(tile)
        out = torch.empty_like(tile) if slopes else None
        where = [None if part is None else part.data_ptr() for part in (
            out, *((None, None) if rows is None else (rows.value, rows.active)),
            *((None, None) if columns is None else (columns.value, columns.active)),
        )]  # fmt: skip
        letter = "f" if kind == "float" else "d"
        if compiled.function(f"pair_gaps_{kind}", f"pii{letter}ipppppi", "i")(
            tile.data_ptr(), *tile.shape, margin, squared, *where, torch.get_num_threads()
        ):
            return out
    gap = (margin - tile).clamp_(min=0.0)
    for each, dim in ((rows, 1), (columns, 0)):
        if each is None:
            continue
        each.value += gap.square().sum(dim) / 2 if squared else gap.sum(dim)
        if each.active is not None:
            each.active += gap.sign().sum(dim)
    if not slopes:
        return None
    return gap.neg_() if squared else gap.sign_().neg_()
