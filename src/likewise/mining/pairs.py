"""Pairs that are hard beside the others of their anchor."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.mining.base import Miner
from likewise.relations import Block, Cells, Resolved
from likewise.table.distributed import from_all
from likewise.table.visit import views

__all__ = ["MultiSimilarityPairs"]


class MultiSimilarityPairs(Miner):
    """The pairs that multi-similarity loss keeps (Wang et al. 2019), for any loss.

    An anchor keeps the negatives nearer than its farthest positive plus e, and the positives farther than
    its nearest negative less e. :class:`~likewise.losses.MultiSimilarity` has this built in, without a
    list. Kept far cells are remembered as one bit a cell of the table: 8 MB for 8,192 rows.

    Parameters
    ----------
    epsilon : float, 0 or more
        e, in units of the distance.

    References
    ----------
    X. Wang et al., "Multi-similarity loss with general pair weighting for deep metric learning", 2019,
    equations 11 and 12 (numbers from memory).

    >>> from likewise.losses import Contrastive
    >>> loss = Contrastive(margin=10.0, squared=False, miner=MultiSimilarityPairs(epsilon=0.1))
    >>> x = torch.tensor([[0.0], [1.0], [0.5], [9.0]])
    >>> loss(x, [0, 0, 1, 2])  # the pair (0, 1) in both directions, and the negative 2 of both
    tensor(10.5000)
    """

    def __init__(self, *, epsilon: float = 0.1) -> None:
        super().__init__()
        if not (isinstance(epsilon, int | float) and 0 <= epsilon < math.inf):
            raise InputError(f"epsilon must be a number not below zero; found {epsilon!r}")
        self.epsilon = float(epsilon)

    def forward(
        self,
        embeddings: Tensor,
        resolved: Resolved,
        *,
        columns: Tensor | None = None,
        distance: Distance,
    ) -> Resolved:
        """Some near and some far cells a row. See :meth:`Miner.forward`."""
        near_bits, far_bits = [], []
        for view in views(distance, embeddings, columns, resolved):
            valid = view.block.near.valid
            if valid.shape[1]:
                farthest = view.rough_near.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
            else:
                farthest = view.rough_near.new_full((valid.shape[0], 1), -torch.inf)
            nearest, kept = view.rough_near.new_full((valid.shape[0], 1), torch.inf), []
            for _, tile in view.tiles():
                nearest = torch.minimum(nearest, tile.amin(1, keepdim=True))
                kept.append(_packed(tile < farthest + self.epsilon))
            some = nearest < farthest + self.epsilon
            near_bits.append(_packed(valid & (view.rough_near > nearest - self.epsilon) & some))
            far_bits.append(torch.cat(kept, 1) if kept else _packed(valid[:, :0]))
        return _Masked(resolved, near_bits, far_bits, embeddings.device)


def _packed(mask: Tensor) -> Tensor:
    """A bool array (r, c) as bytes (r, c / 8), rounded up."""
    spare = -mask.shape[1] % 8
    bits = nn.functional.pad(mask.to(torch.uint8), (0, spare)).view(mask.shape[0], -1, 8)
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=mask.device)
    return (bits * weights).sum(2, dtype=torch.uint8)


def _unpacked(packed: Tensor, width: int) -> Tensor:
    """Bytes as a bool array of some width; bits beyond what is there are zero."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    bits = packed[:, :, None].bitwise_right_shift(shifts).bitwise_and_(1).flatten(1)[:, :width]
    return nn.functional.pad(bits, (0, width - bits.shape[1])).to(torch.bool)


class _Masked(Resolved):
    """A table of which each row keeps the cells whose bits are set."""

    def __init__(self, table: Resolved, near: list[Tensor], far: list[Tensor], device: torch.device) -> None:
        self._table = table
        self.n_rows, self.n_columns, self.anchors = table.n_rows, table.n_columns, table.anchors
        self.far_is_listed = table.far_is_listed
        self.longest = table.longest if table.far_is_listed else table.n_columns
        self._near, self._far = (_stacked(part, device) for part in (near, far))

    def block(self, start: int, stop: int) -> Block:
        given = self._table.block(start, stop)
        near, far = given.near, given.far
        kept = _unpacked(self._near[start:stop], near.columns.shape[1])
        near = Cells(near.columns, near.valid & kept, near.anchors)
        if far is not None:
            kept = _unpacked(self._far[start:stop], far.columns.shape[1])
            return Block(self.n_columns, near, far=Cells(far.columns, far.valid & kept, far.anchors))
        return Block(self.n_columns, near, mask=~_unpacked(self._far[start:stop], self.n_columns))


def _stacked(parts: list[Tensor], device: torch.device) -> Tensor:
    """Pieces of bytes, rows below each other, to the width of the widest of all processes."""
    own = max((part.shape[1] for part in parts), default=0)
    width = int(from_all(torch.tensor([own], device=device)).max())
    widened = [nn.functional.pad(part, (0, width - part.shape[1])) for part in parts]
    return from_all(torch.cat([*widened, torch.zeros(0, width, dtype=torch.uint8, device=device)]))
