"""TOML text: written, which Python's own tomllib doesn't do, and read with errors of one line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from likewise.errors import InputError

__all__ = ["read_toml", "toml_text", "toml_value"]


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        It isn't there, can't be read, or isn't TOML; the line is named.
    """
    import tomllib  # where it is needed, as it costs start-up time

    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    except ValueError as error:  # TOML's own errors, and bytes that aren't UTF-8
        raise InputError(f"{path}: not TOML ({error})") from error


def toml_value(text: str) -> Any:
    """A value as TOML has it; what isn't one is text, so that quotes may be left out.

    >>> toml_value("1e-3"), toml_value("true"), toml_value("bf16"), toml_value("[1, 2]")
    (0.001, True, 'bf16', [1, 2])
    """
    import tomllib

    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError:
        return text
    return found["value"] if set(found) == {"value"} else text


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
