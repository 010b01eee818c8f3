"""Keys against rows of 16 bits: both forms against plain loops."""

from __future__ import annotations

import pytest
import torch

from likewise.table import compiled
from likewise.table.shorts import GROUP, in_groups, short_keys


@pytest.mark.parametrize("compiled_form", [True, False])
@pytest.mark.parametrize(
    ("n", "width", "queries"), [(1, 1, 1), (31, 3, 2), (32, 5, 7), (75, 16, 13), (200, 9, 33)]
)
def test_keys_are_those_of_a_loop(
    n: int, width: int, queries: int, compiled_form: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled_form:
        monkeypatch.setattr(compiled, "library", lambda: None)
    elif compiled.library() is None:
        pytest.skip(compiled.state())
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-32767, 32768, (n, width), dtype=torch.int16, generator=generator)
    scaled = torch.randn(queries, width, generator=generator)
    offsets = torch.randn(n, generator=generator)
    offsets[n // 2] = torch.inf
    out = torch.full((queries, n + 3), 7.0)
    short_keys(in_groups(rows), scaled, offsets, out)
    assert (out[:, n:] == 7).all()
    for i in range(queries):
        for j in range(n):
            terms = [float(a) * float(b) for a, b in zip(scaled[i], rows[j], strict=True)]
            assert out[i, j] == pytest.approx(
                float(offsets[j]) - sum(terms), abs=1e-6 * sum(map(abs, terms)) + 1e-6
            )


def test_groups_hold_rows_column_by_column() -> None:
    rows = torch.arange(2 * (GROUP + 1), dtype=torch.int16).view(-1, 2)
    groups = in_groups(rows)
    assert groups.shape == (2, 2, GROUP)
    assert all(
        groups[row // GROUP, :, row % GROUP].tolist() == rows[row].tolist() for row in range(GROUP + 1)
    )
    assert (groups[1, :, 1:] == 0).all()
