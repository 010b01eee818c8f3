"""Listed cells: gathered one by one, or taken off the tiles of their rows, they are the same."""

from __future__ import annotations

import pytest
import torch

from likewise import distances, losses
from likewise.relations import Triplets
from likewise.table import product

DISTANCES = [
    distances.Euclidean(),
    distances.SquaredEuclidean(),
    distances.Cosine(),
    distances.Dot(),
    distances.Mahalanobis(torch.eye(3, 4)),
]


@pytest.mark.parametrize("distance", DISTANCES, ids=lambda distance: type(distance).__name__)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("apart", [False, True], ids=["own columns", "columns apart"])
def test_gathered_and_off_the_tiles_they_are_the_same(
    distance: distances.Distance, offset: float, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64) + offset
    x[3] = x[5] + 1e-4
    x[6] = x[7]
    columns = x.flip(0).clone() if apart else None
    anchors, near, far = (torch.randint(0, 9, (80,), generator=generator) for _ in range(3))
    proper = (near != far) & ((anchors != near) & (anchors != far) if columns is None else anchors >= 0)
    relation = Triplets(anchors[proper], near[proper], far[proper])
    loss = losses.TripletMargin(margin=0.5, distance=distance.double())
    found = []
    for gather in (0, 10**9):
        monkeypatch.setattr(product, "gathered_cost", lambda *_, cost=gather: cost)
        leaf = x.clone().requires_grad_()
        others = None if columns is None else columns.clone().requires_grad_()
        value = loss(leaf, relation) if others is None else loss(leaf, relation, columns=others)
        leaves = [leaf] if others is None else [leaf, others]
        found.append([value, *torch.autograd.grad(value, leaves)])
    for gathered, tiles in zip(*found, strict=True):
        torch.testing.assert_close(tiles, gathered, rtol=1e-7, atol=1e-9)
    assert float(found[0][0].detach()) > 0
