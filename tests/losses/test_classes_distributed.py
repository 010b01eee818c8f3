"""Two processes equal one, for the losses against learned vectors and for both directions of NT-Xent."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from likewise import losses
from likewise.distances import Bilinear
from likewise.losses import Loss
from likewise.relations import Labels, Mask, Matches, Pairs, Triplets
from reference.families.classes import CLASSES, ClassReference

SIZES = (4, 7)
"""Rows of the two processes: uneven."""

N, DIMENSION, N_CLASSES = sum(SIZES), 3, 4


@dataclass
class Case:
    """A loss and what each process, or the one, calls it with."""

    name: str
    loss: Loss
    parts: list[tuple[Tensor, Any, dict[str, Any]]]
    whole: tuple[Tensor, Any, dict[str, Any]]
    classes_are_rows: bool = False


def cases() -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, DIMENSION, generator=generator, dtype=torch.float64)
    z = torch.randn(N, DIMENSION, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, N_CLASSES - 1, (N,), generator=generator)
    weights = torch.rand(N, generator=generator, dtype=torch.float64)
    torch.manual_seed(5)  # every process must hold the same vectors
    cut = (slice(0, SIZES[0]), slice(SIZES[0], N))
    for name, listed in CLASSES.items():
        for number, reference in enumerate(listed):
            for reduction in ("mean", "active", "sum", "none"):
                options = {} if reference.rows_are_classes else {"weights": weights}
                loss = reference.loss(N_CLASSES, DIMENSION, reduction=reduction).double()
                parts = [(x[s], labels[s], {k: v[s] for k, v in options.items()}) for s in cut]
                rows = reference.rows_are_classes
                yield Case(f"{name}-{number} {reduction}", loss, parts, (x, labels, options), rows)
                if reduction == "mean":
                    low = copy.deepcopy(loss).float()
                    single = [(own.float(), *rest) for own, *rest in [*parts, (x, labels, options)]]
                    yield Case(f"{name}-{number} float32", low, single[:2], single[2])
        yield from supervised(name, listed[0], x, labels, cut)
    near = torch.rand(N, N, generator=generator) < 0.3
    far = ~near & (torch.rand(N, N, generator=generator) < 0.5)
    near[0, SIZES[0] :] = far[0, SIZES[0] :] = False
    for s, t in (cut, cut[::-1]):
        near[s, t] = far[s, t] = False
    for reduction in ("mean", "active", "sum", "none"):
        loss = losses.NTXent(
            both_directions=True,
            reduction=reduction,
            distance=Bilinear(torch.randn(DIMENSION, DIMENSION, generator=generator, dtype=torch.float64)),
        )
        columns = [(x[s], Matches(), {"columns": z[s]}) for s in cut]
        yield Case(f"matches {reduction}", loss, columns, (x, Matches(), {"columns": z}))
        masks = [(x[s], Mask(near[s, s], far[s, s]), {}) for s in cut]
        yield Case(f"mask {reduction}", loss, masks, (x, Mask(near, far), {}))
        some = [(x[s], Labels(labels[s]), {"ids": torch.arange(N)[s] // 2}) for s in cut]
        yield Case(f"labels {reduction}", loss, some, (x, Labels(labels), {"ids": torch.arange(N) // 2}))


def supervised(
    name: str, reference: ClassReference, x: Tensor, labels: Tensor, cut: tuple[slice, slice]
) -> Iterator[Case]:
    """Other kinds of supervision: rows are the process's own, classes are everybody's."""
    table = torch.nn.functional.one_hot(labels, N_CLASSES).bool() | (torch.arange(N)[:, None] % 5 == 1)
    left = torch.tensor([0, 1, 3, 0, 2, 5, 6])  # positions in each process's rows: three, then four
    right, same = torch.tensor([0, 1, 2, 3, 0, 1, 2]), torch.tensor([1, 0, 1, 1, 0, 1, 0])
    moved = left + torch.tensor([0, 0, 0, *[SIZES[0]] * 4])
    halves = (slice(0, 3), slice(3, 7))
    near = table & (torch.arange(N)[:, None] % 2 == 0)
    both = torch.stack([labels // 2, labels], dim=1)
    names = [["low", "high"], ["a", "b", "c", "d"]]
    words = [[names[0][i], names[1][j]] for i, j in both.tolist()]
    kinds: list[tuple[str, dict[str, Any], list[Any], Any]] = [
        ("several", {}, [Labels(table[s]) for s in cut], Labels(table)),
        ("mask", {}, [Mask(near[s], ~table[s]) for s in cut], Mask(near, ~table)),
        ("pairs", {}, [Pairs(left[h], right[h], same[h]) for h in halves], Pairs(moved, right, same)),
        (
            "triplets",
            {},
            [Triplets(left[h], right[h], (right[h] + 1) % 4) for h in halves],
            Triplets(moved, right, (right + 1) % 4),
        ),
        (
            "levels",
            {"classes": names},
            [Labels(words[s], levels=[0.3, 0.7]) for s in cut],
            Labels(words, levels=[0.3, 0.7]),
        ),
    ]
    for kind, options, parts, whole in kinds:
        for reduction in ("mean", "none"):
            size = sum(map(len, options["classes"])) if options else N_CLASSES
            loss = reference.loss(size, DIMENSION, reduction=reduction, **options).double()
            own = [(x[s], relation, {}) for s, relation in zip(cut, parts, strict=True)]
            yield Case(f"{name} {kind} {reduction}", loss, own, (x, whole, {}), reference.rows_are_classes)


def evaluate(loss: Loss, part: tuple[Tensor, Any, dict[str, Any]]) -> dict[str, Tensor]:
    x, relation, options = part
    leaf = x.clone().requires_grad_()
    value = loss(leaf, relation, **options)
    loss.zero_grad()
    value.sum().backward()
    assert leaf.grad is not None
    found = {"value": value.detach(), "embeddings": leaf.grad}
    return found | {f"parameter {name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        f"{case.name}|{key}": value.numpy()
        for case in cases()
        for key, value in evaluate(case.loss, case.parts[rank]).items()
    }
    np.savez(f"{folder}/{rank}.npz", **found)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """float64 to 1e-9, float32 to 1e-5; gradients of own rows are twice the global ones, as DDP averages."""
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    both = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    for case in cases():
        low = "float32" in case.name
        close = {"rtol": 1e-5, "atol": 1e-5} if low else {"rtol": 1e-9, "atol": 1e-11}
        for key, value in evaluate(case.loss, case.whole).items():
            own = [torch.from_numpy(file[f"{case.name}|{key}"]) for file in both]
            where = lambda message, n=case.name, k=key: f"{n}, {k}: {message}"  # noqa: E731
            if key.startswith("parameter") or (key == "value" and value.ndim == 0):
                for found in own:
                    torch.testing.assert_close(found, value, msg=where, **close)
            else:
                scale = 1 if key == "value" else 2
                torch.testing.assert_close(torch.cat(own), scale * value, msg=where, **close)
