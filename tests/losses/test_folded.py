"""A walk that measures each distance once for both its rows gives what the other walk gives; every loss."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.losses import Loss
from likewise.relations import Labels
from likewise.table import folded, value
from reference.building import NAMES, OF_VALUES, D, build

N = 24
ALSO = ("sum", "active", "none")


def labels() -> Labels:
    """Uneven classes, one of a single item."""
    found = torch.randint(0, 3, (N,), generator=torch.Generator().manual_seed(3))
    found[7] = 3
    return Labels(found)


def points(name: str, kind: str, dtype: torch.dtype) -> Tensor:
    width = 1 if name in OF_VALUES else D
    x = torch.randn(N, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    if kind == "equal rows":
        x[5], x[9], x[1] = x[2], x[2], x[0]
    return (1000 + 1e-4 * x if kind == "close" else x).to(dtype)


def evaluated(loss: Loss, x: Tensor, **options: Any) -> list[Tensor]:
    """Value and gradients; a value a row is weighted differently for each."""
    leaves = [x.clone().requires_grad_()]
    if "weights" in options:
        leaves.append(options["weights"].clone().requires_grad_())
        options = options | {"weights": leaves[1]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        found = loss(leaves[0], labels(), **options)
    factor = torch.linspace(0.5, 2.0, max(1, found.numel()), dtype=found.dtype).view(found.shape)
    return [found.detach(), *torch.autograd.grad(found, leaves, factor)]


def both(monkeypatch: pytest.MonkeyPatch, loss: Loss, x: Tensor, **options: Any) -> tuple[list[Tensor], ...]:
    """What the folded walk gives, and the other one; nothing where the loss has no table to fold."""
    found = []
    walked: list[bool] = []
    real = folded.folded_walk

    def walk(*given: Any, **named: Any) -> Any:
        walked.append(True)
        return real(*given, **named)

    state = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    for side in (5, N):  # tables of up to two sides aren't folded
        with monkeypatch.context() as patch:
            patch.setattr(value, "takes", lambda *_: False)
            patch.setattr(value, "fits", lambda *_: False)
            patch.setattr(value, "folded_walk", walk)
            patch.setattr(folded, "SIDE", side)
            patch.setattr(folded, "WIDE", 0)
            loss.load_state_dict(state)
            found.append(evaluated(loss, x, **options))
    return tuple(found) if walked else ()


def same(found: tuple[list[Tensor], ...], dtype: torch.dtype, of: float = 1.0) -> None:
    if not found:
        return
    near = (1e-11 if dtype == torch.float64 else 3e-5) * of
    for mine, other in zip(*found, strict=True):
        largest = float(other.abs().max())
        torch.testing.assert_close(mine, other, rtol=near, atol=near * max(largest, 1e-3))


@pytest.mark.parametrize("kind", ["plain", "equal rows", "close"])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # AnglE's slopes cancel: see test_invariance.py
    of = 1e4 if kind == "close" and name == "AnglE" else 1.0
    same(both(monkeypatch, build(name).double(), points(name, kind, torch.float64)), torch.float64, of)
    if kind == "plain":
        same(both(monkeypatch, build(name), points(name, kind, torch.float32)), torch.float32)


@pytest.mark.parametrize(
    "name", ["Contrastive", "SupCon", "TripletMargin", "MultiSimilarity", "NTXent", "Margin"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_reductions_and_ids(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x = points(name, "plain", dtype)
    weights = torch.linspace(0.0, 3.0, N, dtype=dtype)
    ids = torch.arange(N).clamp(max=N - 4)
    for reduction in ("mean", *ALSO):
        loss = build(name).to(dtype)
        loss.reduction = reduction  # type: ignore[assignment]
        assert both(monkeypatch, loss, x, weights=weights)
        same(both(monkeypatch, loss, x, weights=weights), dtype)
        same(both(monkeypatch, loss, x, ids=ids), dtype)


def test_tiles_that_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded, "HELD", 0)
    for name in ("SupCon", "TripletMargin", "Contrastive"):
        same(
            both(monkeypatch, build(name).double(), points(name, "equal rows", torch.float64)), torch.float64
        )
