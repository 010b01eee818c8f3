"""Tuplet, threshold-consistent, signal-to-noise, margin, ranked list and surrogate precision."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from likewise import losses
from reference.losses import Reference, Terms, cosine, hinge


def tuplet(near: list[Tensor], far: list[Tensor], slack: float, scale: float) -> Terms:
    angle = math.radians(slack)
    for p in near:
        square = p * (2 - p)  # of the sine
        sine = square.sqrt() if square > 0 else square * 0
        own = (1 - p) * math.cos(angle) + sine * math.sin(angle)
        logits = [scale * (1 - n - own) for n in far]
        yield "joint", torch.logsumexp(torch.stack([p * 0, *logits]), 0)


def threshold(
    near: list[Tensor],
    far: list[Tensor],
    near_cosine: float,
    far_cosine: float,
    near_weight: float,
    far_weight: float,
) -> Terms:
    for d in near:
        yield "near", near_weight * hinge(near_cosine - (1 - d))
    for d in far:
        yield "far", far_weight * hinge((1 - d) - far_cosine)


def ratio(x: Tensor, y: Tensor) -> Tensor:
    noise = ((x - y) - (x - y).mean()).square().sum()
    signal = (x - x.mean()).square().sum()
    return noise / (signal if signal > 0 else torch.finfo(x.dtype).tiny)


def signal_to_noise(near: list[Tensor], far: list[Tensor], near_margin: float, margin: float) -> Terms:
    for d in near:
        yield "near", hinge(d - near_margin)
    for d in far:
        yield "far", hinge(margin - d)


def margin_pairs(
    near: list[Tensor], far: list[Tensor], margin: float, boundary: float, learn_boundary: bool
) -> Terms:
    assert learn_boundary in (True, False)
    for d in near:
        yield "joint", hinge(d - boundary + margin)
    for d in far:
        yield "joint", hinge(boundary - d + margin)


def ranked_list(
    near: list[Tensor],
    far: list[Tensor],
    boundary: float,
    margin: float,
    near_temperature: float,
    far_temperature: float,
    balance: float,
    weights_learn: bool,
) -> Terms:
    if not near and not far:
        return
    total = (near + far)[0] * 0
    kinds = (
        ([d - (boundary - margin) for d in near], near_temperature, 1 - balance),
        ([boundary - d for d in far], far_temperature, balance),
    )
    for gaps, temperature, share in kinds:
        gaps = [gap for gap in gaps if gap > 0]
        weights = [torch.exp(temperature * (gap if weights_learn else gap.detach())) for gap in gaps]
        if gaps:
            mean = sum(w * gap for w, gap in zip(weights, gaps, strict=True)) / sum(weights)
            total = total + share * mean
    yield "joint", total


def surrogate(
    near: list[Tensor],
    far: list[Tensor],
    k: int | tuple[int, ...],
    divisor: str,
    rank_temperature: float,
    temperature: float,
) -> Terms:
    if not near or not far:
        return
    ranks = (k,) if isinstance(k, int) else k
    total = near[0] * 0
    for number in ranks:
        inside = near[0] * 0
        for i, p in enumerate(near):
            others = [d for j, d in enumerate(near) if j != i] + far
            before = sum(torch.sigmoid((p - d) / temperature) for d in others)
            inside = inside + torch.sigmoid((number - 1 - before) / rank_temperature)
        count = len(near) if divisor == "recall" else min(number, len(near))
        total = total + (1 - inside / count) / len(ranks)
    yield "joint", total


REFERENCES: dict[str, list[Reference]] = {
    "Tuplet": [
        Reference(losses.Tuplet, tuplet, {"slack": 5.73, "scale": 6.0}, cosine),
        Reference(losses.Tuplet, tuplet, {"slack": 0.0, "scale": 2.0}, cosine),
    ],
    "ThresholdConsistentMargin": [
        Reference(
            losses.ThresholdConsistentMargin,
            threshold,
            {"near_cosine": 0.9, "far_cosine": -0.2, "near_weight": 0.5, "far_weight": 2.0},
            cosine,
        )
    ],
    "SignalToNoise": [
        Reference(losses.SignalToNoise, signal_to_noise, {"near_margin": 0.1, "margin": 3.0}, ratio)
    ],
    "Margin": [
        Reference(losses.Margin, margin_pairs, {"margin": 0.3, "boundary": 1.375, "learn_boundary": learn})
        for learn in (True, False)
    ],
    "RankedList": [
        Reference(
            partial(losses.RankedList),
            ranked_list,
            {
                "boundary": 2.0,
                "margin": 1.1,
                "near_temperature": tp,
                "far_temperature": tn,
                "balance": 0.4,
                "weights_learn": learn,
            },
            no_gradcheck="" if learn else "the weights of the terms are constants in its gradient",
        )
        for tp, tn, learn in ((0.0, 10.0, True), (3.0, 2.0, True), (3.0, 2.0, False), (2.0, 0.0, True))
    ],
    "SurrogatePrecision": [
        Reference(
            losses.SurrogatePrecision,
            surrogate,
            {"k": k, "divisor": divisor, "rank_temperature": 0.7, "temperature": 0.3},
            cosine,
        )
        for k, divisor in (((1, 2, 4), "precision"), (2, "recall"))
    ],
}

ELSEWHERE = {
    "AnglE": "losses/test_angle.py",
    "Angular": "losses/test_angular.py",
    "DynamicSoftMargin": "losses/test_dynamic.py",
    "Manifold": "losses/test_manifold.py",
    "Histogram": "losses/test_totals.py",
    "IntraPair": "losses/test_totals.py",
    "Matryoshka": "losses/test_matryoshka.py",
}
