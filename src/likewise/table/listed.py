"""Distances of listed pairs of items as one differentiable operation, without a gather of both sides.

Features are brought to unit length once an item, not once a pair, and distances are taken by subtraction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likewise.distances import Form, ProductDistance
from likewise.errors import UnsupportedError
from likewise.table.pairs import add_pair_gradients, pair_distances
from likewise.table.product import features_of
from likewise.table.side import Side

__all__ = ["listed_distances"]


def listed_distances(
    distance: ProductDistance, rows: Tensor, columns: Tensor | None, left: Tensor, right: Tensor
) -> Tensor:
    """The distances (k,) of rows left (k,) of (n, d) and columns right (k,) of (m, d), or of the rows.

    Differentiable once in rows, columns and the distance's parameters.
    """
    u, v = features_of(distance, rows, columns)
    found: Tensor = _Listed.apply(distance.form, distance.unit, u, v, left, right)  # type: ignore[no-untyped-call]
    return found


class _Listed(torch.autograd.Function):
    """The operation behind :func:`listed_distances`."""

    @staticmethod
    def forward(
        ctx: Any, form: Form, unit: bool, rows: Tensor, columns: Tensor | None, left: Tensor, right: Tensor
    ) -> Tensor:
        u = Side(rows.detach(), unit=unit)
        v = u if columns is None else Side(columns.detach(), unit=unit)
        found = pair_distances(form, u, v, left, right)
        ctx.form, ctx.sides = form, (u, v)
        # rows and columns too, so that a change in place before backward is noticed
        ctx.save_for_backward(rows, columns, left, right, found)
        return found

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "distances of listed pairs can't be differentiated twice: call backward without "
                "create_graph=True"
            )
        _, columns, left, right, found = ctx.saved_tensors
        u, v = ctx.sides
        mine = torch.zeros_like(u.given)
        shared = columns is None
        theirs = mine if shared else torch.zeros_like(v.given) if ctx.needs_input_grad[3] else None
        # where scales follow, what a unit vector's slopes add up to is taken off again
        add_pair_gradients(ctx.form, u, v, left, right, slopes.contiguous(), found, mine, theirs)
        u.back(mine, None)
        if theirs is not None and not shared:
            v.back(theirs, None)
        return None, None, mine, None if shared else theirs, None, None
