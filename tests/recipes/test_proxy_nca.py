"""Movshovitz-Attias et al. 2017: proxies static, dynamic, few; where they start."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from likewise.losses import ProxyNCA
from likewise.recipes import proxies, proxy_nca


def test_proxy_nca_falls_below_zero_without_the_own_proxy() -> None:
    loss = proxy_nca.objective(proxy_nca.Config(dimension=2), "Proxy-NCA", 2)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))  # type: ignore[attr-defined]
    assert loss(torch.tensor([[5.0, 0.0]]), torch.tensor([0])).item() == pytest.approx(-4.0)


def test_with_the_own_proxy_it_is_cross_entropy_of_twice_the_cosine() -> None:
    loss = proxy_nca.objective(proxy_nca.Config(dimension=3), "own proxy in", 4)
    x, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 0, 1])
    vectors = nn.functional.normalize(loss.weight.detach())  # type: ignore[attr-defined]
    expected = nn.functional.cross_entropy(2 * nn.functional.normalize(x) @ vectors.T, labels)
    assert loss(x, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dynamic_proxies_by_a_plain_loop() -> None:
    loss = proxies.DynamicProxies(3, 2)
    x, labels = torch.randn(7, 2), torch.tensor([0, 0, 1, 1, 2, 2, 2])
    unit, vectors = nn.functional.normalize(x), nn.functional.normalize(loss.proxies.detach())
    distance = (unit[:, None] - vectors[None]).square().sum(2)
    taken = distance.argmin(1)
    terms = []
    for i in range(7):
        for j in range(7):
            if i == j or labels[i] != labels[j]:
                continue
            others = {int(taken[k]) for k in range(7) if labels[k] != labels[i]} - {int(taken[j])}
            if others:
                total = sum(math.exp(-float(distance[i, p])) for p in others)
                terms.append(float(distance[i, taken[j]]) + math.log(total))
    assert terms
    assert loss(x, labels).item() == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize(("scale", "classes"), [(1.0, 964), (1.0, 13), (9.0, 964)])
def test_a_near_proxy_pushes_by_its_softmax_share_alone(scale: float, classes: int) -> None:
    """At the paper's scale among 964 classes that is 3 % of the push, however near the proxy is.

    x lies on the first axis, its own proxy on the second, the near one half a right angle away towards the
    third, and all others opposite: d/dx_3 of log sum exp(2 s cos) is 2 s sin(45) times the share.
    """
    loss, half = ProxyNCA(classes, 3, scale=scale), math.sqrt(0.5)
    with torch.no_grad():
        loss.weight.copy_(torch.tensor([-1.0, 0.0, 0.0]).expand(classes, 3))
        loss.weight[:2] = torch.tensor([[0.0, 1.0, 0.0], [half, 0.0, half]])
    x = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    loss(x, torch.tensor([0])).backward()
    near, others = math.exp(2 * scale * half), (classes - 2) * math.exp(-2 * scale)
    share = near / (near + others)
    assert x.grad is not None
    assert x.grad[0, 2].item() == pytest.approx(2 * scale * half * share, rel=1e-4)
    assert (share < 0.04) == (scale == 1.0 and classes == 964)


def test_static_proxies_start_where_their_items_are() -> None:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(30) % 5
    items = torch.randn(30, 4, generator=generator) * (1 + labels[:, None])
    loss = ProxyNCA(5, 4)
    proxies.start_among_items(loss, items, labels)
    unit = items / items.norm(dim=1, keepdim=True)
    means = torch.stack([unit[labels == c].mean(0) for c in range(5)])
    expected = means - means.mean(0)
    torch.testing.assert_close(loss.weight.detach(), expected / expected.norm(dim=1, keepdim=True))
    few = proxies.FewProxies(2, 4)
    proxies.start_among_items(few, items, labels)
    both = torch.stack([unit[labels % 2 == c].mean(0) for c in range(2)])
    expected = both - both.mean(0)
    torch.testing.assert_close(few.loss.weight.detach(), expected / expected.norm(dim=1, keepdim=True))


def test_dynamic_proxies_start_at_items_without_their_labels() -> None:
    items, loss = torch.eye(6) + 0.1, proxies.DynamicProxies(3, 6)
    proxies.start_among_items(loss, items, torch.zeros(6, dtype=torch.long))
    unit = nn.functional.normalize(items)
    expected = nn.functional.normalize(unit[[0, 2, 4]] - unit.mean(0))
    torch.testing.assert_close(loss.proxies.detach(), expected)
    with pytest.raises(TypeError, match="a loss with one vector a class is needed; found Linear"):
        proxies.start_among_items(nn.Linear(2, 2), items, torch.zeros(6, dtype=torch.long))


def test_dimensions_used_counts_even_directions() -> None:
    corners = torch.cat([torch.eye(4), -torch.eye(4)])
    assert proxies.dimensions_used(3 * corners) == pytest.approx(4.0)
    assert proxies.dimensions_used(corners[[0, 4]]) == pytest.approx(1.0)
    uneven = torch.cat([corners[[0, 4]]] * 3 + [corners[[1, 5]]])  # variances 6 and 2: 64 / 40
    assert proxies.dimensions_used(uneven) == pytest.approx(1.6)


def test_half_as_many_static_proxies_are_shared_by_two_classes() -> None:
    loss = proxies.FewProxies(2, 3)
    x = torch.randn(4, 3)
    assert loss(x, torch.tensor([0, 1, 2, 3])).item() == loss(x, torch.tensor([2, 3, 0, 1])).item()


def test_times_faster_are_read_between_looks() -> None:
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.3) == pytest.approx(15.0)
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.1) == 10.0
    assert proxy_nca._crossing([10, 20, 30], [0.2, 0.4, 0.5], 0.6) is None
