"""One relation over a global batch from those of its parts, one a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.errors import InputError
from likewise.relations.base import Relation
from likewise.relations.labels import Chunklets, Labels
from likewise.relations.lists import Mask, Matches, Pairs, Quadruplets, Scores, Triplets

__all__ = ["join"]


def _offsets(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:number]) for number in range(len(counts))]


def join(parts: Sequence[Relation], rows: Sequence[int], columns: Sequence[int] | None) -> Relation:
    """The relation of batches put end to end.

    Parameters
    ----------
    parts : sequence of Relation
        One a process, all of one kind; positions count from the process's own first item.
    rows, columns : sequences of int
        How many rows and columns each process has; None where the columns are the same in all.

    Raises
    ------
    InputError
        The kinds differ, or a kind can't be joined.

    >>> join([Triplets([0], [1], [2]), Triplets([0], [2], [1])], [3, 3], [3, 3]).anchor
    tensor([0, 3])
    """
    kind = type(parts[0])
    if any(type(part) is not kind for part in parts):
        names = ", ".join(sorted({type(part).__name__ for part in parts}))
        raise InputError(f"every process must give a relation of one kind; found {names}")
    if isinstance(parts[0], Labels):
        return Labels.joined([part for part in parts if isinstance(part, Labels)])
    if isinstance(parts[0], Chunklets):
        return Chunklets(torch.cat([part.chunklets.cpu() for part in parts if isinstance(part, Chunklets)]))
    if isinstance(parts[0], Matches):
        return parts[0]
    row_offsets = _offsets(rows)
    column_offsets = [0] * len(parts) if columns is None else _offsets(columns)

    def joined(name: str, offsets: Sequence[int] | None = None) -> Any:
        found = [getattr(part, name) for part in parts]
        if offsets is not None:
            found = [values + offset for values, offset in zip(found, offsets, strict=True)]
        return torch.cat(found) if isinstance(found[0], Tensor) else np.concatenate(found)

    if kind is Pairs:
        return Pairs(joined("left", row_offsets), joined("right", column_offsets), joined("same"))
    if isinstance(parts[0], Scores):
        return Scores(
            joined("left", row_offsets),
            joined("right", column_offsets),
            joined("score"),
            near_from=parts[0].near_from,
            far_to=parts[0].far_to,
        )
    if kind is Triplets:
        return Triplets(
            joined("anchor", row_offsets),
            joined("positive", column_offsets),
            joined("negative", column_offsets),
        )
    if kind is Quadruplets:
        return Quadruplets(
            joined("left", row_offsets),
            joined("right", column_offsets),
            joined("far_left", row_offsets),
            joined("far_right", column_offsets),
        )
    if kind is Mask:
        masks = [part for part in parts if isinstance(part, Mask)]
        return Mask.joined(masks, row_offsets, column_offsets, below=columns is None)
    raise InputError(f"a {kind.__name__} relation can't be joined over processes")
