"""A walk whose far cells are never written down: kernels in Triton sum them up and spread their slopes.

Tiles that a GPU writes to its memory and reads again cost more than their products. Where a loss says in a
few numbers what it makes of a far cell (:mod:`~likewise.table.far_terms`), a kernel takes product and loss at
once, and takes the product again on the way back. Near cells are few and listed, as in every walk.

These kernels have been run by Triton's interpreter alone, on a CPU, which tells that their results are right
and nothing of their speed. Until they are measured on a GPU they have to be asked for:
``LIKEWISE_TRITON=1`` in the environment. Without that, without Triton or without a GPU the other walks do the
same.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

import torch
from torch import Tensor

from likewise.relations.base import Resolved
from likewise.table.blocks import TILE, Plan, visits
from likewise.table.far_terms import FarTerms
from likewise.table.product import ProductKernel
from likewise.table.protocol import Rows, TableFunction, WholeRows
from likewise.table.reduction import NearCells, Reduction, Walked
from likewise.table.step import added, near_of, scaled
from likewise.table.walk import joined

__all__ = ["LISTED", "LONGEST", "fused_walk", "state", "takes"]

LISTED = 1 << 24
"""Most near cells in all, as the lists of all rows are held at once: some 300 MB."""

LONGEST = 64
"""Most near cells of a row where each far cell is compared with as many limits, but in a small table."""


@functools.cache
def _triton() -> tuple[Any, str]:
    """The module that calls the kernels, or None; and why not, in a few words."""
    if os.environ.get("LIKEWISE_TRITON", "0") != "1":
        return None, "not asked for (LIKEWISE_TRITON=1)"
    if not (torch.cuda.is_available() or _interpreted()):
        return None, "none, PyTorch does their work (no GPU)"
    try:
        return importlib.import_module("likewise.table.triton_table"), "in use, and not measured on a GPU yet"
    except ImportError as problem:
        return None, f"none, PyTorch does their work ({problem})"


def _interpreted() -> bool:
    """Whether Triton interprets its kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def state() -> str:
    """Whether the kernels in Triton are used, and if not why, in a few words."""
    return _triton()[1]


def takes(loss: TableFunction[Any] | WholeRows, resolved: Resolved, rows: Tensor) -> bool:
    """Whether a table can be walked here, but for the number of processes."""
    return (
        isinstance(loss, TableFunction)
        and loss.fused
        and rows.dtype is torch.float32
        and (rows.is_cuda or _interpreted())
        and _triton()[0] is not None
        and resolved.n_rows > 0
        and resolved.n_columns > 0
        and rows.shape[1] > 0
        and resolved.classes is not None
        and resolved.anchors is None
        and not resolved.far_is_listed
        and (not loss.limited or resolved.longest <= LONGEST or resolved.n_rows * resolved.n_columns <= TILE)
        and resolved.n_rows * resolved.longest <= LISTED
    )


def _table(kernel: ProductKernel, resolved: Resolved, half: torch.dtype | None) -> Any:
    """The table as kernels in Triton read it."""
    module, classes = _triton()[0], resolved.classes
    assert classes is not None
    sides, (u, v) = classes.sides, kernel.sides
    half = None if u.mean is not None or v.mean is not None else half
    codes = _short(classes.rows, classes.columns)
    ids: tuple[Tensor | None, Tensor | None] = (None, None)
    if sides.row_ids is not None and sides.column_ids is not None:
        ids = _short(sides.row_ids, sides.column_ids)
    rows = module.Features.of(u, codes[0], ids[0], half)
    if u is v:
        return module.TritonTable(kernel.form, rows, None)
    return module.TritonTable(kernel.form, rows, module.Features.of(v, codes[1], ids[1], half))


def _short(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Labels to 2^63 as numbers of 32 bits, equal where these are."""
    if rows is columns:
        short = torch.unique(rows, return_inverse=True)[1].int()
        return short, short
    short = torch.unique(torch.cat([rows, columns]), return_inverse=True)[1].int()
    return short[: len(rows)], short[len(rows) :]


def fused_walk(
    loss: TableFunction[Any],
    kernel: ProductKernel,
    resolved: Resolved,
    reduction: Reduction,
    *,
    weights: Tensor | None,
    want_gradient: bool,
    like: Tensor,
    near: NearCells | None = None,
    half: torch.dtype | None = None,
) -> Walked:
    """Walk over a table that is taken here; see :func:`likewise.table.walk.walk`, which gives the same.

    half : the dtype in which features were given, if it is one of half precision. Distances and sums are
        those of float32 then too; in bfloat16 slopes are rounded before they are multiplied with features.
    """
    if near is not None:
        near.begin(resolved, None)
    table, n = _table(kernel, resolved, half), resolved.n_rows
    (visit,) = visits(resolved, kernel, Plan(n, n, resolved.n_columns, whole=False), like, (0, n))
    cells = visit.block.near
    distances = kernel.listed(cells)
    held = loss.begin(near_of(kernel, visit, distances))
    loss.far_found(table.sums(loss.far_terms(held)), held)
    found: list[Rows] = [loss.finish(held)]
    out = Walked(joined(found, ("near", "far") if loss.apart else ("joint",), like))
    more = None if near is None else near.take(distances[cells.valid])
    out.reduce(reduction, weights)
    out.scale = 1.0 / out.divisors["far" if loss.apart else "joint"]
    if not want_gradient:
        return out
    terms: FarTerms = loss.far_terms(held)
    by_row = None if weights is None else weights.contiguous()
    kernel.add_far(*table.gradients(terms, by_row, columns=kernel.wants_columns))
    near_scale = out.divisors["far"] / out.divisors["near"] if loss.apart else 1.0
    near_slopes = scaled(loss.near_slope(held), None if weights is None else weights[:, None], near_scale)
    if more is not None:
        near_slopes = added(near_slopes, cells, more)
    kernel.spread_listed(near_slopes, cells, distances)
    out.gradients = kernel.gradients()
    return out
