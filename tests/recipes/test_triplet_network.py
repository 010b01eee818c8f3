"""Hoffer, Ailon 2015: the ratio loss and its net."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from likewise.recipes import triplet_network


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize(("method", "value"), [("ratio, paper's scale", 0.5), ("ratio, code's scale", 0.25)])
def test_a_collapsed_embedding_sets_the_alarm_off(method: str, value: float) -> None:
    loss = triplet_network.objective(triplet_network.Config(), method, 8, 2)
    assert loss(torch.ones(6, 8), torch.tensor([0, 0, 0, 1, 1, 1])).item() == pytest.approx(value)


def test_the_ratio_loss_pulls_hardest_at_two_thirds() -> None:
    """d+ = 2/3 where the positive is log 2 farther than the negative."""
    loss = triplet_network.objective(triplet_network.Config(), "ratio, paper's scale", 1, 2)
    slopes = {}
    for gap in (math.log(2) - 0.3, math.log(2), math.log(2) + 0.3):
        x = torch.tensor([[0.0], [2.0 + gap], [-2.0]], requires_grad=True)
        from likewise.relations import Triplets

        loss(x, Triplets([0], [1], [2])).backward()
        assert x.grad is not None
        slopes[gap] = x.grad[1, 0].item()
    assert max(slopes, key=slopes.__getitem__) == math.log(2)
    assert slopes[math.log(2)] == pytest.approx(4 * (2 / 3) ** 2 * (1 / 3))


def test_the_triplet_net_is_the_authors() -> None:
    net = triplet_network.build(triplet_network.Config(width=64), 3)
    # 5x5x3x64 + 64, 3x3x64x128 + 128, 3x3x128x256 + 256, 2x2x256x128 + 128
    assert count(net) == 4_864 + 73_856 + 295_168 + 131_200
    found = net.eval()(torch.randn(4, 3, 32, 32))
    assert found.shape == (4, 128) and (found >= 0).all()
