"""How data is to be read: which column is what, the size of images, and what to do with bad items."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from likewise.data.images import Colour
from likewise.errors import DataError

__all__ = ["READING_OPTIONS", "Reading", "nearest_name"]

READING_OPTIONS = ("label", "image", "text", "items", "size", "colour")
_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")
_SMALLEST, _LARGEST = 4, 4096


@dataclass(frozen=True)
class Reading:
    """Options of :func:`likewise.data.load`; see there."""

    label: str | None = None
    image: str | None = None
    text: str | None = None
    items: Any = None
    size: tuple[int, int] | None = None
    colour: Colour | None = None
    skip_bad: bool = False
    data: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        size: Any = self.size
        if isinstance(size, str):
            match = _SIZE.fullmatch(size)
            size = None if match is None else (int(match[1]), int(match[2] or match[1]))
        elif isinstance(size, int):
            size = (size, size)
        good = (
            isinstance(size, (tuple, list))
            and len(size) == 2
            and all(isinstance(side, int) and _SMALLEST <= side <= _LARGEST for side in size)
        )
        if self.size is not None and not good:
            raise DataError(
                f"size must be one whole number, or HEIGHTxWIDTH, of {_SMALLEST} to {_LARGEST}; "
                f"found {self.size!r}"
            )
        object.__setattr__(self, "size", tuple(size) if self.size is not None else None)
        if self.colour not in (None, "grey", "rgb"):
            raise DataError(f"colour must be grey or rgb; found {self.colour!r}")

    def with_option(self, key: str, value: str) -> Reading:
        """The same, but for one option said in the source."""
        changed: dict[str, Any] = {key: value}
        return replace(self, **changed)


def nearest_name(name: str, known: list[str], *, cutoff: float = 0.5) -> str:
    """Which known name is the nearest to a wrong one, or which there are.

    >>> nearest_name("lable", ["label", "age"]), nearest_name("zzz", ["label", "age"])
    ('did you mean label?', 'found label, age')
    """
    from difflib import get_close_matches

    lower = {word.lower(): word for word in known}
    close = get_close_matches(name.lower(), list(lower), n=1, cutoff=cutoff)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return f"found {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else "found none"
