"""Softmaxes of rows: the form in C and the one in PyTorch, against autograd."""

from __future__ import annotations

import pytest
import torch

from likewise.table import Near
from likewise.table.exponentials import log_sum_slopes, log_sums
from likewise.table.softmax import mean_softmax, pair_softmax


def near_cells(dtype: torch.dtype) -> tuple[Near, torch.Tensor]:
    """Five rows: full, with one cell, with none, with equal ones, and one that has nothing far."""
    generator = torch.Generator().manual_seed(3)
    distances = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    valid = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    distances[3] = 0.25
    distances = distances.masked_fill(~valid, torch.inf).to(dtype)
    far = torch.tensor([0.3, -2.0, 1.0, 90.0, -torch.inf], dtype=dtype)
    count = valid.sum(1).to(dtype)
    return Near(distances, valid, count, torch.full_like(count, 9.0)), far


TOLERANCES = {torch.float32: 2e-6, torch.float64: 1e-13}


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_each_near_cell_against_the_far_ones(form: str, dtype: torch.dtype) -> None:
    near, far = near_cells(dtype)
    leaf, of_far = near.distances.masked_fill(~near.valid, 0.0).requires_grad_(), far.clone().requires_grad_()
    gaps = of_far[:, None] + 2.0 * leaf
    terms = torch.logaddexp(torch.zeros(1, dtype=dtype), gaps).masked_fill(~near.valid, 0.0)
    (slope, by_far) = torch.autograd.grad(terms.sum(), (leaf, of_far))
    for slopes in (-2.0, torch.full_like(leaf, -2.0).detach()):
        part, share, by_near = pair_softmax(near, far, -2.0 * near.distances, slopes)
        close = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
        torch.testing.assert_close(part.value, terms.sum(1).detach(), **close)
        torch.testing.assert_close(by_near, slope, **close)
        torch.testing.assert_close(share, by_far, **close)
        assert part.active.tolist() == [3, 1, 0, 2, 0]


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_mean_over_near_cells(form: str, dtype: torch.dtype) -> None:
    near, far = near_cells(dtype)
    part, by_far, by_near = mean_softmax(near, far, 2.0)
    for row in range(5):
        some = near.distances[row][near.valid[row]].clone().requires_grad_()
        beyond = far[row].clone().requires_grad_()
        if not len(some):
            assert (part.value[row], part.terms[row], by_far[row]) == (0, 0, 0)
            assert by_near[row].tolist() == [0.0] * 3
            continue
        chance = torch.cat([-2.0 * some, beyond[None]]).log_softmax(0)[:-1]
        slope, slope_far = torch.autograd.grad(-chance.mean(), (some, beyond))
        close = {"rtol": TOLERANCES[dtype], "atol": TOLERANCES[dtype]}
        torch.testing.assert_close(part.value[row], -chance.detach().mean(), **close)
        torch.testing.assert_close(by_near[row][near.valid[row]], slope, **close)
        torch.testing.assert_close(by_far[row], slope_far.nan_to_num(), **close)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_log_sums_over_two_tiles(form: str, dtype: torch.dtype) -> None:
    table = 4 * torch.rand(6, 77, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    table[2, 40:] = torch.inf
    table[5] = torch.inf
    table = table.to(dtype)
    logits = -3.0 * table
    first = log_sums(table[:, :33].contiguous(), 3.0, None)
    maximum, total, exponentials = log_sums(table[:, 33:].contiguous(), 3.0, first[:2])
    close = {"rtol": 4 * TOLERANCES[dtype], "atol": 4 * TOLERANCES[dtype]}
    torch.testing.assert_close((maximum + total.log())[:5], logits[:5].logsumexp(1), **close)
    assert total[5] == 0
    by_log = torch.linspace(0.1, 0.6, 6, dtype=dtype)
    slopes = log_sum_slopes(exponentials.clone(), 3.0, by_log, total)
    expected = -3.0 * by_log[:5, None] * logits[:5].softmax(1)[:, 33:]
    torch.testing.assert_close(slopes[:5], expected, **close)
    assert not slopes[5].any()
