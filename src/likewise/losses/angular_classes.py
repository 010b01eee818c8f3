"""Angular loss of labelled batches in three products, however many positives a class has.

Of a positive pair (a, p) and a negative n the exponent is ``-2 t (d_an + d_pn)`` and something of the pair
alone, with squared distances d. So the sum over n is a product of what a and p make of n: with
``E = exp(-2 t d)`` of a class against all columns, zero where these are of the class, all its pairs are the
cells of ``E E'``. Rows are taken class by class, whole rows at a time; nothing of pairs by columns is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Form
from likewise.errors import UnsupportedError
from likewise.relations import Resolved
from likewise.table.blocks import TILE
from likewise.table.product import ProductKernel

__all__ = ["MOST", "angular_value", "by_classes"]

MOST = 4.0
"""The largest t here: products of two exponentials of it are numbers in float32."""


def by_classes(resolved: Resolved) -> bool:
    """Whether a table is one of labels, whose columns are its rows and all known."""
    classes = resolved.classes
    return (
        classes is not None
        and classes.sides.columns_are_rows
        and classes.sides.row_ids is None
        and classes.rows is classes.columns
        and resolved.anchors is None
    )


def angular_value(
    rows: Tensor, codes: Tensor, square: float, weights: Tensor | None, reduction: str
) -> tuple[Tensor, int]:
    """The loss of rows (n, d) of classes (n,), with t = ``square``, and how many positive pairs there are.

    reduction : "mean", "active" or "sum". Differentiable once, in rows and weights.
    """
    counted: list[int] = []
    found: Tensor = _Angular.apply(rows, codes, square, weights, reduction, counted)  # type: ignore[no-untyped-call]
    return found, counted[0]


@dataclass
class _Members:
    """Some classes: the places of their items, (c, k) padded, which of them are there, and how many rows."""

    places: Tensor
    valid: Tensor
    full: bool

    def gathered(self, rows: Tensor) -> Tensor:
        """Rows (r, m), class after class, as (c, k, m), zero where none is."""
        count, most = self.places.shape
        if self.full:
            return rows.view(count, most, rows.shape[1])
        out = rows.new_zeros(count * most, rows.shape[1])
        out[self.valid.view(-1)] = rows
        return out.view(count, most, rows.shape[1])

    def scattered(self, padded: Tensor) -> Tensor:
        """And back."""
        flat = padded.reshape(-1, padded.shape[2])
        return flat if self.full else flat[self.valid.view(-1)]

    def own_cells(self, width: int) -> Tensor:
        """Where in rows by all columns each class against itself lies: (c, k, k), zero where not valid."""
        row = self.valid.view(-1).cumsum(0).sub_(1).view(self.places.shape)
        return row[:, :, None] * width + self.places[:, None, :]


def _blocks(codes: Tensor, width: int) -> list[_Members]:
    """Whole classes together, by size, in blocks of about a tile."""
    order = torch.argsort(codes, stable=True)
    _, sizes = torch.unique_consecutive(codes[order], return_counts=True)
    begins = sizes.cumsum(0) - sizes
    by_size = torch.argsort(sizes, stable=True)
    sizes, begins = sizes[by_size], begins[by_size]
    blocks, first, count = [], 0, len(sizes)
    listed = sizes.tolist()
    while first < count:
        last, rows = first, 0
        while last < count and (last == first or (rows + listed[last]) * width <= TILE):
            rows += listed[last]
            last += 1
        most = listed[last - 1]  # sizes ascend
        slots = torch.arange(most, device=codes.device)
        valid = slots < sizes[first:last, None]
        places = order[(begins[first:last, None] + slots).clamp_(max=len(order) - 1)]
        blocks.append(_Members(places, valid, listed[first] == most))
        first = last
    return blocks


class _Angular(torch.autograd.Function):
    """The operation behind :func:`angular_value`; gradients are taken on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        codes: Tensor,
        square: float,
        weights: Tensor | None,
        reduction: str,
        counted: list[int],
    ) -> Tensor:
        want = ctx.needs_input_grad[0]
        kernel = ProductKernel(Form.HALF_SQUARED, rows.detach(), None, unit=True, want_gradient=want)
        pairs = active = 0
        by_row = rows.new_zeros(rows.shape[0])  # of all terms, without weights
        for members in _blocks(codes, rows.shape[0]):
            anchors = members.places.view(-1) if members.full else members.places[members.valid]
            kernel.begin_block(0, len(anchors), anchors)
            halves = kernel.tile(0, rows.shape[0])
            kernel.mend(halves)
            cells, valid = members.own_cells(rows.shape[0]), members.valid
            alike = valid[:, :, None] & valid[:, None, :]
            alike = alike & ~torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
            hidden = cells if members.full else cells[valid[:, :, None] & valid[:, None, :]]
            near = halves.view(-1)[cells.view(-1)].view(cells.shape)
            shares = (halves * (-4.0 * square)).exp_()
            shares.view(-1).index_fill_(0, hidden.reshape(-1), 0.0)
            grouped = members.gathered(shares)
            sums = grouped @ grouped.mT
            # in half squares: |x_a - x_p|^2 is twice a cell
            logits = sums.log() + near * (2.0 + 2.0 * square) + (6.0 * square - 2.0)
            terms = torch.nn.functional.softplus(logits, threshold=50.0).masked_fill_(~alike, 0.0)
            pairs += int(alike.sum())
            if reduction == "active":
                active += int(torch.count_nonzero(terms))
            by_row.index_copy_(0, anchors, members.scattered(terms.sum(2, keepdim=True))[:, 0])
            if not want:
                continue
            pull = logits.sigmoid().masked_fill_(~alike, 0.0)
            if weights is not None:
                pull *= weights.detach()[members.places][:, :, None]
            by_sum = torch.where(sums > 0, pull / sums, 0.0)
            slopes = members.scattered((by_sum + by_sum.mT) @ grouped)
            slopes = slopes.mul_(shares).mul_(-4.0 * square)
            slopes.view(-1).index_add_(0, cells[alike], pull[alike] * (2.0 + 2.0 * square))
            kernel.spread(slopes, halves, None, None)
        counted.append(pairs)
        divisor = max(1, {"mean": pairs, "active": active, "sum": 1}[reduction])
        weighted = by_row if weights is None else by_row * weights.detach()
        total = float(weighted.sum(dtype=torch.float64)) / divisor
        gradient = kernel.gradients()[0] if want else None
        ctx.save_for_backward(gradient, by_row)
        ctx.divisor = divisor
        return rows.new_full((), total)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "Angular can't be differentiated twice: call backward without create_graph=True"
            )
        gradient, by_row = ctx.saved_tensors
        scale = upstream / ctx.divisor
        by_weight = by_row * scale if ctx.needs_input_grad[3] else None
        return None if gradient is None else gradient * scale, None, None, by_weight, None, None
