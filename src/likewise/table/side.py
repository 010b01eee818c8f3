"""The features of rows or columns as they enter products: as given, centred, or at unit length.

Memory: one copy where they are centred or brought to unit length, as long as it is below ``COPY`` numbers;
beyond that each tile does it for its own columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.table import compiled

__all__ = ["COPY", "Side", "mean_is_large"]

COPY = 6_000_000
"""Most numbers in a centred or unit copy of features: 24 MB in float32."""


def _step(width: int) -> int:
    """Rows of a pass over all features that holds a few MB."""
    return max(1, (1 << 19) // max(1, width))


class Side:
    """The features of rows or columns, as they enter products: centred, or at unit length."""

    def __init__(self, given: Tensor, *, unit: bool) -> None:
        self.given = given
        self.norms: Tensor = torch.linalg.vector_norm(given, dim=1)
        self.scale: Tensor | None = None
        self.mean: Tensor | None = None
        self._copy: Tensor | None = None
        self.unit = unit  # whether every row has length one, or none
        if not unit:
            self.squares = self.norms.square()
            return
        self.squares = torch.ones_like(self.norms)
        self.scale = self.norms.reciprocal()[:, None]
        if self.norms.numel() and float(self.norms.amin()) == 0.0:
            self.unit = False
            # a zero row has no direction: it stays zero, and its scale makes its gradient zero too
            self.scale.masked_fill_(self.norms[:, None] == 0, 0.0)
            self.squares.masked_fill_(self.norms == 0, 0.0)

    def largest(self) -> float:
        """The largest squared norm."""
        return 1.0 if self.unit else float(self.squares.amax())

    def centre(self, mean: Tensor) -> None:
        """Take a mean off what enters products."""
        self.mean, self.unit = mean, False
        if not self.given.shape[0]:
            return
        step = _step(self.given.shape[1])
        parts = [
            torch.linalg.vector_norm(self._make(first, first + step), dim=1)
            for first in range(0, self.given.shape[0], step)
        ]
        self.squares = torch.cat(parts).square_()

    def keep(self) -> None:
        """Hold the copy that every tile needs, if it is small enough."""
        if (self.scale is not None or self.mean is not None) and self.given.numel() <= COPY:
            self._copy = self._make(0, self.given.shape[0])

    def _make(self, first: int, last: int) -> Tensor:
        part = self.given[first:last]
        if self.scale is not None:
            part = part * self.scale[first:last]
        return part if self.mean is None else part - self.mean

    def slice(self, first: int, last: int) -> Tensor:
        """Features first to last as they enter products."""
        if self.scale is None and self.mean is None:
            return self.given[first:last]
        return self._make(first, last) if self._copy is None else self._copy[first:last]

    def products(self, numbers: Tensor) -> Tensor:
        """Some features as they enter products."""
        part = self.single(numbers)
        return part if self.mean is None else part - self.mean

    def single(self, numbers: Tensor) -> Tensor:
        """Some features as they enter subtractions: not centred, so that no digit is lost."""
        if self.mean is None and self._copy is not None:
            return self._copy.index_select(0, numbers)
        part = self.given.index_select(0, numbers)
        return part if self.scale is None else part.mul_(self.scale.index_select(0, numbers))

    def by_subtraction(self) -> tuple[Tensor, Tensor | None]:
        """Features (n, k) and their scales (n,) or None: what :meth:`single` multiplies."""
        if self.scale is None:
            return self.given, None
        if self.mean is None and self._copy is not None:
            return self._copy, None
        return self.given, self.scale[:, 0]

    def back(self, gradient: Tensor, sums: Tensor | None) -> Tensor:
        """The gradient of what was given from that of the products, in place.

        sums : (n,) what each row's slopes add up to, for the squared forms; not needed at unit length,
            where what they add is taken off again.
        """
        if sums is None and self.scale is None:
            return gradient
        step = _step(gradient.shape[1])
        for first in range(0, gradient.shape[0], step):
            part = gradient[first : first + step]
            if sums is not None:
                part.addcmul_(self.slice(first, first + step), sums[first : first + step, None])
            if self.scale is not None:
                scale = self.scale[first : first + step]
                unit = (
                    self.given[first : first + step] * scale
                    if self.mean is not None
                    else self.slice(first, first + step)
                )
                part.addcmul_(unit, (part * unit).sum(1, keepdim=True), value=-1.0).mul_(scale)
        return gradient


def mean_is_large(features: Tensor) -> bool:
    """Whether the mean of features (n, k) is so large that their products lose digits by it."""
    if not compiled.takes(features) or compiled.library() is None:
        mean = features.mean(0)
        return float(mean.dot(mean)) * 4 > float(features.square().sum()) / features.shape[0]
    mean = torch.empty(features.shape[1], dtype=torch.float64)
    call = compiled.function(f"mean_is_large_{compiled.name_of(features)}", "piip", "i")
    return bool(call(features.data_ptr(), *features.shape, mean.data_ptr()))
