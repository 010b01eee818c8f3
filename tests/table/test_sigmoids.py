"""Exponentials and sigmoids of tiles: both forms against the same in float64."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.table.exponentials import exponentials
from likewise.table.sigmoids import add_ranks, add_ratios, rank_slopes

pytestmark = pytest.mark.usefixtures("form")

SHAPES = [(1, 1, 1), (3, 511, 2), (2, 512, 5), (4, 513, 1), (9, 1300, 3), (3, 7, 0)]
DTYPES = {torch.float32: 2e-6, torch.float64: 1e-12}


def table(shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A tile with cells that are out, and limits of which some are none."""
    generator = torch.Generator().manual_seed(sum(shape))
    rows, columns, limits = shape
    tile = torch.rand(rows, columns, generator=generator, dtype=dtype) * 4
    tile[torch.rand(rows, columns, generator=generator) < 0.2] = math.inf
    found = torch.rand(rows, limits, generator=generator, dtype=dtype) * 4
    found[torch.rand(rows, limits, generator=generator) < 0.2] = -math.inf
    return tile, found


def sigmoids(tile: torch.Tensor, limits: torch.Tensor, rate: float) -> torch.Tensor:
    """Each limit against each cell (r, p, c), in float64."""
    return ((limits.double()[:, :, None] - tile.double()[:, None]) * rate).sigmoid()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [-1.0, -40.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_exponentials(dtype: torch.dtype, rate: float, threads: int) -> None:
    tile, _ = table((9, 1300, 1), dtype)
    shift = torch.linspace(-1, 60, 9, dtype=dtype)
    shift[4] = -math.inf
    total = torch.ones(9, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = exponentials(tile, rate, shift, total=total)
    finally:
        torch.set_num_threads(before)
    exponents = tile.double() * rate + shift.double()[:, None]
    # an exponent is rounded by its own size, and what falls below exp(-87) may be none
    tolerance = DTYPES[dtype] * float(exponents[exponents.isfinite()].abs().max().clamp(min=1))
    torch.testing.assert_close(found.double(), exponents.exp(), rtol=tolerance, atol=1e-37)
    torch.testing.assert_close(total.double(), 1 + exponents.exp().sum(1), rtol=tolerance, atol=0)
    assert not found[tile.isinf()].any()
    assert not found[4].any()


def test_what_is_no_number_stays_none() -> None:
    tile = torch.zeros(64, 100)
    tile[5, 7] = math.nan
    found = exponentials(tile, -1.0, torch.zeros(64))
    assert found.isnan().nonzero().tolist() == [[5, 7]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [1.0, 100.0])
def test_ranks_and_their_slopes(shape: tuple[int, int, int], dtype: torch.dtype, rate: float) -> None:
    tile, limits = table(shape, dtype)
    expected = sigmoids(tile, limits, rate)
    before, steep = torch.ones_like(limits), torch.ones_like(limits)
    add_ranks(tile, limits, rate, before=before, steep=steep)
    factor = torch.linspace(-1, 2, limits.numel(), dtype=dtype).view_as(limits)
    slopes = rank_slopes(tile, limits, rate, factor)
    steeps = expected * (1 - expected)
    close = {"rtol": DTYPES[dtype] * rate * 10, "atol": DTYPES[dtype] * rate}
    torch.testing.assert_close(before.double(), 1 + expected.sum(2), **close)
    torch.testing.assert_close(steep.double(), 1 + steeps.sum(2), **close)
    torch.testing.assert_close(slopes.double(), (factor.double()[:, :, None] * steeps).sum(1), **close)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("counted", [False, True])
def test_ratios(shape: tuple[int, int, int], dtype: torch.dtype, counted: bool) -> None:
    tile, limits = table(shape, dtype)
    expected = sigmoids(tile, limits, 2.0)
    value, pull = torch.ones_like(limits.sum(1)).fill_(1.0), torch.ones_like(limits)
    active = torch.zeros_like(value) if counted else None
    slopes = add_ratios(tile, limits, 2.0, value=value, pull=pull, active=active)
    pulls = expected.square() * (1 - expected)
    close = {"rtol": DTYPES[dtype] * 10, "atol": DTYPES[dtype]}
    torch.testing.assert_close(value.double(), 1 + expected.square().sum((1, 2)), **close)
    torch.testing.assert_close(pull.double(), 1 + pulls.sum(2), **close)
    torch.testing.assert_close(slopes.double(), -pulls.sum(1), **close)
    if active is not None:
        assert active.tolist() == (expected.square() > 0).sum((1, 2)).tolist()
