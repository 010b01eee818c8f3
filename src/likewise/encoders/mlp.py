"""A multilayer perceptron for rows of features and for very small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.errors import InputError

__all__ = ["MLP"]


class MLP(Encoder):
    """Linear layers with ReLU between, and by default a linear shortcut; items are flattened.

    With the shortcut ``z = W x + f(x)``: W begins orthogonal and f begins at zero, so an untrained
    encoder compares items about as their own numbers do, and training starts from there.

    Parameters
    ----------
    inputs : int >= 1
        Numbers in an item.
    dimension : int >= 1
        d, the length of an embedding.
    hidden : sequence of int
        The widths between; empty for a linear map.
    shortcut : bool
        Add W x.

    >>> import torch
    >>> MLP(4, dimension=2, hidden=[8])(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, inputs: int, *, dimension: int, hidden: Sequence[int] = (256,), shortcut: bool = True
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden, dimension]
        if min(widths) < 1:
            raise InputError(f"inputs, hidden and dimension must be at least 1; found {widths}")
        self.inputs, self.dimension, self.hidden = inputs, dimension, tuple(hidden)
        layers: list[nn.Module] = []
        for i in range(len(widths) - 1):
            layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Linear(inputs, dimension, bias=False) if shortcut else None
        if self.shortcut is not None:
            nn.init.orthogonal_(self.shortcut.weight)
            for parameter in layers[-2].parameters():
                nn.init.zeros_(parameter)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of items (n, ...)."""
        rows = items.flatten(1)
        out: Tensor = self.layers(rows)
        return out if self.shortcut is None else out + self.shortcut(rows)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "MLP",
            "inputs": self.inputs,
            "dimension": self.dimension,
            "hidden": list(self.hidden),
            "shortcut": self.shortcut is not None,
        }
