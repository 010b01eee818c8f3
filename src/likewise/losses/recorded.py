"""What a loss notes of its rows or its table while it is walked, whole again over blocks and processes."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table.distributed import active_group

__all__ = ["RowNotes", "shared_sum"]


class RowNotes:
    """A number for each row of a table, noted block by block; a block visited again notes it anew."""

    def __init__(self) -> None:
        self._blocks: dict[int, Tensor] = {}

    def note(self, start: int, values: Tensor) -> None:
        """Note the numbers (r,) of the rows from ``start``."""
        self._blocks[start] = values

    def all(self, n_rows: int, like: Tensor) -> Tensor:
        """The numbers of all rows (n_rows,), those of other processes included."""
        own = [self._blocks[start] for start in sorted(self._blocks)]
        found = torch.cat(own) if own else like.new_zeros(0)
        group = active_group()
        if group is None:
            return found
        return group.gather(found, [last - first for first, last in group.share(n_rows)])


def shared_sum(values: Tensor) -> Tensor:
    """What all processes that share a walk noted, added up."""
    group = active_group()
    return values if group is None else group.add(values)
