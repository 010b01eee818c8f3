"""Log-sum-exps of rows and columns at once, and their slopes, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.table import compiled
from likewise.table.both import log_sum_slopes_both, log_sums_both

LEAST = -3e38


@pytest.fixture(autouse=True)
def needs_a_compiler() -> None:
    if compiled.library() is None:
        pytest.skip("no C compiler here")


def tile(rows: int, columns: int, scale: float) -> Tensor:
    found = torch.rand(rows, columns, generator=torch.Generator().manual_seed(rows)) * scale
    found[rows // 2, :] = torch.inf
    found[:, columns // 3] = torch.inf
    return found


def running(count: int) -> tuple[Tensor, Tensor]:
    return torch.full((count,), LEAST), torch.zeros(count)


def check(state: tuple[Tensor, Tensor], logits: Tensor, dim: int) -> None:
    found = state[0] + state[1].log()
    expected = logits.double().logsumexp(dim)
    finite = expected > -torch.inf
    torch.testing.assert_close(found[finite].double(), expected[finite], rtol=2e-6, atol=2e-5)
    assert (state[1][~finite] == 0).all()
    assert (state[1][finite] > 0.5).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 17), (130, 200)])
def test_sums(shape: tuple[int, int]) -> None:
    first, second = tile(*shape, 2.0), tile(*shape, 1.0)
    rows, columns = running(shape[0]), running(shape[1])
    assert log_sums_both(first, 10.0, rows, columns)
    check(columns, -10.0 * first, 0)
    columns = running(shape[1])
    assert log_sums_both(second, 10.0, rows, columns)
    check(rows, -10.0 * torch.cat([first, second], 1), 1)
    check(columns, -10.0 * second, 0)


def test_logits_too_far_apart_for_one_shift_are_left_to_others() -> None:
    cells = tile(8, 8, 1.0)
    cells[1] += 100.0
    rows, columns = running(8), running(8)
    assert not log_sums_both(cells, 10.0, rows, columns)
    assert (rows[0] == LEAST).all() and not columns[1].any()
    assert not log_sums_both(cells.double(), 10.0, rows, columns)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("far", [0.0, 100.0])
def test_slopes(far: float, weighted: bool) -> None:
    cells = tile(70, 33, 1.0)
    cells[1] += far
    logits = -10.0 * cells.double()
    shifts = [(-logits.logsumexp(dim)).float() for dim in (1, 0)]
    shifts = [torch.where(shift < torch.inf, shift, -torch.inf) for shift in shifts]
    weights = [torch.linspace(0.0, 2.0, len(shift)) if weighted else None for shift in shifts]
    found = log_sum_slopes_both(cells, 10.0, (shifts[0], weights[0]), (shifts[1], weights[1]))
    parts = [(logits + shifts[0].double()[:, None]).exp(), (logits + shifts[1].double()).exp()]
    if weights[0] is not None and weights[1] is not None:
        parts = [parts[0] * weights[0][:, None], parts[1] * weights[1]]
    assert found is not None
    # float32 holds a logit of 1,000 to 6e-5
    torch.testing.assert_close(found.double(), -10.0 * (parts[0] + parts[1]), rtol=2e-4, atol=1e-6)
