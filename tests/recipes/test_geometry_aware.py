"""Huang, Qiu, Calderbank, Sapiro 2015: the transform between its two ends."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.recipes import geometry_aware


def test_the_transform_is_the_weighted_sum_of_its_two_ends() -> None:
    """lam (h-1)^2 + (1-lam) (h-c)^2 = (h-t)^2 + lam (1-lam) (1-c)^2: the rest has no network in it."""
    generator = torch.Generator().manual_seed(3)
    inputs, labels = torch.randn(8, 5, generator=generator), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    rest = []
    for _ in range(3):
        x = torch.randn(8, 4, generator=generator)
        both, one, zero = (
            geometry_aware.objective(f"lambda {value}", 2)(x, labels, inputs).item()
            for value in ("0.25", "1", "0")
        )
        rest.append(0.25 * one + 0.75 * zero - both)
    assert rest == pytest.approx([rest[0]] * 3, abs=1e-5) and rest[0] > 0.1


def test_the_feasible_target_can_be_met_by_three_classes() -> None:
    angle = torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]) * (2 * math.pi / 3)
    x, labels = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([0, 0, 1, 1, 2, 2])
    feasible = geometry_aware.objective("lambda 1, feasible target", 3)
    assert feasible(x, labels, x).item() == pytest.approx(0.0, abs=1e-6)
    assert geometry_aware.objective("lambda 1", 3)(x, labels, x).item() == pytest.approx(0.25)  # (-1/2 + 1)^2
