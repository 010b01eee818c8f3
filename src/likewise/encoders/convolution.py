"""A small convolutional network for grey or colour images of about 8x8 to 64x64 pixels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.errors import InputError

__all__ = ["ConvNet"]

_COARSE = 16


class ConvNet(Encoder):
    """Blocks of 3x3 convolution, group normalisation, ReLU and halving, then one linear layer.

    The number of blocks follows from the size: halving goes on while the smaller side is over 4 pixels.
    Group normalisation makes an item's embedding independent of its batch.

    With a shortcut, a linear map of the coarse image (at most 16 x 16 means) is added to the embedding, and
    the last map of the blocks begins at zero: the net begins as that linear map, which keeps distances
    between images nearly as they are, and learns what to add.

    Parameters
    ----------
    item_shape : tuple of int
        ``(height, width)`` or ``(channels, height, width)``, each side at least 4.
    dimension : int >= 1, or None
        d, the length of an embedding; None leaves out the last linear map, and the embedding is what
        the blocks give.
    width : int, a multiple of 8
        Channels after the first block; each later block doubles them, up to four times as many.
    shortcut : bool
        Whether the linear map is added; not without the last map.
    stride : 1 or 2
        Of the first convolution: 2 takes a quarter of the time, for larger images.

    >>> import torch
    >>> ConvNet((8, 8), dimension=16)(torch.zeros(3, 8, 8)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        item_shape: tuple[int, ...],
        *,
        dimension: int | None,
        width: int = 32,
        shortcut: bool = False,
        stride: int = 1,
    ) -> None:
        super().__init__()
        if len(item_shape) not in (2, 3) or min(item_shape) < 1 or min(item_shape[-2:]) < 4:
            raise InputError(
                "item_shape must be (height, width) or (channels, height, width) with sides of at least 4; "
                f"found {tuple(item_shape)}"
            )
        if (dimension is not None and dimension < 1) or width < 8 or width % 8:
            raise InputError(
                f"dimension must be at least 1 and width a multiple of 8; found {dimension} and {width}"
            )
        if stride not in (1, 2) or (shortcut and dimension is None):
            raise InputError(
                "stride must be 1 or 2, and shortcut needs a dimension; "
                f"found stride={stride}, shortcut={shortcut}, dimension={dimension}"
            )
        self.item_shape, self.width, self.stride = tuple(item_shape), width, stride
        channels = 1 if len(item_shape) == 2 else item_shape[0]
        height, breadth = item_shape[-2:]
        coarse = (min(height, _COARSE), min(breadth, _COARSE))
        self.shortcut: nn.Module | None = None
        if shortcut and dimension is not None:
            linear = nn.Linear(channels * coarse[0] * coarse[1], dimension, bias=False)
            nn.init.orthogonal_(linear.weight)
            self.shortcut = nn.Sequential(nn.AdaptiveAvgPool2d(coarse), nn.Flatten(), linear)
        layers: list[nn.Module] = []
        block = 0
        while block == 0 or min(height, breadth) > 4:
            out = width * min(2**block, 4)
            first = stride if block == 0 else 1
            layers += [*_block(channels, out, stride=first), *_block(out, out), nn.MaxPool2d(2)]
            channels, height, breadth = out, -(-height // first) // 2, -(-breadth // first) // 2
            block += 1
        self.blocks = nn.Sequential(*layers, *_block(channels, channels))
        features = channels * height * breadth
        self.head = None if dimension is None else nn.Linear(features, dimension)
        if self.head is not None and self.shortcut is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self.dimension = features if dimension is None else dimension

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of images (n, height, width) or (n, channels, height, width)."""
        images = items[:, None] if len(self.item_shape) == 2 else items
        features: Tensor = self.blocks(images).flatten(1)
        embeddings = features if self.head is None else self.head(features)
        return embeddings if self.shortcut is None else embeddings + self.shortcut(images)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "ConvNet",
            "item_shape": list(self.item_shape),
            "dimension": None if self.head is None else self.dimension,
            "width": self.width,
            "shortcut": self.shortcut is not None,
            "stride": self.stride,
        }


def _block(channels: int, out: int, *, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(8, out),
        nn.ReLU(),
    ]
