"""Comparing cells with limits: both forms against loops."""

from __future__ import annotations

import math

import pytest
import torch

from likewise import losses, mining
from likewise.table import compiled
from likewise.table.hinges import AWAY, count_below, nearest_above

SHAPES = [(1, 1, 1), (3, 63, 2), (2, 64, 5), (4, 65, 1), (2, 600, 40), (5, 1300, 3), (3, 7, 0)]


def table(shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A tile with equal cells and some that are out, and limits of which some are none."""
    generator = torch.Generator().manual_seed(sum(shape))
    rows, columns, limits = shape
    tile = torch.randint(-20, 20, (rows, columns), generator=generator).to(dtype) / 8
    tile[torch.rand(rows, columns, generator=generator) < 0.2] = math.inf
    found = torch.randint(-20, 20, (rows, limits), generator=generator).to(dtype) / 8
    found[torch.rand(rows, limits, generator=generator) < 0.2] = -math.inf
    return tile, found


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 3])
def test_counts_and_hinges_equal_a_loop(
    shape: tuple[int, int, int], dtype: torch.dtype, threads: int
) -> None:
    tile, limits = table(shape, dtype)
    below = torch.ones_like(limits)
    middle = torch.linspace(-1, 1, shape[0], dtype=dtype)
    value = torch.full((shape[0],), 2.0, dtype=dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        slopes = count_below(tile, limits, below=below, middle=middle, reach=9.0, value=value)
    finally:
        torch.set_num_threads(before)
    for i, (cells, bounds) in enumerate(zip(tile.tolist(), limits.tolist(), strict=True)):
        assert slopes[i].tolist() == [-sum(cell < bound for bound in bounds) for cell in cells]
        assert below[i].tolist() == [1 + sum(cell < bound for cell in cells) for bound in bounds]
        hinges = sum(float(middle[i]) - cell for bound in bounds for cell in cells if cell < bound)
        assert float(value[i]) == pytest.approx(2.0 + hinges, rel=1e-5, abs=1e-4)
    assert torch.equal(count_below(tile, limits), slopes)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_above_is_a_loops_and_of_equal_ones_the_first(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    tile, limits = table(shape, dtype)
    distance, place = torch.full_like(limits, math.inf), torch.zeros(limits.shape, dtype=torch.int64)
    cut = shape[1] // 3  # two tiles: a tie keeps the place in the first
    for first, last in ((0, cut), (cut, shape[1])):
        part = tile[:, first:last].contiguous()
        nearest_above(part, limits, first=first, distance=distance, place=place)
    for i, (cells, bounds) in enumerate(zip(tile.tolist(), limits.tolist(), strict=True)):
        for k, bound in enumerate(bounds):
            above = [(cell, j) for j, cell in enumerate(cells) if bound < cell < math.inf]
            if above:
                assert (float(distance[i, k]), int(place[i, k])) == min(above)
            else:
                assert float(distance[i, k]) > AWAY / 2


@pytest.mark.parametrize("miner", [None, mining.SemiHard()])
def test_a_loss_is_the_same_in_both_forms(
    miner: mining.Miner | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled.library() is None:
        pytest.skip("no C compiler here")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 6, (60,), generator=generator)
    loss = losses.TripletMargin(miner=miner)
    found = loss(x, y)
    (gradient,) = torch.autograd.grad(found, x)
    monkeypatch.setattr(compiled, "library", lambda: None)
    again = loss(x, y)
    torch.testing.assert_close(found, again, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(again, x)[0], rtol=1e-10, atol=1e-14)
