"""Choices on a small table, made in C and walked over on it, against the way that takes any table."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise import mining
from likewise.distances import Cosine, Distance, Dot, Euclidean, SquaredEuclidean
from likewise.losses import Contrastive, Loss, SupCon, TripletMargin
from likewise.table import compiled

MINERS = {
    "batch-hard": mining.BatchHard(),
    "hardest": mining.Hardest(),
    "easy positive": mining.EasyPositive(),
    "easy positive, hardest negative": mining.EasyPositive(negatives="hardest"),
    "semi-hard": mining.SemiHard(),
    "semi-hard or farthest": mining.SemiHard(otherwise="farthest"),
}
BATCHES = ("plain", "duplicates", "far off", "one class", "all alone", "two", "columns")


def batch(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Embeddings, labels, and other columns with theirs."""
    generator = torch.Generator().manual_seed(BATCHES.index(name))
    x = torch.randn(24, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (24,), generator=generator)
    more: dict[str, Tensor] = {}
    if name == "duplicates":
        x[12:] = x[:12]
    elif name == "far off":
        x = 1000 + x * 1e-4
    elif name == "one class":
        labels[:] = 7
    elif name == "all alone":
        labels = torch.arange(24)
    elif name == "two":
        x, labels = x[:2], torch.tensor([3, 3])
    elif name == "columns":
        columns = torch.randn(9, 5, generator=generator, dtype=torch.float64)
        more = {
            "columns": columns.to(dtype),
            "column_relation": torch.randint(0, 6, (9,), generator=generator),
        }
    return x.to(dtype), labels, more


def evaluated(loss: Loss, name: str, dtype: torch.dtype, *, weighted: bool) -> list[Tensor]:
    x, labels, more = batch(name, dtype)
    leaves = [x.requires_grad_(), *([more["columns"].requires_grad_()] if "columns" in more else [])]
    weights = torch.linspace(0.5, 2.0, len(x), dtype=dtype) if weighted else None
    value = loss(x, labels, weights=weights, **more)
    if value.ndim:
        value = (value * torch.linspace(1.0, 2.0, len(value), dtype=dtype)).sum()
    return [value.detach(), *torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)]


@pytest.mark.filterwarnings("ignore:.*no positive pair")
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("miner", MINERS.values(), ids=MINERS)
def test_value_and_gradients_are_those_of_the_long_way(
    miner: mining.Miner, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled.library() is None:
        pytest.skip("no C compiler here")
    distances: list[Distance] = [Cosine(), Dot(), Euclidean(), SquaredEuclidean()]
    for number, distance in enumerate(distances):
        reduction = ("mean", "active", "sum", "none")[number % 4]
        losses: list[Loss] = [
            TripletMargin(distance=distance, miner=miner, reduction=reduction),
            SupCon(distance=distance, miner=miner, reduction=reduction),
            Contrastive(
                distance=distance, miner=miner, reduction="active" if reduction == "none" else reduction
            ),
        ]
        for loss in losses:
            found = evaluated(loss, name, torch.float64, weighted=number % 2 == 0)
            with monkeypatch.context() as patch:
                patch.setattr(compiled, "library", lambda: None)
                expected = evaluated(loss, name, torch.float64, weighted=number % 2 == 0)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
