"""Losses as plain loops over terms, from the formulas of their papers.

A reference is called with the near and far distances of one row (float64 scalars) and yields
``(part, term)``: the part is "joint", "near" or "far", and each part is averaged on its own. The references
themselves stand in ``reference/families``, a file a family; each gives ``REFERENCES`` for losses over tables
of any relation, and ``ELSEWHERE`` for losses of another kind: the name, and the test file that keeps its
contract.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from likewise.losses import Loss
from reference.tables import PlainTable

Terms = Iterator[tuple[str, Tensor]]
Distance = Callable[[Tensor, Tensor], Tensor]


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    squared = ((x - y) ** 2).sum()
    return squared.sqrt() if squared > 0 else squared * 0


def cosine(x: Tensor, y: Tensor) -> Tensor:
    # equal to 1 - x.y / (|x| |y|), which would round away what the close cases are there to show
    return euclidean(x / x.norm(), y / y.norm()) ** 2 / 2


def hinge(value: Tensor) -> Tensor:
    return value if value > 0 else value * 0


def dot(x: Tensor, y: Tensor) -> Tensor:
    return -(x * y).sum()


def squared(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) ** 2).sum()


@dataclass
class Reference:
    """How to build a loss and what it must equal."""

    build: Callable[..., Loss]
    terms: Callable[..., Terms]
    options: dict[str, Any] = field(default_factory=dict)
    distance: Distance = euclidean
    arguments: tuple[Any, ...] = ()
    no_gradcheck: str = ""  # why the gradient isn't that of the value

    def loss(self, **more: Any) -> Loss:
        return self.build(*self.arguments, **self.options, **more)


def terms_of(reference: Reference, table: PlainTable, x: Tensor) -> list[list[tuple[str, Tensor]]]:
    """The terms of each row of a table; x are the embeddings, so that autograd can go through."""
    columns = x if table.columns is None else table.columns
    found = []
    for row in table.rows:
        near = [reference.distance(x[a], columns[c]) for a, c in row.near]
        far = [reference.distance(x[a], columns[c]) for a, c in row.far]
        found.append(list(reference.terms(near, far, **reference.options)))
    return found


def reduced(
    terms: list[list[tuple[str, Tensor]]], reduction: str, weights: Tensor | None, like: Tensor
) -> Tensor:
    """The loss from its terms."""
    zero = like.sum() * 0
    if reduction == "none":
        rows = [sum((t for _, t in row), zero) for row in terms]
        stacked = torch.stack(rows) if rows else like.new_zeros(0)
        return stacked if weights is None else stacked * weights
    parts: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for number, row in enumerate(terms):
        for part, term in row:
            parts[part].append((number, term))
    total = zero
    for listed in parts.values():
        divisor = {"sum": 1, "mean": len(listed), "active": sum(bool(t != 0) for _, t in listed)}[reduction]
        for number, term in listed:
            total = total + term * (1 if weights is None else weights[number]) / max(1, divisor)
    return total


def _families() -> list[ModuleType]:
    import reference.families as package

    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"reference.families.{name}") for name in names]


def all_references() -> dict[str, list[Reference]]:
    """The references of every family."""
    return {name: listed for family in _families() for name, listed in family.REFERENCES.items()}


def kept_elsewhere() -> dict[str, str]:
    """Losses whose contract is another test file's."""
    return {name: file for family in _families() for name, file in getattr(family, "ELSEWHERE", {}).items()}
