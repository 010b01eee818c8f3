"""Losses as plain loops over terms, from the formulas of their papers.

A reference is called with the near and far distances of one row (float64 scalars) and yields
``(part, term)``: the part is "joint", "near" or "far", and each part is averaged on its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise import losses
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


def contrastive(
    near: list[Tensor], far: list[Tensor], margin: float, near_margin: float, squared: bool
) -> Terms:
    for d in near:
        gap = hinge(d - near_margin)
        yield "near", gap**2 / 2 if squared else gap
    for d in far:
        gap = hinge(margin - d)
        yield "far", gap**2 / 2 if squared else gap


def triplet_margin(near: list[Tensor], far: list[Tensor], margin: float) -> Terms:
    for p in near:
        for n in far:
            yield "joint", hinge(p - n + margin)


def supervised_contrastive(near: list[Tensor], far: list[Tensor], temperature: float) -> Terms:
    if not near:
        return
    total = sum(torch.exp(-d / temperature) for d in near + far)
    logs = [torch.log(torch.exp(-d / temperature) / total) for d in near]
    yield "joint", -sum(logs) / len(near)


def soft_gap(near: list[Tensor], far: list[Tensor]) -> Terms:
    if near and far:
        yield "joint", torch.log(1 + sum(torch.exp(d) for d in near) * sum(torch.exp(-d) for d in far))


def soft_gap_rows(distances: Tensor, near: Tensor, far: Tensor) -> Tensor:
    positive = distances.masked_fill(~near, -torch.inf).logsumexp(1)
    negative = (-distances).masked_fill(~far, -torch.inf).logsumexp(1)
    return torch.nn.functional.softplus(positive + negative)


@dataclass
class Reference:
    """How to build a loss and what it must equal."""

    build: Callable[..., losses.Loss]
    terms: Callable[..., Terms]
    options: dict[str, Any] = field(default_factory=dict)
    distance: Distance = euclidean
    arguments: tuple[Any, ...] = ()
    whole_rows: bool = False

    def loss(self, **more: Any) -> losses.Loss:
        return self.build(*self.arguments, **self.options, **more)


REFERENCES: dict[str, list[Reference]] = {
    "Contrastive": [
        Reference(losses.Contrastive, contrastive, {"margin": 1.3, "near_margin": 0.0, "squared": True}),
        Reference(losses.Contrastive, contrastive, {"margin": 1.7, "near_margin": 0.4, "squared": False}),
    ],
    "TripletMargin": [
        Reference(losses.TripletMargin, triplet_margin, {"margin": 0.7}),
    ],
    "SupCon": [
        Reference(losses.SupCon, supervised_contrastive, {"temperature": 0.3}, cosine),
    ],
    "RowFunction": [
        Reference(losses.RowFunction, soft_gap, arguments=(soft_gap_rows,), whole_rows=True),
    ],
}


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
