"""Hinges as Triton kernels: sums and counts over rows whose cells are never written down.

Hinges of single pairs (:mod:`~likewise.table.gaps`) and of triplets by the thresholds of their rows
(:mod:`~likewise.table.hinges`): the same sums, counts and slopes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from likewise.table.triton_cells import apart, cells

__all__ = ["gap_slope", "gap_sums", "limit_sums", "limits_above"]


@triton.jit
def gap_sums(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
    row_codes, column_codes, row_ids, column_ids, n, m, span, margin, value, active,
    POWER: tl.constexpr, IDS: tl.constexpr, FORM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, CHUNK: tl.constexpr, PRECISION: tl.constexpr, RAISED: tl.constexpr,
):  # fmt: skip
    """Sums of ``max(0, margin - d)`` (POWER 1) or half its square (2), and how many aren't zero.

    Program (b, s) takes the b-th ROWS rows and the s-th ``span`` columns; value and active are (spans, n).
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    begin = tl.program_id(1) * span
    summed = tl.zeros((ROWS,), dtype=tl.float32)
    count = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(begin, tl.minimum(begin + span, m), COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        far = apart(row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS)
        cell = cells(
            u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
            far, i, j, n, m, FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
        )  # fmt: skip
        gap = tl.maximum(margin - cell, 0.0)
        count += tl.sum((gap > 0).to(tl.float32), 1)
        if POWER == 2:
            gap = gap * gap * 0.5
        summed += tl.sum(gap, 1)
    place = tl.program_id(1).to(tl.int64) * n + i
    tl.store(value + place, summed, mask=i < n)
    tl.store(active + place, count, mask=i < n)


@triton.jit
def gap_slope(cell, margin, POWER: tl.constexpr):
    """The derivative of a hinge by its cell: minus the gap, or minus one where there is one."""
    gap = tl.maximum(margin - cell, 0.0)
    if POWER == 1:
        gap = (gap > 0).to(tl.float32)
    return -gap


@triton.jit
def limit_sums(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
    row_codes, column_codes, row_ids, column_ids, n, m, span, limits, middle, reach, many, below, value,
    IDS: tl.constexpr, FORM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, PRECISION: tl.constexpr, RAISED: tl.constexpr,
):  # fmt: skip
    """How many cells lie below each limit of a row (n, many), and the hinges measured from the row's middle.

    Program (b, s) takes the b-th ROWS rows and the s-th ``span`` columns; below is (n, many), zero at first,
    value (spans, n).
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    begin = tl.program_id(1) * span
    centre = tl.load(middle + i, mask=i < n, other=0.0)
    summed = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(begin, tl.minimum(begin + span, m), COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        far = apart(row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS)
        cell = cells(
            u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
            far, i, j, n, m, FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
        )  # fmt: skip
        above = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for number in range(many):
            place = i.to(tl.int64) * many + number
            limit = tl.load(limits + place, mask=i < n, other=-float("inf"))
            under = (cell < limit[:, None]).to(tl.float32)
            above += under
            # whole numbers, so that no order of adding matters; plain stores would race with other threads
            # of the program that hold the same rows
            tl.atomic_add(below + place, tl.sum(under, 1), mask=i < n)
        summed += tl.sum(tl.maximum(centre[:, None] - cell, -reach) * above, 1)
    tl.store(value + tl.program_id(1).to(tl.int64) * n + i, summed, mask=i < n)


@triton.jit
def limits_above(cell, limits, at, many, there, ALONG: tl.constexpr):
    """Minus the number of limits above each cell, those of its row (ALONG 1) or of its column's (ALONG 0)."""
    above = tl.zeros_like(cell)
    for number in range(many):
        limit = tl.load(limits + at.to(tl.int64) * many + number, mask=there, other=-float("inf"))
        if ALONG:
            above += (cell < limit[:, None]).to(tl.float32)
        else:
            above += (cell < limit[None, :]).to(tl.float32)
    return -above
