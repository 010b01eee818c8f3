"""The binary density estimation sets (DEBD): rows of bits with their published parts."""

from __future__ import annotations

import os
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from likewise.data.places import data_file
from likewise.errors import DataError, InputError

__all__ = ["BINARY_DENSITY_SETS", "binary_density_set"]

_FILE = "binary_density/debd.npz"
BINARY_DENSITY_SETS = (
    *("accidents", "baudio", "bbc", "bnetflix", "dna", "jester", "moviereview", "mushrooms", "nips"),
    *("nltcs", "plants", "pumsb_star", "voting"),
)
"""Those of which the training, the validation and the test part are there."""


def binary_density_set(
    name: str, *, data: str | os.PathLike[str] | None = None
) -> MappingProxyType[str, NDArray[np.bool_]]:
    """Bits (n, v) of the parts "train", "valid" and "test".

    Raises
    ------
    InputError
        No such set.
    DataError
        The file isn't there or is damaged.
    """
    if name not in BINARY_DENSITY_SETS:
        raise InputError(f"set must be one of {', '.join(BINARY_DENSITY_SETS)}; found {name!r}")
    place = data_file(_FILE, data=data)
    try:
        with np.load(place, allow_pickle=False) as held:
            parts = {}
            for part in ("train", "valid", "test"):
                count, bits = (int(side) for side in held[f"{name}_{part}_shape"])
                rows = np.unpackbits(held[f"{name}_{part}"], axis=1)[:, :bits].astype(bool)
                parts[part] = rows.reshape(count, bits)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{place}: can't be read ({(str(error).splitlines() or [''])[0]})") from error
    return MappingProxyType(parts)
