"""Distances by their names, wherever one may be given."""

from __future__ import annotations

import difflib

from likewise.distances.base import Distance
from likewise.distances.direct import Cityblock, Hamming, SignedDifference
from likewise.distances.products import Cosine, Dot, Euclidean, SquaredEuclidean
from likewise.errors import InputError

__all__ = ["distance_from_name"]

_NAMED: dict[str, type[Distance]] = {
    "cityblock": Cityblock,
    "cosine": Cosine,
    "dot": Dot,
    "euclidean": Euclidean,
    "hamming": Hamming,
    "signed_difference": SignedDifference,
    "squared_euclidean": SquaredEuclidean,
}


def distance_from_name(distance: str | Distance, argument: str = "distance") -> Distance:
    """A distance given as itself or by its name.

    Parameters
    ----------
    distance : Distance or str
        Itself, or "cityblock", "cosine", "dot", "euclidean", "hamming", "signed_difference" or
        "squared_euclidean", in letters of either case. Distances with parameters have no name.
    argument : str
        What the argument is called, for the error.

    Raises
    ------
    InputError
        Something else; the nearest name is told.

    >>> distance_from_name("cosine")
    Cosine()
    """
    if isinstance(distance, Distance):
        return distance
    near: list[str] = []
    if isinstance(distance, str):
        name = distance.lower()
        if name in _NAMED:
            return _NAMED[name]()
        near = difflib.get_close_matches(name, _NAMED, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"{argument} must be a Distance or one of {', '.join(_NAMED)}; found {distance!r}{hint}")
