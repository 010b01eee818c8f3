"""Preprocessing of numbers: features, and images in memory or in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from likewise.data import check_items
from likewise.data.images import image_from
from likewise.encoders.base import Preprocessing
from likewise.errors import InputError

__all__ = ["Standardize"]


class Standardize(Preprocessing):
    """``(x - mean) / scale``: each feature of a row, or each channel of an image, on its own.

    ``mean`` and ``scale`` (the standard deviation, or 1 where a feature is constant) come from
    :meth:`learned_from`; a new one changes nothing.

    Parameters
    ----------
    item_shape : tuple of int
        ``(d,)``, ``(height, width)`` or ``(channels, height, width)``.
    names : sequence of str, optional
        What the d features are called, so that another table's columns are found by name.

    >>> prepare = Standardize.learned_from(np.array([[1.0, 5.0], [3.0, 5.0]], dtype=np.float32))
    >>> prepare(torch.tensor([[3.0, 5.0]]))
    tensor([[1., 0.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, item_shape: tuple[int, ...], *, names: Sequence[str] | None = None) -> None:
        super().__init__()
        self.item_shape = tuple(item_shape)
        self.kind = "features" if len(self.item_shape) == 1 else "image"
        if names is not None and len(names) != self.item_shape[0]:
            raise InputError(f"names must be {self.item_shape[0]}, one a feature; found {len(names)}")
        self.names = None if names is None else tuple(names)
        shape = self._statistics_shape()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @classmethod
    def learned_from(cls, X: NDArray[np.float32], *, names: Sequence[str] | None = None) -> Standardize:
        """Learn mean and scale from items (n, ...), in float64."""
        made = cls(X.shape[1:], names=names)
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

    def forward(self, items: Tensor | NDArray[Any]) -> Tensor:
        """Standardised items, of the same shape (n, ...)."""
        tensor = torch.from_numpy(items) if isinstance(items, np.ndarray) else items
        out: Tensor = (tensor - self.mean) / self.scale
        return out

    def vectors(self, items: Tensor | NDArray[Any]) -> Tensor:
        flat: Tensor = self(items).flatten(1)
        return flat

    def accept(self, X: Any) -> NDArray[np.float32]:
        """Items (n, *item_shape) from an array, a tensor, or a list of items.

        Images may also be a list of files, or of PIL images: they are brought to the model's size and
        colour. A table with a column for each feature is taken by name.
        """
        if self.kind == "image" and isinstance(X, (list, tuple)) and any(map(_is_file, X)):
            return np.stack([self._image(value, row) for row, value in enumerate(X)])
        if isinstance(X, np.ndarray) and X.dtype.names is not None:
            X = self._by_name(X)
        items = check_items(X, name="X")
        if items.shape[1:] != self.item_shape:
            raise InputError(
                f"X must have shape (n, {', '.join(map(str, self.item_shape))}), as in training; "
                f"found {items.shape}"
            )
        checked: NDArray[np.float32] = items
        return checked

    def examples(self) -> NDArray[np.float32]:
        return np.random.default_rng(0).uniform(size=(2, *self.item_shape)).astype(np.float32)

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        named = {} if self.names is None else {"names": list(self.names)}
        return {"name": "Standardize", "item_shape": list(self.item_shape), **named}

    def _statistics_shape(self) -> tuple[int, ...]:
        if len(self.item_shape) == 1:
            return self.item_shape
        return (*self.item_shape[:-2], 1, 1)

    def _image(self, value: Any, row: int) -> NDArray[np.float32]:
        if not _is_file(value):
            item: NDArray[np.float32] = self.accept(np.asarray(value)[None])[0]
            return item
        name = os.fspath(value) if isinstance(value, (str, os.PathLike)) else f"item {row}"
        size = (self.item_shape[-2], self.item_shape[-1])
        channels = 1 if len(self.item_shape) == 2 else self.item_shape[0]
        image = image_from(value, size=size, colour="rgb" if channels == 3 else "grey", name=name)
        if channels not in (1, 3):
            raise InputError(f"{name}: the model's images have {channels} channels; give arrays")
        return image.reshape(self.item_shape)

    def _by_name(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        names = self.names or rows.dtype.names or ()
        lacking = [name for name in names if name not in (rows.dtype.names or ())]
        if lacking:
            raise InputError(f"X must have the columns of the training data; {lacking[0]!r} isn't there")
        words = [name for name in names if rows.dtype[name].kind not in "fiub"]
        if words:
            raise InputError(f"X: column {words[0]!r} must hold numbers, as in training; found words")
        values = np.stack([rows[name].astype(np.float32) for name in names], axis=1)
        if np.isnan(values).any():
            row, column = (int(place) for place in np.argwhere(np.isnan(values))[0])
            raise InputError(
                f"X: column {names[column]!r} is missing in row {row}; the training data had no missing "
                "values, so the model has no answer to one"
            )
        return values


def _is_file(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike, bytes, Image.Image))
