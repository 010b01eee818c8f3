"""What a loss notes of its rows or its table while it is walked, whole again over blocks and processes."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table.distributed import active_group

__all__ = ["RowNotes", "shared_sum"]


class RowNotes:
    """Numbers for the rows or the cells of a table, noted block by block; a block seen again notes anew."""

    def __init__(self) -> None:
        self._blocks: dict[int, Tensor] = {}

    def note(self, start: int, values: Tensor) -> None:
        """Note the numbers (k,) of the block of rows from ``start``."""
        self._blocks[start] = values

    def all(self, like: Tensor) -> Tensor:
        """The numbers of all blocks, those of other processes included."""
        own = [self._blocks[start] for start in sorted(self._blocks)]
        found = torch.cat(own) if own else like.new_zeros(0)
        group = active_group()
        return found if group is None else group.gather(found, group.counts(found.shape[0], found.device))


def shared_sum(values: Tensor) -> Tensor:
    """What all processes that share a walk noted, added up."""
    group = active_group()
    return values if group is None else group.add(values)
