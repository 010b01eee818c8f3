"""The network of one-shot siamese recognition, the distortions it learns from, and means over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.data import Augmentation
from likewise.recipes.experiment import embedded

__all__ = ["SiameseNet", "distortions", "mean_of_copies"]


class SiameseNet(nn.Module):
    """Convolutions with halving between them, then one layer of sigmoids: (n, side, side) to (n, dense)."""

    def __init__(
        self,
        side: int,
        *,
        filters: tuple[int, ...],
        kernels: tuple[int, ...],
        dense: int,
        printed: bool,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self._bfloat16 = bfloat16
        layers: list[nn.Module] = []
        channels = 1
        for place, (width, kernel) in enumerate(zip(filters, kernels, strict=True)):
            padding = 0 if printed else kernel // 2
            layers.append(nn.Conv2d(channels, width, kernel, padding=padding))
            halved: list[nn.Module] = [nn.MaxPool2d(2)] if place + 1 < len(filters) else []
            # normalised after the halving, of a quarter of the numbers: half of a step's time otherwise
            layers += [nn.ReLU(), *halved] if printed else [*halved, nn.BatchNorm2d(width), nn.ReLU()]
            side = (side + 2 * padding - kernel + 1) // (2 if halved else 1)
            channels = width
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = [nn.Linear(channels * side * side, dense)]
        self.dense = nn.Sequential(*last, *([] if printed else [nn.BatchNorm1d(dense)]), nn.Sigmoid())

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings in (0, 1)."""
        images = items[:, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self._bfloat16 and self.training):
            maps = self.features(images)
        found: Tensor = self.dense(maps.float().flatten(1))
        return found


def mean_of_copies(net: nn.Module, items: Tensor, *, copies: int, seed: int) -> Tensor:
    """Embeddings (n, d), each the mean over an image (n, side, side) and copies of it, half as distorted as
    those that were learned from.
    """
    generator = torch.Generator().manual_seed(seed)
    distort = distortions(0.5)
    found = embedded(net, items)
    for _ in range(copies):
        found += embedded(net, distort(items, generator=generator))
    return found / (1 + copies)


def distortions(part: float = 1.0) -> Augmentation:
    """The paper's affine distortions, of 35 pixels, or a part of their changes of size and shear."""
    return Augmentation(shift=2 / 35, rotation=10.0, scale=0.2 * part, shear=0.3 * part)
