"""Columns of metadata: one kind of value each, with holes, compared as a whole."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError

__all__ = ["Column", "Value", "check_value", "column_from_values"]

Value: TypeAlias = str | int | float | bool

_LONGEST_TEXT = 10_000
_KINDS = {"text": "text", "number": "numbers", "truth": "true or false"}


@dataclass(frozen=True, eq=False)
class Column:
    """Values of one kind.

    Parameters
    ----------
    kind : str
        ``text``, ``number`` or ``truth``.
    values : array (m,)
        The different texts, sorted; all numbers or truth values, whatever where one is missing.
    codes : int array (n,) or None
        Of texts, which of ``values`` each is.
    missing : bool array (n,)
    """

    kind: str
    values: NDArray[Any]
    codes: NDArray[np.int64] | None
    missing: NDArray[np.bool_]

    def where(self, operation: str, values: Sequence[Value]) -> NDArray[np.bool_]:
        """Where the condition holds (n,): ``= != < <= > >= in like``; anything where one is missing.

        Raises
        ------
        InputError
            The values are of another kind than the column.
        """
        kinds = {_kind(value) for value in values}
        if self.missing.all():
            return np.zeros(len(self.missing), dtype=np.bool_)
        if kinds != {self.kind}:
            raise InputError(f"the column holds {_KINDS[self.kind]}; compared with {values[0]!r}")
        if operation == "like" and self.kind != "text":
            raise InputError("'like' needs a column of text")
        if self.kind == "truth" and operation not in ("=", "!=", "in"):
            raise InputError(f"true and false have no order, so {operation!r} can't compare them")
        held = self._compared(operation, values)
        return held if self.codes is None else held[self.codes]

    def _compared(self, operation: str, values: Sequence[Value]) -> NDArray[np.bool_]:
        first = values[0]
        if operation == "in":
            wanted = set(values)
            if self.codes is not None:
                return np.fromiter((text in wanted for text in self.values), dtype=np.bool_)
            return np.isin(self.values, np.array(list(values)))
        if operation == "like":
            pattern = re.compile(_pattern(str(first)), re.DOTALL)
            return np.array([pattern.fullmatch(text) is not None for text in self.values], dtype=np.bool_)
        compare = {
            "=": np.equal,
            "!=": np.not_equal,
            "<": np.less,
            "<=": np.less_equal,
            ">": np.greater,
            ">=": np.greater_equal,
        }[operation]
        out: NDArray[np.bool_] = compare(self.values, first)
        return out


def column_from_values(values: Sequence[Value | None], name: str) -> Column:
    """A column of values of one kind, None where one is missing.

    Raises
    ------
    InputError
        Values of two kinds, NaN, an infinite or a huge number, a very long text.

    >>> column_from_values(["b", None, "a"], "shop").missing.tolist()
    [False, True, False]
    """
    missing = np.fromiter((value is None for value in values), dtype=np.bool_, count=len(values))
    kinds = {check_value(value, name) for value in values if value is not None}
    if len(kinds) > 1:
        first, second = (_KINDS[kind] for kind in sorted(kinds))
        raise InputError(f"metadata: column {name!r} must hold one kind of value; found {first} and {second}")
    kind = kinds.pop() if kinds else "text"
    if kind == "text":
        texts = np.array(["" if value is None else value for value in values], dtype=object)
        different, codes = np.unique(texts, return_inverse=True) if len(texts) else (texts, np.empty(0, int))
        return Column(kind, different, codes.astype(np.int64), missing)
    filled = [0 if value is None else value for value in values]
    if kind == "truth":
        return Column(kind, np.array(filled, dtype=np.bool_), None, missing)
    whole = all(isinstance(value, int) for value in filled)
    return Column(kind, np.array(filled, dtype=np.int64 if whole else np.float64), None, missing)


def check_value(value: Any, name: str) -> str:
    """The kind of a value, or an InputError that names its column."""
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise InputError(f"metadata: column {name!r} must hold texts of at most {_LONGEST_TEXT} signs")
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if abs(value) >= 2**63:
            raise InputError(f"metadata: column {name!r} must hold numbers below 2^63; found {value}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"metadata: column {name!r} must hold finite numbers; found {value}")
    else:
        raise InputError(
            f"metadata: column {name!r} must hold text, numbers, true or false; found {type(value).__name__}"
        )
    return _kind(value)


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "text"
    return "truth" if isinstance(value, bool) else "number"


def _pattern(like: str) -> str:
    """A regular expression without backtracking: each part between ``%`` is taken where it first fits."""
    first, *rest = (
        "".join("." if sign == "_" else re.escape(sign) for sign in part) for part in like.split("%")
    )
    if not rest:
        return first
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + ".*" + rest[-1]
