"""One global batch from the batches of all processes, and the walk over it shared among them.

Every process gathers the rows of all and sees the same global problem; each walks only its share of the
table's rows, and the shares' values and gradients are added up. So the value is the same on every
process and equal to that of a single process on the global batch. The gradient of a process's own rows
is multiplied with the number of processes, so that the average that DistributedDataParallel takes is
the single-process gradient; learned parameters of loss and distance get the whole global gradient on
every process.

Collectives run in forward; in backward only where the walk itself runs there (``reduction="none"``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "Group",
    "active_group",
    "from_all",
    "own_rows",
    "own_slice",
    "replicate",
    "sharing",
    "world_group",
]


@dataclass(frozen=True)
class Group:
    """The processes that share a batch: this one's number, and how many there are."""

    rank: int
    size: int

    def counts(self, count: int, device: torch.device) -> list[int]:
        """Everybody's count."""
        own = torch.tensor([count], device=device)
        found = [torch.zeros_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [int(value) for value in found]

    def gather(self, own: Tensor, counts: list[int]) -> Tensor:
        """Everybody's rows, end to end; counts may differ."""
        longest = max(counts)
        padded = own.new_zeros((longest, *own.shape[1:]))
        padded[: own.shape[0]] = own
        found = [torch.zeros_like(padded) for _ in range(self.size)]
        dist.all_gather(found, padded)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])

    def gather_objects(self, own: Any) -> list[Any]:
        """Everybody's small object."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own)
        return found

    def add(self, shares: Tensor) -> Tensor:
        """The sum of everybody's shares, in place."""
        dist.all_reduce(shares)
        return shares

    def share(self, count: int) -> list[tuple[int, int]]:
        """Which rows of a table of count rows each process walks."""
        bounds = [count * number // self.size for number in range(self.size + 1)]
        return list(pairwise(bounds))


_active: ContextVar[Group | None] = ContextVar("likewise_group", default=None)


def world_group() -> Group | None:
    """All processes, where there are several and no loss shares among them already."""
    if _active.get() is not None or not (dist.is_available() and dist.is_initialized()):
        return None
    return Group(dist.get_rank(), dist.get_world_size()) if dist.get_world_size() > 1 else None


def active_group() -> Group | None:
    """The processes that share the walk at hand."""
    return _active.get()


@contextmanager
def sharing(group: Group) -> Iterator[None]:
    """Share the walks within among the processes of a group."""
    token = _active.set(group)
    try:
        yield
    finally:
        _active.reset(token)


def own_rows(n_rows: int) -> tuple[int, int]:
    """Which rows of a table are this process's to look at: all, where nobody shares."""
    group = _active.get()
    return (0, n_rows) if group is None else group.share(n_rows)[group.rank]


def from_all(own: Tensor) -> Tensor:
    """What all processes found in their shares (k, ...), end to end in the order of rows."""
    group = _active.get()
    if group is None:
        return own
    counts = group.counts(own.shape[0], own.device)
    if own.dtype == torch.bool:
        return group.gather(own.to(torch.uint8), counts).to(torch.bool)
    return group.gather(own, counts)


class _Replicate(torch.autograd.Function):
    """Gather rows; backward gives a process its own rows' gradient, times the number of processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Group, counts: list[int]) -> Tensor:
        ctx.group, ctx.counts = group, counts
        return group.gather(own.detach(), counts)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        group, counts = ctx.group, ctx.counts
        first = sum(counts[: group.rank])
        return upstream[0][first : first + counts[group.rank]] * group.size, None, None


class _OwnSlice(torch.autograd.Function):
    """A process's own values of all; backward gathers what everybody asks of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Group, counts: list[int]) -> Tensor:
        ctx.group, ctx.counts = group, counts
        first = sum(counts[: group.rank])
        return values[first : first + counts[group.rank]].clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return ctx.group.gather(upstream[0], ctx.counts), None, None


def replicate(own: Tensor, group: Group, counts: list[int]) -> Tensor:
    """Everybody's rows (sum of counts, ...), differentiable in one's own."""
    out: Tensor = _Replicate.apply(own, group, counts)  # type: ignore[no-untyped-call]
    return out


def own_slice(values: Tensor, group: Group, counts: list[int]) -> Tensor:
    """One's own part of values (sum of counts, ...) that every process has."""
    out: Tensor = _OwnSlice.apply(values, group, counts)  # type: ignore[no-untyped-call]
    return out
