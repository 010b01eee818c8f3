"""Two processes (gloo) of which one has no rows give the value and gradients of one process, for every loss.

It has none where a batch isn't a multiple of the processes, and none to walk where a table has fewer rows
than there are processes. What it leaves out, the other waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor

from likewise import losses
from likewise.losses import Loss
from likewise.relations import Labels, Matches, Scores
from reference.families.classes import CLASSES
from reference.losses import all_references

N, DIMENSION, N_CLASSES = 11, 6, 4
NONE, ONE, SOME, REST, ALL = slice(0, 0), slice(0, 1), slice(0, 4), slice(4, N), slice(0, N)


@dataclass
class Call:
    """What a process, or the one, gives to a loss."""

    embeddings: Tensor
    relation: Any
    options: dict[str, Any]


@dataclass
class Case:
    """A loss, and the calls of process 0, of process 1 and of one process with all."""

    name: str
    loss: Loss
    calls: tuple[Call, Call, Call]


def drawn(seed: int) -> Tensor:
    return torch.randn(N, DIMENSION, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.arange(N) % 3


def labelled(rows: slice) -> Call:
    return Call(drawn(0)[rows], Labels(LABELS[rows]), {})


def against(rows: slice, columns: slice) -> Call:
    options = {"columns": drawn(1)[columns], "column_relation": Labels(LABELS[columns])}
    return Call(drawn(0)[rows], Labels(LABELS[rows]), options)


def classified(rows: slice) -> Call:
    return Call(drawn(0)[rows], LABELS[rows], {})


def matched(rows: slice) -> Call:
    return Call(drawn(0)[rows], Matches(), {"columns": drawn(1)[rows]})


def scored(rows: slice) -> Call:
    every = (
        torch.tensor([0, 1, 2, 4, 7]),
        torch.tensor([1, 3, 8, 6, 9]),
        torch.tensor([1.0, -0.5, 2.0, 0.5, 0.0]),
    )
    return Call(drawn(0)[rows], Scores(*(part[rows] for part in every)), {})


def valued(rows: slice) -> Call:
    call = scored(rows)
    return Call(call.embeddings[:, :1], call.relation, call.options)


def with_inputs(rows: slice) -> Call:
    return Call(drawn(0)[rows], Labels(LABELS[rows]), {"inputs": drawn(2)[rows]})


COMPOSED: dict[str, tuple[Callable[[], Loss], Callable[[slice], Call]]] = {
    "AnglE": (losses.AnglE, scored),
    "Angular": (losses.Angular, labelled),
    "BarlowTwins": (losses.BarlowTwins, matched),
    "BinaryPair": (losses.BinaryPair, labelled),
    "CoSENT": (losses.CoSENT, scored),
    "CrossBatchMemory": (
        lambda: losses.CrossBatchMemory(losses.Contrastive(margin=2.0), DIMENSION, size=30),
        labelled,
    ),
    "DifferenceRegression": (losses.DifferenceRegression, valued),
    "DoubleHeaderHinge": (lambda: losses.DoubleHeaderHinge(DIMENSION), labelled),
    "DynamicSoftMargin": (losses.DynamicSoftMargin, labelled),
    "GeometryAware": (lambda: losses.GeometryAware(neighbors=1), with_inputs),
    "Histogram": (losses.Histogram, labelled),
    "IntraPair": (losses.IntraPair, labelled),
    "LiftedStructure": (losses.LiftedStructure, labelled),
    "Manifold": (lambda: losses.Manifold(3, DIMENSION), labelled),
    "Matryoshka": (
        lambda: losses.Matryoshka(losses.Contrastive(margin=2.0), dimensions=[1, 3], weights=[0.5, 1.0]),
        labelled,
    ),
    "PairwiseRank": (losses.PairwiseRank, valued),
    "ScoreRegression": (losses.ScoreRegression, scored),
    "VICReg": (losses.VICReg, matched),
    "Weighted": (lambda: losses.Weighted([losses.SupCon(), losses.Contrastive(margin=2.0)]), labelled),
}
"""Losses that aren't in the tables of references, or are more than one walk."""

TAKE_COLUMNS = ("Angular", "BinaryPair", "DynamicSoftMargin", "Histogram", "IntraPair", "LiftedStructure")


def cases() -> Iterator[Case]:
    for name, listed in all_references().items():
        yield from of(f"{name} reference", listed[0].loss, labelled, columns=True)
    for name, listed in CLASSES.items():
        reference = listed[0]
        yield from of(f"{name} classes", lambda r=reference: r.loss(N_CLASSES, DIMENSION), classified)
        parts = (classified(NONE), classified(ONE), classified(ONE))
        torch.manual_seed(0)
        yield Case(f"{name} classes, one row", reference.loss(N_CLASSES, DIMENSION).double(), parts)
    for name, (build, call) in COMPOSED.items():
        yield from of(name, build, call, columns=name in TAKE_COLUMNS)


def of(
    name: str, build: Callable[[], Any], call: Callable[[slice], Call], *, columns: bool = False
) -> Iterator[Case]:
    """The first, or the last, has no rows; and one row against columns of both."""

    def made() -> Loss:
        torch.manual_seed(0)  # every process must hold the same parameters
        found: Loss = build().double()
        return found

    yield Case(f"{name}, first", made(), (call(NONE), call(ALL), call(ALL)))
    yield Case(f"{name}, last", made(), (call(ALL), call(NONE), call(ALL)))
    if columns:
        parts = (against(NONE, SOME), against(ONE, REST), against(ONE, ALL))
        yield Case(f"{name}, one row", made(), parts)


def evaluate(loss: Loss, call: Call) -> dict[str, Tensor]:
    leaf = call.embeddings.clone().requires_grad_()
    options = dict(call.options)
    if "columns" in options:
        options["columns"] = options["columns"].clone().requires_grad_()
    value = loss(leaf, call.relation, **options)
    loss.zero_grad()
    value.sum().backward()
    found = {"value": value.detach(), "rows": leaf.grad}
    if "columns" in options:
        found["columns"] = options["columns"].grad
    found = {key: torch.zeros(0) if part is None else part for key, part in found.items()}
    return found | {f"parameter {name}": p.grad for name, p in loss.named_parameters() if p.grad is not None}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # one that waits for what never comes is told so before anybody loses patience
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    found = {}
    for case in cases():
        try:
            parts = evaluate(case.loss, case.calls[rank])
        except Exception as error:
            raise AssertionError(f"{case.name}, process {rank}: {error}") from error
        found |= {f"{case.name}|{key}": part.numpy() for key, part in parts.items()}
    np.savez(f"{folder}/{rank}.npz", **found)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_process_without_rows_changes_nothing(tmp_path: Path) -> None:
    """To 1e-9; gradients of own rows are twice the global ones, as DDP averages."""
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    both = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    for case in cases():
        for key, value in evaluate(case.loss, case.calls[2]).items():
            own = [torch.from_numpy(file[f"{case.name}|{key}"]) for file in both]
            where = lambda message, n=case.name, k=key: f"{n}, {k}: {message}"  # noqa: E731
            if key.startswith(("parameter", "value")):
                for found in own:
                    torch.testing.assert_close(found, value, msg=where, rtol=1e-9, atol=1e-11)
            else:
                torch.testing.assert_close(torch.cat(own), 2 * value, msg=where, rtol=1e-9, atol=1e-11)


def test_every_loss_takes_part() -> None:
    every = {name for name in losses.__all__ if name != "Loss" and issubclass(getattr(losses, name), Loss)}
    assert every - set(all_references()) - set(CLASSES) - set(COMPOSED) == set()
