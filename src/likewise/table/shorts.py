"""Keys of a few queries against many rows that are held as whole numbers of 16 bits.

With few queries a product is as slow as the rows are read from memory; 16 bits are half of what float32 is.
It has a form in PyTorch and one in C (:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["GROUP", "in_groups", "short_keys"]

GROUP = 32
"""Rows that lie together, column by column."""


def in_groups(rows: Tensor) -> Tensor:
    """Rows (n, f) as groups (ceil(n / GROUP), f, GROUP), with zeros behind the last."""
    padded = torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % GROUP))
    return padded.view(-1, GROUP, rows.shape[1]).transpose(1, 2).contiguous()


def short_keys(groups: Tensor, scaled: Tensor, offsets: Tensor, out: Tensor) -> None:
    """Write ``offsets[j] - scaled[i] @ row j`` for every query and row.

    Parameters
    ----------
    groups : int16 (ceil(n / GROUP), f, GROUP)
        As :func:`in_groups` makes them.
    scaled : float32 (q, f)
        Queries, each number multiplied by what one step of its column stands for.
    offsets : float32 (n,)
    out : float32 (q, at least n)
        Rows may lie apart in memory; what lies beyond n stays.
    """
    n, width, by_row = len(offsets), groups.shape[1], out.stride(1) == 1
    library = compiled.library() if by_row and compiled.takes(scaled, offsets, out[0]) else None
    if library is None or not groups.is_contiguous():
        rows = groups.transpose(1, 2).reshape(-1, width)[:n].float()
        torch.addmm(offsets, scaled, rows.T, alpha=-1, out=out[:, :n])
        return
    library.short_keys(
        compiled.at(groups), *map(compiled.whole, (n, width)), compiled.at(scaled),
        compiled.whole(len(scaled)), compiled.at(offsets), compiled.at(out),
        compiled.whole(out.stride(0)), compiled.threads(),
    )  # fmt: skip
