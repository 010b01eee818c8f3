"""Histograms of distances in which each gives to the two nodes it lies between, linearly.

In PyTorch a dozen passes over a tile; in C one (:mod:`~likewise.table.compiled`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["bin_counts", "bin_steps"]

_MOST_NODES = 4096
"""Nodes that C has room for."""


def _in_c(distances: Tensor, bins: int) -> bool:
    return bins < _MOST_NODES and compiled.takes(distances) and compiled.library() is not None


def bin_counts(distances: Tensor, bins: int, scale: float) -> Tensor:
    """What each row's distances (r, c) give to nodes 0 to ``bins`` at ``b / scale``: (r, bins + 1) float64.

    Infinite ones give nothing, those beyond the first or last node count there.
    """
    rows, columns = distances.shape
    if _in_c(distances, bins):
        found = torch.zeros((rows, bins + 1), dtype=torch.float64)
        compiled.function(f"bin_counts_{compiled.name_of(distances)}", "piiidpi")(
            distances.data_ptr(), rows, columns, bins, scale, found.data_ptr(), torch.get_num_threads()
        )
        return found
    place = (distances.double() * scale).clamp_(min=0, max=bins)
    below = place.floor().clamp_(max=bins - 1)
    beyond, there = place - below, (distances < torch.inf).double()
    found = torch.zeros((rows, bins + 1), dtype=torch.float64, device=distances.device)
    found.scatter_add_(1, below.long(), there * (1.0 - beyond))
    return found.scatter_add_(1, below.long() + 1, there * beyond)


def bin_steps(distances: Tensor, steps: Tensor, scale: float) -> Tensor:
    """``steps[r, b]`` of distances (r, c) between nodes b and b + 1; zero where infinite or below zero.

    steps : (r, bins), of which the last holds for all that lies beyond too.
    """
    bins, steps = steps.shape[1], steps.to(distances.dtype).contiguous()
    if _in_c(distances, bins):
        out = torch.empty_like(distances)
        compiled.function(f"bin_steps_{compiled.name_of(distances)}", "piiidppi")(
            distances.data_ptr(), *distances.shape, bins, scale, steps.data_ptr(), out.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip
        return out
    place = (distances.double() * scale).clamp_(min=0, max=bins - 1).long()
    return steps.gather(1, place).masked_fill_((distances == torch.inf) | (distances < 0), 0.0)
