"""The errors that likewise raises.

::

    LikewiseError
    ├── InputError (ValueError)        what was asked for, or given, is wrong: exit status 2
    │   ├── DataError                  a file, a table or an array of data can't be used
    │   └── ArtifactError              a saved run or index is damaged, foreign or doesn't fit
    ├── MissingExtraError (ImportError)  an optional dependency isn't installed
    └── UnsupportedError (RuntimeError)  a thing that the library states it can't do (double backward)

A message is one line: the argument or file, what was expected, what was found, and the mend where
one is known.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "DataError",
    "InputError",
    "LikewiseError",
    "MissingExtraError",
    "UnsupportedError",
]


class LikewiseError(Exception):
    """The root of every error that the library raises on purpose."""


class InputError(LikewiseError, ValueError):
    """An argument, an option or a file that was given is wrong; the message says which and why."""


class DataError(InputError):
    """Data that can't be used: NaN, one class only, labels of another length, an unreadable file."""


class ArtifactError(InputError):
    """A saved run or index that is damaged, not one of ours, or doesn't fit what it is used with."""


class MissingExtraError(LikewiseError, ImportError):
    """An optional dependency is missing; the message names the extra that brings it."""


class UnsupportedError(LikewiseError, RuntimeError):
    """A use that the library states it doesn't support."""
