"""Several processes, as torchrun starts them: joined for the length of a training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

__all__ = ["Place", "joined", "place"]


@dataclass(frozen=True)
class Place:
    """Which process this is, and of how many."""

    rank: int = 0
    world_size: int = 1


def place() -> Place:
    """Where this process stands; the first of one where there is no group.

    >>> place()
    Place(rank=0, world_size=1)
    """
    if dist.is_available() and dist.is_initialized():
        return Place(dist.get_rank(), dist.get_world_size())
    return Place()


@contextmanager
def joined(device: torch.device) -> Iterator[Place]:
    """Join the processes that torchrun started, where it did and nobody has joined them yet."""
    started = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started or not dist.is_available() or dist.is_initialized():
        yield place()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield place()
    finally:
        dist.destroy_process_group()
