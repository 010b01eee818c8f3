"""Exponentials and sigmoids of tiles: both forms against the same in float64."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.table.exponentials import exponentials
from likewise.table.sigmoids import add_ranks, add_ratios, rank_slopes

pytestmark = pytest.mark.usefixtures("form")

# the last is read by bins
SHAPES = [(1, 1, 1), (3, 511, 2), (2, 512, 5), (4, 513, 1), (9, 1300, 3), (3, 7, 0), (5, 1537, 24)]
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
@pytest.mark.parametrize("rate", [1.0, 30.0, 100.0, 1000.0])
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
@pytest.mark.parametrize("rate", [2.0, 50.0])
def test_ratios(shape: tuple[int, int, int], dtype: torch.dtype, counted: bool, rate: float) -> None:
    tile, limits = table(shape, dtype)
    expected = sigmoids(tile, limits, rate)
    value, pull = torch.ones_like(limits.sum(1)).fill_(1.0), torch.ones_like(limits)
    active = torch.zeros_like(value) if counted else None
    slopes = add_ratios(tile, limits, rate, value=value, pull=pull, active=active)
    pulls = expected.square() * (1 - expected)
    close = {"rtol": DTYPES[dtype] * rate * 5, "atol": DTYPES[dtype] * rate}
    torch.testing.assert_close(value.double(), 1 + expected.square().sum((1, 2)), **close)
    torch.testing.assert_close(pull.double(), 1 + pulls.sum(2), **close)
    torch.testing.assert_close(slopes.double(), -pulls.sum(1), **close)
    if active is not None and rate < 10:  # small squares are zero in floats
        assert active.tolist() == (expected.square() > 0).sum((1, 2)).tolist()


@pytest.mark.parametrize("offset", [-30.0, 0.0, 1000.0])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 3.0])
def test_crowds_of_cells_far_from_zero_and_at_one_place(offset: float, spread: float) -> None:
    tile, limits = table((4, 1100, 20), torch.float32)
    tile[0], tile[1, 1:] = math.inf, math.inf  # a row without cells, and one with one
    tile, limits = (torch.where(x.isinf(), x, x * spread + offset) for x in (tile, limits))
    expected = sigmoids(tile, limits, 4.0)
    before, steep = torch.zeros_like(limits), torch.zeros_like(limits)
    add_ranks(tile, limits, 4.0, before=before, steep=steep)
    # each cell's sum is of floats, of which the largest is its count
    torch.testing.assert_close(before.double(), expected.sum(2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(steep.double(), (expected * (1 - expected)).sum(2), rtol=1e-5, atol=1e-5)


def test_a_crowd_with_a_cell_that_is_no_number_tells_so() -> None:
    tile, limits = table((4, 1100, 20), torch.float32)
    tile[2, 5] = math.nan
    before, steep = torch.zeros_like(limits), torch.zeros_like(limits)
    add_ranks(tile, limits, 4.0, before=before, steep=steep)
    assert before.isnan().any(1).tolist() == [False, False, True, False]


def test_weights_too_small_for_floats_to_multiply_count_as_nothing() -> None:
    tile, limits = table((4, 1100, 20), torch.float32)
    factor = torch.full_like(limits, 1e-30)
    factor[:, 3] = 1.0
    slopes = rank_slopes(tile, limits, 4.0, factor)
    expected = sigmoids(tile, limits[:, 3:4], 4.0)
    torch.testing.assert_close(slopes.double(), (expected * (1 - expected)).sum(1), rtol=1e-5, atol=1e-6)
