"""Shapes and dtypes that docstrings promise, checked by jaxtyping on calls of the real functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, Float32, Float64, Int64, jaxtyped
from torch import Tensor

from likewise import Model, train
from likewise.losses import Loss
from likewise.search.exact import nearest
from reference.losses import Reference, all_references

CASES = [
    pytest.param(reference, id=f"{name}-{number}")
    for name, listed in all_references().items()
    for number, reference in enumerate(listed)
]


@jaxtyped(typechecker=beartype)
def reduced(loss: Loss, x: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float[Tensor, ""]:
    return loss(x, labels)


@jaxtyped(typechecker=beartype)
def by_row(loss: Loss, x: Float64[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    return loss(x, labels)


@jaxtyped(typechecker=beartype)
def embedded(model: Model, items: Float32[np.ndarray, "n features"]) -> Float32[np.ndarray, "n d"]:
    return model.embed(items)


@jaxtyped(typechecker=beartype)
def found(
    queries: Float[np.ndarray, "q d"], gallery: Float[np.ndarray, "g d"], k: int
) -> tuple[Float[np.ndarray, "q k"], Int64[np.ndarray, "q k"]]:
    distances, indices = nearest(queries, gallery, k)
    return np.asarray(distances), np.asarray(indices)


@pytest.mark.parametrize("reference", CASES)
def test_a_loss_is_a_scalar_or_a_value_a_row(reference: Reference) -> None:
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(9) // 3
    total = reduced(reference.loss(reduction="sum"), x, labels)
    rows = by_row(reference.loss(reduction="none"), x, labels)
    torch.testing.assert_close(rows.sum(), total)


def test_embeddings_and_neighbours_have_their_shapes() -> None:
    model = train("iris", epochs=1, progress=False)
    items = np.random.default_rng(0).random((7, 4), dtype=np.float32)
    embeddings = embedded(model, items)
    distances, indices = found(embeddings[:3], embeddings, 2)
    assert indices[:, 0].tolist() == [0, 1, 2]  # an item finds itself first
    assert (distances[:, 0] <= distances[:, 1]).all()
