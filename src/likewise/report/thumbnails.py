"""Small pictures of items: an image as it is, a row of numbers as bars, a text as its words.

Grey values are scaled by the range of the whole set, so that two thumbnails can be compared.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data import Records
from likewise.report.page import data_uri

__all__ = ["Sprite", "Thumbnails"]

_SIDE = 96
_BARS = 48


@dataclass(frozen=True)
class Sprite:
    """Many thumbnails in one picture: cells of ``cell`` pixels, ``columns`` in a row."""

    address: str
    cell: int
    columns: int


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """The pictures of some records; build it with :meth:`of`.

    >>> from likewise.data import load
    >>> Thumbnails.of(load("digits")).html(1, "a one")[:10]
    '<img src="'
    """

    records: Records
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, records: Records) -> Thumbnails:
        """Thumbnails of images, of rows of numbers, or of texts."""
        sample = records.items(np.arange(0, len(records), max(1, len(records) // 500)))
        if sample.dtype.kind not in "fiu":
            return cls(records, np.zeros(1), np.ones(1))
        # Features of a row have units of their own, pixels share one.
        axes = 0 if sample.ndim == 2 else None
        return cls(records, np.asarray(sample.min(axis=axes)), np.asarray(sample.max(axis=axes)))

    @property
    def drawn(self) -> bool:
        """Whether items are drawn at all; texts and rows of a table are shown as they are."""
        return self.records.kind in ("image", "features")

    def image(self, row: int, *, side: int = _SIDE) -> Image.Image:
        """The picture of one item, at most ``side`` pixels wide and high."""
        values = np.asarray(self.records.items([row])[0], dtype=np.float64)
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        scaled = np.clip((values - self.low) / span, 0, 1)
        if scaled.ndim == 1:
            return _bars(scaled)
        if scaled.ndim == 3:
            scaled = scaled.transpose(1, 2, 0)
            scaled = scaled[:, :, :3] if scaled.shape[2] >= 3 else scaled[:, :, 0]
        picture = Image.fromarray((255 * scaled).round().astype(np.uint8))
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        return picture

    def html(self, row: int, told: str) -> str:
        """The item as an image or as words, with ``told`` for those who can't see it."""
        if not self.drawn:
            text = str(self.records.items([row])[0])
            shown = text if len(text) <= 160 else text[:159] + "…"
            return f"<blockquote>{escape(shown)}</blockquote>"
        stream = io.BytesIO()
        self.image(row).save(stream, "PNG", optimize=True)
        return f'<img src="{data_uri(stream.getvalue(), "image/png")}" alt="{escape(told)}">'

    def sprite(self, rows: Sequence[int], *, cell: int = 32) -> Sprite | None:
        """These items in one picture, in order; None where items aren't drawn."""
        if not self.drawn or len(rows) == 0:
            return None
        columns = int(np.ceil(np.sqrt(len(rows))))
        pictures = [self.image(row, side=cell) for row in rows]
        mode = "RGB" if any(picture.mode == "RGB" for picture in pictures) else "L"
        whole = Image.new(mode, (columns * cell, -(-len(rows) // columns) * cell))
        for place, picture in enumerate(pictures):
            fitted = picture.convert(mode)
            fitted = fitted.resize(_fit(fitted.size, cell), Image.Resampling.BOX)
            x, y = place % columns * cell, place // columns * cell
            whole.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
        stream = io.BytesIO()
        if mode == "L":
            whole.save(stream, "PNG", optimize=True)
        else:
            whole.save(stream, "JPEG", quality=80)
        kind = "image/png" if mode == "L" else "image/jpeg"
        return Sprite(data_uri(stream.getvalue(), kind), cell, columns)


def _fit(size: tuple[int, int], cell: int) -> tuple[int, int]:
    scale = cell / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _bars(values: NDArray[np.float64]) -> Image.Image:
    """Features as bars from the floor, at most 48 of them, dark on light."""
    parts = np.array_split(values, _BARS) if len(values) > _BARS else list(values[:, None])
    heights = np.array([part.mean() for part in parts])
    height, width = 48, max(1, 48 // len(heights))
    filled = np.arange(height)[::-1, None] < np.maximum(heights * height, 1)[None, :]
    picture = np.repeat(np.where(filled, 60, 235).astype(np.uint8), width, axis=1)
    return Image.fromarray(picture)
