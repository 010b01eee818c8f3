"""Histograms of distances: C and PyTorch against a plain loop."""

from __future__ import annotations

import pytest
import torch

from likewise.table import bins, compiled


def _by_hand(distances: list[float], count: int, scale: float) -> list[float]:
    found = [0.0] * (count + 1)
    for distance in distances:
        if distance == float("inf"):
            continue
        place = min(max(distance, 0.0) * scale, float(count))
        below = min(int(place), count - 1)
        found[below] += 1 - (place - below)
        found[below + 1] += place - below
    return found


@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_counts_and_steps_are_those_of_a_loop(
    monkeypatch: pytest.MonkeyPatch, in_c: bool, dtype: torch.dtype, count: int
) -> None:
    if in_c and compiled.library() is None:
        pytest.skip("no C compiler is here")
    if not in_c:
        monkeypatch.setattr(bins, "_in_c", lambda *_: False)
    generator = torch.Generator().manual_seed(count)
    distances = torch.rand(9, 13, generator=generator, dtype=dtype) * 2.5
    distances[0, :4] = torch.tensor([0.0, -0.5, 5.0, torch.inf])
    scale = count / 2.0
    found = bins.bin_counts(distances, count, scale)
    by_hand = [_by_hand(row.tolist(), count, scale) for row in distances.double()]
    expected = torch.tensor(by_hand, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    steps = torch.randn(len(distances), count, generator=generator, dtype=torch.float64)
    slopes = bins.bin_steps(distances, steps, scale)
    for row, of_row, found_row in zip(
        distances.double().tolist(), steps.to(dtype).tolist(), slopes.tolist(), strict=True
    ):
        for distance, slope in zip(row, found_row, strict=True):
            there = 0.0 <= distance < float("inf")
            assert slope == (of_row[min(int(distance * scale), count - 1)] if there else 0.0)
