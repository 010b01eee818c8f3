"""Manifold similarity with proxies against loops over nodes, and against pytorch-metric-learning."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses as theirs
from torch import Tensor

from likewise.errors import InputError
from likewise.losses import Manifold
from likewise.relations import Labels
from reference.families.classes import product, unit, units
from reference.losses import hinge


def manifold(
    x: Tensor, w: Tensor, classes: list[int], alpha: float, margin: float, context_weight: float
) -> list[Tensor | None]:
    nodes = units(x) + units(w)
    n, count = len(x), len(nodes)
    affinity = [
        [torch.exp(2 * hinge(product(a, b))) if i != j else (a * b).sum() * 0 for j, b in enumerate(nodes)]
        for i, a in enumerate(nodes)
    ]
    degree = [sum(row) for row in affinity]
    walk = torch.stack(
        [
            torch.stack([affinity[i][j] / (degree[i] * degree[j]).sqrt() for j in range(count)])
            for i in range(count)
        ]
    )
    reached = (1 - alpha) * torch.linalg.inv(torch.eye(count, dtype=x.dtype) - alpha * walk)
    rows: list[Tensor | None] = []
    for i, y in enumerate(classes):
        if y < 0:
            rows.append(None)
            continue
        term = x.sum() * 0
        straight = [reached[i, n + c] for c in range(len(w))]
        around = [product(unit(reached[i]), unit(reached[n + c])) for c in range(len(w))]
        for weight, found in ((1.0, straight), (context_weight, around)):
            gaps = [found[c] - found[y] + margin for c in range(len(w)) if c != y]
            term = term + weight * torch.log(1 + sum((torch.exp(gap) for gap in gaps if gap >= 0), term * 0))
        rows.append(term)
    return rows


def data(n: int, classes: int, seed: int) -> tuple[Tensor, Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    x, w = (torch.randn(k, 4, generator=generator, dtype=torch.float64) for k in (n, classes))
    return x, w, torch.randint(0, classes, (n,), generator=generator).tolist()


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("reduction", ["mean", "active", "sum", "none"])
def test_value_and_gradients_equal_the_loops(seed: int, reduction: str) -> None:
    x, w, classes = data(3 + seed % 4, 3, seed)
    if seed % 2:
        classes[0] = -1
    a, b = x.clone().requires_grad_(), w.clone().requires_grad_()
    rows = manifold(a, b, classes, 0.8, 0.05, 0.5)
    values = torch.stack([a.sum() * 0 if term is None else term for term in rows])
    count = {
        "mean": sum(t is not None for t in rows),
        "active": int((values != 0).sum()),
        "sum": 1,
        "none": 1,
    }
    expected = values if reduction == "none" else values.sum() / max(1, count[reduction])
    loss = Manifold(3, 4, margin=0.05, context_weight=0.5, reduction=reduction).double()
    with torch.no_grad():
        loss.weight.copy_(w)
    y = x.clone().requires_grad_()
    found = loss(y, Labels(classes, unlabelled=-1))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    mix = torch.linspace(0.5, 1.5, max(1, found.numel()), dtype=torch.float64).reshape(found.shape)
    slopes = torch.autograd.grad((expected * mix).sum(), (a, b))
    (found * mix).sum().backward()
    torch.testing.assert_close(y.grad, slopes[0], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(loss.weight.grad, slopes[1], rtol=1e-7, atol=1e-9)


def test_equals_pytorch_metric_learning() -> None:
    x, w, _ = data(6, 3, 1)
    classes = torch.tensor([0, 1, 2, 2, 1, 0])
    other = theirs.ManifoldLoss(l=4, K=3)
    with torch.no_grad():
        other.proxies.copy_(w)
    loss = Manifold(3, 4)
    with torch.no_grad():
        loss.weight.copy_(w)
    torch.testing.assert_close(
        loss(x.float(), classes), other(x.float(), indices_tuple=classes), rtol=1e-4, atol=1e-5
    )


def test_hostile_input_is_refused() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    loss = Manifold(3, 3)
    for labels, message in (
        ([0, 1, 2], "expected 4, found 3"),
        ([0, 1, 2, 3], "from 0 to 2"),
        (["a"] * 4, "strings"),
    ):
        with pytest.raises(InputError, match=message):
            loss(x, labels)
    with pytest.raises(InputError, match="leave out columns"):
        loss(x, [0, 1, 2, 0], columns=x)
    with pytest.raises(InputError, match="alpha must be below 1"):
        Manifold(3, 3, alpha=1.0)
    with pytest.warns(UserWarning, match="no positive pair"):
        assert float(loss(x, Labels([-1] * 4, unlabelled=-1)).detach()) == 0
