"""Dynamic soft margin: hardest negatives by a loop, its histogram by hand, its state in the checkpoint."""

from __future__ import annotations

import pytest
import torch

from likewise.distances import Bilinear
from likewise.errors import InputError
from likewise.losses import DynamicSoftMargin
from likewise.relations import Matches


def gaps(x: torch.Tensor, labels: list[int]) -> list[torch.Tensor]:
    n = len(x)
    found = []
    for i in range(n):
        for j in range(n):
            if i == j or labels[i] != labels[j]:
                continue
            ends = [(x[k] - x[end]).norm() for end in (i, j) for k in range(n) if labels[k] != labels[i]]
            found.append((x[i] - x[j]).norm() - min(ends))
    return found


def share(histogram: torch.Tensor, gap: float, reach: float) -> float:
    bins = len(histogram) - 1
    scaled = (min(max(gap, -reach), reach) + reach) * bins / (2 * reach)
    below = min(int(scaled), bins - 1)
    total = histogram.cumsum(0)
    return float(total[below] + (scaled - below) * (total[below + 1] - total[below]))


@pytest.mark.parametrize("seed", range(67))
def test_value_and_gradient_equal_the_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    if seed % 5 == 2:  # 1e-4 apart at offset 1,000
        x = 1000 + 1e-4 * x
    labels = ([0, 0, 1, 1, 1, 2, 2, 0, 3], [0, 0, 1], [0, 1, 0, 1, 1])[seed % 3]
    x = x[: len(labels)]
    loss = DynamicSoftMargin(bins=8, momentum=0.3)
    before = torch.zeros(9, dtype=torch.float64)
    for step in range(3):  # the histogram moves by each batch, before it weighs it
        y = (x.detach() * (1 + step)).requires_grad_()
        plain = gaps(y, labels)
        found = torch.zeros(9, dtype=torch.float64)
        for gap in plain:
            scaled = (min(max(float(gap.detach()), -2.0), 2.0) + 2) * 2
            below = min(int(scaled), 7)
            found[below] += 1 - (scaled - below)
            found[below + 1] += scaled - below
        found /= found.sum()
        expected_histogram = found if step == 0 else 0.7 * before + 0.3 * found
        weights = [share(expected_histogram, float(gap.detach()), 2.0) for gap in plain]
        expected = sum(w * gap for w, gap in zip(weights, plain, strict=True)) / len(plain)
        (slope,) = torch.autograd.grad(expected, y)
        z = y.detach().clone().requires_grad_()
        value = loss(z, labels)
        value.backward()
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(z.grad, slope, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(loss.histogram, expected_histogram, rtol=1e-9, atol=1e-12)
        before = expected_histogram


def test_the_histogram_is_in_the_checkpoint_and_rests_in_evaluation() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    loss = DynamicSoftMargin()
    loss(x, Matches(), columns=x.flip(1))
    other = DynamicSoftMargin()
    other.load_state_dict(loss.state_dict())
    other.eval()
    assert torch.equal(other.histogram, loss.histogram)
    other(3 * x, Matches(), columns=x.flip(1))
    assert torch.equal(other.histogram, loss.histogram)


def test_hostile_input_is_refused() -> None:
    for options, message in (
        ({"bins": 0}, "bins"),
        ({"momentum": 1.5}, "momentum must be at most 1"),
        ({"reach": -1.0}, "reach"),
        ({"distance": Bilinear(torch.eye(3))}, "distance must be symmetric"),
    ):
        with pytest.raises(InputError, match=message):
            DynamicSoftMargin(**options)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="no positive pair"):
        assert float(DynamicSoftMargin()(x, [0, 1, 2])) == 0
