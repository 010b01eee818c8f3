"""Every loss takes every kind of supervision; by discovery, and none is excepted.

That each kind becomes the right near and far cells for a loss is held against loops elsewhere. Here, for
every loss: whoever says the same in another way gets the same value and gradient.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from likewise import losses, mining
from likewise.errors import InputError
from likewise.losses import Loss
from likewise.relations import (
    Chunklets,
    Labels,
    Mask,
    Matches,
    Pairs,
    Quadruplets,
    Relation,
    Scores,
    Triplets,
)
from reference.building import NAMES, OF_CLASSES, OF_VALUES, D, build

N = 9
OF_ITEMS = [name for name in NAMES if name not in OF_CLASSES]
MINERS = [name for name in mining.__all__ if name != "Miner" and isinstance(getattr(mining, name), type)]
LARGE = 2**63 - 1

KEYS = [0, 0, 1, 1, 1, 2, 2, 3, 0]
SEVERAL = torch.tensor([[i % 2 == 0, i % 3 == 0, i == 7] for i in range(N)])
LISTED = [(0, 1, True), (2, 1, False), (3, 4, True), (5, 8, False), (6, 0, False), (7, 6, True)]
LISTED += [(0, 4, False), (0, 5, False), (1, 7, False), (1, 3, False), (3, 8, False), (6, 2, False)]
"""Pairs; all others are unknown."""

OWN_READING = {
    "integers": ("DifferenceRegression", "PairwiseRank"),  # grades, of which more is better
    "pairs": ("CoSENT", "AnglE"),  # listed pairs once; of a mask every cell, so both directions
    "scores": ("ScoreRegression", "CoSENT", "AnglE", "DifferenceRegression", "PairwiseRank"),  # the scores
}
"""Where a loss reads a kind of supervision in a way of its own, which its own tests hold."""


def alike(i: int, j: int, kind: str) -> bool | None:
    """Whether two items are alike, or None where that is unknown: the definitions."""
    if i == j:
        return None
    if kind in ("integers", "strings"):
        return KEYS[i] == KEYS[j]
    if kind in ("unlabelled", "chunklets"):
        if 0 in (KEYS[i], KEYS[j]):
            return None
        return True if KEYS[i] == KEYS[j] else (False if kind == "unlabelled" else None)
    if kind == "several":
        both = bool((SEVERAL[i] & SEVERAL[j]).any())
        return both if SEVERAL[i].any() and SEVERAL[j].any() else None
    return next((same for a, b, same in LISTED if {a, b} == {i, j}), None)


def mask(kind: str) -> Mask:
    said = [[alike(i, j, kind) for j in range(N)] for i in range(N)]
    return Mask(*(torch.tensor([[cell is flag for cell in row] for row in said]) for flag in (True, False)))


def relations() -> dict[str, Any]:
    left, right, same = ([pair[place] for pair in LISTED] for place in range(3))
    return {
        "integers": torch.tensor([LARGE - key for key in KEYS]),
        "strings": [f"class {key}" for key in KEYS],
        "unlabelled": Labels([f"class {key}" for key in KEYS], unlabelled="class 0"),
        "several": Labels(SEVERAL),
        "chunklets": Chunklets([key - 1 for key in KEYS]),
        "pairs": Pairs(left, right, same),
        "scores": Scores(left, right, [4.5 if one else 1.0 for one in same], near_from=4, far_to=2),
    }


KINDS = sorted(relations())


def points(name: str) -> Tensor:
    width = 1 if name in OF_VALUES else D
    return torch.randn(N, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def call(loss: Loss, x: Tensor, relation: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """The value and the gradient of a loss of one call."""
    x = x.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no positive pair.*")
        value = loss.double()(x, relation, **options)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(value).all()
    assert torch.isfinite(slope).all()
    return value.detach(), slope


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-9, atol=1e-11)


def learns(found: tuple[Tensor, Tensor]) -> bool:
    return bool(found[1].abs().max() > 1e-9)


def test_every_loss_is_here() -> None:
    assert len(OF_ITEMS) + len(OF_CLASSES) == len(NAMES) >= 55


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_ITEMS)
def test_a_kind_is_the_mask_of_its_cells(name: str, kind: str) -> None:
    x = points(name)
    found = call(build(name), x, relations()[kind])
    assert learns(found) or kind == "chunklets"  # without anything far some losses have nothing to learn
    if name not in OWN_READING.get(kind, ()):
        same(found, call(build(name), x, mask(kind)))


@pytest.mark.parametrize("name", OF_ITEMS)
def test_levels_are_a_weighted_sum(name: str) -> None:
    x, coarse = points(name), [f"genus {key // 2}" for key in KEYS]
    fine = [f"species {key}" for key in KEYS]
    both = Labels(list(zip(coarse, fine, strict=True)), levels=[0.25, 0.75])
    first, second = (call(build(name), x, labels) for labels in (coarse, fine))
    expected = tuple(0.25 * a + 0.75 * b for a, b in zip(first, second, strict=True))
    same(call(build(name), x, both), (expected[0], expected[1]))


@pytest.mark.parametrize("name", OF_ITEMS)
def test_triplets_are_quadruplets_of_one_anchor_in_any_order(name: str) -> None:
    x = points(name)
    anchor, near, far = [0, 2, 5, 0], [1, 3, 6, 8], [2, 0, 7, 5]
    found = call(build(name), x, Triplets(anchor, near, far))
    assert learns(found)
    same(call(build(name), x, Quadruplets(anchor, near, anchor, far)), found)
    same(call(build(name), x, Triplets(anchor[::-1], near[::-1], far[::-1])), found)
    apart = call(build(name), x, Quadruplets(anchor, near, [3, 5, 8, 4], far))
    assert learns(apart)


@pytest.mark.parametrize("name", OF_ITEMS)
def test_matches_are_pairs_of_rows_and_columns(name: str) -> None:
    x, z = points(name), points(name).flip(0) + 0.5
    if name == "CrossBatchMemory":  # its columns are the memory, so there is no other view to match
        with pytest.raises(InputError, match="columns can't be given"):
            build(name)(x, Matches(), columns=z)
        return
    found = call(build(name), x, Matches(), columns=z)
    assert learns(found) or name in OF_VALUES  # there the columns are compared with each other
    every = torch.eye(N, dtype=torch.bool)
    same(call(build(name), x, Mask(every, ~every), columns=z), found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MINERS)
def test_a_miner_chooses_the_same_whoever_says_it(name: str, kind: str) -> None:
    x, miner = points("SupCon"), getattr(mining, name)
    for loss in (losses.Contrastive, losses.TripletMargin):
        options = {"margin": 9.0, "reduction": "sum"}
        found = call(loss(miner=miner(), **options), x, relations()[kind])
        same(found, call(loss(miner=miner(), **options), x, mask(kind)))
        assert learns(found) or kind == "chunklets"


@pytest.mark.parametrize("name", MINERS)
def test_a_miner_of_comparisons_takes_them_in_any_order(name: str) -> None:
    x, miner = points("SupCon"), getattr(mining, name)
    anchor, near, far, more = [0, 2, 5, 0], [1, 3, 6, 8], [2, 0, 7, 5], [3, 5, 8, 4]
    for listed in ((Triplets, (anchor, near, far)), (Quadruplets, (anchor, near, more, far))):
        kind, lists = listed
        loss = losses.TripletMargin(margin=9.0, reduction="sum", miner=miner())
        found = call(loss, x, kind(*lists))
        assert learns(found)
        if name != "DistanceWeighted":  # which draws by the number of the row
            again = losses.TripletMargin(margin=9.0, reduction="sum", miner=miner())
            same(call(again, x, kind(*(part[::-1] for part in lists))), found)


def of_classes() -> dict[str, tuple[Relation, dict[str, Any]]]:
    """Relations of rows to classes: classes 0 to 3, those of each row, and how they are called."""
    cells = [(i, key) for i, key in enumerate(KEYS)]
    near = torch.zeros(N, 4, dtype=torch.bool)
    near[list(range(N)), KEYS] = True
    left, right = [i for i, _ in cells for _ in range(4)], [c for _ in cells for c in range(4)]
    said = [KEYS[i] == c for i, c in zip(left, right, strict=True)]
    named = {"classes": ["ä", "b", "c", "d"]}
    return {
        "integers": (Labels([LARGE - key for key in KEYS]), {"classes": [LARGE - c for c in range(4)]}),
        "strings": (Labels([named["classes"][key] for key in KEYS]), named),
        "unlabelled": (Labels(KEYS, unlabelled=-1), {}),
        "several": (Labels(near), {}),
        "chunklets": (Chunklets(KEYS), {}),
        "pairs": (Pairs(left, right, said), {}),
        "scores": (Scores(left, right, [float(one) for one in said], near_from=1, far_to=0), {}),
        "mask": (Mask(near, ~near), {}),
        "levels": (Labels([[key] for key in KEYS], levels=[1.0]), {"classes": [[0, 1, 2, 3]]}),
    }


@pytest.mark.parametrize("kind", sorted(of_classes()))
@pytest.mark.parametrize("name", OF_CLASSES)
def test_a_class_in_any_way_is_the_class(name: str, kind: str) -> None:
    relation, options = of_classes()[kind]
    found = call(build(name, **options), points(name), relation)
    assert learns(found)
    same(found, call(build(name), points(name), KEYS))


@pytest.mark.parametrize("name", OF_CLASSES)
def test_comparisons_of_classes_in_any_order(name: str) -> None:
    x = points(name)
    anchor, near, far = [0, 2, 5, 0], [1, 3, 0, 2], [2, 0, 2, 3]
    found = call(build(name), x, Triplets(anchor, near, far))
    assert learns(found)
    same(call(build(name), x, Quadruplets(anchor, near, anchor, far)), found)
    same(call(build(name), x, Triplets(anchor[::-1], near[::-1], far[::-1])), found)
    n = losses.NormalizedSoftmax(4, D).n_classes
    first = call(build(name), x[:n], Matches())
    same(first, call(build(name), x[:n], list(range(n))))
