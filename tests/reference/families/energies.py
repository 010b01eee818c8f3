"""Chopra's energies, the triplet network's ratio, Koch's cross-entropy, and the deep transform's cosines."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from likewise import losses
from likewise.distances import Euclidean
from reference.losses import Reference, Terms, cosine


def cityblock(x: Tensor, y: Tensor) -> Tensor:
    return sum(((a - b).abs() for a, b in zip(x, y, strict=True)), x.new_zeros(()))


def chopra(near: list[Tensor], far: list[Tensor], upper_bound: float, decay: float) -> Terms:
    for d in near:
        yield "near", 2 / upper_bound * d**2
    for d in far:
        yield "far", 2 * upper_bound * torch.exp(-decay / upper_bound * d)


def triplet_ratio(near: list[Tensor], far: list[Tensor], scale: str, temperature: float) -> Terms:
    for p in near:
        for n in far:
            # exp(p) / (exp(p) + exp(n)), over exp(p) so that it can't overflow where it matters
            ratio = 1 / (1 + torch.exp((n - p) / temperature))
            other = 1 / (1 + torch.exp((p - n) / temperature))
            both = ratio**2 + (other - 1) ** 2
            yield "joint", both if scale == "paper" else both / 2


def binary_pair(
    near: list[Tensor], far: list[Tensor], bias: float, balanced: bool, learn_bias: bool = True
) -> Terms:
    for d in near:
        yield ("near" if balanced else "joint"), -torch.log(torch.sigmoid(bias - d))
    for d in far:
        yield ("far" if balanced else "joint"), -torch.log(torch.sigmoid(d - bias))


def deep_transform(
    near: list[Tensor], far: list[Tensor], classification_weight: float, n_classes: int | None, balanced: bool
) -> Terms:
    """The geometry-aware loss without geometry; with inputs it is tested in test_geometry.py."""
    target = -1.0 if n_classes is None else -1 / (n_classes - 1)
    for d in near:
        yield ("near" if balanced else "joint"), (1 - d - 1) ** 2
    for d in far:
        yield ("far" if balanced else "joint"), (1 - d - target) ** 2


REFERENCES: dict[str, list[Reference]] = {
    "ChopraContrastive": [
        # Q has no default, so a loss built without it gets it here
        Reference(
            partial(losses.ChopraContrastive, upper_bound=4.0),
            chopra,
            {"upper_bound": 4.0, "decay": 2.77},
            cityblock,
        ),
        Reference(
            partial(losses.ChopraContrastive, upper_bound=2.5, distance=Euclidean()),
            chopra,
            {"upper_bound": 2.5, "decay": 2.0},
        ),
    ],
    "TripletRatio": [
        Reference(losses.TripletRatio, triplet_ratio, {"scale": "paper", "temperature": 1.0}),
        Reference(losses.TripletRatio, triplet_ratio, {"scale": "code", "temperature": 0.4}),
    ],
    "BinaryPair": [
        Reference(losses.BinaryPair, binary_pair, {"bias": 0.75, "balanced": False}, cityblock),
        Reference(
            partial(losses.BinaryPair, distance=Euclidean()),
            binary_pair,
            {"bias": -0.5, "balanced": True, "learn_bias": False},
        ),
    ],
    "GeometryAware": [
        Reference(
            partial(losses.GeometryAware, classification_weight=1.0),
            deep_transform,
            {"classification_weight": 1.0, "n_classes": None, "balanced": False},
            cosine,
        ),
        Reference(
            partial(losses.GeometryAware, classification_weight=1.0),
            deep_transform,
            {"classification_weight": 1.0, "n_classes": 3, "balanced": True},
            cosine,
        ),
    ],
}

ELSEWHERE = {
    "ScoreRegression": "losses/test_scored.py",
    "DifferenceRegression": "losses/test_scored.py",
    "CoSENT": "losses/test_scored.py",
    "PairwiseRank": "losses/test_rank.py",
    "DoubleHeaderHinge": "losses/test_quadruplet.py",
    "CrossBatchMemory": "losses/test_memory.py",
    "Weighted": "losses/test_weighted.py",
    "VICReg": "losses/test_moments.py",
    "BarlowTwins": "losses/test_moments.py",
}
