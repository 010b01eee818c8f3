"""The near cells of a small table of classes, found in C by looking at each cell."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.relations.base import Classes, Resolved
from likewise.table import compiled

__all__ = ["list_near", "near_listing"]

_LISTED = 1 << 14
"""Cells up to which near ones are found by looking at each."""


def list_near(classes: Classes, listed: Tensor, start: Tensor) -> int:
    """List the cells that aren't far; how many are near, times 2^32, and most of a row, as one number.

    listed, start : (n * m,) and (n + 1,) int32, filled: each row's columns, those not near as ``-1 - j``.
    """
    ids, n, m = classes.sides, classes.rows.shape[0], classes.columns.shape[0]
    codes = classes.rows.contiguous(), classes.columns.contiguous()
    known = None if ids.row_ids is None else ids.row_ids.contiguous()
    other = None if ids.column_ids is None else ids.column_ids.contiguous()
    packed: int = compiled.function("small_classes", "pipippipp", "i")(
        codes[0].data_ptr(), n, codes[1].data_ptr(), m, None if known is None else known.data_ptr(),
        None if other is None else other.data_ptr(), ids.columns_are_rows, listed.data_ptr(),
        start.data_ptr(),
    )  # fmt: skip
    return packed


def near_listing(resolved: Resolved) -> tuple[Tensor, Tensor] | None:
    """The rows and columns (k,) of the near cells of a small table of classes, in order; or None."""
    classes, cells = resolved.classes, resolved.n_rows * resolved.n_columns
    # of larger ones the relation lists them by sorting, which is faster there
    if classes is None or not 0 < cells <= _LISTED or not classes.rows.is_cpu or compiled.library() is None:
        return None
    n = resolved.n_rows
    listed = torch.empty(cells, dtype=torch.int32)  # most of it is never touched
    start = torch.empty(n + 1, dtype=torch.int32)
    rows, columns = torch.empty((2, list_near(classes, listed, start) >> 32), dtype=torch.int64)
    compiled.function("small_near", "ppipp")(
        listed.data_ptr(), start.data_ptr(), n, rows.data_ptr(), columns.data_ptr()
    )
    return rows, columns
