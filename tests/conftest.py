"""What all tests share: one thread, fixed seeds, and where the real data sets lie."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

# Before anything imports torch: two workers on two cores, each with threads of its own, only get in
# each other's way. The children that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same seeds, in whatever order it runs."""
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may still draw from it
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; a test that asks for it skips where there is none."""
    for candidate in (os.environ.get("LIKEWISE_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    pytest.skip("no real data sets: set LIKEWISE_DATA, or put them in ../shared/data")


@pytest.fixture(scope="module")
def small_digits() -> Iterator[None]:
    """The built-in digits cut down to 16 items a class, so that whole stories run in seconds."""
    import sys

    from likewise.data import BUILT_IN, BuiltIn, Records

    def read() -> Records:
        records = BUILT_IN["digits"].read()
        rows = np.concatenate([np.flatnonzero(records.y == label)[:16] for label in range(10)])
        return records.take(np.sort(rows))

    small = {**BUILT_IN, "digits": BuiltIn("a few handwritten digits", read)}
    with pytest.MonkeyPatch.context() as patch:
        # The name likewise.data.load is taken by the function of that module.
        patch.setattr(sys.modules["likewise.data.load"], "BUILT_IN", small)
        yield
