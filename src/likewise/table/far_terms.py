"""What a loss makes of a far cell, for kernels that never write the cells down.

A loss says it as one of these, with the numbers of its rows; a fused kernel knows each by its kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["FarTerms", "Gaps", "Limits", "LogSum"]


@dataclass(frozen=True)
class LogSum:
    """A row's value reads its far cells through ``log sum_n exp(-rate d_n)``.

    Found are its maximum and the sum of exponentials less the maximum (n,) each. The slope of a cell is
    ``-rate exp(-rate d + shift)`` of its row, where the shift (n,) is known after the rows are finished.
    """

    rate: float
    shift: Tensor | None = None


@dataclass(frozen=True)
class Gaps:
    """A far cell costs ``max(0, margin - d)``, or half its square.

    Found are the sum of the terms and how many aren't zero (n,) each.
    """

    margin: float
    squared: bool


@dataclass(frozen=True)
class Limits:
    """A far cell costs ``sum_k max(0, limit_k - d)`` over the limits of its row.

    limits : (n, p), minus infinity where there is none. middle : (n,), near which they lie.
    reach : no limit lies farther from its row's middle.

    Found are the number of cells below each limit (n, p), and the sum over cells of
    ``max(middle - d, -reach)`` times the limits above the cell (n,).
    """

    limits: Tensor
    middle: Tensor
    reach: float


FarTerms = LogSum | Gaps | Limits
