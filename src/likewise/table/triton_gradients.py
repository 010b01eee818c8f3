"""The way back from far cells to gradients as Triton kernels: cells are taken again, and never written down.

A program owns some rows of one side and goes along the other side; so nothing is added to by two programs,
and the result doesn't depend on their order. Small cells, which are rare, have a kernel of their own: what it
needs would cost the other registers.
"""

from __future__ import annotations

import triton
import triton.language as tl

from likewise.table.triton_cells import (
    EUCLIDEAN,
    NEGATIVE_PRODUCT,
    SQUARED,
    apart,
    by_subtraction,
    dot,
    finished,
    measured,
)
from likewise.table.triton_hinges import gap_slope, limits_above
from likewise.table.triton_softmax import log_sum_slope

__all__ = ["spread", "spread_small"]


@triton.jit
def _slopes(
    cell, u_terms, v_terms, u_weight, v_weight, i, j, n, m, rate, many,
    KIND: tl.constexpr, OWN: tl.constexpr, OTHER: tl.constexpr, FORM: tl.constexpr,
):  # fmt: skip
    """The derivatives of all values by cells (r, c), over what turns them into a multiple of ``u - v``."""
    slope = tl.zeros_like(cell)
    if OWN:
        weight = tl.load(u_weight + i, mask=i < n, other=0.0)
        if KIND == 0:
            shift = tl.load(u_terms + i, mask=i < n, other=-float("inf"))
            slope += log_sum_slope(cell, shift[:, None], rate) * weight[:, None]
        elif KIND == 3:
            slope += limits_above(cell, u_terms, i, many, i < n, 1) * weight[:, None]
        else:
            slope += gap_slope(cell, rate, KIND) * weight[:, None]
    if OTHER:
        weight = tl.load(v_weight + j, mask=j < m, other=0.0)
        if KIND == 0:
            shift = tl.load(v_terms + j, mask=j < m, other=-float("inf"))
            slope += log_sum_slope(cell, shift[None, :], rate) * weight[None, :]
        elif KIND == 3:
            slope += limits_above(cell, v_terms, j, many, j < m, 0) * weight[None, :]
        else:
            slope += gap_slope(cell, rate, KIND) * weight[None, :]
    if FORM == EUCLIDEAN:  # the slope of a norm at zero is zero
        slope = tl.where(cell > 0, slope / tl.where(cell > 0, cell, 1.0), 0.0)
    if FORM == SQUARED:
        slope = slope * 2.0
    return slope


@triton.jit
def spread(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
    row_codes, column_codes, row_ids, column_ids, n, m, span, u_terms, v_terms, u_weight, v_weight,
    rate, many, gradient, sums, marks,
    KIND: tl.constexpr, OWN: tl.constexpr, OTHER: tl.constexpr, IDS: tl.constexpr, FORM: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    FEATURES: tl.constexpr, PRECISION: tl.constexpr, RAISED: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """Gradients of rows u as they enter products, but for what their sums of slopes give and for small cells.

    OWN takes the slopes of cells as those of their rows, OTHER as those of their columns (as anchors); both
    where columns are rows. KIND is 0 for softmaxes (``rate``; terms are shifts (n,)), 1 and 2 for hinges of
    pairs and their halved squares (``rate`` is the margin), 3 for limits (terms (n, many)). Weights (n,) are
    of anchors. Program (b, c, s) takes the b-th ROWS rows, the c-th FEATURES features and the s-th ``span``
    columns; gradient is (spans, n, WIDTH), sums (spans, n), and marks int8 (blocks of rows, of columns) tell
    which tiles hold small cells. HALF multiplies slopes and features in bfloat16.
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    f = tl.program_id(1) * FEATURES + tl.arange(0, FEATURES)
    begin = tl.program_id(2) * span
    out = tl.zeros((ROWS, FEATURES), dtype=tl.float32)
    summed = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(begin, tl.minimum(begin + span, m), COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        far = apart(row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS)
        cell, small = measured(
            u, u_scale, u_squares, v, v_scale, v_squares, far, i, j, n, m,
            FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
        )  # fmt: skip
        if FORM != NEGATIVE_PRODUCT:
            place = tl.program_id(0).to(tl.int64) * tl.cdiv(m, COLUMNS) + first // COLUMNS
            tl.store(marks + place, tl.max(tl.max(small.to(tl.int32), 1), 0).to(tl.int8))
        cell = finished(cell, far & (small == 0), FORM)
        slope = _slopes(
            cell, u_terms, v_terms, u_weight, v_weight, i, j, n, m, rate, many, KIND, OWN, OTHER, FORM
        )
        summed += tl.sum(slope, 1)
        theirs = tl.load(v_scale + j, mask=j < m, other=0.0)
        by_column = -slope * theirs[None, :]
        at = j.to(tl.int64)[:, None] * WIDTH + f[None, :]
        other = tl.load(v + at, mask=(j < m)[:, None] & (f < WIDTH)[None, :], other=0.0)
        if HALF:
            out = dot(by_column.to(tl.bfloat16), other, out, PRECISION, RAISED)
        else:
            out = dot(by_column, other.to(tl.float32), out, PRECISION, RAISED)
    place = tl.program_id(2).to(tl.int64) * n + i
    tl.store(
        gradient + place[:, None] * WIDTH + f[None, :], out, mask=(i < n)[:, None] & (f < WIDTH)[None, :]
    )
    if tl.program_id(1) == 0:
        tl.store(sums + place, summed, mask=i < n)


@triton.jit
def spread_small(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
    row_codes, column_codes, row_ids, column_ids, n, m, span, u_terms, v_terms, u_weight, v_weight,
    rate, many, gradient, sums, marks,
    KIND: tl.constexpr, OWN: tl.constexpr, OTHER: tl.constexpr, IDS: tl.constexpr, FORM: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    FEATURES: tl.constexpr, PRECISION: tl.constexpr, RAISED: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """Add to the gradients what small cells give, by subtraction, in the tiles that :func:`spread` marked.

    Arguments as there; program b takes the b-th ROWS rows and all columns.
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    wide_i = i.to(tl.int64) * WIDTH
    mine = tl.load(u_factor + i, mask=i < n, other=0.0)
    for first in range(0, m, COLUMNS):
        place = tl.program_id(0).to(tl.int64) * tl.cdiv(m, COLUMNS) + first // COLUMNS
        if tl.load(marks + place) > 0:
            j = first + tl.arange(0, COLUMNS)
            wide_j = j.to(tl.int64) * WIDTH
            far = apart(row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS)
            _, small = measured(
                u, u_scale, u_squares, v, v_scale, v_squares, far, i, j, n, m,
                FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
            )  # fmt: skip
            exact = by_subtraction(u_given, u_factor, v_given, v_factor, i, j, n, m, WIDTH, ROWS, COLUMNS)
            cell = finished(exact, small, FORM)
            slope = _slopes(
                cell, u_terms, v_terms, u_weight, v_weight, i, j, n, m, rate, many, KIND, OWN, OTHER, FORM
            )
            theirs = tl.load(v_factor + j, mask=j < m, other=0.0)
            for feature in range(WIDTH):
                a = tl.load(u_given + wide_i + feature, mask=i < n, other=0.0).to(tl.float32) * mine
                b = tl.load(v_given + wide_j + feature, mask=j < m, other=0.0).to(tl.float32) * theirs
                found = tl.sum(slope * (a[:, None] - b[None, :]), 1)
                # no other program adds to these rows; a plain store would race with threads of this one that
                # hold the same
                tl.atomic_add(gradient + wide_i + feature, found, mask=i < n)
