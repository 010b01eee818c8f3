"""What is done to items before the encoder sees them, learned from the training data and saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.errors import InputError

__all__ = ["Standardize", "preprocessing_from_config"]


class Standardize(nn.Module):
    """``(x - mean) / scale``: each feature of a row, or each channel of an image, on its own.

    ``mean`` and ``scale`` (the standard deviation, or 1 where a feature is constant) come from
    :meth:`learned_from`; a new one changes nothing.

    Parameters
    ----------
    item_shape : tuple of int
        ``(d,)``, ``(height, width)`` or ``(channels, height, width)``.

    >>> prepare = Standardize.learned_from(np.array([[1.0, 5.0], [3.0, 5.0]], dtype=np.float32))
    >>> prepare(torch.tensor([[3.0, 5.0]]))
    tensor([[1., 0.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, item_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        shape = self._statistics_shape()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @classmethod
    def learned_from(cls, X: NDArray[np.float32]) -> Standardize:
        """Learn mean and scale from items (n, ...), in float64."""
        made = cls(X.shape[1:])
        values = X.astype(np.float64)
        axes = (0,) if X.ndim == 2 else (0, X.ndim - 2, X.ndim - 1)
        mean = values.mean(axis=axes, keepdims=True)[0]
        scale = values.std(axis=axes, keepdims=True)[0]
        # A constant feature's deviation is not always exactly zero: rounding leaves a little.
        constant = scale <= 1e-7 * np.abs(mean)
        scale = np.where(constant, 1.0, scale)
        made.mean.copy_(torch.from_numpy(mean))
        made.scale.copy_(torch.from_numpy(scale))
        return made

    def forward(self, items: Tensor) -> Tensor:
        """Standardised items, of the same shape (n, ...)."""
        return (items - self.mean) / self.scale

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        return {"name": "Standardize", "item_shape": list(self.item_shape)}

    def _statistics_shape(self) -> tuple[int, ...]:
        if len(self.item_shape) == 1:
            return self.item_shape
        return (*self.item_shape[:-2], 1, 1)


def preprocessing_from_config(config: dict[str, Any]) -> Standardize:
    """Build preprocessing from its config; its arrays are then loaded by ``load_state_dict``.

    Raises
    ------
    InputError
        The name isn't one of ours.
    """
    if config.get("name") != "Standardize":
        raise InputError(f"preprocessing must be Standardize; found {config.get('name')!r}")
    return Standardize(tuple(config["item_shape"]))
