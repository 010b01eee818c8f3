"""Whether the features of a table were given in half precision, before they were raised to float32.

Losses raise embeddings to float32, in which sums are taken. A GPU multiplies the numbers as they were given
many times faster, with the same products, so the raised ones may be lowered again: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["Dtypes", "given", "given_in", "half_of"]

Dtypes = tuple[torch.dtype | None, torch.dtype | None]
"""Those of rows and columns; of columns None where they are the rows, or were never half precision."""

_given: ContextVar[Dtypes] = ContextVar("given", default=(None, None))


@contextmanager
def given_in(rows: torch.dtype | None, columns: torch.dtype | None) -> Iterator[None]:
    """Say in which dtypes rows and columns of the tables within were given."""
    token = _given.set((rows, columns))
    try:
        yield
    finally:
        _given.reset(token)


def given() -> Dtypes:
    """What was said."""
    return _given.get()


def half_of(dtypes: Dtypes, rows: Tensor, columns: Tensor | None) -> torch.dtype | None:
    """The half precision in which these features stand without a loss and were given; None if none."""
    half = dtypes[0]
    if half not in (torch.bfloat16, torch.float16) or (columns is not None and dtypes[1] is not half):
        return None
    for features in (rows, columns):
        if features is not None and not bool((features.to(half) == features).all()):
            return None  # a loss has made something else of them
    return half
