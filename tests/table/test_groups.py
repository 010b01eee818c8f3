"""Pools of neighbouring columns: the form in C and the one in PyTorch, against loops and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likewise.table.groups import NearestOf, Pool, SoftNearest

TEMPERATURE = 0.1
SHAPES = [(3, 4, 1), (2, 700, 3), (5, 60, 10), (2, 3, 512), (2, 2, 600)]


def distances_of(shape: tuple[int, int, int]) -> Tensor:
    """Random ones, with groups of nothing finite, of equal ones, and with one that is out."""
    distances = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2
    distances[0, 0] = torch.inf
    distances[0, 1, 0] = torch.inf
    distances[1, 1] = 0.5
    return distances


def one(pool: Pool, group: Tensor) -> Tensor:
    """The distance of one group, of finite distances (k,)."""
    if isinstance(pool, NearestOf):
        return group[group.argmin()]
    return (torch.softmax(-group / TEMPERATURE, 0) * group).sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pool", [NearestOf(), SoftNearest(TEMPERATURE)], ids=["nearest", "soft"])
def test_groups_have_the_distance_and_slopes_of_a_loop(
    form: str, pool: Pool, shape: tuple[int, int, int]
) -> None:
    distances = distances_of(shape)
    pooled = pool.value(distances)
    slopes = torch.randn(shape[:2], generator=torch.Generator().manual_seed(2)) * pooled.isfinite()
    spread = pool.slope(distances, pooled, slopes)
    for row in range(shape[0]):
        for group in range(0, shape[1], 7 if shape[1] > 100 else 1):
            known = distances[row, group].isfinite()
            if not known.any():
                assert math.isinf(pooled[row, group])
                assert spread[row, group].tolist() == [0.0] * shape[2]
                continue
            leaf = distances[row, group][known].double().requires_grad_()
            value = one(pool, leaf)
            (slope,) = torch.autograd.grad(value * slopes[row, group].double(), leaf)
            torch.testing.assert_close(pooled[row, group].double(), value.detach(), rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(spread[row, group][known].double(), slope, rtol=1e-5, atol=2e-6)
            assert not spread[row, group][~known].any()
