"""Listed cells: the form in C and the one in PyTorch, against autograd on the same pairs."""

from __future__ import annotations

import pytest
import torch

from likewise.distances import Form
from likewise.table import side
from likewise.table.pairs import add_pair_gradients, pair_distances
from likewise.table.side import Side


def sides(unit: bool, dtype: torch.dtype) -> tuple[Side, Side]:
    generator = torch.Generator().manual_seed(2)
    u, v = (torch.randn(n, 37, generator=generator, dtype=torch.float64).to(dtype) for n in (11, 9))
    v[3] = u[5]  # no distance at all
    return Side(u, unit=unit), Side(v, unit=unit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kept", [True, False], ids=["copy", "no copy"])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("pair_form", Form)
def test_distances_and_gradients_of_pairs(
    form: str, pair_form: Form, unit: bool, kept: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    del form
    if not kept:
        monkeypatch.setattr(side, "COPY", 0)
    u, v = sides(unit, dtype)
    u.keep()
    v.keep()
    generator = torch.Generator().manual_seed(4)
    rows, columns = (torch.randint(0, n, (50,), generator=generator) for n in (11, 9))
    rows[0], columns[0] = 5, 3
    slopes = torch.randn(50, generator=generator, dtype=torch.float64).to(dtype)
    slopes[7] = 0.0
    x, z = (
        (torch.nn.functional.normalize(part.given) if unit else part.given.clone()).requires_grad_()
        for part in (u, v)
    )
    expected = pair_form.pairs(x[rows], z[columns])
    by_x, by_z = torch.autograd.grad((expected * slopes).sum(), (x, z))
    found = pair_distances(pair_form, u, v, rows, columns)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(found, expected.detach(), rtol=tolerance, atol=tolerance)
    if pair_form is not Form.NEGATIVE_PRODUCT:
        assert found[0] == 0
    mine, theirs = torch.ones_like(x), torch.ones_like(z)
    add_pair_gradients(pair_form, u, v, rows, columns, slopes, found, mine, theirs)
    torch.testing.assert_close(mine - 1, by_x, rtol=10 * tolerance, atol=10 * tolerance)
    torch.testing.assert_close(theirs - 1, by_z, rtol=10 * tolerance, atol=10 * tolerance)
    rows_alone = torch.zeros_like(x)
    add_pair_gradients(pair_form, u, v, rows, columns, slopes, found, rows_alone, None)
    torch.testing.assert_close(rows_alone, by_x, rtol=10 * tolerance, atol=10 * tolerance)


def test_no_pairs() -> None:
    u, v = sides(False, torch.float64)
    none = torch.zeros(0, dtype=torch.int64)
    assert pair_distances(Form.EUCLIDEAN, u, v, none, none).shape == (0,)
