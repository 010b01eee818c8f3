"""Networks that embed faces of 56 x 46 pixels: the published geometry, and a small one for half the size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.recipes.unseen import SmallConvNet

__all__ = ["FaceNet", "HalvedNet", "even"]

_HALF = (28, 23)
_SLOPE = 0.25  # an even image of 28 x 23 has length 25: a quarter keeps tanh away from its ends


class FaceNet(nn.Module):
    """LeNet for 56 x 46 faces: C1 7x7, S2 2x2, C3 6x6, S4 4x3, C5 5x5 of 250 maps, F6."""

    def __init__(self, *, first_maps: int, second_maps: int, outputs: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, first_maps, 7), nn.BatchNorm2d(first_maps), nn.Tanh(), nn.AvgPool2d(2),
            nn.Conv2d(first_maps, second_maps, 6), nn.BatchNorm2d(second_maps), nn.Tanh(),
            nn.AvgPool2d((4, 3)),
            nn.Conv2d(second_maps, 250, 5), nn.BatchNorm2d(250), nn.Tanh(),
        )  # fmt: skip
        self.last = nn.Linear(250, outputs)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings in (-1, 1)."""
        found: Tensor = self.last(self.maps(even(items)[:, None]).flatten(1)).tanh()
        return found


class HalvedNet(nn.Module):
    """The small network of the other recipes, on 28 x 23 images brought to mean 0 and deviation 1 each.

    With a shortcut, a linear map of the image is added to what the convolutions give. It begins orthogonal
    and their last map at zero: the untrained net compares faces about as their pixels do, and what little 35
    persons can teach is added to that.
    """

    def __init__(self, outputs: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.net = SmallConvNet(_HALF, outputs)
        self.shortcut: nn.Linear | None = None
        if shortcut:
            self.shortcut = nn.Linear(_HALF[0] * _HALF[1], outputs, bias=False)
            nn.init.orthogonal_(self.shortcut.weight)
            nn.init.zeros_(self.net.head.weight)
            nn.init.zeros_(self.net.head.bias)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings in (-1, 1)."""
        halved = nn.functional.avg_pool2d(even(items)[:, None], 2)[:, 0]
        found: Tensor = self.net(halved)
        if self.shortcut is not None:
            found = (found + self.shortcut(halved.flatten(1))) * _SLOPE
        return torch.tanh(found)


def even(items: Tensor) -> Tensor:
    """Images (n, h, w), each with mean 0 and deviation 1.

    >>> even(torch.tensor([[[1.0, 3.0]]])).sum().item()
    0.0
    """
    flat = items.flatten(1)
    found = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp_min(1e-6)
    return found.reshape(items.shape)
