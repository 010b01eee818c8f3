"""What a walk gives: rows, how they become one number, and the near cells that it takes up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.relations import Resolved
from likewise.table.distributed import Group, active_group
from likewise.table.protocol import Part

__all__ = ["NearCells", "Reduction", "Walked"]

_LISTED = 4096
"""Rows whose cells are counted at once."""


@dataclass(frozen=True)
class Reduction:
    """How rows become one number: ``mean`` or ``active`` (over the terms, or those not zero), ``sum``."""

    name: str

    def divisor(self, terms: float, active: float) -> float:
        """What a sum is divided by; at least one."""
        return max(1.0, {"mean": terms, "active": active, "sum": 1.0}[self.name])

    def counts(self, part: Part) -> tuple[float, float]:
        """How many terms a part has, and, where that is asked for, how many active ones."""
        return float(part.terms.sum()), float(part.active.sum()) if self.name == "active" else 0.0


@dataclass
class Walked:
    """What a walk found.

    parts : each part's sum of terms, number of terms and of active ones, by row (n,), before weights.
    divisors : what each part's sum was divided by in ``value``.
    value : the reduced value. scale : what ``gradients`` still have to be multiplied with.
    terms : how many terms there were in all; zero means that nothing could be learned.
    seen : what a small table keeps for gradients that are asked for later, or None.
    """

    parts: dict[str, Part]
    divisors: dict[str, float] = field(default_factory=dict)
    value: float = 0.0
    scale: float = 1.0
    terms: float = 0.0
    gradients: list[Tensor | None] = field(default_factory=list)
    seen: Any = None

    def rows(self) -> Tensor:
        """Each row's sum of terms (n,), parts added."""
        values = [part.value for part in self.parts.values()]
        return values[0] if len(values) == 1 else torch.stack(values).sum(0)

    def row_scale(self) -> Tensor:
        """The derivative of ``value`` by each row's weight (n,)."""
        return torch.stack([part.value / self.divisors[name] for name, part in self.parts.items()]).sum(0)

    def reduce(self, reduction: Reduction, weights: Tensor | None) -> None:
        """Fill value, divisors and terms; sums are taken in float64."""
        for name, part in self.parts.items():
            value = part.value if weights is None else part.value * weights
            terms, active = reduction.counts(part)
            self.divisors[name] = reduction.divisor(terms, active)
            self.value += float(value.sum(dtype=torch.float64)) / self.divisors[name]
            self.terms += terms


@dataclass
class NearCells:
    """The near cells of a whole table in one list, row by row: what a walk takes from them, or adds.

    slopes : (k,) slopes that the walk adds to the weighted near slopes of the loss.
    distances : each block's near distances, filled by the walk.
    """

    slopes: Tensor | None = None
    distances: list[Tensor] = field(default_factory=list)
    _next: int = 0

    def begin(self, resolved: Resolved, group: Group | None) -> None:
        """Start at the first cell of this process's share of rows."""
        if group is None or self.slopes is None:
            return
        for first, last in group.share(resolved.n_rows)[: group.rank]:
            for start in range(first, last, _LISTED):
                self._next += int(resolved.block(start, min(start + _LISTED, last)).near.counts.sum())

    def joined(self, like: Tensor) -> Tensor:
        """The near distances of all blocks, of all processes (k,)."""
        own = torch.cat(self.distances) if self.distances else like.new_zeros(0)
        group = active_group()
        return own if group is None else group.gather(own, group.counts(own.shape[0], own.device))

    def take(self, distances: Tensor) -> Tensor | None:
        """Note the next distances (k,); the slopes to add for them."""
        self.distances.append(distances)
        start, self._next = self._next, self._next + distances.shape[0]
        return None if self.slopes is None else self.slopes[start : self._next]
