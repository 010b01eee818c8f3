"""Two processes (gloo) give the value and the gradients of one process on the same global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from likewise import distances, losses, mining
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
from reference.losses import Reference, all_references

SIZES = (5, 8)  # uneven
DIMENSION = 6


@dataclass
class Batch:
    """A batch in two parts: the embeddings, relations and options of each, and the whole."""

    name: str
    parts: list[tuple[Tensor, Relation, dict[str, Any]]]
    whole: tuple[Tensor, Relation, dict[str, Any]]


def _split(x: Tensor) -> list[Tensor]:
    return list(x.split(SIZES))


def batches() -> list[Batch]:
    """One global batch under each kind of relation."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(sum(SIZES), DIMENSION, generator=generator, dtype=torch.float64)
    y = torch.randn(sum(SIZES), DIMENSION, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (sum(SIZES),), generator=generator)
    names = [f"class {label}" for label in labels.tolist()]
    weights = torch.rand(sum(SIZES), generator=generator, dtype=torch.float64)
    first = SIZES[0]
    found = []

    def add(name: str, build: Callable[[Any], Relation], values: Any, **options: Any) -> None:
        parts = []
        for number, rows in enumerate((slice(0, first), slice(first, None))):
            own = {
                key: build(value[rows]) if key == "column_relation" else value[rows]
                for key, value in options.items()
            }
            parts.append((_split(x)[number], build(values[rows]), own))
        whole = {key: build(value) if key == "column_relation" else value for key, value in options.items()}
        found.append(Batch(name, parts, (x, build(values), whole)))

    add("labels", Labels, labels)
    add("strings", Labels, names)
    add("weights", Labels, labels, weights=weights)
    add("ids", Labels, labels, ids=torch.arange(sum(SIZES)) // 2)
    add("chunklets", Chunklets, labels - 1)
    add("columns", Labels, labels, columns=y, column_relation=labels)
    add("matches", lambda _: Matches(), labels, columns=y)

    def lists(name: str, kind: Any, local: list[tuple[Any, ...]], columns_of_positions: int) -> None:
        """Lists of positions within each part, and the same with the second part's moved."""
        moved = []
        for part, offset in zip(local, (0, first), strict=True):
            moved.append(
                [
                    [v + offset for v in values] if number < columns_of_positions else values
                    for number, values in enumerate(part)
                ]
            )
        whole = kind(*(a + b for a, b in zip(*moved, strict=True)))
        parts = [(own, kind(*part), {}) for own, part in zip(_split(x), local, strict=True)]
        found.append(Batch(name, parts, (x, whole, {})))

    lists("pairs", Pairs, [([0, 0, 1], [1, 2, 3], [True, False, False]), ([0, 4], [1, 6], [True, False])], 2)
    lists("triplets", Triplets, [([0], [1], [2]), ([0, 3, 3], [1, 4, 5], [2, 6, 7])], 3)
    lists("quadruplets", Quadruplets, [([0], [1], [2], [3]), ([0, 3], [1, 4], [2, 6], [7, 1])], 4)
    lists(
        "scores",
        lambda left, right, score: Scores(left, right, score, near_from=3, far_to=2),
        [([0, 0], [1, 2], [4.0, 1.0]), ([0, 4, 5], [1, 6, 7], [5.0, 0.0, 2.5])],
        2,
    )
    near = torch.zeros(sum(SIZES), sum(SIZES), dtype=torch.bool)
    far = near.clone()
    near[0, 1] = near[5, 6] = far[0, 3] = far[2, 4] = far[5, 9] = True
    cut = [(slice(0, first), slice(0, first)), (slice(first, None), slice(first, None))]
    parts = [(own, Mask(near[cells], far[cells]), {}) for own, cells in zip(_split(x), cut, strict=True)]
    found.append(Batch("mask", parts, (x, Mask(near, far), {})))
    return found


def cases() -> Iterator[tuple[str, Loss, Batch, torch.dtype]]:
    """Every loss, with every relation and reduction, and every miner."""
    every = batches()
    for name, listed in all_references().items():
        for number, reference in enumerate(listed):
            for batch in every:
                for reduction in ("mean", "active", "sum", "none"):
                    loss = reference.loss(reduction=reduction)
                    yield f"{name}-{number} {batch.name} {reduction}", loss, batch, torch.float64
            yield f"{name}-{number} float32", reference.loss(), every[0], torch.float32
    learned = losses.TripletMargin(distance=distances.Mahalanobis(torch.eye(DIMENSION)[:3]).double())
    yield "a learned distance", learned, every[0], torch.float64
    direct = losses.TripletMargin(distance=distances.WeightedCityblock(DIMENSION).double())
    yield "a learned distance without products", direct, every[0], torch.float64
    for name, build in MINERS.items():
        for batch in every:
            for reduction in ("mean", "active", "sum", "none"):
                loss = losses.TripletMargin(miner=build(), reduction=reduction)
                yield f"{name} {batch.name} {reduction}", loss, batch, torch.float64
        loss = losses.TripletMargin(miner=build())
        yield f"{name} float32", loss, every[0], torch.float32


MINERS: dict[str, Callable[[], Any]] = {
    name: getattr(mining, name)
    for name in mining.__all__
    if isinstance(getattr(mining, name), type) and name not in ("Miner",)
}


def evaluate(
    loss: Loss, part: tuple[Tensor, Relation, dict[str, Any]], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Value, gradients of embeddings and columns and of learned parameters."""
    x, relation, options = part
    options = dict(options)
    leaves = {"embeddings": x.to(dtype, copy=True).requires_grad_()}
    for key in ("columns", "weights"):
        if key in options:
            leaves[key] = options[key] = options[key].to(dtype, copy=True).requires_grad_()
    value = loss(leaves["embeddings"], relation, **options)
    loss.zero_grad()
    value.sum().backward()
    found = {"value": value.detach()}
    for key, leaf in leaves.items():
        found[key] = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return found | {f"parameter {name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}


def _looked_at(rank: int) -> dict[str, Any]:
    """How many rows of the global batch each miner looks at in this process."""
    import numpy as np

    from likewise.table import visit

    found, seen, visits = {}, [], visit.visits

    def counted(*arguments: Any) -> Any:
        for one in visits(*arguments):
            seen.append(one.stop - one.start)
            yield one

    visit.visits = counted
    for name, build in MINERS.items():
        seen.clear()
        losses.TripletMargin(miner=build())(*batches()[0].parts[rank][:2])
        found[f"rows|{name}"] = np.array(sum(seen))
    visit.visits = visits
    return found


def _work(rank: int, folder: str) -> None:
    import warnings

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {
        f"{name}|{key}": value.numpy()
        for name, loss, batch, dtype in cases()
        for key, value in evaluate(loss, batch.parts[rank], dtype).items()
    }
    import numpy as np

    np.savez(f"{folder}/{rank}.npz", **found, **_looked_at(rank))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """float64 to a relative 1e-9, float32 to 1e-5; gradients of own rows are twice the global ones."""
    import numpy as np

    torch.multiprocessing.spawn(_work, (str(tmp_path),), nprocs=2)
    both = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    count = 0
    for name, loss, batch, dtype in cases():
        expected = evaluate(loss, batch.whole, dtype)
        tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
        for key, value in expected.items():
            own = [torch.from_numpy(file[f"{name}|{key}"]) for file in both]
            where = lambda message, n=name, k=key: f"{n}, {k}: {message}"  # noqa: E731
            if (key == "value" and value.ndim == 0) or key.startswith("parameter"):
                for found in own:
                    torch.testing.assert_close(found, value, msg=where, **tolerance)
            else:
                scale = 1 if key == "value" else 2
                torch.testing.assert_close(torch.cat(own), scale * value, msg=where, **tolerance)
            count += 1
    assert count > 300  # what the cases promise is really there
    for name in set(MINERS) - {"AllTriplets"}:  # which looks at nothing
        assert [int(file[f"rows|{name}"]) for file in both] == [6, 7], name


def _reference_kinds() -> list[Reference]:
    return [reference for listed in all_references().values() for reference in listed]


def test_every_reference_takes_part() -> None:
    names = {name.split("-")[0] for name, *_ in cases()}
    assert set(all_references()) <= names
    assert _reference_kinds()
