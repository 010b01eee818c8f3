"""Distances of listed cells by subtraction, and what their slopes give to the gradients.

In PyTorch a gather of both sides and a few passes over it; in C (:mod:`~likewise.table.compiled`) one pass
without a gather.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.distances import Form
from likewise.table import compiled
from likewise.table.kernels import chunks
from likewise.table.side import Side

__all__ = ["FORMS", "add_pair_gradients", "gathered_cost", "pair_distances"]

FORMS = {
    Form.SQUARED: 0,
    Form.EUCLIDEAN: 1,
    Form.HALF_SQUARED: 2,
    Form.NEGATIVE_PRODUCT: 3,
}
"""The numbers of the forms in C."""

_WIDEST = 1 << 14
"""Numbers of an embedding up to which C holds copies of a few."""


def gathered_cost(u: Side, v: Side) -> int:
    """How many cells of a product cost what a listed cell does, to measure or to spread."""
    return 100 if _kind(u, v) is None else 10


def _kind(u: Side, v: Side) -> str | None:
    there = u.given.shape[1] <= _WIDEST and compiled.takes(u.given, v.given)
    return compiled.name_of(u.given) if there and compiled.library() is not None else None


def _where(side: Side) -> tuple[int, int | None]:
    """Where features lie as they enter subtractions, and scales for them if needed."""
    features, scale = side.by_subtraction()
    return features.data_ptr(), None if scale is None else scale.data_ptr()


def pair_distances(form: Form, u: Side, v: Side, rows: Tensor, columns: Tensor) -> Tensor:
    """The distances (s,) of single cells, given by number of row and column (s,), int64."""
    kind = _kind(u, v)
    if kind is not None:
        rows, columns = rows.contiguous(), columns.contiguous()
        out = u.given.new_empty(rows.shape)
        (mine, my_scale), (other, other_scale) = _where(u), _where(v)
        compiled.function(f"pair_distances_{kind}", "ppppiippipi")(
            mine, other, my_scale, other_scale, u.given.shape[1], FORMS[form], rows.data_ptr(),
            columns.data_ptr(), len(rows), out.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return out
    parts = [
        form.pairs(u.single(row), v.single(column)) for row, column in chunks(u.given.shape[1], rows, columns)
    ]
    return torch.cat(parts) if parts else u.given.new_zeros(0)


def add_pair_gradients(
    form: Form,
    u: Side,
    v: Side,
    rows: Tensor,
    columns: Tensor,
    slopes: Tensor,
    distances: Tensor,
    row_gradient: Tensor,
    column_gradient: Tensor | None,
) -> None:
    """Add to the gradients what slopes (s,) of single cells at distances (s,) give."""
    if form is Form.EUCLIDEAN:
        # the slope of a norm at zero is zero
        slopes = torch.where(distances > 0, slopes / distances, 0.0)
    elif form is Form.SQUARED:
        slopes = slopes * 2
    kind = _kind(u, v)
    gradients = [row_gradient] if column_gradient is None else [row_gradient, column_gradient]
    if kind is not None and compiled.takes(slopes, *gradients):
        rows, columns = rows.contiguous(), columns.contiguous()
        (mine, my_scale), (other, other_scale) = _where(u), _where(v)
        compiled.function(f"pair_gradients_{kind}", "ppppiipppipp")(
            mine, other, my_scale, other_scale, u.given.shape[1], FORMS[form], rows.data_ptr(),
            columns.data_ptr(), slopes.data_ptr(), len(rows), row_gradient.data_ptr(),
            None if column_gradient is None else column_gradient.data_ptr(),
        )  # fmt: skip
        return
    for some_rows, some_columns, part in chunks(u.given.shape[1], rows, columns, slopes[:, None]):
        mine_, other_ = u.single(some_rows), v.single(some_columns)
        product = form is Form.NEGATIVE_PRODUCT
        pull_u, pull_v = (-other_, -mine_) if product else (mine_ - other_, other_ - mine_)
        row_gradient.index_add_(0, some_rows, pull_u.mul_(part))
        if column_gradient is not None:
            column_gradient.index_add_(0, some_columns, pull_v.mul_(part))
