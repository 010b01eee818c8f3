"""A distance built again from its description."""

from __future__ import annotations

from typing import Any

import torch

from likewise.distances.base import Distance
from likewise.distances.direct import (
    Cityblock,
    Hamming,
    PositionDependent,
    SignedDifference,
    WeightedCityblock,
)
from likewise.distances.products import Bilinear, Cosine, Dot, Euclidean, Mahalanobis, SquaredEuclidean
from likewise.errors import InputError

__all__ = ["distance_from_config"]

_PLAIN: dict[str, type[Distance]] = {
    kind.__name__: kind
    for kind in (Euclidean, SquaredEuclidean, Cosine, Dot, Cityblock, Hamming, SignedDifference)
}
_WITH_MATRIX: dict[str, type[Mahalanobis] | type[Bilinear]] = {
    "Mahalanobis": Mahalanobis,
    "Bilinear": Bilinear,
}


def distance_from_config(config: dict[str, Any]) -> Distance:
    """Build a distance from :meth:`Distance.config`; its arrays are then loaded by ``load_state_dict``.

    Raises
    ------
    InputError
        The name isn't a distance of ours.
    """
    options = dict(config)
    name = options.pop("name", None)
    if name in _PLAIN:
        return _PLAIN[name](**options)
    if name in _WITH_MATRIX:
        return _WITH_MATRIX[name](torch.zeros(*options["shape"]))
    if name == "WeightedCityblock":
        return WeightedCityblock(**options)
    if name == "PositionDependent":
        return PositionDependent(**options)
    known = sorted([*_PLAIN, *_WITH_MATRIX, "WeightedCityblock", "PositionDependent"])
    raise InputError(f"distance must be one of {', '.join(known)}; found {name!r}")
