"""AnglE: its angle from complex numbers, and its order as CoSENT's."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.losses import AnglE
from likewise.losses.angle import ComplexAngle
from likewise.relations import Scores


def similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """|the sum of real and imaginary parts of x / y, brought to the length of x over that of y|."""
    half = len(x) // 2
    z, w = torch.complex(x[:half], x[half:]), torch.complex(y[:half], y[half:])
    quotient = (
        z
        * w.conj()
        / (w.abs().square().sum())
        / (z.abs().square().sum().sqrt() / w.abs().square().sum().sqrt())
    )
    return (quotient.real + quotient.imag).sum().abs()


def test_value_and_gradient_equal_the_loops() -> None:
    """200 random cases."""
    generator = torch.Generator().manual_seed(2)
    for number in range(200):
        n = 2 + number % 5
        x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
        if number % 4 == 0:
            x[-1] = x[0]  # duplicates
        left, right = torch.arange(n - 1), torch.arange(1, n)
        score = torch.rand(n - 1, generator=generator, dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        found = [similarity(a[i], a[j]) for i, j in zip(left, right, strict=True)]
        pairs = [
            (found[j] - found[i]) / 0.3 for i in range(n - 1) for j in range(n - 1) if score[i] > score[j]
        ]
        expected = torch.log(1 + sum((p.exp() for p in pairs), a.sum() * 0))
        value = AnglE(temperature=0.3)(b, Scores(left, right, score))
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11)
        (slope,) = torch.autograd.grad(expected, a)
        value.backward()
        torch.testing.assert_close(b.grad, slope, rtol=1e-8, atol=1e-10)


def test_an_odd_number_of_coordinates_is_refused() -> None:
    with pytest.raises(InputError, match="even number of coordinates; found 3"):
        ComplexAngle()(torch.ones(3), torch.ones(3))
