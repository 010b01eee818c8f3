"""Invented shapes: where there are few classes of images, turned and mirrored ones are shown as well.

An encoder that sees five classes learns what tells those five apart and forgets the rest. A turned or
mirrored image is a new shape made of real strokes; each is a class of its own, known only by two random
views of it, so that telling shapes apart is learned beyond the five.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from likewise.data.records import Records
from likewise.data.samplers import ClassBalancedSampler
from likewise.errors import InputError

__all__ = ["InventedShapesSampler", "invent_shapes"]

_MOST_BYTES = 256 * 1024 * 1024


def invent_shapes(records: Records, *, count: int = 3000, seed: int = 0) -> Records:
    """New images, each with a label of its own: an image turned, mirrored, or both, at random.

    Turns are by 90, 180 or 270 degrees, or by 180 alone where the images aren't square.

    Parameters
    ----------
    records : Records
        Images.
    count : int >= 1
        How many; fewer where they would pass 256 MB.
    seed : int
        Of every draw.

    Returns
    -------
    Records
        ``y`` counts from 0.

    Raises
    ------
    InputError
        The records are rows of features.

    >>> from likewise.data import load
    >>> invent_shapes(load("digits"), count=10)
    <digits, invented: 10 items (8, 8), 10 classes>
    """
    if len(records.item_shape) < 2:
        raise InputError(f"{records.name}: shapes are invented from images; found rows {records.item_shape}")
    if count < 1:
        raise InputError(f"count must be at least 1; found {count}")
    count = max(1, min(count, _MOST_BYTES // records.X[0].nbytes))
    generator = np.random.default_rng(seed)
    square = records.item_shape[-1] == records.item_shape[-2]
    turns = (0, 1, 2, 3) if square else (0, 2)
    places = [(turn, mirrored) for mirrored in (False, True) for turn in turns][1:]
    items = np.empty((count, *records.item_shape), dtype=np.float32)
    for row in range(count):
        turn, mirrored = places[int(generator.integers(len(places)))]
        image = records.X[int(generator.integers(len(records)))]
        items[row] = np.rot90(image[..., ::-1] if mirrored else image, turn, axes=(-2, -1))
    return Records(items, np.arange(count, dtype=np.int64), f"{records.name}, invented")


class InventedShapesSampler(Sampler[list[int]]):
    """Batches of another sampler, and after them rows of invented shapes, each row twice.

    Parameters
    ----------
    batches : ClassBalancedSampler
        Of the real items, rows 0 to n - 1.
    first_row, count : int
        Where the invented shapes begin, and how many there are.
    shapes : int
        Different shapes in a batch, at most ``count``.

    >>> real = ClassBalancedSampler([0, 0, 1, 1], classes_per_batch=2, items_per_class=2)
    >>> batch = next(iter(InventedShapesSampler(real, first_row=4, count=10, shapes=3)))
    >>> len(batch), max(batch[:4]) < 4 <= min(batch[4:])
    (10, True)
    """

    def __init__(self, batches: ClassBalancedSampler, *, first_row: int, count: int, shapes: int) -> None:
        if not 1 <= shapes <= count:
            raise InputError(f"shapes must lie between 1 and the {count} that there are; found {shapes}")
        self._batches = batches
        self._first_row, self._count, self._shapes = first_row, count, shapes

    def __len__(self) -> int:
        return len(self._batches)

    def set_epoch(self, epoch: int) -> None:
        """Draw this epoch next."""
        self._batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self._batches.seed, self._batches.epoch, self._first_row])
        for batch in self._batches:
            shapes = generator.choice(self._count, size=self._shapes, replace=False) + self._first_row
            yield [*batch, *np.repeat(shapes, 2).tolist()]
