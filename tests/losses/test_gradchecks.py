"""Every loss, by discovery: its gradient is that of its value, by finite differences in float64.

Parameters of the losses too. Where a part is held constant in the gradient, as in its source, that part is
made constant in the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.losses import AdaFace, DynamicSoftMargin, Loss
from likewise.relations import Labels, Matches
from reference.building import NAMES, OF_VALUES, D, build

LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 2])
N = len(LABELS)
SMOOTH: dict[str, dict[str, Any]] = {
    # its weights, exact in the paper, are constants by default
    "Circle": {"detached_weights": False},
}


def drawn(width: int, seed: int) -> Tensor:
    return torch.randn(N, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def checked(loss: Loss, call: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """The gradient by embeddings, and by each parameter of the loss."""
    names = [name for name, one in loss.named_parameters() if one.requires_grad]
    given = [dict(loss.named_parameters())[name].detach().clone().requires_grad_() for name in names]

    def value(a: Tensor, *parameters: Tensor) -> Tensor:
        for name, one in zip(names, parameters, strict=True):
            owner, _, last = name.rpartition(".")
            module = loss.get_submodule(owner)
            module._parameters.pop(last, None)
            setattr(module, last, one)
        return call(a)

    assert torch.autograd.gradcheck(value, (x.requires_grad_(), *given), nondet_tol=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_value(name: str) -> None:
    if name == "AdaFace":
        pytest.skip("its quality is a constant, by the norm: see below")
    x = drawn(1 if name in OF_VALUES else D, 4)
    loss = build(name, **SMOOTH.get(name, {})).double()
    views, relation = name in ("BarlowTwins", "VICReg"), Labels(LABELS)

    def call(a: Tensor) -> Tensor:
        value = loss(a, Matches(), columns=a.flip(0) + 0.5) if views else loss(a, relation)
        assert isinstance(value, Tensor)
        return value

    checked(loss, call, x)


def test_ada_face_at_constant_norms() -> None:
    """The gradient holds the quality constant, which is by the norm: along the sphere that is no loss."""
    loss = build("AdaFace").double()
    assert isinstance(loss, AdaFace)
    norms = 15 + 10 * drawn(1, 2).abs()

    def call(a: Tensor) -> Tensor:
        value = loss(norms * a / a.norm(dim=1, keepdim=True), LABELS)
        assert isinstance(value, Tensor)
        return value

    checked(loss, call, drawn(D, 4))


def test_dynamic_soft_margin_at_a_constant_share() -> None:
    """Shares are constants in the gradient; half of all gaps seen below any here, half above: all are 1/2."""
    loss = build("DynamicSoftMargin", bins=1000, reach=50.0).double()
    assert isinstance(loss, DynamicSoftMargin)
    loss.histogram[0] = loss.histogram[-1] = 0.5
    x = drawn(D, 4)
    half = loss(x, LABELS)
    torch.testing.assert_close(2 * half, build("DynamicSoftMargin").double()(x, LABELS))
    checked(loss, lambda a: loss(a, LABELS), x)
