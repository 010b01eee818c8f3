"""Drawings and photographs told apart, as what leaves a drawing what it is doesn't leave a photograph so.

A drawing, a scan or a cut-out object lies on an even ground, of which more may be shown around it, and it may
be slanted. A photograph fills its frame: what moves in from outside must go on as the border does.
"""

from __future__ import annotations

import numpy as np

from likewise.data.records import Records

__all__ = ["on_even_ground"]

_LOOKED_AT = 200
_GROUND = 0.2  # of an image's pixels
_STEPS = 255


def on_even_ground(records: Records) -> bool:
    """Whether most images have one value in a fifth of their pixels or more.

    Parameters
    ----------
    records : Records
        Images; an even sample of at most 200 is looked at. A pixel's value is all its channels, in 256 steps
        from the least to the largest of the sample.

    >>> from likewise.data import load
    >>> on_even_ground(load("digits"))
    True
    """
    rows = np.unique(np.linspace(0, len(records) - 1, min(_LOOKED_AT, len(records))).astype(np.int64))
    images = records.items(rows).astype(np.float64)
    low, high = images.min(), images.max()
    if high <= low:
        return True
    steps = np.rint((images - low) * (_STEPS / (high - low))).astype(np.int64)
    if steps.ndim == 4:  # a number for each colour
        steps = np.tensordot(steps, (_STEPS + 1) ** np.arange(min(steps.shape[1], 7)), axes=((1,), (0,)))
    shares = [np.unique(image, return_counts=True)[1].max() / image.size for image in steps]
    return bool(np.median(shares) >= _GROUND)
