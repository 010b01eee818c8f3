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
    """What distances, not below zero, give to nodes 0 to ``bins`` at ``b / scale``: (bins + 1,) float64.

    Infinite ones give nothing, those beyond the last node count there.
    """
    if _in_c(distances, bins):
        found = torch.zeros(bins + 1, dtype=torch.float64)
        compiled.function(f"bin_counts_{compiled.name_of(distances)}", "piidp")(
            distances.data_ptr(), distances.numel(), bins, scale, found.data_ptr()
        )
        return found
    finite = distances[distances < torch.inf].double()
    place = (finite * scale).clamp_(max=bins)
    below = place.floor().clamp_(max=bins - 1)
    beyond, node = place - below, below.long()
    found = torch.bincount(node, 1.0 - beyond, minlength=bins + 1)
    return found + torch.bincount(node + 1, beyond, minlength=bins + 1)


def bin_steps(distances: Tensor, steps: Tensor, scale: float) -> Tensor:
    """``steps[b]`` of distances between nodes b and b + 1, in their shape and dtype; zero where infinite.

    steps : (bins,), of which the last holds for all that lies beyond too.
    """
    bins, steps = len(steps), steps.to(distances.dtype)
    if _in_c(distances, bins):
        out = torch.empty_like(distances)
        compiled.function(f"bin_steps_{compiled.name_of(distances)}", "piidpp")(
            distances.data_ptr(), distances.numel(), bins, scale, steps.data_ptr(), out.data_ptr()
        )
        return out
    below = (distances.double() * scale).clamp_(max=bins - 1).long()
    return steps[below].masked_fill_(distances == torch.inf, 0.0)
