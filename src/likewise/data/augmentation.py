"""Augmentation: small random changes of items that leave what they are, a batch at a time.

Images move, mirror, change colour and lose a patch; texts lose words; features and columns of tables get
noise, and values of other items. What moves an image is one resampling, whatever is asked for.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.grounds import on_even_ground
from likewise.data.records import Records
from likewise.errors import InputError

__all__ = ["Augmentation", "augmentation_for"]

_Batch = TypeVar("_Batch", Tensor, NDArray[Any])
_PROBABILITIES = ("flip", "word_dropout", "corruption")
_BELOW_ONE = ("scale", "crop", "erase")


@dataclass(frozen=True)
class Augmentation:
    """Random changes; what isn't asked for isn't done, and what doesn't apply to an item changes nothing.

    Parameters
    ----------
    shift : float >= 0
        Images: up to this part of the side, in each direction.
    rotation : float >= 0
        Images: up to this many degrees, either way.
    scale : float in [0, 1)
        Images: size changes by a factor in [1 - scale, 1 + scale], and height and width apart.
    shear : float >= 0
        Images: up to this much, as the tangent of the slant.
    flip : float in [0, 1]
        Images: mirrored left to right with this probability.
    crop : float in [0, 1)
        Images: up to this part of the area is cut away, and the rest is blown up.
    brightness, contrast, saturation : float >= 0
        Images: changed by a factor in [1 - it, 1 + it]; the colours stay within those of the batch.
    erase : float in [0, 1)
        Images: every other one loses a patch of up to this part of its area to its mean.
    fill : "zeros" or "border"
        Images: what moves in from outside; the border repeats the outermost pixels.
    word_dropout : float in [0, 1]
        Texts: each word is left out with this probability, but one stays.
    noise : float >= 0
        Features and numbers of tables: Gaussian, in standard deviations of the batch.
    corruption : float in [0, 1]
        Features and columns of tables: a value is replaced by another item's with this probability (Bahri
        et al., "SCARF", 2022).

    >>> images = torch.ones(2, 8, 8)
    >>> Augmentation(shift=0.1)(images, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 8, 8])
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: float = 0.0
    crop: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    fill: Literal["zeros", "border"] = "zeros"
    word_dropout: float = 0.0
    noise: float = 0.0
    corruption: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "fill":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"{name} must be a number; found {value!r}")
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} must be a finite number >= 0; found {value}")
            if name in _BELOW_ONE and value >= 1:
                raise InputError(f"{name} must be under 1; found {value}")
            if name in _PROBABILITIES and value > 1:
                raise InputError(f"{name} must be at most 1; found {value}")
        if self.fill not in ("zeros", "border"):
            raise InputError(f"fill must be zeros or border; found {self.fill!r}")

    def __call__(self, items: _Batch, *, generator: torch.Generator) -> _Batch:
        """Change each item on its own.

        Parameters
        ----------
        items : tensor or array (n, ...)
            As :meth:`likewise.data.Records.items` gives them: images ``(n, height, width)`` or
            ``(n, channels, height, width)``, features ``(n, d)``, texts, or rows of a table.
        generator : torch.Generator
            Every random draw is from it.

        Returns
        -------
        Items of the same kind and shape; the ones given aren't changed.
        """
        if isinstance(items, Tensor):
            return self._numbers(items, generator)
        if items.dtype.kind == "f":
            return self._numbers(torch.from_numpy(items), generator).numpy()
        return (
            self._rows(items, generator) if items.dtype.names is not None else self._texts(items, generator)
        )

    def config(self) -> dict[str, Any]:
        """What builds this augmentation again: the options that aren't at their defaults."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    def _numbers(self, items: Tensor, generator: torch.Generator) -> Tensor:
        if items.ndim < 3:
            return self._features(items, generator)
        images = items[:, None] if items.ndim == 3 else items
        if any((self.shift, self.rotation, self.scale, self.shear, self.flip, self.crop)):
            images = self._moved(images, generator)
        if any((self.brightness, self.contrast, self.saturation)):
            images = self._coloured(images, generator)
        if self.erase:
            images = self._erased(images, generator)
        return images[:, 0] if items.ndim == 3 else images

    def _moved(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count = len(images)

        def uniform(limit: float) -> Tensor:
            return (torch.rand(count, generator=generator, dtype=images.dtype) * 2 - 1) * limit

        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        wide, high = 1 / (1 + uniform(self.scale)), 1 / (1 + uniform(self.scale))
        across, down = uniform(2 * self.shift), uniform(2 * self.shift)
        if self.crop:
            part = (1 - self.crop * torch.rand(count, generator=generator, dtype=images.dtype)).sqrt()
            across, down = across + uniform(1.0) * (1 - part), down + uniform(1.0) * (1 - part)
            wide, high = wide * part, high * part
        # affine_grid reads where each output pixel comes from, in coordinates from -1 to 1.
        columns = torch.stack([wide * angle.cos(), wide * angle.sin()], dim=1)
        if self.flip:
            mirrored = torch.rand(count, generator=generator) < self.flip
            columns = torch.where(mirrored[:, None], -columns, columns)
        rows = torch.stack([high * (shear - angle.sin()), high * angle.cos()], dim=1)
        theta = torch.stack([columns, rows, torch.stack([across, down], dim=1)], dim=2)  # (n, 2, 3)
        grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
        return torch.nn.functional.grid_sample(images, grid, padding_mode=self.fill, align_corners=False)

    def _coloured(self, images: Tensor, generator: torch.Generator) -> Tensor:
        def factor(limit: float) -> Tensor:
            drawn = torch.rand(len(images), 1, 1, 1, generator=generator, dtype=images.dtype)
            return 1 + (drawn * 2 - 1) * limit

        low, high = images.min(), images.max()
        out = images * factor(self.brightness)
        if self.contrast:
            mean = out.mean((1, 2, 3), keepdim=True)
            out = mean + (out - mean) * factor(self.contrast)
        if self.saturation and images.shape[1] == 3:
            grey = out.mean(1, keepdim=True)
            out = grey + (out - grey) * factor(self.saturation)
        return torch.maximum(torch.minimum(out, high), low)

    def _erased(self, images: Tensor, generator: torch.Generator) -> Tensor:
        count, _, height, width = images.shape

        def uniform() -> Tensor:
            return torch.rand(count, 1, 1, generator=generator)

        # Every other image on average; the patch's area, and its shape between 1:3 and 3:1.
        area = uniform() * self.erase * height * width * (uniform() < 0.5)
        shape = torch.exp((uniform() * 2 - 1) * math.log(3.0) / 2)
        tall, broad = (area.sqrt() * shape).clamp(max=height), (area.sqrt() / shape).clamp(max=width)
        top, left = uniform() * (height - tall), uniform() * (width - broad)
        down, across = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
        inside = (down > top) & (down < top + tall) & (across > left) & (across < left + broad)
        return torch.where(inside[:, None], images.mean((1, 2, 3), keepdim=True), images)

    def _features(self, items: Tensor, generator: torch.Generator) -> Tensor:
        out = items
        if self.corruption:
            drawn = torch.rand(items.shape, generator=generator)
            other = torch.randint(len(items), items.shape, generator=generator)
            out = torch.where(drawn < self.corruption, items.gather(0, other), items)
        if self.noise and len(items) > 1:
            draws = torch.randn(items.shape, generator=generator, dtype=items.dtype)
            out = out + self.noise * items.std(0, correction=0) * draws
        return out

    def _rows(self, items: NDArray[Any], generator: torch.Generator) -> NDArray[Any]:
        if not (self.corruption or self.noise):
            return items
        out = items.copy()
        for name in items.dtype.names or ():
            if self.corruption:
                drawn = torch.rand(len(items), generator=generator).numpy() < self.corruption
                other = torch.randint(len(items), (len(items),), generator=generator).numpy()
                out[name][drawn] = items[name][other[drawn]]
            if self.noise and items.dtype[name].kind == "f":
                values = items[name][~np.isnan(items[name])]
                spread = float(values.std()) if len(values) else 0.0
                out[name] += self.noise * spread * torch.randn(len(items), generator=generator).numpy()
        return out

    def _texts(self, items: NDArray[Any], generator: torch.Generator) -> NDArray[Any]:
        if not self.word_dropout:
            return items
        out = np.empty(len(items), dtype=object)
        for row, text in enumerate(items.tolist()):
            words = text.split()
            drawn = torch.rand(max(1, len(words)), generator=generator)
            kept = drawn >= self.word_dropout
            kept[int(drawn.argmax())] = True
            out[row] = (
                " ".join(word for word, keep in zip(words, kept.tolist(), strict=False) if keep) or text
            )
        return out


def augmentation_for(items: tuple[int, ...] | Records, *, views: bool = False) -> Augmentation:
    """The default that suits the items.

    Grey drawings move, turn and slant a little; grey photographs, which have no even ground, move and turn
    less, don't slant, and go on beyond their border as it is. Colour images mirror and change colour as well:
    mirroring grey drawings, digits and letters would make other ones of them. Texts lose a tenth of their
    words. Features and tables stay as they are. Where nothing is known of the items but themselves
    and two changed views of each are compared, all are changed more, features and tables too.

    Parameters
    ----------
    items : tuple of int, or Records
        The items, or the shape of one; a shape of grey images is taken for that of drawings.
    views : bool
        Whether two views of each item are compared.
    """
    shape, kind = (items.item_shape, items.kind) if isinstance(items, Records) else (items, None)
    if kind == "text":
        return Augmentation(word_dropout=0.25 if views else 0.1)
    if len(shape) < 2:
        return Augmentation(noise=0.1, corruption=0.3) if views else Augmentation()
    if len(shape) == 3 and shape[0] == 3:
        strong: dict[str, Any] = {"crop": 0.6, "erase": 0.2} if views else {"crop": 0.3}
        jitter = 0.4 if views else 0.2
        return Augmentation(
            shift=0.05,
            rotation=10.0,
            scale=0.1,
            shear=0.1,
            flip=0.5,
            brightness=jitter,
            contrast=jitter,
            saturation=jitter,
            fill="border",
            **strong,
        )
    strong = {"crop": 0.3, "brightness": 0.2, "contrast": 0.2, "erase": 0.1} if views else {}
    if isinstance(items, Records) and not on_even_ground(items):
        return Augmentation(shift=0.05, rotation=5.0, scale=0.05, fill="border", **strong)
    return Augmentation(shift=0.15, rotation=20.0, scale=0.25, shear=0.35, **strong)
