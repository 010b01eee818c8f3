"""What a built-in set of a data folder is: its files, what reads them, and what may be asked of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from likewise.data.places import data_file
from likewise.data.records import Records
from likewise.errors import DataError

__all__ = ["SharedRequest", "SharedSet"]


@dataclass(frozen=True)
class SharedRequest:
    """What is asked of a built-in set.

    Parameters
    ----------
    name : str
        What the records are called.
    data : path, optional
        A folder to look in first.
    size : (height, width), optional
        Of images, where the set's own default isn't wanted.
    """

    name: str
    data: str | os.PathLike[str] | None = None
    size: tuple[int, int] | None = None

    def file(self, name: str) -> Path:
        """Where this file lies, or a DataError."""
        return data_file(name, data=self.data)


@dataclass(frozen=True)
class SharedSet:
    """A built-in set: what it is in one line, the files that it needs, what reads them, and whence it is."""

    summary: str
    files: tuple[str, ...]
    reader: Callable[[SharedRequest], Records]
    home: str = ""

    def read(self, request: SharedRequest) -> Records:
        """Read it; a file that isn't there, is damaged or isn't what it should be is a DataError."""
        for name in self.files:
            try:
                request.file(name)
            except DataError as error:
                raise DataError(
                    f"{error}; it is published at {self.home}" if self.home else str(error)
                ) from None
        try:
            return self.reader(request)
        except DataError:
            raise
        except Exception as error:  # a damaged archive makes its reader raise any of a dozen kinds
            reason = (str(error).splitlines() or [""])[0]
            places = ", ".join(str(request.file(name)) for name in self.files)
            raise DataError(
                f"{request.name}: can't be read from {places} ({type(error).__name__}: {reason})"
            ) from error
