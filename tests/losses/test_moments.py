"""VICReg and BarlowTwins against loops over items and coordinates, and VICReg against other libraries."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from pytorch_metric_learning import losses as theirs

from likewise.errors import InputError
from likewise.losses import BarlowTwins, VICReg
from likewise.relations import Matches


def views(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, x + 0.5 * torch.randn(n, d, generator=generator, dtype=torch.float64)


def covariance(x: torch.Tensor, i: int, j: int) -> torch.Tensor:
    n = len(x)
    means = [sum(x[r, c] for r in range(n)) / n for c in (i, j)]
    return sum((x[r, i] - means[0]) * (x[r, j] - means[1]) for r in range(n)) / (n - 1)


def vicreg(
    x: torch.Tensor, z: torch.Tensor, weights: tuple[float, ...], mean: bool, halved: bool
) -> torch.Tensor:
    n, d = x.shape
    squares = sum((x[r, c] - z[r, c]) ** 2 for r in range(n) for c in range(d)) / n / (d if mean else 1)
    spread = apart = 0.0
    for view in (x, z):
        for c in range(d):
            gap = 1 - (covariance(view, c, c) + 1e-4).sqrt()
            spread = spread + (gap if gap > 0 else gap * 0) / d / (2 if halved else 1)
        apart = apart + sum(covariance(view, i, j) ** 2 for i, j in product(range(d), repeat=2) if i != j) / d
    return weights[0] * squares + weights[1] * spread + weights[2] * apart


def barlow(x: torch.Tensor, z: torch.Tensor, redundancy: float) -> torch.Tensor:
    n, d = x.shape
    total = 0.0
    for i, j in product(range(d), repeat=2):
        a, b = x[:, i] - x[:, i].mean(), z[:, j] - z[:, j].mean()
        c = sum(a[r] * b[r] for r in range(n)) / (sum(a**2) * sum(b**2)).sqrt()
        total = total + ((1 - c) ** 2 if i == j else redundancy * c**2)
    return total


@pytest.mark.parametrize("seed", range(50))
def test_value_and_gradient_equal_the_loops(seed: int) -> None:
    """200 cases of VICReg and of Barlow Twins, d > n among them."""
    n, d = (2, 1, 4)[seed % 3] + 1, (1, 4, 2)[seed % 3]
    weights = (25.0, 10.0, 2.0)
    for mean, halved in product((False, True), repeat=2):
        loss = VICReg(
            invariance=25.0, variance=10.0, covariance=2.0, mean_coordinates=mean, halved_variance=halved
        )
        same(loss, lambda x, z, m=mean, h=halved: vicreg(x, z, weights, m, h), *views(n, d, seed))
    for more in range(4):
        same(BarlowTwins(redundancy=0.1), lambda x, z: barlow(x, z, 0.1), *views(n, d, seed + 50 * more))


def same(loss, reference, x, z) -> None:
    a, b = x.clone().requires_grad_(), z.clone().requires_grad_()
    found, expected = loss(a, Matches(), columns=b), reference(a, b)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    got = torch.autograd.grad(found, (a, b))
    wanted = torch.autograd.grad(expected, (a, b))
    for mine, plain in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-8, atol=1e-9)


def test_vicreg_equals_pytorch_metric_learning() -> None:
    x, z = views(12, 6, 3)
    x, z = x.float() * 0.4, z.float() * 0.4
    torch.testing.assert_close(VICReg()(x, Matches(), columns=z), theirs.VICRegLoss()(x, ref_emb=z))


def test_a_coordinate_that_does_not_vary_has_no_gradient_of_nan() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 2.0
    for loss in (VICReg(), BarlowTwins()):
        a, b = x.clone().requires_grad_(), x.flip(0).clone().requires_grad_()
        loss(a, Matches(), columns=b).backward()
        assert torch.isfinite(a.grad).all()
        assert torch.isfinite(b.grad).all()
    assert float(BarlowTwins()(x, Matches(), columns=x)) == pytest.approx(1.0, abs=0.1)  # its own term


def test_hostile_input_is_refused() -> None:
    x, z = views(5, 3, 0)
    for loss in (VICReg(), BarlowTwins()):
        with pytest.raises(InputError, match="Matches needs columns"):
            loss(x, Matches())
        with pytest.raises(InputError, match="takes no weights"):
            loss(x, Matches(), columns=z, weights=torch.ones(5))
        with pytest.raises(InputError, match="as many items"):
            loss(x, Matches(), columns=z[:4])
        with pytest.warns(UserWarning, match="no positive pair"):
            assert float(loss(x[:1], Matches(), columns=z[:1])) == 0
        with pytest.raises(InputError, match="reduction"):
            type(loss)(reduction="none")
    with pytest.raises(InputError, match="variance must be a number not below zero"):
        VICReg(variance=-1.0)
