"""Neither the order of a batch nor the size of tiles changes a value or a gradient; every loss, by discovery.

To 1e-12 of the value and of the largest number of the gradient, in float64.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from likewise.losses import Loss
from likewise.relations import Labels, Matches
from reference.building import NAMES, OF_VALUES, D, build

N = 24
TWO_VIEWS = ("BarlowTwins", "VICReg")
POINTS = ("plain", "equal rows", "close")
TILES = ((1 << 19, 8192, 256), (64, 2, 4), (64, 2, 16), (64, 8192, 256))

TIES = ("DynamicSoftMargin",)
"""Of equal rows the one of the lower number gets the gradient, and another order numbers them otherwise."""
CANCELLING = ("AnglE",)
"""Slopes of size 1 whose sum is as small as what tells points at offset 1,000 apart, 1e-7 of them: measured
1.5e-10 of the gradient between two orders, 1e7 times the rounding."""
DIRECTIONS = {
    "DoubleHeaderHinge": "points on float32's grid tie, and rounding chooses the hardest, for both heads",
}


def points(name: str, kind: str, seed: int) -> Tensor:
    width = 1 if name in OF_VALUES else D
    x = torch.randn(N, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "equal rows":
        x[5], x[9], x[1] = x[2], x[2], x[0]
    return 1000 + 1e-4 * x if kind == "close" else x


def evaluated(name: str, loss: Loss, x: Tensor, z: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient of a batch in some order, the gradient in the first one."""
    labels = torch.randint(0, 5, (N,), generator=torch.Generator().manual_seed(3)).clamp(max=3)
    a = x[order].requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        if name in TWO_VIEWS:
            value = loss(a, Matches(), columns=z[order])
        else:
            value = loss(a, Labels(labels[order]))
    (slope,) = torch.autograd.grad(value, a)
    back = torch.empty_like(slope)
    back[order] = slope
    return value.detach(), back


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], of: float = 1e-12) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-14)
    largest = float(expected[1].abs().max())
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=of * largest)


@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_batch_changes_nothing(name: str, kind: str) -> None:
    for seed in range(3):
        x, z = points(name, kind, seed), points(name, kind, seed + 100)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        first = evaluated(name, build(name).double(), x, z, torch.arange(N))
        second = evaluated(name, build(name).double(), x, z, order)
        if kind == "equal rows" and name in TIES:
            torch.testing.assert_close(second[0], first[0], rtol=1e-12, atol=1e-14)
            continue
        same(second, first, 1e-8 if kind == "close" and name in CANCELLING else 1e-12)


@pytest.mark.parametrize("kind", POINTS)
@pytest.mark.parametrize("name", NAMES)
def test_tile_size_changes_nothing(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = points(name, kind, 1), points(name, kind, 2)
    found = []
    for tile, whole, rows in TILES:
        monkeypatch.setattr("likewise.table.blocks.TILE", tile)
        monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", whole)
        monkeypatch.setattr("likewise.table.blocks.ROWS", rows)
        found.append(evaluated(name, build(name).double(), x, z, torch.arange(N)))
    for other in found[1:]:
        same(other, found[0], 1e-8 if kind == "close" and name in CANCELLING else 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_points_close_together_far_from_the_origin_in_float32(name: str) -> None:
    """1e-4 apart at offset 1,000, of which float32 holds three digits: the value of those in float64."""
    if name in DIRECTIONS:
        pytest.skip(DIRECTIONS[name])
    for seed in range(3):
        x, z = (points(name, "close", seed + more).float() for more in (0, 100))
        if name == "SignalToNoise":  # a row of equal numbers has no signal to divide by
            x[:, 0] += 1e-3
        order = torch.arange(N)
        low, high = build(name), build(name).double()
        found, slope = evaluated(name, low, x, z, order)
        expected, _ = evaluated(name, high, x.double(), z.double(), order)
        torch.testing.assert_close(found.double(), expected, rtol=2e-5, atol=2e-5)
        assert torch.isfinite(slope).all()
