"""Hinges of single cells, their sums and slopes: C and PyTorch against the formula in float64."""

from __future__ import annotations

import pytest
import torch

from likewise.table import compiled, gaps
from likewise.table.gaps import GapSums, add_gaps


@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 31), (64, 32), (131, 97)])
def test_sums_and_slopes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], dtype: torch.dtype, squared: bool, in_c: bool
) -> None:
    if in_c and compiled.library() is None:
        pytest.skip("no C compiler is here")
    if not in_c:
        monkeypatch.setattr(gaps.compiled, "takes", lambda *_: False)
    tile = torch.rand(*shape, generator=torch.Generator().manual_seed(shape[1])).to(dtype) * 2.0
    tile[0, 0], tile[-1, -1] = torch.inf, 0.75  # a cell at the margin costs nothing
    gap = (0.75 - tile.double()).clamp(min=0.0)
    terms, slopes = (gap.square() / 2, -gap) if squared else (gap, -(gap > 0).double())
    for writes in (True, False):
        rows, columns = (GapSums(torch.ones(n, dtype=dtype), torch.ones(n, dtype=dtype)) for n in shape)
        found = add_gaps(
            tile, 0.75, squared=squared, rows=rows, columns=None if writes else columns, slopes=writes
        )
        for each, dim in ((rows, 1),) if writes else ((rows, 1), (columns, 0)):
            assert each.active is not None
            torch.testing.assert_close(each.value.double(), 1 + terms.sum(dim), rtol=1e-5, atol=1e-6)
            assert each.active.tolist() == (1 + (gap > 0).sum(dim)).tolist()
        if writes:
            assert found is not None
            torch.testing.assert_close(found.double(), slopes, rtol=1e-5, atol=1e-6)
    silent = GapSums(torch.zeros(shape[0], dtype=dtype), None)
    assert add_gaps(tile, 0.75, squared=squared, rows=silent) is None
    torch.testing.assert_close(silent.value.double(), terms.sum(1), rtol=1e-5, atol=1e-6)
