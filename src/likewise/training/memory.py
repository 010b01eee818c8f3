"""Out of memory: which size would have fitted, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import torch

from likewise.errors import LikewiseError

__all__ = ["OutOfMemoryError", "fitting_size", "is_out_of_memory"]


class OutOfMemoryError(LikewiseError):
    """A batch doesn't fit into memory; the message names the setting and the size that fits."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and (
        "not enough memory" in str(error) or "out of memory" in str(error).lower()
    )


def fitting_size(count: int, attempt: Callable[[int], object]) -> int | None:
    """The largest of count / 2, count / 4, ... 1 with which an attempt doesn't run out of memory.

    >>> def attempt(size):
    ...     if size > 30:
    ...         raise MemoryError
    >>> fitting_size(100, attempt)
    25
    """
    size = count // 2
    while size >= 1:
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        try:
            attempt(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            size //= 2
        else:
            return size
    return None
