"""A table of distances that Triton kernels read: what of a side lies where, and how the kernels are called.

Importing this needs Triton; :mod:`~likewise.table.fused` asks first whether it is there and wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.distances import Form
from likewise.table.far_terms import FarTerms, Gaps, LogSum
from likewise.table.pairs import FORMS
from likewise.table.side import Side
from likewise.table.triton_gradients import spread, spread_small
from likewise.table.triton_hinges import gap_sums, limit_sums
from likewise.table.triton_softmax import log_sums

__all__ = ["Blocks", "Features", "TritonTable"]

_PARTS = 64 << 20
"""Most bytes of gradients of which each is but that of some columns: they are added up afterwards."""


@dataclass(frozen=True)
class Blocks:
    """How a program cuts its work: numbers a tile has by rows, columns and features, and how it is run.

    ``features`` is how many of a row's features a program of the way back owns; a row of more is taken by
    several, each of which takes the product again. ``spans`` cuts the columns for more programs; by default
    as many as the device has room for.
    """

    rows: int = 64
    columns: int = 64
    chunk: int = 64
    features: int = 256
    warps: int = 8
    stages: int = 2
    spans: int | None = None

    @classmethod
    def of(cls, dtype: torch.dtype) -> Blocks:
        """For features of a dtype: what the compiler fits into registers for compute capability 9.0."""
        return cls() if dtype is not torch.float32 else cls(chunk=32, features=64)


@dataclass(frozen=True)
class Features:
    """One side of a table, as kernels read it.

    products : (n, k) float32, bfloat16 or float16, which times scale (n,) enters products; squares (n,) are
        its squared norms then, in float32.
    given : (n, k), which times factor (n,) enters subtractions: not centred, so that no digit is lost.
    codes : (n,) int32 classes. ids : (n,) int32, or None where no two are one item but by position.
    """

    products: Tensor
    scale: Tensor
    squares: Tensor
    given: Tensor
    factor: Tensor
    codes: Tensor
    ids: Tensor | None = None

    @classmethod
    def of(
        cls, side: Side, codes: Tensor, ids: Tensor | None = None, half: torch.dtype | None = None
    ) -> Features:
        """Those of a side in float32, multiplied in ``half`` if they were given so and not centred since."""
        scale = torch.ones_like(side.norms) if side.scale is None else side.scale.view(-1)
        given = side.given.contiguous()
        if half is not None and side.mean is None:
            given = given.to(half)
        if side.mean is None:
            return cls(given, scale, side.squares, given, scale, codes, ids)
        centred = side.slice(0, given.shape[0]).contiguous()
        return cls(centred, torch.ones_like(scale), side.squares, given, scale, codes, ids)

    @classmethod
    def plain(cls, given: Tensor, codes: Tensor, *, unit: bool) -> Features:
        """Those of embeddings (n, k) of any of the three dtypes, brought to unit length or as they are."""
        norms = torch.linalg.vector_norm(given, dim=1, dtype=torch.float32)
        ones = torch.ones_like(norms)
        scale = torch.where(norms > 0, norms.reciprocal(), 0.0) if unit else ones
        squares = (norms * scale).square_()
        given = given.contiguous()
        return cls(given, scale, squares, given, scale, codes.int())

    def arrays(self) -> tuple[Tensor, ...]:
        """In the order in which kernels take them."""
        return self.products, self.scale, self.squares, self.given, self.factor


class TritonTable:
    """The far cells of rows against columns, or of rows against themselves where columns are None."""

    def __init__(
        self, form: Form, rows: Features, columns: Features | None, *, blocks: Blocks | None = None
    ) -> None:
        self._form, self._shared = form, columns is None
        self._u, self._v = rows, rows if columns is None else columns
        self._blocks = Blocks.of(rows.products.dtype) if blocks is None else blocks

    def sums(self, terms: FarTerms) -> tuple[Tensor, ...]:
        """What the rows' far cells add up to: see the classes of :mod:`~likewise.table.far_terms`."""
        n, m = len(self._u.codes), len(self._v.codes)
        spans, span = self._spans(n, m)
        first, second = self._u.scale.new_empty(2, spans, n)
        if isinstance(terms, LogSum):
            self._run(log_sums, (spans,), self._u, self._v, span, terms.rate, first, second)
            highest = first.amax(0)
            return highest, (second * (first - highest).exp_()).sum(0)
        if isinstance(terms, Gaps):
            power = 2 if terms.squared else 1
            self._run(gap_sums, (spans,), self._u, self._v, span, terms.margin, first, second, POWER=power)
            return first.sum(0), second.sum(0)
        limits = terms.limits.contiguous()
        below = torch.zeros_like(limits)
        many = limits.shape[1]
        rest = limits, terms.middle, terms.reach, many, below, first
        self._run(limit_sums, (spans,), self._u, self._v, span, *rest)
        return below, first.sum(0)

    def gradients(
        self, terms: FarTerms, weights: Tensor | None, *, columns: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
        """The gradients of rows, and of columns where wanted and not the rows, as they enter products.

        terms : with what is known after the rows are finished. weights : (n,) of the rows' values, or None.

        Each is the gradient (n, k) but for what slopes add up to times the features, and these sums (n,),
        which count in the squared forms; small cells are in the gradient whole and not in the sums.
        """
        if weights is None:
            weights = torch.ones_like(self._u.scale)
        ours = self._spread(self._u, self._v, terms, weights, own=True, other=self._shared)
        if self._shared or not columns:
            return ours, None
        return ours, self._spread(self._v, self._u, terms, weights, own=False, other=True)

    def _spread(
        self, mine: Features, others: Features, terms: FarTerms, weights: Tensor, *, own: bool, other: bool
    ) -> tuple[Tensor, Tensor]:
        """The gradient of one side: by its own slopes, by those of the others as anchors, or by both."""
        kind, rate, many, held = 0, 0.0, 0, weights
        if isinstance(terms, LogSum):
            assert terms.shift is not None
            rate, held = terms.rate, terms.shift.contiguous()
        elif isinstance(terms, Gaps):
            kind, rate = 2 if terms.squared else 1, terms.margin
        else:
            kind, many, held = 3, terms.limits.shape[1], terms.limits.contiguous()
        n, width = mine.products.shape
        features = min(self._blocks.features, max(16, _power_of_two(width)))
        parts = -(-width // features)
        most = max(1, _PARTS // max(1, n * width * 4))
        spans, span = self._spans(n * parts, len(others.codes), most)
        gradient, sums = mine.scale.new_empty(spans, n, width), mine.scale.new_empty(spans, n)
        tiles = -(-n // self._blocks.rows), -(-len(others.codes) // self._blocks.columns)
        marks = torch.empty(tiles, dtype=torch.int8, device=gradient.device)
        rest = span, held, held, weights, weights, rate, many, gradient, sums, marks
        half = others.products.dtype is torch.bfloat16
        more = {"KIND": kind, "OWN": own, "OTHER": other, "FEATURES": features, "HALF": half}
        self._run(spread, (parts, spans), mine, others, *rest, **more)
        if self._form is not Form.NEGATIVE_PRODUCT:
            self._run(spread_small, (), mine, others, *rest, **more)
        if spans == 1:
            return gradient[0], sums[0]
        return gradient.sum(0), sums.sum(0)

    def _spans(self, rows: int, columns: int, most: int = 1 << 10) -> tuple[int, int]:
        """Into how many spans columns are cut so that the device is busy, and how many columns each has."""
        tiles = max(1, -(-columns // self._blocks.columns))
        wanted = self._blocks.spans
        if wanted is None:
            wanted = 1
            if self._u.codes.is_cuda:
                room = 4 * torch.cuda.get_device_properties(self._u.codes.device).multi_processor_count
                wanted = room // max(1, -(-rows // self._blocks.rows))
        wanted = max(1, min(wanted, tiles, most))
        span = -(-tiles // wanted) * self._blocks.columns
        return max(1, -(-columns // span)), span

    def _run(
        self, kernel: Any, grid: tuple[int, ...], mine: Features, others: Features, *rest: Any, **more: Any
    ) -> None:
        """Start a kernel for all blocks of rows of one side."""
        n, m, width = len(mine.codes), len(others.codes), mine.products.shape[1]
        blocks, ids = self._blocks, mine.ids is not None and others.ids is not None
        with _on(mine.codes):
            kernel[(max(1, -(-n // blocks.rows)), *grid)](
                *mine.arrays(), *others.arrays(), mine.codes, others.codes,
                mine.ids if ids else mine.codes, others.ids if ids else others.codes, n, m, *rest,
                IDS=ids, FORM=FORMS[self._form], WIDTH=width, ROWS=blocks.rows, COLUMNS=blocks.columns,
                CHUNK=min(blocks.chunk, max(16, _power_of_two(width))),
                # float16 has ten bits of mantissa, as many as TF32 keeps; float32 has more to lose
                PRECISION="tf32" if mine.products.dtype is torch.float16 else "ieee",
                RAISED=not mine.codes.is_cuda,
                num_warps=blocks.warps, num_stages=blocks.stages, **more,
            )  # fmt: skip


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _on(tensor: Tensor) -> Any:
    """Where kernels start: on the tensor's device, which need not be the current one."""
    enter: Callable[[Tensor], Any] = torch.cuda.device_of
    return enter(tensor)
