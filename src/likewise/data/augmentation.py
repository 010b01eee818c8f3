"""Augmentation of images: small random shifts, turns and changes of size, a batch at a time."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.errors import InputError

__all__ = ["Augmentation", "augmentation_for"]


@dataclass(frozen=True)
class Augmentation:
    """Random affine changes of images; what moves in from outside is zero.

    Parameters
    ----------
    shift : float >= 0
        Up to this part of the side, in each direction.
    rotation : float >= 0
        Up to this many degrees, either way.
    scale : float in [0, 1)
        Size changes by a factor in [1 - scale, 1 + scale], and height and width apart.
    shear : float >= 0
        Up to this much, as the tangent of the slant.

    >>> images = torch.ones(2, 8, 8)
    >>> Augmentation(shift=0.1)(images, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 8, 8])
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} must be a finite number >= 0; found {value}")
        if self.scale >= 1:
            raise InputError(f"scale must be under 1; found {self.scale}")

    def __call__(self, items: Tensor, *, generator: torch.Generator) -> Tensor:
        """Change each item on its own: ``(n, height, width)`` or ``(n, channels, height, width)``.

        Rows of features ``(n, d)`` are returned as they are.
        """
        if items.ndim < 3 or not any(asdict(self).values()):
            return items
        images = items[:, None] if items.ndim == 3 else items
        count = len(images)

        def uniform(limit: float) -> Tensor:
            return (torch.rand(count, generator=generator, dtype=items.dtype) * 2 - 1) * limit

        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        wide, high = 1 / (1 + uniform(self.scale)), 1 / (1 + uniform(self.scale))
        # affine_grid reads where each output pixel comes from, in coordinates from -1 to 1.
        theta = torch.stack(
            [
                torch.stack(
                    [wide * angle.cos(), high * (shear - angle.sin()), uniform(2 * self.shift)], dim=1
                ),
                torch.stack([wide * angle.sin(), high * angle.cos(), uniform(2 * self.shift)], dim=1),
            ],
            dim=1,
        )  # (n, 2, 3)
        grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
        moved = torch.nn.functional.grid_sample(images, grid, align_corners=False)
        return moved[:, 0] if items.ndim == 3 else moved

    def config(self) -> dict[str, Any]:
        """What builds this augmentation again."""
        return asdict(self)


def augmentation_for(item_shape: tuple[int, ...]) -> Augmentation:
    """The default that suits the items: small changes for images, none for rows of features."""
    if len(item_shape) < 2:
        return Augmentation()
    return Augmentation(shift=0.15, rotation=20.0, scale=0.25, shear=0.35)
