"""Settings as TOML text, which Python reads (tomllib) but does not write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from likewise.errors import InputError

__all__ = ["toml_text"]


def toml_text(settings: Mapping[str, Any]) -> str:
    """Write nested settings as TOML; entries that are None are left out, as TOML has no such value.

    Raises
    ------
    InputError
        A value that is neither text, number, truth value, list nor mapping.

    >>> print(toml_text({"seed": 0, "loss": {"margin": 0.2}}), end="")
    seed = 0
    <BLANKLINE>
    [loss]
    margin = 0.2
    """
    return "\n".join(_lines(settings, ())).lstrip("\n") + "\n" if settings else ""


def _lines(settings: Mapping[str, Any], prefix: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in settings.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    for key, value in settings.items():
        if isinstance(value, Mapping):
            path = (*prefix, key)
            lines += ["", f"[{'.'.join(map(_key, path))}]", *_lines(value, path)]
    return lines


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    raise InputError(
        f"settings must be text, numbers, truth values, lists or tables; found {type(value).__name__}"
    )


def _text(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, and for pairs of surrogates when escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
