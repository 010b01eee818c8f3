"""Losses of the batch's alike and unlike distances as two crowds: first what they are together, then each.

What the crowds are together is a few numbers, added up over the table; a step may need what the one before
found. Then the slope of each cell is known. Where the table is one tile, one walk does all steps on it;
elsewhere each step is a walk without a gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from likewise.distances import Distance
from likewise.losses.composed import Table
from likewise.losses.recorded import shared_sum
from likewise.table import Near, Part, Rows, TableFunction, Tile, in_one_tile

__all__ = ["Crowds", "crowd_value"]


class Crowds(ABC):
    """Two crowds of distances: numbers of both, and then slopes."""

    steps: ClassVar[int]
    """How many times the crowds are looked at before slopes are known."""

    @abstractmethod
    def numbers(self, step: int, distances: Tensor, *, near: bool) -> Tensor:
        """What distances of any shape, some of which may be infinite and don't count, add up to: float64."""

    @abstractmethod
    def settle(self, step: int, near: Tensor, far: Tensor) -> None:
        """Take the numbers of both crowds."""

    @abstractmethod
    def slopes(self, distances: Tensor, *, near: bool) -> Tensor:
        """The derivative of the value by each distance; zero where infinite."""

    @abstractmethod
    def value(self) -> float:
        """The value."""


def crowd_value(crowds: Crowds, table: Table, distance: Distance) -> Tensor:
    """The value of crowds over a table, differentiable in rows and columns."""
    if in_one_tile(distance, table.resolved, table.rows, table.columns):
        zero, _ = table.value(_AllAtOnce(crowds), distance, "sum")
        return zero + crowds.value()
    plain = table.detached()
    for step in range(crowds.steps):
        noting = _Noting(crowds, step)
        plain.value(noting, distance, "sum")
        # a process without rows adds nothing, but adds: the others wait for it
        nothing = crowds.numbers(step, table.rows.new_zeros(0), near=True)
        # sums are made in place, so each has a nothing of its own
        near, far = (
            shared_sum(nothing.clone() if part is None else part) for part in (noting.near, noting.far)
        )
        crowds.settle(step, near, far)
    zero, _ = table.value(_Slopes(crowds), distance, "sum")
    return zero + crowds.value()


class _Slopes(TableFunction[Near]):
    """The slopes of crowds that are known; the value is elsewhere."""

    observes = False
    cellwise = True

    def __init__(self, crowds: Crowds) -> None:
        self.crowds = crowds

    def begin(self, near: Near) -> Near:
        return near

    def observe(self, tile: Tile, state: Near) -> None:
        """There is nothing left to see."""

    def finish(self, state: Near) -> Rows:
        zero = torch.zeros_like(state.count)
        return Rows(joint=Part(zero, zero, zero))

    def slope(self, tile: Tile, state: Near) -> Tensor:  # noqa: ARG002
        return self.crowds.slopes(tile.distances, near=False)

    def near_slope(self, state: Near) -> Tensor:
        return self.crowds.slopes(state.distances, near=True)


class _AllAtOnce(_Slopes):
    """All steps on the one tile that is the table."""

    observes = True

    def observe(self, tile: Tile, state: Near) -> None:
        for step in range(self.crowds.steps):
            near = self.crowds.numbers(step, state.distances, near=True)
            self.crowds.settle(step, near, self.crowds.numbers(step, tile.distances, near=False))


class _Noting(_Slopes):
    """One step: notes the numbers of near and of far cells; has no value."""

    observes = True

    def __init__(self, crowds: Crowds, step: int) -> None:
        super().__init__(crowds)
        self._step = step
        self.near: Tensor | None = None
        self.far: Tensor | None = None

    def observe(self, tile: Tile, state: Near) -> None:  # noqa: ARG002
        found = self.crowds.numbers(self._step, tile.distances, near=False)
        self.far = found if self.far is None else self.far + found

    def observe_both(
        self,
        tile: Tile,
        turned: Callable[[], Tile],  # noqa: ARG002
        rows: Near,  # noqa: ARG002
        columns: Near,  # noqa: ARG002
    ) -> None:
        found = 2.0 * self.crowds.numbers(self._step, tile.distances, near=False)
        self.far = found if self.far is None else self.far + found

    def finish(self, state: Near) -> Rows:
        found = self.crowds.numbers(self._step, state.distances, near=True)
        self.near = found if self.near is None else self.near + found
        return super().finish(state)
