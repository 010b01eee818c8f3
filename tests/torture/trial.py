"""What a part of the torture program is made of: trials, each with a promise and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Result", "Trial", "outcomes"]


@dataclass(frozen=True)
class Result:
    """How often something was tried, what came of it in words, and how often it went against the promise."""

    tried: int
    outcome: str
    bad: int


@dataclass(frozen=True)
class Trial:
    """One line of the page: what is put to the test, and how.

    A module of this folder that has a function ``trials(short: bool) -> list[Trial]`` is a part of the
    program; the short form is what CI runs.
    """

    promise: str
    run: Callable[[], Result]


def outcomes(counted: Mapping[str, int]) -> str:
    """Counts of outcomes in words, the most frequent first.

    >>> outcomes({"refused": 3, "taken": 9})
    '9 taken, 3 refused'
    """
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counted.items(), key=lambda pair: -pair[1])
    )
