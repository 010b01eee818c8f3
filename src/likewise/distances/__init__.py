"""Distances: values with few verbs, and their axioms declared.

Smaller means more alike, everywhere; a similarity enters with its sign turned. Each distance is a
module with three verbs: ``distance(x, y)`` row by row, ``distance.table(x, y)`` all pairs, and, for
those that a matrix product gives (:class:`ProductDistance`), ``features`` and ``column_features``,
under which the distance is one of four forms of ``|u - v|`` or ``-u.v``. The engine in
:mod:`likewise.table` walks over those forms fast; what is here is plain and exact.

What a distance obeys stands in ``axioms``; tests are derived from it, and each axiom that is not
declared has a counter-example in the tests.
"""

from __future__ import annotations

from likewise.distances.base import Axiom, Distance, Form, ProductDistance
from likewise.distances.building import distance_from_config
from likewise.distances.direct import (
    Cityblock,
    Hamming,
    PositionDependent,
    SignedDifference,
    WeightedCityblock,
)
from likewise.distances.names import distance_from_name
from likewise.distances.products import (
    Bilinear,
    Cosine,
    Dot,
    Euclidean,
    Mahalanobis,
    SquaredEuclidean,
    unit_rows,
)

__all__ = [
    "Axiom",
    "Bilinear",
    "Cityblock",
    "Cosine",
    "Distance",
    "Dot",
    "Euclidean",
    "Form",
    "Hamming",
    "Mahalanobis",
    "PositionDependent",
    "ProductDistance",
    "SignedDifference",
    "SquaredEuclidean",
    "WeightedCityblock",
    "distance_from_config",
    "distance_from_name",
    "unit_rows",
]
