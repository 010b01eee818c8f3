"""Any loss by its name, with what it can't do without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from likewise import losses
from likewise.distances import PositionDependent
from likewise.losses import Loss
from likewise.losses.classes import ClassLoss

D, N_CLASSES = 4, 4
NAMES = sorted(name for name in losses.__all__ if name != "Loss" and issubclass(getattr(losses, name), Loss))
OF_CLASSES = [name for name in NAMES if issubclass(getattr(losses, name), ClassLoss)]
OF_VALUES = ["DifferenceRegression", "PairwiseRank"]
"""Losses of one number an item."""

NEEDED: dict[str, Callable[[], Any]] = {
    "n_classes": lambda: N_CLASSES,
    "dimension": lambda: D,
    "upper_bound": lambda: 2.0,
    "function": lambda: lambda d, near, far: (d * near).sum(1) - (d * far).sum(1),
    "loss": lambda: losses.Contrastive(),
    "losses": lambda: [losses.SupCon(), losses.Contrastive()],
    "dimensions": lambda: [2, D],
}
BY_NAME: dict[str, Callable[[], dict[str, Any]]] = {
    "GeometryAware": lambda: {"classification_weight": 1.0},
    "DoubleHeaderHinge": lambda: {"unit": PositionDependent(D)},
    # else half of the gradient, by the batch's own entries, is missing
    "CrossBatchMemory": lambda: {"size": 64, "attached": True},
    # soft enough that points drawn at random have a gradient
    "Histogram": lambda: {"bins": 4},
    "PNP": lambda: {"temperature": 0.5},
    "SmoothAP": lambda: {"temperature": 0.5},
    "SurrogatePrecision": lambda: {"temperature": 0.5},
}


def build(name: str, **options: Any) -> Loss:
    """The same loss each time, in evaluation."""
    torch.manual_seed(0)  # the same vectors each time
    kind = getattr(losses, name)
    needed = BY_NAME.get(name, dict)()
    for one in inspect.signature(kind).parameters.values():
        if one.default is one.empty and one.kind != one.VAR_KEYWORD:
            needed[one.name] = NEEDED[one.name]()
    loss = kind(**(needed | options)).eval()
    assert isinstance(loss, Loss)
    return loss
