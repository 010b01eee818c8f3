"""Contrastive, all triplets, supervised contrastive, and a function of whole rows."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise import losses
from reference.losses import Reference, Terms, cosine, hinge


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
        Reference(losses.RowFunction, soft_gap, arguments=(soft_gap_rows,)),
    ],
}
