"""Options of a learner, checked when ``fit`` begins."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from likewise.errors import InputError

__all__ = ["number", "one_of", "whole"]


def number(
    name: str, value: Any, *, above: float = -np.inf, least: float = -np.inf, most: float = np.inf
) -> float:
    """A finite number above one bound, or within two.

    >>> number("C", 2, above=0)
    2.0
    """
    bounds = [f"above {above:g}"] if above > -np.inf else []
    bounds += [f"at least {least:g}"] if least > -np.inf else []
    bounds += [f"at most {most:g}"] if most < np.inf else []
    wanted = " ".join(["a finite number", *bounds])
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{name} must be {wanted}; found {value!r}")
    if not np.isfinite(value) or value <= above or not least <= value <= most:
        raise InputError(f"{name} must be {wanted}; found {value!r}")
    return float(value)


def whole(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """A whole number within bounds.

    >>> whole("n_epochs", 3)
    3
    """
    wanted = f"at least {least}" if most is None else f"from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} must be a whole number {wanted}; found {value!r}")
    if value < least or (most is not None and value > most):
        raise InputError(f"{name} must be a whole number {wanted}; found {value!r}")
    return int(value)


def one_of(name: str, value: Any, known: Collection[Any]) -> Any:
    """One of some known values.

    >>> one_of("kind", "bilinear", ["bilinear", "mahalanobis"])
    'bilinear'
    """
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in known):
        raise InputError(f"{name} must be one of {', '.join(map(repr, known))}; found {value!r}")
    return value
