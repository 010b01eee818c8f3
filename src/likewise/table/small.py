"""A walk over a table so small that one block holds it: the same results in far fewer operations.

Below some hundred rows the time of a walk is that of its operations' overhead, not of their work. So for
labels and distances of products, all that isn't a product or the loss itself is done in four calls of C
(:mod:`~likewise.table.compiled`); without a compiler the walk of :mod:`~likewise.table.walk` does the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Form
from likewise.relations import Cells
from likewise.relations.base import Classes, Resolved
from likewise.table import blocks, compiled
from likewise.table.near_listing import list_near
from likewise.table.pairs import FORMS
from likewise.table.protocol import Near, Part, Rows, TableFunction, Tile, WholeRows
from likewise.table.reduction import NearCells, Reduction, Walked
from likewise.table.step import scaled

__all__ = ["SeenTable", "SmallTable", "fits", "reduced", "small_rows", "small_walk", "takes"]


def takes(
    loss: TableFunction[Any] | WholeRows, resolved: Resolved, rows: Tensor, columns: Tensor | None
) -> bool:
    """Whether a table can be walked here, but for the number of processes: one tile of the other walk."""
    return isinstance(loss, TableFunction) and fits(resolved, rows, columns)


def fits(resolved: Resolved, rows: Tensor, columns: Tensor | None) -> bool:
    """Whether a :class:`SmallTable` can hold a table."""
    return (
        0 < resolved.n_rows * resolved.n_columns <= blocks.TILE
        and resolved.n_columns <= blocks.WHOLE_ROWS
        and resolved.classes is not None
        and (columns is None or columns.dtype == rows.dtype)
        and rows.shape[1] > 0
        and rows.dtype in (torch.float32, torch.float64)
        and rows.device.type == "cpu"
        and compiled.library() is not None
    )


class _Side:
    """Rows or columns: as given, as they enter products, scales (where at unit length) and squares."""

    def __init__(self, given: Tensor, *, unit: bool) -> None:
        self.given = given.contiguous()
        self.entering = torch.empty_like(self.given) if unit else self.given
        numbers = given.new_empty((2, given.shape[0]))
        self.squares = numbers.data_ptr()
        self.scale = self.squares + given.shape[0] * given.element_size() if unit else None
        self._held = numbers

    @property
    def exact(self) -> Tensor:
        """What small distances are subtracted in: as given, where no scale loses digits."""
        return self.given if self.scale is None else self.entering

    def centre(self, mean: Tensor, call: Callable[..., Any]) -> None:
        """Take a mean off what enters."""
        if self.scale is None:
            self.entering = torch.empty_like(self.given)
        call(
            self.exact.data_ptr(), *self.given.shape, mean.data_ptr(), self.entering.data_ptr(), self.squares
        )

    def back(self, gradient: Tensor, sums: Tensor | None, call: Callable[..., Any]) -> None:
        """Turn the gradient of what entered into that of what was given, in place."""
        if sums is not None or self.scale is not None:
            call(
                gradient.data_ptr(), *gradient.shape, self.given.data_ptr(), self.entering.data_ptr(),
                self.scale, None if sums is None else sums.data_ptr(),
            )  # fmt: skip


class SmallTable:
    """The distances of a small table, and the way back.

    distances : (n, m), infinite where not far. near : the near cells.
    """

    def __init__(
        self, form: Form, rows: Tensor, columns: Tensor | None, classes: Classes | None, *, unit: bool
    ) -> None:
        """Measure a table; without classes every cell counts as far."""
        self._kind = "float" if rows.dtype == torch.float32 else "double"
        self.form, self.unit, self.width = form, unit, rows.shape[1]
        self.form_number, self._shared = FORMS[form], columns is None
        self._u = _Side(rows, unit=unit)
        self._v = self._u if columns is None else _Side(columns, unit=unit)
        self._shape = rows.shape[0], self._v.given.shape[0]
        self.scratch = rows.new_empty(self.width)
        centred = self._enter(unit=unit)
        self._sums = form is not Form.NEGATIVE_PRODUCT and (centred or not unit)
        self._measure(classes)

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Where rows and columns lie as they are subtracted, and how many there are, for C."""
        return self._u.exact.data_ptr(), self._shape[0], self._v.exact.data_ptr(), self._shape[1]

    @property
    def row_squares(self) -> int:
        """Where the squares of the rows as they enter products lie."""
        return self._u.squares

    @property
    def column_squares(self) -> int:
        """Where those of the columns lie."""
        return self._v.squares

    def of(self, rows: Tensor, columns: Tensor | None) -> bool:
        """Whether these very features are the table's."""
        mine = self._u.given
        same = rows.data_ptr() == mine.data_ptr() and rows.shape == mine.shape and rows.is_contiguous()
        if columns is None or self._shared:
            return same and columns is None and self._shared
        other = self._v.given
        return (
            same
            and columns.data_ptr() == other.data_ptr()
            and columns.shape == other.shape
            and columns.is_contiguous()
        )

    def _call(self, name: str, arguments: str, result: str = "") -> Callable[..., Any]:
        return compiled.function(f"{name}_{self._kind}", arguments, result)

    def _enter(self, *, unit: bool) -> bool:
        """Bring rows and columns to unit length, and take off a large mean; whether one was."""
        u, v = self._u, self._v
        centred = self._call("small_enter", "pipiiiippppppp", "i")(
            u.given.data_ptr(), self._shape[0], None if self._shared else v.given.data_ptr(), self._shape[1],
            self.width, self.form_number, unit, u.entering.data_ptr(), v.entering.data_ptr(), u.scale,
            v.scale, u.squares, v.squares, self.scratch.data_ptr(),
        )  # fmt: skip
        for side in (u,) if self._shared else (u, v):
            if centred:
                side.centre(self.scratch, self._call("small_centre", "piippp"))
        return bool(centred)

    def _measure(self, classes: Classes | None) -> None:
        """Near cells, and the distances of all that are far."""
        n, m = self._shape
        given = self._u.given
        listed = torch.empty((2, n * m), dtype=torch.int32)  # most of it is never touched
        if classes is None:
            start, packed = torch.zeros(n + 1, dtype=torch.int32), 0
        else:
            start = torch.empty(n + 1, dtype=torch.int32)
            packed = list_near(classes, listed, start)
        total, longest = packed >> 32, packed & 0xFFFFFFFF
        self.distances = torch.mm(self._u.entering, self._v.entering.T)
        near, count, far_count = given.new_empty((n, longest)), given.new_empty(n), given.new_empty(n)
        place = torch.empty((n, longest), dtype=torch.int64)
        valid = torch.empty((n, longest), dtype=torch.bool)
        self._small = listed[1]
        self._n_small = self._call("small_distances", "pipiiippppipppppppp", "i")(
            self._u.exact.data_ptr(), n, self._v.exact.data_ptr(), m, self.width, self.form_number,
            self._u.squares, self._v.squares, listed.data_ptr(), start.data_ptr(), longest,
            self.distances.data_ptr(), near.data_ptr(), place.data_ptr(), valid.data_ptr(),
            self._small.data_ptr(), count.data_ptr(), far_count.data_ptr(), self.scratch.data_ptr(),
        )  # fmt: skip
        full = total == n * longest
        self.near = Near(near, valid, count, far_count, full, Cells(place, valid))

    def gradients(
        self,
        slopes: Tensor,
        near_slopes: Tensor,
        weights: Tensor | None,
        *,
        scale: float,
        near_scale: float,
        columns: bool,
    ) -> list[Tensor | None]:
        """The gradients of rows and, where they are others and ``columns``, of columns.

        slopes (n, m), which are overwritten, and near slopes (n, p) are multiplied with ``scale``, these with
        ``near_scale`` too.
        """
        u, v, near, (n, m) = self._u, self._v, self.near, self._shape
        assert near.cells is not None
        slopes, near_slopes = slopes.contiguous(), near_slopes.contiguous()
        weights = None if weights is None else weights.contiguous()
        mine = torch.empty_like(u.given)
        theirs = mine if self._shared else torch.empty_like(v.given) if columns else None
        my_sums = u.given.new_empty(n) if self._sums else None
        their_sums = u.given.new_empty(m) if self._sums and columns and not self._shared else None
        self._call("small_slopes", "pipiiippppippddppippppp")(
            u.exact.data_ptr(), n, v.exact.data_ptr(), m, self.width, self.form_number,
            self.distances.data_ptr(), near.distances.data_ptr(), near.cells.columns.data_ptr(),
            near.valid.data_ptr(), near.distances.shape[1], slopes.data_ptr(), near_slopes.data_ptr(),
            near_scale, scale, None if weights is None else weights.data_ptr(), self._small.data_ptr(),
            self._n_small,
            mine.data_ptr(), None if theirs is None else theirs.data_ptr(),
            None if my_sums is None else my_sums.data_ptr(),
            None if their_sums is None else their_sums.data_ptr(), self.scratch.data_ptr(),
        )  # fmt: skip
        beta, back = 1 if self._n_small else 0, self._call("small_back", "piipppp")
        torch.addmm(mine, slopes, v.entering, beta=beta, out=mine)
        u.back(mine, my_sums, back)
        if self._shared:
            return [mine, None]
        if theirs is not None:
            torch.addmm(theirs, slopes.T, u.entering, beta=beta, out=theirs)
            v.back(theirs, their_sums, back)
        return [mine, theirs]


@dataclass
class SeenTable:
    """A small table that a loss has seen all of: its slopes are known but for what is made of the rows.

    Used once, as slopes are turned into gradients in place.
    """

    loss: TableFunction[Any]
    table: SmallTable
    tile: Tile
    state: Any

    def gradients(
        self, divisors: dict[str, float], weights: Tensor | None, near: Tensor | None, *, columns: bool
    ) -> list[Tensor | None]:
        """Those of rows and columns, as :meth:`SmallTable.gradients`.

        weights : (n,), of the rows. near : (k,), added to the weighted slopes of the near cells.
        """
        loss, table = self.loss, self.table
        near_scale = divisors["far"] / divisors["near"] if loss.apart else 1.0
        scale = 1.0 / divisors["far" if loss.apart else "joint"]
        slopes, near_slopes = loss.slope(self.tile, self.state), loss.near_slope(self.state)
        if near is not None:
            by_row = None if weights is None else weights[:, None]
            near_slopes, near_scale = scaled(near_slopes, by_row, near_scale).clone(), 1.0
            near_slopes[table.near.valid] += near
            slopes, weights = slopes if by_row is None else slopes * by_row, None
        return table.gradients(
            slopes, near_slopes, weights, scale=scale, near_scale=near_scale, columns=columns
        )


def small_walk(
    loss: TableFunction[Any],
    form: Form,
    rows: Tensor,
    columns: Tensor | None,
    resolved: Resolved,
    reduction: Reduction,
    *,
    unit: bool,
    weights: Tensor | None,
    want_gradient: bool,
    want_columns: bool,
    near: NearCells | None = None,
    keep: bool = False,
) -> Walked:
    """Walk over a small table; see :func:`likewise.table.walk.walk`, which gives the same.

    rows (n, k) and columns (m, k) are features, to be brought to unit length where ``unit``. With ``keep``
    what was seen stays for gradients that are asked for later.
    """
    assert resolved.classes is not None
    table = SmallTable(form, rows, columns, resolved.classes, unit=unit)
    state = loss.begin(table.near)
    tile = Tile(table.distances, kept=want_gradient or keep)
    loss.observe(tile, state)
    found = loss.finish(state)
    more = None
    if near is not None:
        more = near.take(table.near.distances[table.near.valid])
    out = reduced(found, reduction, weights, apart=loss.apart)
    seen = SeenTable(loss, table, tile, state)
    if want_gradient:
        out.gradients = seen.gradients(out.divisors, weights, more, columns=want_columns)
    elif keep:
        out.seen = seen
    return out


def small_rows(
    loss: WholeRows,
    form: Form,
    rows: Tensor,
    columns: Tensor | None,
    resolved: Resolved,
    reduction: Reduction,
    *,
    unit: bool,
    weights: Tensor | None,
    want_gradient: bool,
    want_columns: bool,
) -> Walked:
    """The same for a plain function of whole rows, differentiated by autograd."""
    classes = resolved.classes
    assert classes is not None
    table = SmallTable(form, rows, columns, None, unit=unit)
    alike = classes.rows[:, None] == classes.columns
    near, far = alike, ~alike
    sides = classes.sides
    if sides.row_ids is not None and sides.column_ids is not None:
        other = sides.row_ids[:, None] != sides.column_ids
        near, far = near & other, far & other
    elif sides.columns_are_rows:
        near.fill_diagonal_(False)
    with torch.set_grad_enabled(want_gradient):
        leaf = table.distances.detach().requires_grad_(want_gradient)
        part = loss.part(loss.rows(leaf, near, far), near, far)
    out = reduced(
        Rows(joint=Part(part.value.detach(), part.terms, part.active)), reduction, weights, apart=False
    )
    if not want_gradient:
        return out
    slopes = torch.zeros_like(table.distances)
    if part.value.requires_grad:
        (slopes,) = torch.autograd.grad(part.value, leaf, torch.ones_like(part.value))
    out.gradients = table.gradients(
        slopes, table.near.distances, weights, scale=1.0 / out.divisors["joint"], near_scale=1.0,
        columns=want_columns,
    )  # fmt: skip
    return out


_KINDS = {torch.bool: 0, torch.float32: 1, torch.float64: 2, torch.int64: 3}


def reduced(found: Rows, reduction: Reduction, weights: Tensor | None, *, apart: bool) -> Walked:
    """What a walk gives of its only block: parts, and value, divisors and terms as :meth:`Walked.reduce`."""
    parts = {"near": found.near, "far": found.far} if apart else {"joint": found.joint}
    out = Walked({name: part for name, part in parts.items() if part is not None})
    sums = (ctypes.c_double * 3)()
    for name, part in out.parts.items():
        value, terms, active = part.value.contiguous(), part.terms.contiguous(), part.active.contiguous()
        weights = None if weights is None else weights.to(value.dtype).contiguous()
        compiled.function("small_sums", "ppipipiip")(
            value.data_ptr(), None if weights is None else weights.data_ptr(), _KINDS[value.dtype],
            terms.data_ptr(), _KINDS[terms.dtype], active.data_ptr(), _KINDS[active.dtype], value.shape[0],
            sums,
        )  # fmt: skip
        out.divisors[name] = reduction.divisor(sums[1], sums[2])
        out.value += sums[0] / out.divisors[name]
        out.terms += sums[1]
    return out
