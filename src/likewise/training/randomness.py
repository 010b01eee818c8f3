"""Every random generator of a training in one place: seeded, saved, restored, and given back after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["random_states", "restore_random_states", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of PyTorch, NumPy and Python; afterwards they are as they were."""
    before = random_states()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - an encoder of the user's may draw from it
        random.seed(seed)
        yield
    finally:
        restore_random_states(before)


def random_states() -> dict[str, Tensor]:
    """The states as tensors, which a file of arrays can hold."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    assert kind == "MT19937"
    version, words, own_gauss = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.concatenate([np.asarray(keys, np.int64), [position, has_gauss]])),
        "numpy_gauss": torch.tensor(gauss, dtype=torch.float64),
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([] if own_gauss is None else [own_gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states |= {f"cuda{n}": state for n, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Put the states back."""
    torch.set_rng_state(states["torch"].cpu())
    numbers = states["numpy"].tolist()
    np.random.set_state(  # noqa: NPY002
        ("MT19937", np.array(numbers[:-2], dtype=np.uint32), *numbers[-2:], float(states["numpy_gauss"]))
    )
    version, *words = states["python"].tolist()
    gauss = states["python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    for name, state in states.items():
        if name.startswith("cuda"):
            torch.cuda.set_rng_state(state.cpu(), int(name.removeprefix("cuda")))
