"""Both directions of a softmax come of one visit to the table's tiles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from likewise.losses import NTXent
from likewise.mining import Miner
from likewise.relations import Labels, Mask, Relation, Resolved
from likewise.table.product import ProductKernel

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(23, 5, generator=GENERATOR, dtype=torch.float64)
Y = torch.randn(31, 5, generator=GENERATOR, dtype=torch.float64)
LABELS, OTHERS = (
    torch.randint(0, 5, (23,), generator=GENERATOR),
    torch.randint(0, 5, (31,), generator=GENERATOR),
)


class Everything(Miner):
    """Leaves the relation as it is; with a miner the loss walks once over rows and once over columns."""

    def forward(self, embeddings: Tensor, resolved: Resolved, **_: Any) -> Resolved:
        return resolved


def evaluate(relation: Relation, **more: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
    options = {} if isinstance(relation, Mask) else {"column_relation": Labels(OTHERS)}
    value = NTXent(both_directions=True, temperature=0.3, **more)(x, relation, columns=y, **options)
    value.backward()
    return value.detach(), x.grad, y.grad


def relations() -> list[Relation]:
    near = torch.rand(23, 31, generator=torch.Generator().manual_seed(1)) < 0.2
    far = ~near & (torch.rand(23, 31, generator=torch.Generator().manual_seed(2)) < 0.4)
    return [Labels(LABELS), Mask(near, far)]


@pytest.mark.parametrize("relation", relations(), ids=["labels", "mask"])
@pytest.mark.parametrize("tile", [(1 << 19, 8192, 256), (64, 2, 4), (64, 2, 16), (64, 8192, 256)])
def test_one_walk_gives_what_two_give(
    relation: Relation, tile: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(relation, miner=Everything())
    for name, value in zip(("TILE", "WHOLE_ROWS", "ROWS"), tile, strict=True):
        monkeypatch.setattr(f"likewise.table.blocks.{name}", value)
    for found, right in zip(evaluate(relation), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-13)


def test_each_tile_is_made_once_and_once_more_for_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likewise.table.blocks.TILE", 64)
    monkeypatch.setattr("likewise.table.blocks.WHOLE_ROWS", 2)
    monkeypatch.setattr("likewise.table.blocks.ROWS", 4)
    made = []
    tile = ProductKernel.tile
    monkeypatch.setattr(
        ProductKernel, "tile", lambda self, *place: made.append((self._start, *place)) or tile(self, *place)
    )
    x = X.clone().requires_grad_()
    loss = NTXent(both_directions=True)
    value = loss(x, LABELS, columns=Y, column_relation=OTHERS)
    once = [place for place in made if place[2] - place[1] < 31]  # near cells come off whole rows
    assert len(once) == len(set(once)) == 6 * 2
    made.clear()
    value.backward()
    again = [place for place in made if place[2] - place[1] < 31]
    assert sorted(again) == sorted(once)


def test_a_column_without_anything_far_costs_nothing() -> None:
    """Row 0 and column 0 alone: -log 1; a table without rows warns and has a gradient."""
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    value = NTXent(both_directions=True)(x, [0], columns=torch.tensor([[0.0, 1.0]]), column_relation=[0])
    value.backward()
    assert value.item() == 0.0
    assert x.grad is not None
    assert not x.grad.any()
    empty = torch.zeros(0, 2, requires_grad=True)
    with pytest.warns(UserWarning, match="raise the samples a class") as caught:
        NTXent(both_directions=True)(empty, []).backward()
    assert len(caught) == 1
    assert empty.grad is not None
