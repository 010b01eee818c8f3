"""Two processes equal one, for the losses against learned vectors and for both directions of NT-Xent."""

from __future__ import annotations

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
from likewise.relations import Labels, Mask, Matches
from reference.families.classes import CLASSES

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
                if reference.rows_are_classes and reduction == "none":
                    continue
                options = {} if reference.rows_are_classes else {"weights": weights}
                loss = reference.loss(N_CLASSES, DIMENSION, reduction=reduction).double()
                parts = [(x[s], labels[s], {k: v[s] for k, v in options.items()}) for s in cut]
                yield Case(f"{name}-{number} {reduction}", loss, parts, (x, labels, options))
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
    """To a relative 1e-9; gradients of own rows are twice the global ones, as DDP halves them."""
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    both = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    for case in cases():
        for key, value in evaluate(case.loss, case.whole).items():
            own = [torch.from_numpy(file[f"{case.name}|{key}"]) for file in both]
            where = lambda message, n=case.name, k=key: f"{n}, {k}: {message}"  # noqa: E731
            if key.startswith("parameter") or (key == "value" and value.ndim == 0):
                for found in own:
                    torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-11, msg=where)
            else:
                scale = 1 if key == "value" else 2
                torch.testing.assert_close(torch.cat(own), scale * value, rtol=1e-9, atol=1e-11, msg=where)
