"""Turned classes: where there are few classes of images, turned and mirrored ones are classes as well.

An encoder that sees five classes learns what tells those five apart and forgets the rest. A turned or
mirrored image is another shape made of real strokes, so each class gives up to eight, and what is learned
serves classes that were never seen.
"""

from __future__ import annotations

import numpy as np

from likewise.data.records import Records
from likewise.errors import InputError

__all__ = ["turned_classes"]


def turned_classes(records: Records) -> Records:
    """Every image in each of its turns, mirrored and not; each turn of a class is a class of its own.

    Turns are by 0, 90, 180 and 270 degrees, or by 0 and 180 where the images aren't square.

    Parameters
    ----------
    records : Records
        Images.

    Returns
    -------
    Records
        Eight times as many items and classes, or four; the first are the records themselves, and
        ``y`` is the class's number times eight (or four) plus that of the turn.

    Raises
    ------
    InputError
        The records are rows of features.

    >>> from likewise.data import load
    >>> turned_classes(load("digits:classes=0-4"))
    <digits:classes=0-4, turned: 7208 items (8, 8), 40 classes>
    """
    if len(records.item_shape) < 2:
        raise InputError(f"{records.name}: only images can be turned; found rows {records.item_shape}")
    turns = (0, 1, 2, 3) if records.item_shape[-1] == records.item_shape[-2] else (0, 2)
    places = [(turn, mirrored) for mirrored in (False, True) for turn in turns]
    items = [
        np.rot90(records.X[..., ::-1] if mirrored else records.X, turn, axes=(-2, -1))
        for turn, mirrored in places
    ]
    labels = [records.codes * len(places) + number for number in range(len(places))]
    return Records(
        np.ascontiguousarray(np.concatenate(items)), np.concatenate(labels), f"{records.name}, turned"
    )
