"""What a miner chooses on a small table, and the walk over it: the table is measured once for both.

A miner that looks at a table and a loss that walks over what it chose would each list the near cells and take
the product, which on a batch of some hundred items costs several times what the loss does. So where
:mod:`~likewise.table.small` takes a table, the choice is made on it in C, and kept with it: the walk reads
its cells off the table and leads their slopes back through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from likewise.distances import Distance, Form, ProductDistance
from likewise.relations import Cells, Resolved
from likewise.table import compiled
from likewise.table.distributed import active_group
from likewise.table.protocol import Near, TableFunction, Tile
from likewise.table.reduction import Reduction, Walked
from likewise.table.small import SmallTable, fits, reduced

__all__ = ["Chosen", "choose_beyond", "choose_rows", "chosen_walk", "small_table"]


@dataclass(frozen=True)
class Chosen:
    """Some near cells of a small table, each row of them against one far cell.

    rows : (k,) the table's rows, or None where row i is row i.
    slots : (k,) numbers in the rows' lists of near cells, or None where all of the list is meant.
    far : (k,) columns. kept : (k,) bool, the others stand for nothing; or None where all do.
    near_distances : (k, 1) or (k, p), far_distances : (k, 1); infinite where not kept.
    """

    table: SmallTable
    rows: Tensor | None
    slots: Tensor | None
    far: Tensor
    kept: Tensor | None
    near_distances: Tensor
    far_distances: Tensor

    @property
    def near_columns(self) -> Tensor:
        """The columns of the near cells, (k, 1) or (k, p)."""
        assert self.table.near.cells is not None
        columns = self.table.near.cells.columns
        if self.slots is None:
            return columns
        if self.rows is not None:
            return columns[self.rows, self.slots, None]
        # a table without a near cell has no list to read from
        return columns.gather(1, self.slots[:, None]) if columns.shape[1] else self.slots[:, None]

    def of(self, form: Form, rows: Tensor, columns: Tensor | None, *, unit: bool) -> bool:
        """Whether the choice was made on the table of these very features."""
        table = self.table
        return table.form is form and table.unit == unit and table.of(rows, columns)


def small_table(
    distance: Distance, rows: Tensor, columns: Tensor | None, resolved: Resolved
) -> SmallTable | None:
    """The table of a batch, if it is small enough and its distance that of a product of the embeddings."""
    if (
        active_group() is not None
        or not isinstance(distance, ProductDistance)
        or type(distance).features is not ProductDistance.features
        or type(distance).column_features is not ProductDistance.column_features
    ):
        return None
    rows, columns = rows.detach(), None if columns is None else columns.detach()
    if not fits(resolved, rows, columns):
        return None
    assert resolved.classes is not None
    return SmallTable(distance.form, rows, columns, resolved.classes, unit=distance.unit)


def _given(table: SmallTable) -> tuple[Any, ...]:
    assert table.near.cells is not None
    dtype = table.distances.dtype
    # as ProductKernel.rounding, but for the size of the features
    error = torch.finfo(dtype).eps * (4 + table.width**0.5)
    return (
        *table.sides, table.width, table.form_number, table.row_squares, table.column_squares, error,
        table.near.distances.data_ptr(), table.near.cells.columns.data_ptr(), table.near.valid.data_ptr(),
        table.near.distances.shape[1], table.distances.data_ptr(), table.scratch.data_ptr(),
    )  # fmt: skip


_TABLE = "pipiiippdpppipp"


def choose_rows(
    table: SmallTable, near: Literal["all", "farthest", "nearest"], far: Literal["nearest", "beyond"]
) -> Chosen:
    """For each row all its near cells, the farthest or the nearest, and one far cell: the nearest, or the
    nearest beyond the near one. Rows that lack either aren't kept.
    """
    n, like = table.distances.shape[0], table.distances
    slots, columns = torch.empty(n, dtype=torch.int64), torch.empty(n, dtype=torch.int64)
    kept = torch.empty(n, dtype=torch.bool)
    far_distances = like.new_empty((n, 1))
    near_distances = None if near == "all" else like.new_empty((n, 1))
    compiled.function(f"choose_rows_{compiled.name_of(like)}", _TABLE + "iippppp")(
        *_given(table), ("all", "farthest", "nearest").index(near), far == "beyond", slots.data_ptr(),
        columns.data_ptr(), kept.data_ptr(), None if near_distances is None else near_distances.data_ptr(),
        far_distances.data_ptr(),
    )  # fmt: skip
    if near_distances is None:
        near_distances = table.near.distances.masked_fill(~kept[:, None], torch.inf)
        return Chosen(table, None, None, columns, kept, near_distances, far_distances)
    return Chosen(table, None, slots, columns, kept, near_distances, far_distances)


def choose_beyond(table: SmallTable, *, otherwise_farthest: bool) -> tuple[Chosen, Tensor, Tensor]:
    """For each near cell the nearest far cell beyond it, or else, if asked for, the farthest there is.

    Gives also the rows and the columns (k,) of the near cells.
    """
    like, count = table.distances, table.near.distances.numel()
    rows, slots, near, far = (torch.empty(count, dtype=torch.int64) for _ in range(4))
    near_distances, far_distances = like.new_empty((count, 1)), like.new_empty((count, 1))
    found = compiled.function(f"choose_beyond_{compiled.name_of(like)}", _TABLE + "ipppppp", "i")(
        *_given(table), otherwise_farthest, rows.data_ptr(), slots.data_ptr(), near.data_ptr(),
        far.data_ptr(), near_distances.data_ptr(), far_distances.data_ptr(),
    )  # fmt: skip
    rows, slots, near, far = (part[:found] for part in (rows, slots, near, far))
    chosen = Chosen(table, rows, slots, far, None, near_distances[:found], far_distances[:found])
    return chosen, rows, near


def chosen_walk(
    loss: TableFunction[Any],
    chosen: Chosen,
    reduction: Reduction,
    *,
    weights: Tensor | None,
    want_gradient: bool,
    want_columns: bool,
) -> Walked:
    """Walk over what was chosen; see :func:`likewise.table.walk.walk`, which gives the same.

    weights : (k,) or None.
    """
    table, near, tile = chosen.table, *_cells(chosen, want_gradient=want_gradient)
    state = loss.begin(near)
    loss.observe(tile, state)
    out = reduced(loss.finish(state), reduction, weights, apart=loss.apart)
    if not want_gradient:
        return out
    scale = 1.0 / out.divisors["far" if loss.apart else "joint"]
    near_scale = out.divisors["far"] / out.divisors["near"] if loss.apart else 1.0
    slopes, near_slopes = loss.slope(tile, state), loss.near_slope(state)
    if weights is not None:
        slopes, near_slopes = slopes * weights[:, None], near_slopes * weights[:, None]
    n, m = table.distances.shape
    rows = torch.arange(n) if chosen.rows is None else chosen.rows
    whole = slopes.new_zeros(n * m).index_add_(0, rows * m + chosen.far, slopes.reshape(-1))
    if chosen.slots is not None:
        listed, count = slopes.new_zeros((n, table.near.distances.shape[1])), table.near.distances.shape[1]
        if count:
            listed.view(-1).index_add_(0, rows * count + chosen.slots, near_slopes.reshape(-1))
        near_slopes = listed
    out.gradients = table.gradients(
        whole.view(n, m), near_slopes, None, scale=scale, near_scale=near_scale, columns=want_columns
    )
    return out


def _cells(chosen: Chosen, *, want_gradient: bool) -> tuple[Near, Tile]:
    """The near and the far cells as a loss sees them."""
    one = chosen.far[:, None]
    if chosen.kept is None:
        kept = torch.ones_like(one, dtype=torch.bool)
        count = far_count = torch.ones_like(chosen.far_distances[:, 0])
    else:
        kept = chosen.kept[:, None]
        count = far_count = chosen.kept.to(chosen.far_distances.dtype)
    valid = kept
    if chosen.slots is None:
        valid = chosen.table.near.valid & kept
        count = chosen.table.near.count * count
    cells = Cells(chosen.near_columns, valid)
    near = Near(chosen.near_distances, valid, count, far_count, chosen.kept is None, cells, 0, chosen.rows)
    return near, Tile(chosen.far_distances, kept=want_gradient, cells=Cells(one, kept))
