"""Two processes (gloo) give the value and gradients of one, for the losses that aren't one walk."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from likewise import losses
from likewise.distances import PositionDependent
from likewise.losses import (
    AnglE,
    Angular,
    BarlowTwins,
    BinaryPair,
    Contrastive,
    CoSENT,
    CrossBatchMemory,
    DifferenceRegression,
    DoubleHeaderHinge,
    DynamicSoftMargin,
    GeometryAware,
    Histogram,
    IntraPair,
    LiftedStructure,
    Loss,
    Manifold,
    Matryoshka,
    PairwiseRank,
    ScoreRegression,
    SupCon,
    VICReg,
    Weighted,
)
from likewise.relations import Labels, Matches, Scores
from reference.families.classes import CLASSES
from reference.losses import all_references

SIZES = (5, 8)  # uneven


def data(width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(SIZES), width, generator=generator, dtype=torch.float64)


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 2, 1, 0])
LOCAL = (([0, 3, 1], [1, 4, 2], [1.0, -0.5, 2.0]), ([0, 7, 2, 5], [1, 3, 6, 4], [0.5, -1.0, 1.5, 2.0]))


def scores(rank: int | None) -> Scores:
    if rank is not None:
        return Scores(*LOCAL[rank])
    moved = [[position + SIZES[0] for position in LOCAL[1][side]] for side in (0, 1)]
    return Scores(LOCAL[0][0] + moved[0], LOCAL[0][1] + moved[1], LOCAL[0][2] + LOCAL[1][2])


def cases(rank: int | None) -> Iterator[tuple[str, Any, list[torch.Tensor], Any, list[dict[str, Any]]]]:
    """A loss, the batches of its calls in turn, the relation, and options; of one process, or of all."""

    def own(whole: torch.Tensor) -> torch.Tensor:
        return whole if rank is None else whole.split(SIZES)[rank]

    labels = Labels(own(LABELS))
    for build in (VICReg, BarlowTwins):
        yield build.__name__, build(), [own(data(3))], Matches(), [{"columns": own(data(3, 7))}]
    for reduction in ("mean", "active", "sum", "none"):
        for build in (ScoreRegression, CoSENT, AnglE, Histogram, IntraPair):
            if build is not ScoreRegression and reduction == "none":
                continue  # it is one number for the batch
            relation = labels if build in (Histogram, IntraPair) else scores(rank)
            loss = build(reduction=reduction)
            yield f"{build.__name__} {reduction}", loss, [own(data(4))], relation, [{}]
        for build in (DifferenceRegression, PairwiseRank):
            yield (
                f"{build.__name__} {reduction}",
                build(reduction=reduction),
                [own(data(1))],
                scores(rank),
                [{}],
            )
    for reduction in ("mean", "active", "sum", "none"):
        options = {"reduction": reduction}
        for build in (Angular, LiftedStructure, DynamicSoftMargin):
            yield f"{build.__name__} {reduction}", build(**options).double(), [own(data(3))], labels, [{}]
        torch.manual_seed(1)  # every process must hold the same vectors
        yield f"manifold {reduction}", Manifold(3, 3, **options).double(), [own(data(3))], labels, [{}]
        nested = Matryoshka(Contrastive(margin=2.0, **options), dimensions=[1, 3], weights=[0.5, 1.0])
        yield f"nested {reduction}", nested, [own(data(3))], labels, [{}]
        yield f"grades {reduction}", PairwiseRank(**options), [own(data(1))], labels, [{}]
        yield f"binary {reduction}", BinaryPair(bias=0.3, **options).double(), [own(data(3))], labels, [{}]
        for per in ("batch", "anchor"):
            torch.manual_seed(0)
            unit = PositionDependent(3)
            loss = DoubleHeaderHinge(3, unit=unit, per=per, **options).double()
            yield f"hinge {per} {reduction}", loss, [own(data(3))], labels, [{}]
        for name, more in (("local", {"neighbors": 1}), ("balanced", {"balanced": True})):
            inputs = [{"inputs": own(data(4, 9))}]
            yield f"{name} {reduction}", GeometryAware(**more, **options), [own(data(3))], labels, inputs
        parts = [SupCon(**options), Contrastive(margin=2.0, **options)]
        yield f"weighted {reduction}", Weighted(parts, weights=[1.0, 0.5]), [own(data(3))], labels, [{}]
        for ids in (None, LABELS * 0 + torch.arange(13)):
            memory = CrossBatchMemory(Contrastive(margin=2.0, **options), 3, size=60).double()
            given = {} if ids is None else {"ids": own(ids)}
            steps = [own(data(3, seed)) for seed in range(3)]
            yield f"memory {ids is None} {reduction}", memory, steps, labels, [given] * 3


def every(rank: int | None) -> Iterator[tuple[str, Any, list[torch.Tensor], Any, list[dict[str, Any]]]]:
    """All cases in float64, and those of the mean in float32 too."""
    for name, loss, steps, relation, options in cases(rank):
        if "mean" in name or name.endswith(("VICReg", "BarlowTwins")):
            low = [{k: v.float() if v.is_floating_point() else v for k, v in o.items()} for o in options]
            yield f"{name} float32", copy.deepcopy(loss).float(), [x.float() for x in steps], relation, low
        yield name, loss, steps, relation, options


def evaluate(
    loss: Any, steps: list[torch.Tensor], relation: Any, options: list[dict[str, Any]]
) -> dict[str, Any]:
    found = {}
    for number, (x, more) in enumerate(zip(steps, options, strict=True)):
        leaf = x.clone().requires_grad_()
        value = loss(leaf, relation, **more)
        loss.zero_grad()
        value.sum().backward()
        found[f"{number} value"], found[f"{number} slope"] = value.detach(), leaf.grad
    return found | {f"parameter {name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        f"{name}|{key}": value.numpy()
        for name, *case in every(rank)
        for key, value in evaluate(*case).items()
    }
    np.savez(f"{folder}/{rank}.npz", **found)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """float64 to 1e-9, float32 to 1e-5; gradients of own rows are twice the global ones, as DDP averages."""
    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    both = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    count = 0
    for name, *case in every(None):
        close = {"rtol": 1e-5, "atol": 1e-5} if "float32" in name else {"rtol": 1e-9, "atol": 1e-11}
        for key, value in evaluate(*case).items():
            own = [torch.from_numpy(file[f"{name}|{key}"]) for file in both]
            where = lambda message, n=name, k=key: f"{n}, {k}: {message}"  # noqa: E731
            if (key.endswith("value") and value.ndim == 0) or key.startswith("parameter"):
                for found in own:
                    torch.testing.assert_close(found, value, msg=where, **close)
            else:
                scale = 1 if key.endswith("value") else 2
                torch.testing.assert_close(torch.cat(own), scale * value, msg=where, **close)
            count += 1
    assert count > 80


def test_every_loss_takes_part_in_one_of_the_three_files() -> None:
    here = {type(part).__name__ for _, loss, *_ in cases(None) for part in loss.modules()}
    every_loss = {
        name for name in losses.__all__ if name != "Loss" and issubclass(getattr(losses, name), Loss)
    }
    assert every_loss - here - set(CLASSES) - set(all_references()) == set()
