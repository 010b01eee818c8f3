"""Filters over columns: ``shop = 'A' and price < 20``, parsed by hand and evaluated on whole columns.

::

    filter      or-ed, and-ed and negated conditions; parentheses
    condition   column (= | == | != | <> | < | <= | > | >=) value
                column [not] in (value, ...)      column [not] between value and value
                column [not] like 'pattern'       column is [not] null       column
    value       'text' (two quotes '' for one), 12, -1.5e3, true, false
    column      a name, or any other in double quotes: "unit price"

Words are read in any case. ``%`` and ``_`` of a pattern stand for any text and any one sign. As in SQL, a
comparison with a missing value is neither true nor false, so neither it nor its negation finds the record.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from likewise.errors import InputError
from likewise.search.columns import Column, Value

__all__ = ["Filter", "parse_filter"]

_LONGEST = 10_000
_DEEPEST = 50
_MOST_VALUES = 1_000

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[^\W\d]\w*)
    | (?P<sign><=|>=|<>|!=|==|[=<>(),])
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset({"and", "between", "false", "in", "is", "like", "not", "null", "or", "true"})
_COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_Columns: TypeAlias = Mapping[str, Column]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


@dataclass(frozen=True)
class _Truth:
    """Where a condition is true and where it is false; in neither where a value is missing."""

    true: NDArray[np.bool_]
    false: NDArray[np.bool_]


class _Node(ABC):
    @abstractmethod
    def truth(self, columns: _Columns) -> _Truth: ...


@dataclass(frozen=True)
class _Joined(_Node):
    parts: tuple[_Node, ...]
    every: bool

    def truth(self, columns: _Columns) -> _Truth:
        found = [part.truth(columns) for part in self.parts]
        both, either = np.logical_and.reduce, np.logical_or.reduce
        trues, falses = [part.true for part in found], [part.false for part in found]
        return _Truth(both(trues), either(falses)) if self.every else _Truth(either(trues), both(falses))


@dataclass(frozen=True)
class _Negated(_Node):
    inner: _Node

    def truth(self, columns: _Columns) -> _Truth:
        found = self.inner.truth(columns)
        return _Truth(found.false, found.true)


@dataclass(frozen=True)
class _Condition(_Node):
    column: str
    operation: str
    values: tuple[Value, ...]
    start: int
    source: str

    def truth(self, columns: _Columns) -> _Truth:
        if self.column not in columns:
            known = ", ".join(sorted(columns))
            raise _error(self.source, self.start, f"there is no column {self.column!r} (columns: {known})")
        column = columns[self.column]
        if self.operation == "null":
            missing = column.missing
            return _Truth(missing, ~missing)
        try:
            true = column.where(self.operation, self.values)
        except InputError as error:
            raise _error(self.source, self.start, str(error)) from None
        known_values = ~column.missing
        return _Truth(true & known_values, ~true & known_values)


@dataclass(frozen=True)
class Filter:
    """A parsed filter; :func:`parse_filter` makes one."""

    source: str
    _root: _Node

    def mask(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Which records it finds (n,).

        Raises
        ------
        InputError
            A column isn't there, or is compared with a value of another kind; the place is told.
        """
        return self._root.truth(columns).true


def parse_filter(source: str) -> Filter:
    """Parse a filter.

    Raises
    ------
    InputError
        It isn't one; the message tells the character at which it goes wrong, counted from 1.

    >>> from likewise.search.columns import column_from_values
    >>> columns = {"price": column_from_values([5, 25, None], "price")}
    >>> parse_filter("not price >= 20").mask(columns).tolist()
    [True, False, False]
    >>> parse_filter("price <")
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: where: expected a value; found the end, at character 8 of 'price <'
    """
    if not isinstance(source, str):
        raise InputError(f'where must be text such as "price < 20"; found {type(source).__name__}')
    if len(source) > _LONGEST:
        raise InputError(f"where must be at most {_LONGEST} characters; found {len(source)}")
    return Filter(source, _Parser(source).parsed())


def _error(source: str, start: int, message: str) -> InputError:
    shown = source if len(source) <= 80 else f"{source[:77]}..."
    return InputError(f"where: {message}, at character {start + 1} of {shown!r}")


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = self._tokens()
        self.place = 0
        self.depth = 0

    def parsed(self) -> _Node:
        root = self._either()
        if self._now.kind != "end":
            raise self._wrong("expected 'and', 'or' or the end")
        return root

    def _tokens(self) -> list[_Token]:
        found, start = [], 0
        end = len(self.source.rstrip())
        while start < end:
            match = _TOKEN.match(self.source, start)
            if match is None:
                place = start + len(self.source[start:]) - len(self.source[start:].lstrip())
                sign = self.source[place]
                what = "a text without its closing quote" if sign in "'\"" else f"the sign {sign!r}"
                raise _error(self.source, place, f"expected a name, a value or a comparison; found {what}")
            kind = str(match.lastgroup)
            found.append(_Token(kind, match[kind], match.start(kind)))
            start = match.end()
        return [*found, _Token("end", "", end)]

    @property
    def _now(self) -> _Token:
        return self.tokens[self.place]

    def _wrong(self, expected: str) -> InputError:
        found = "the end" if self._now.kind == "end" else repr(self._now.text)
        return _error(self.source, self._now.start, f"{expected}; found {found}")

    def _word(self, *words: str) -> str | None:
        """The keyword that stands here, taken, if it is one of these."""
        token = self._now
        if token.kind == "word" and token.text.lower() in words:
            self.place += 1
            return token.text.lower()
        return None

    def _sign(self, sign: str) -> bool:
        if self._now.kind == "sign" and self._now.text == sign:
            self.place += 1
            return True
        return False

    def _either(self) -> _Node:
        parts = [self._both()]
        while self._word("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _Joined(tuple(parts), every=False)

    def _both(self) -> _Node:
        parts = [self._negated()]
        while self._word("and"):
            parts.append(self._negated())
        return parts[0] if len(parts) == 1 else _Joined(tuple(parts), every=True)

    def _negated(self) -> _Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._wrong(f"expected at most {_DEEPEST} levels of 'not' and parentheses")
        try:
            if self._word("not"):
                return _Negated(self._negated())
            if self._sign("("):
                inner = self._either()
                if not self._sign(")"):
                    raise self._wrong("expected ')'")
                return inner
            return self._condition()
        finally:
            self.depth -= 1

    def _condition(self) -> _Node:
        token = self._now
        if token.kind == "quoted":
            name = token.text[1:-1].replace('""', '"')
        elif token.kind == "word" and token.text.lower() not in _KEYWORDS:
            name = token.text
        else:
            raise self._wrong("expected a column")
        self.place += 1

        def condition(operation: str, *values: Value) -> _Node:
            return _Condition(name, operation, values, token.start, self.source)

        if self._now.kind == "sign" and self._now.text in _COMPARISONS:
            operation = _COMPARISONS[self._now.text]
            self.place += 1
            return condition(operation, self._value())
        if self._word("is"):
            negated = self._word("not")
            if not self._word("null"):
                raise self._wrong("expected 'null'")
            found = condition("null")
            return _Negated(found) if negated else found
        negated = self._word("not")
        word = self._word("in", "like", "between")
        if word is None:
            if negated:
                raise self._wrong("expected 'in', 'like' or 'between'")
            return condition("=", True)  # the column itself is the condition
        if word == "in":
            found = condition("in", *self._values())
        elif word == "like":
            found = condition("like", self._value())
        else:
            low = self._value()
            if not self._word("and"):
                raise self._wrong("expected 'and'")
            found = _Joined((condition(">=", low), condition("<=", self._value())), every=True)
        return _Negated(found) if negated else found

    def _values(self) -> list[Value]:
        if not self._sign("("):
            raise self._wrong("expected '('")
        values = [self._value()]
        while self._sign(","):
            values.append(self._value())
        if not self._sign(")"):
            raise self._wrong("expected ',' or ')'")
        if len(values) > _MOST_VALUES:
            raise _error(self.source, self._now.start, f"expected at most {_MOST_VALUES} values")
        return values

    def _value(self) -> Value:
        token = self._now
        self.place += 1
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        if token.kind == "number":
            if re.fullmatch(r"[-+]?\d{1,18}", token.text):
                return int(token.text)
            number = float(token.text)
            if np.isfinite(number):
                return number
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        self.place -= 1
        hint = "; a text stands in single quotes" if token.kind in ("word", "quoted") else ""
        found = "the end" if token.kind == "end" else repr(token.text)
        raise _error(self.source, token.start, f"expected a value; found {found}{hint}")
