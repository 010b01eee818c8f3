"""The configuration of a recipe: a frozen dataclass whose every field is explained and checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from likewise.errors import InputError

__all__ = ["RecipeConfig", "config_from_mapping"]

_Config = TypeVar("_Config", bound="RecipeConfig")


@dataclass(frozen=True)
class RecipeConfig:
    """What every configuration is built on: fields made by :func:`likewise.settings.setting`, checked.

    >>> from likewise.settings import Rule, setting
    >>> @dataclass(frozen=True)
    ... class Config(RecipeConfig):
    ...     steps: int = setting(100, "optimiser steps", Rule(int, low=1))
    >>> Config(steps=0)
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: steps must be at least 1; found 0
    """

    def __post_init__(self) -> None:
        for own in fields(self):
            value = getattr(self, own.name)
            if not (value is None and own.default is None):
                object.__setattr__(self, own.name, own.metadata["rule"].check(own.name, value))

    def names(self, name: str, known: tuple[str, ...], *, between: str = ",") -> tuple[str, ...]:
        """A field of names with commas between them, each of which must be known, in the known order.

        Parameters
        ----------
        between : str
            What stands between two names: a semicolon where names hold commas.

        Raises
        ------
        InputError
            A name that isn't known; the nearest is told.
        """
        given = [part.strip() for part in str(getattr(self, name)).split(between) if part.strip()]
        listed = f"{between} ".join(known)
        for part in given:
            if part not in known:
                near = difflib.get_close_matches(part, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"{name} must be of {listed}; found {part!r}{hint}")
        if not given:
            raise InputError(f"{name} must name at least one of {listed}; found none")
        return tuple(part for part in known if part in given)


def config_from_mapping(
    kind: type[_Config], values: Mapping[str, Any], *, start: _Config | None = None
) -> _Config:
    """A configuration from values by name, over another one or over the defaults.

    Raises
    ------
    InputError
        A field that doesn't exist (the nearest is told), or a value that doesn't fit.
    """
    known = tuple(own.name for own in fields(kind))
    for name in values:
        if name not in known:
            raise InputError(f"this recipe has no field {name!r}{_hint(name, known)}")
    base = {} if start is None else {name: getattr(start, name) for name in known}
    return kind(**{**base, **values})


def _hint(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
