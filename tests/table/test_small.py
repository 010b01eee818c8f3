"""A small table's walk gives what the other walk gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likewise import losses
from likewise.distances import Cosine, Distance, Dot, Euclidean, SquaredEuclidean
from likewise.losses import Loss
from likewise.relations import Labels, Matches, Sides
from likewise.table import compiled, value
from likewise.table.near_listing import near_listing

DISTANCES: list[Distance] = [Euclidean(), SquaredEuclidean(), Cosine(), Dot()]


@pytest.fixture(autouse=True)
def needs_a_compiler() -> None:
    if compiled.library() is None:
        pytest.skip("no C compiler here")


def batch(kind: str, n: int, dtype: torch.dtype) -> torch.Tensor:
    """Embeddings (n, 7): plain, with equal rows and a zero one, close together at an offset, or at a mean."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 7, generator=generator, dtype=torch.float64)
    if kind == "equal rows":
        x[n // 2 :] = x[: n - n // 2].clone()
        x[0] = 0.0
    elif kind == "close":
        x = 1000.0 + 1e-4 * x
    elif kind == "mean":
        x = x + 3.0
    return x.to(dtype)


def both(
    monkeypatch: pytest.MonkeyPatch, loss: Loss, x: torch.Tensor, relation: Any, **options: Any
) -> list[list[torch.Tensor]]:
    """Value and gradients of the small walk and of the other one."""
    found, decide = [], value.takes
    taken: list[bool] = []
    small = True

    def take(*given: Any) -> bool:
        taken.append(decide(*given))
        return small and taken[-1]

    for small in (True, False):  # noqa: B007  # take reads it
        with monkeypatch.context() as patch:
            patch.setattr(value, "takes", take)
            leaf = x.clone().requires_grad_()
            leaves = {"embeddings": leaf}
            for name in ("columns", "weights"):
                if name in options:
                    leaves[name] = options[name].clone().requires_grad_()
            given = options | {name: leaves[name] for name in leaves if name != "embeddings"}
            out = loss(leaf, relation, **given)
            (
                out * torch.linspace(0.5, 1.5, max(1, out.numel()), dtype=out.dtype).view(out.shape)
            ).sum().backward()
        found.append([out.detach(), *(leaf.grad for leaf in leaves.values() if leaf.grad is not None)])
    assert taken
    assert all(taken)
    return found


def assert_equal(found: list[list[torch.Tensor]], tolerance: float) -> None:
    small, other = found
    assert len(small) == len(other) > 1
    for one, two in zip(small, other, strict=True):
        scale = max(1.0, float(two.abs().max()))
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("reduction", ["mean", "active", "sum", "none"])
@pytest.mark.parametrize("kind", ["plain", "equal rows", "close", "mean"])
@pytest.mark.parametrize("distance", DISTANCES, ids=lambda distance: type(distance).__name__)
def test_it_gives_what_the_other_walk_gives(
    monkeypatch: pytest.MonkeyPatch, distance: Distance, kind: str, reduction: Any
) -> None:
    for n, classes in ((1, 1), (5, 1), (12, 3), (37, 30)):
        x = batch(kind, n, torch.float64)
        y = torch.arange(n) % classes
        for loss in (
            losses.TripletMargin(margin=0.3, distance=distance, reduction=reduction),
            losses.Contrastive(margin=2.0, distance=distance, reduction=reduction),
            losses.NCA(distance=distance, reduction=reduction),
        ):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)  # some have no positive pair
                assert_equal(both(monkeypatch, loss, x, y), 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_columns_and_ids(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    x, z = batch("plain", 20, dtype), batch("mean", 33, dtype)
    y, labels = torch.arange(20) % 4, torch.arange(33) % 5
    weights = torch.linspace(0.0, 2.0, 20, dtype=dtype)
    ids, column_ids = torch.arange(20), torch.arange(33) - 3
    tolerance = 1e-5 if dtype == torch.float32 else 1e-11
    for reduction in ("mean", "active", "none"):
        loss = losses.Contrastive(margin=4.0, reduction=reduction)
        for options in ({}, {"ids": ids, "column_ids": column_ids}):
            found = both(
                monkeypatch, loss, x, y, columns=z, column_relation=Labels(labels), weights=weights, **options
            )
            assert_equal(found, tolerance)


def test_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = batch("plain", 16, torch.float64), batch("mean", 16, torch.float64)
    for loss in (losses.NPairs(), losses.NTXent()):
        assert_equal(both(monkeypatch, loss, x, Matches(), columns=z), 1e-11)


def test_a_loss_that_takes_up_near_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slopes for them come on top of the rows' weights."""
    x, y = batch("plain", 24, torch.float64), torch.arange(24) % 6
    for reduction in ("mean", "sum"):
        assert_equal(both(monkeypatch, losses.LiftedStructure(reduction=reduction), x, y), 1e-10)


def test_labels_that_differ_in_their_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x = batch("plain", 6, torch.float64)
    y = torch.tensor([2**62, 2**62 + 1, 2**62, 2**62 + 1, -(2**62), -(2**62)])
    assert_equal(both(monkeypatch, losses.TripletMargin(margin=5.0), x, y), 1e-11)


@pytest.mark.parametrize("loss", [losses.SupCon(reduction="none"), losses.Contrastive(reduction="none")])
@pytest.mark.parametrize("kind", ["plain", "equal rows"])
def test_gradients_of_rows_are_those_of_a_walk_anew_once_and_again(
    monkeypatch: pytest.MonkeyPatch, loss: Loss, kind: str
) -> None:
    x, upstream = batch(kind, 12, torch.float64), torch.linspace(-1, 2, 12, dtype=torch.float64)
    found = []
    for small in (True, False):
        with monkeypatch.context() as patch:
            if not small:
                patch.setattr(value, "takes", lambda *_: False)
            leaf = x.clone().requires_grad_()
            out = loss(leaf, [0, 0, 1, 1, 2, 2] * 2)
            for again in (True, False):  # what was kept serves the first; the second walks anew
                found += torch.autograd.grad(out, leaf, upstream, retain_graph=again)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)


def test_embeddings_changed_before_a_later_gradient_are_noticed() -> None:
    x = batch("plain", 12, torch.float64).requires_grad_()
    y = x * 1.0
    out = losses.SupCon(reduction="none")(y, [0, 0, 1, 1, 2, 2] * 2)
    with torch.no_grad():
        y += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("seed", range(5))
def test_near_cells_are_listed_as_by_the_relation(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels, others = (torch.randint(0, 5, (count,), generator=generator) for count in (17, 40))
    ids, other_ids = (torch.randint(0, 30, (count,), generator=generator) for count in (17, 40))
    device = torch.device("cpu")
    tables = [
        (None, Sides(17, 17, True, device)),
        (None, Sides(17, 17, True, device, ids, ids)),
        (Labels(others), Sides(17, 40, False, device)),
        (Labels(others), Sides(17, 40, False, device, ids, other_ids)),
    ]
    for columns, sides in tables:
        resolved = Labels(labels).resolve(columns, sides)
        listing = resolved.block(0, 17).near.listing
        found = near_listing(resolved)
        assert found is not None
        assert [part.tolist() for part in found] == [listing.row.tolist(), listing.column.tolist()]
