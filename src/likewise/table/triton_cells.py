"""Distances of a tile within a Triton kernel: the product, its small cells by subtraction, who is far.

The same arithmetic as :mod:`~likewise.table.product`, but no cell leaves the chip. Feature arrays are
contiguous (n, width) in float32, bfloat16 or float16; what is added up is float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from likewise.distances import Form
from likewise.table.pairs import FORMS
from likewise.table.product import SMALL

__all__ = [
    "EUCLIDEAN",
    "NEGATIVE_PRODUCT",
    "SQUARED",
    "apart",
    "by_subtraction",
    "cells",
    "dot",
    "finished",
    "measured",
]

SQUARED = tl.constexpr(FORMS[Form.SQUARED])
EUCLIDEAN = tl.constexpr(FORMS[Form.EUCLIDEAN])
_HALF_SQUARED = tl.constexpr(FORMS[Form.HALF_SQUARED])
NEGATIVE_PRODUCT = tl.constexpr(FORMS[Form.NEGATIVE_PRODUCT])
_SMALL = tl.constexpr(SMALL)


@triton.jit
def dot(a, b, total, PRECISION: tl.constexpr, RAISED: tl.constexpr):
    """``total + a @ b`` in float32. RAISED multiplies in float32: the interpreter can't multiply bfloat16."""
    if RAISED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def apart(
    row_codes, column_codes, row_ids, column_ids, i, j, n, m, IDS: tl.constexpr
):  # fmt: skip
    """Which cells of rows i against columns j are far: another class, and another item."""
    mine = tl.load(row_codes + i, mask=i < n, other=0)
    theirs = tl.load(column_codes + j, mask=j < m, other=0)
    far = (mine[:, None] != theirs[None, :]) & (i < n)[:, None] & (j < m)[None, :]
    if IDS:
        mine = tl.load(row_ids + i, mask=i < n, other=0)
        theirs = tl.load(column_ids + j, mask=j < m, other=0)
        far = far & (mine[:, None] != theirs[None, :])
    return far


@triton.jit
def measured(
    u, u_scale, u_squares, v, v_scale, v_squares, far, i, j, n, m,
    FORM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    PRECISION: tl.constexpr, RAISED: tl.constexpr,
):  # fmt: skip
    """Cells (ROWS, COLUMNS) of rows i against columns j as the product gives them, and which are too small.

    A cell is a squared distance, or minus a product. u (n, WIDTH) times u_scale (n,) are the rows as they
    enter products, u_squares (n,) their squared norms; v... those of the columns.
    """
    wide_i, wide_j = i.to(tl.int64) * WIDTH, j.to(tl.int64) * WIDTH
    product = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for first in range(0, WIDTH, CHUNK):
        f = first + tl.arange(0, CHUNK)
        a = tl.load(u + wide_i[:, None] + f[None, :], mask=(i < n)[:, None] & (f < WIDTH)[None, :], other=0.0)
        b = tl.load(v + wide_j[None, :] + f[:, None], mask=(j < m)[None, :] & (f < WIDTH)[:, None], other=0.0)
        product = dot(a, b, product, PRECISION, RAISED)
    mine = tl.load(u_scale + i, mask=i < n, other=0.0)
    theirs = tl.load(v_scale + j, mask=j < m, other=0.0)
    product = product * mine[:, None] * theirs[None, :]
    if FORM == NEGATIVE_PRODUCT:
        cell = -product
        small = far & (i < 0)[:, None]
    else:
        mine = tl.load(u_squares + i, mask=i < n, other=0.0)
        theirs = tl.load(v_squares + j, mask=j < m, other=0.0)
        whole = mine[:, None] + theirs[None, :]
        cell = whole - 2.0 * product
        small = far & (cell <= whole * _SMALL)
    return cell, small


@triton.jit
def by_subtraction(
    u_given, u_factor, v_given, v_factor, i, j, n, m, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Squared distances without a product, of features u_given (n, WIDTH) times u_factor (n,)."""
    wide_i, wide_j = i.to(tl.int64) * WIDTH, j.to(tl.int64) * WIDTH
    mine = tl.load(u_factor + i, mask=i < n, other=0.0)
    theirs = tl.load(v_factor + j, mask=j < m, other=0.0)
    cell = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for feature in range(WIDTH):
        a = tl.load(u_given + wide_i + feature, mask=i < n, other=0.0).to(tl.float32) * mine
        b = tl.load(v_given + wide_j + feature, mask=j < m, other=0.0).to(tl.float32) * theirs
        gap = a[:, None] - b[None, :]
        cell += gap * gap
    return cell


@triton.jit
def finished(cell, there, FORM: tl.constexpr):
    """Distances from squared ones or products, infinite where not ``there``."""
    if FORM == _HALF_SQUARED:
        cell = cell * 0.5
    if FORM == EUCLIDEAN:
        cell = tl.sqrt(tl.maximum(cell, 0.0))  # below zero only where not there
    return tl.where(there, cell, float("inf"))


@triton.jit
def cells(
    u, u_scale, u_squares, u_given, u_factor, v, v_scale, v_squares, v_given, v_factor, far, i, j, n, m,
    FORM: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHUNK: tl.constexpr,
    PRECISION: tl.constexpr, RAISED: tl.constexpr,
):  # fmt: skip
    """Distances (ROWS, COLUMNS) of rows i against columns j, infinite where not far; small ones are exact."""
    cell, small = measured(
        u, u_scale, u_squares, v, v_scale, v_squares, far, i, j, n, m,
        FORM, WIDTH, ROWS, COLUMNS, CHUNK, PRECISION, RAISED,
    )  # fmt: skip
    if FORM != NEGATIVE_PRODUCT:
        if tl.max(tl.max(small.to(tl.int32), 1), 0) > 0:  # rare
            exact = by_subtraction(u_given, u_factor, v_given, v_factor, i, j, n, m, WIDTH, ROWS, COLUMNS)
            cell = tl.where(small, exact, cell)
    return finished(cell, far, FORM)
