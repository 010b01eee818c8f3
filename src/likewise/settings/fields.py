"""A field of a dataclass of settings: its default, what it is in a few words, and which values it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

from likewise.errors import InputError

__all__ = ["Rule", "setting"]


@dataclass(frozen=True)
class Rule:
    """Which values a setting takes; None, where it is the default, is always one of them.

    Parameters
    ----------
    kind : type
        ``int``, ``float`` (which takes whole numbers too), ``str``, ``bool`` or ``dict``.
    low, high : float, optional
        The least and the greatest value.
    above, below : float, optional
        Limits that aren't values themselves.
    choices : tuple of str
        All there is, where that is few.
    or_text : bool
        Whether a name will do as well, where ``kind`` is ``dict``.

    >>> Rule(int, low=1).check("epochs", 0)
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: epochs must be at least 1; found 0
    """

    kind: type
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    or_text: bool = False

    def check(self, name: str, value: Any) -> Any:
        """The value as its kind, or an error of one line.

        Raises
        ------
        InputError
        """
        if self.or_text and isinstance(value, str):
            return value
        kinds = (int, float) if self.kind is float else (self.kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            raise InputError(f"{name} must be {self._kind_named()}{self._range(', ')}; found {value!r}")
        if self.kind is float:
            value = float(cast("float", value))
            if not math.isfinite(value):
                raise InputError(f"{name} must be a finite number; found {value}")
        if self.choices and value not in self.choices:
            raise InputError(f"{name} must be one of {', '.join(self.choices)}; found {value!r}")
        inside = (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )
        if not inside:
            raise InputError(f"{name} must be {self._range('')}; found {value}")
        return value

    def _kind_named(self) -> str:
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return names.get(self.kind, "a name or a table" if self.or_text else "a table")

    def _range(self, start: str) -> str:
        limits = [
            f"{word} {limit:g}"
            for word, limit in (
                ("at least", self.low),
                ("above", self.above),
                ("at most", self.high),
                ("below", self.below),
            )
            if limit is not None
        ]
        return start + " and ".join(limits) if limits else ""


def setting(default: Any, about: str, rule: Rule) -> Any:
    """A field of a dataclass of settings.

    Parameters
    ----------
    default : value
        What it is when nobody says; None where it follows from the data or the method.
    about : str
        What it is, in a few words; the command line's help.
    rule : Rule
        Which values it takes.
    """
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"about": about, "rule": rule})
    return field(default=default, metadata={"about": about, "rule": rule})
