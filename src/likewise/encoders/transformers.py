"""Small transformers: over the words of a text, and over the patches of an image."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.errors import InputError

__all__ = ["TextTransformer", "VisionTransformer"]


def _blocks(width: int, depth: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    if width < 1 or depth < 1 or heads < 1 or width % heads or not 0 <= dropout < 1:
        raise InputError(
            "width must be a multiple of heads, depth at least 1 and dropout in [0, 1); "
            f"found width {width}, heads {heads}, depth {depth}, dropout {dropout}"
        )
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)


class TextTransformer(Encoder):
    """Words and their places through self-attention, then their mean, then one linear layer.

    Vaswani et al., "Attention is all you need" (2017), with the norm before each part.

    Parameters
    ----------
    size : int >= 2
        How many numbers of words there are, 0 (no word) among them.
    dimension : int >= 1
        d, the length of an embedding.
    longest : int >= 1
        Words of a text at most.
    width, depth, heads : int >= 1
    dropout : float in [0, 1)

    >>> TextTransformer(9, dimension=4, width=8, heads=2)(torch.tensor([[3, 5, 0]])).shape
    torch.Size([1, 4])
    """

    def __init__(
        self,
        size: int,
        *,
        dimension: int,
        longest: int = 128,
        width: int = 128,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if size < 2 or longest < 1 or dimension < 1:
            raise InputError(
                "size must be at least 2, longest and dimension at least 1; "
                f"found {size}, {longest} and {dimension}"
            )
        self.size, self.longest, self.dimension = size, longest, dimension
        self.width, self.depth, self.heads, self.dropout = width, depth, heads, dropout
        self.blocks = _blocks(width, depth, heads, dropout)
        self.words = nn.Embedding(size, width, padding_idx=0)
        self.places = nn.Embedding(longest, width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=width**-0.5)
        self.head = nn.Linear(width, dimension)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of numbers of words (n, m)."""
        absent = items == 0
        # A text without any word would attend to nothing, which has no mean.
        absent = absent & ~(absent.all(dim=1, keepdim=True))
        places = torch.arange(items.shape[1], device=items.device)
        hidden = self.blocks(self.words(items) + self.places(places), src_key_padding_mask=absent)
        present = (~absent).unsqueeze(-1).to(hidden.dtype)
        out: Tensor = self.head((hidden * present).sum(1) / present.sum(1))
        return out

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "TextTransformer",
            "size": self.size,
            "dimension": self.dimension,
            "longest": self.longest,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "dropout": self.dropout,
        }


class VisionTransformer(Encoder):
    """Patches of an image through self-attention, then their mean, then one linear layer.

    Dosovitskiy et al., "An image is worth 16x16 words" (2021), with the mean of the patches in place of
    a token of its own, as small networks learn better with it (Beyer et al. 2022).

    Parameters
    ----------
    item_shape : tuple of int
        ``(height, width)`` or ``(channels, height, width)``; a rest that fills no patch is padded by zeros.
    dimension : int >= 1
        d, the length of an embedding.
    patch : int >= 1, optional
        Side of a patch; by default an eighth of the shorter side, at least 2.
    width, depth, heads : int >= 1
    dropout : float in [0, 1)

    >>> VisionTransformer((3, 32, 32), dimension=4, width=12)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        item_shape: tuple[int, ...],
        *,
        dimension: int,
        patch: int | None = None,
        width: int = 96,
        depth: int = 4,
        heads: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(item_shape) not in (2, 3) or min(item_shape) < 1 or dimension < 1:
            raise InputError(
                "item_shape must be (height, width) or (channels, height, width), dimension at least 1; "
                f"found {tuple(item_shape)} and {dimension}"
            )
        self.item_shape, self.dimension = tuple(item_shape), dimension
        self.patch = max(2, min(item_shape[-2:]) // 8) if patch is None else patch
        if self.patch < 1:
            raise InputError(f"patch must be at least 1; found {patch}")
        self.width, self.depth, self.heads, self.dropout = width, depth, heads, dropout
        channels = 1 if len(item_shape) == 2 else item_shape[0]
        self.grid = tuple(math.ceil(side / self.patch) for side in item_shape[-2:])
        self.blocks = _blocks(width, depth, heads, dropout)
        self.patches = nn.Conv2d(channels, width, self.patch, stride=self.patch)
        self.places = nn.Embedding(self.grid[0] * self.grid[1], width)
        nn.init.normal_(self.places.weight, std=0.02)
        self.head = nn.Linear(width, dimension)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of images (n, height, width) or (n, channels, height, width)."""
        images = items[:, None] if len(self.item_shape) == 2 else items
        down, right = (-side % self.patch for side in images.shape[-2:])
        if down or right:
            images = nn.functional.pad(images, (0, right, 0, down))
        words = self.patches(images).flatten(2).transpose(1, 2)  # (n, patches, width)
        out: Tensor = self.head(self.blocks(words + self.places.weight).mean(1))
        return out

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "VisionTransformer",
            "item_shape": list(self.item_shape),
            "dimension": self.dimension,
            "patch": self.patch,
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "dropout": self.dropout,
        }
