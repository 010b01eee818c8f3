"""Chunk minima, cells up to a bound, and ranks: both forms against loops."""

from __future__ import annotations

import math

import pytest
import torch

from likewise.table.chunks import CHUNK, cells_up_to, chunk_minima
from likewise.table.hinges import ranks_below

pytestmark = pytest.mark.usefixtures("form")


def table(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Small numbers, many of them equal, some infinite."""
    generator = torch.Generator().manual_seed(rows + columns)
    found = torch.randint(-9, 9, (rows, columns), generator=generator).to(dtype)
    return found.masked_fill_(torch.rand(rows, columns, generator=generator) < 0.1, math.inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunks", [1, 15, 16, 17, 40])
def test_minima_of_a_part_of_a_wider_table(dtype: torch.dtype, chunks: int) -> None:
    whole = table(3, chunks * CHUNK + 10, dtype)
    out = torch.full((3, chunks + 2), -99.0, dtype=dtype)
    chunk_minima(whole[:, 5 : 5 + chunks * CHUNK], out[:, 1 : chunks + 1])
    for row, found in zip(whole.tolist(), out.tolist(), strict=True):
        starts = range(5, 5 + chunks * CHUNK, CHUNK)
        assert found == [-99.0, *(min(row[start : start + CHUNK]) for start in starts), -99.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, 16, 100, 500])
def test_cells_up_to_a_bound_in_order(dtype: torch.dtype, columns: int) -> None:
    cells = table(5, columns, dtype)
    bound = torch.tensor(
        [-20.0, -9.0, 0.0, 5.0, math.inf], dtype=dtype
    )  # none, few, and more than fit at once
    values, places = cells_up_to(cells, bound)
    expected = [
        [(cell, j) for j, cell in enumerate(row) if cell <= most and cell < math.inf]
        for row, most in zip(cells.tolist(), bound.tolist(), strict=True)
    ]
    width = max(1, *map(len, expected))
    assert values.shape == places.shape == (5, width)
    for row, (some, at) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
        rest = [(math.inf, -1)] * (width - len(expected[row]))
        assert list(zip(some, at, strict=True)) == expected[row] + rest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, 511, 512, 1500])
def test_ranks_count_equal_cells_by_their_place(dtype: torch.dtype, columns: int) -> None:
    cells = table(4, columns, dtype)
    generator = torch.Generator().manual_seed(columns)
    places = torch.randint(-1, columns, (4, 6), generator=generator)
    found = ranks_below(cells, places)
    for i, row in enumerate(cells.tolist()):
        for k, place in enumerate(places[i].tolist()):
            if place >= 0 and row[place] == math.inf:
                continue  # what is out has no rank
            own = (row[place], place)
            before = [(cell, j) for j, cell in enumerate(row) if place >= 0 and (cell, j) < own]
            assert int(found[i, k]) == len(before)
