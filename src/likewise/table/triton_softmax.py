"""Softmaxes as Triton kernels: log-sum-exps of rows whose cells are never written down.

The maximum and the sum of exponentials are carried along the columns, and where the maximum moves the sum is
scaled (M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018); the slopes take the
cells again, as in cut-cross-entropy (E. Wijmans et al., "Cut your losses in large-vocabulary language
models", 2024).
"""

from __future__ import annotations

import triton
import triton.language as tl

from likewise.table.triton_cells import apart, cells

__all__ = ["log_sum_slope", "log_sums"]

_LEAST = tl.constexpr(-3e38)  # below any logit, and finite, so that no difference of maxima is NaN


@triton.jit
def log_sums(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
    row_codes, column_codes, row_ids, column_ids, n, m, span, rate, maximum, total,
    IDS: tl.constexpr, FORM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, PRECISION: tl.constexpr, RAISED: tl.constexpr,
):  # fmt: skip
    """The maximum of ``-rate d`` over a row's far cells, and the sum of exponentials less it.

    Program (b, s) takes the b-th ROWS rows and the s-th ``span`` columns; maximum and total are (spans, n).
    """
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    begin = tl.program_id(1) * span
    top = tl.full((ROWS,), _LEAST, dtype=tl.float32)
    summed = tl.zeros((ROWS,), dtype=tl.float32)
    for first in range(begin, tl.minimum(begin + span, m), COLUMNS):
        j = first + tl.arange(0, COLUMNS)
        far = apart(row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS)
        cell = cells(
            u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor,
            far, i, j, n, m, FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
        )  # fmt: skip
        logit = -rate * cell
        higher = tl.maximum(top, tl.max(logit, 1))
        summed = summed * tl.exp(top - higher) + tl.sum(tl.exp(logit - higher[:, None]), 1)
        top = higher
    place = tl.program_id(1).to(tl.int64) * n + i
    tl.store(maximum + place, top, mask=i < n)
    tl.store(total + place, summed, mask=i < n)


@triton.jit
def log_sum_slope(cell, shift, rate):
    """``-rate exp(-rate d + shift)``, zero where the cell or minus the shift is infinite."""
    return -rate * tl.exp(-rate * cell + shift)
