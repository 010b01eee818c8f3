"""What a benchmark of losses compares, and what it compares with: contenders, the floor, equality.

Each case builds contenders for one batch: something that gives a value, and the tensors whose gradients
count. Options are such that all contenders compute the same formula; :func:`differences` says how far they
are apart, and nothing is timed that isn't equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.distances import Distance, ProductDistance
from likewise.relations import Labels, Sides
from likewise.table import Near, Part, Rows, TableFunction, Tile
from likewise.table.product import ProductKernel
from likewise.table.reduction import Reduction
from likewise.table.walk import walk

__all__ = [
    "Batch",
    "Builder",
    "Case",
    "Contender",
    "Cost",
    "Size",
    "differences",
    "floor",
    "make_batch",
    "squares",
]


@dataclass(frozen=True)
class Size:
    """Items n, numbers d each, and items a class k."""

    n: int
    d: int
    k: int


Cost = Callable[[Size], float]
"""Bytes that a contender holds at once."""


@dataclass(frozen=True)
class Batch:
    """Random unit embeddings x (n, d), and labels y (n,) in classes of k items, in no order.

    classes : how many classes have learned vectors, where a loss has some; as many as items if not given.
    """

    x: Tensor
    y: Tensor
    k: int
    classes: int | None = None

    def more(self, *shape: int) -> Tensor:
        """Other random numbers, the same for the same batch."""
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def make_batch(size: Size, classes: int | None = None) -> Batch:
    """A batch of a size."""
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(size.n, size.d, generator=generator))
    order = torch.randperm(size.n, generator=generator)
    return Batch(x, (torch.arange(size.n) // size.k)[order], size.k, classes)


@dataclass(frozen=True)
class Contender:
    """A loss ready to be evaluated: its value, and the leaves whose gradients count."""

    value: Callable[[], Tensor]
    leaves: list[Tensor]

    def step(self) -> Tensor:
        """Forward and backward."""
        for leaf in self.leaves:
            leaf.grad = None
        value = self.value()
        value.backward()
        return value

    def gradients(self) -> list[Tensor]:
        """The gradients of the last step."""
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in self.leaves]


Builder = Callable[[Batch], Contender]


@dataclass(frozen=True)
class Case:
    """A loss and what it is compared with.

    fused : whether it belongs to those that the targets hold to 1.3 floors (one pass over a tile).
    floor : the bare walk over the same table, or None for losses that aren't one walk of a product.
    per_class : whether the items a class change anything.
    dense_bytes, their_bytes : what they are expected to hold, so that nobody's machine is filled.
    """

    name: str
    fused: bool
    ours: Builder
    dense: Builder
    dense_bytes: Cost
    theirs: Builder | None = None
    their_bytes: Cost | None = None
    floor: Callable[[Batch], Callable[[], object]] | None = None
    per_class: bool = True


class _FloorKernel(ProductKernel):
    """A kernel that takes each product once, also where the engine looks at tiles before their slopes."""

    looking = False
    _blank: Tensor | None = None

    def tile(self, first: int, last: int) -> Tensor:
        if not self.looking:
            return super().tile(first, last)
        shape = (self._stop - self._start, last - first)
        if self._blank is None or self._blank.shape != shape:
            self._blank = torch.ones(shape)
        return self._blank

    def mend(self, tile: Tensor) -> None:
        if not self.looking:
            super().mend(tile)


class _NoLoss(TableFunction[Near]):
    """No loss: every slope is one constant."""

    def __init__(self, kernel: _FloorKernel) -> None:
        self._kernel = kernel
        self._slopes: Tensor | None = None

    def begin(self, near: Near) -> Near:
        self._kernel.looking = True
        return near

    def observe(self, tile: Tile, state: Near) -> None:
        """Nothing."""

    def finish(self, state: Near) -> Rows:
        self._kernel.looking = False
        return Rows(joint=Part(state.count, state.count, state.count))

    def slope(self, tile: Tile, state: Near) -> Tensor:  # noqa: ARG002
        if self._slopes is None or self._slopes.shape != tile.distances.shape:
            self._slopes = torch.empty_like(tile.distances)
        return self._slopes.fill_(1e-3)  # the engine overwrites them

    def near_slope(self, state: Near) -> Tensor:
        return torch.full_like(state.distances, 1e-3)


def floor(distance: Distance, rows: Tensor, columns: Tensor | None = None) -> Callable[[], object]:
    """The design's floor: the engine's own walk with its own tiles and constant slopes, no loss.

    It takes three products a tile, one for the distances and two for the gradients, at every size: a walk
    that looks at tiles before their slopes takes the first of them twice. Every item is a class of its own,
    so that no work for near cells is in it.
    """
    assert isinstance(distance, ProductDistance)
    n, m = rows.shape[0], rows.shape[0] if columns is None else columns.shape[0]
    numbers = Labels(torch.arange(n))
    column_numbers = None if columns is None else Labels(torch.arange(n, n + m))

    def work() -> object:
        kernel = _FloorKernel(distance.form, rows, columns, unit=distance.unit, want_gradient=True)
        resolved = numbers.resolve(column_numbers, Sides(n, m, columns is None, rows.device))
        loss, reduction = _NoLoss(kernel), Reduction("mean")
        return walk(loss, kernel, resolved, reduction, weights=None, want_gradient=True, like=rows)

    return work


def squares(numbers: float) -> Cost:
    """So many arrays of float32 the size of the table."""
    return lambda size: 4.0 * numbers * size.n**2


def differences(case: Case, batch: Batch) -> dict[str, float]:
    """How far ours and theirs are from the dense version: value and gradients, relative to the largest."""
    plain = case.dense(batch)
    value, wanted = plain.step().detach(), plain.gradients()
    found: dict[str, float] = {}
    for who, builder in (("ours", case.ours), ("theirs", case.theirs)):
        if builder is None:
            continue
        contender = builder(batch)
        gaps = [float((contender.step().detach() - value).abs() / value.abs().clamp(min=1e-6))]
        for gradient, expected in zip(contender.gradients(), wanted, strict=True):
            size = float(expected.abs().max())  # a batch that moves nothing would show nothing
            gaps.append(float((gradient - expected).abs().max()) / size if size else math.inf)
        found[who] = max(gaps)
    return found
