"""The AVA set of rated photographs, read from a folder where a user has it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from likewise.data import Records, load
from likewise.errors import DataError

__all__ = ["read_ava"]


def read_ava(folder: str | os.PathLike[str], *, size: int = 32, most: int = 20_000) -> Records:
    """AVA's photographs with their mean ratings, those whose files are there.

    A line of ``AVA.txt`` is an index, the image's id, how many people gave it 1 to 10, two tags, and a
    challenge. The label is the first tag, the subject (0 is none); ``columns["rating"]`` is the mean.

    Raises
    ------
    DataError
        No list, a line that isn't such a line, or none of its photographs in ``images/``.
    """
    place = Path(folder)
    listing = place / "AVA.txt"
    try:
        lines = listing.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{listing}: can't be read ({error.strerror or error})") from error
    files, tags, ratings = [], [], []
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) != 15 or not all(field.lstrip("-").isdigit() for field in fields):
            raise DataError(f"{listing}: line {number} must hold 15 whole numbers; found {line[:60]!r}")
        image = place / "images" / f"{fields[1]}.jpg"
        votes = np.array(fields[2:12], dtype=np.float64)
        if not image.exists() or votes.sum() == 0:
            continue
        files.append(image)
        tags.append(int(fields[12]))
        ratings.append(float(votes @ np.arange(1, 11) / votes.sum()))
        if len(files) == most:
            break
    if not files:
        raise DataError(f"{place / 'images'}: holds none of the photographs of {listing.name} as ID.jpg")
    read = load((files, tags), name="AVA", size=(size, size), colour="rgb")
    columns = {"rating": np.array(ratings), "photograph": np.array([file.stem for file in files])}
    return Records(read.items(), read.y, "AVA", columns=columns)
