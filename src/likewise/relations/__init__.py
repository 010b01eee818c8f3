"""Relations: who should be near whom, in whatever way people can say it.

Every kind becomes the same thing for a loss: for each row of a table, some columns that should be
near, some that should be far, and the rest that doesn't matter.
"""

from __future__ import annotations

from typing import Any

from likewise.relations.base import Block, Cells, Classes, Listing, Relation, Resolved, Sides
from likewise.relations.joined import join
from likewise.relations.labels import Chunklets, Labels
from likewise.relations.lists import Mask, Matches, Pairs, Quadruplets, Scores, Triplets

__all__ = [
    "Block",
    "Cells",
    "Chunklets",
    "Classes",
    "Labels",
    "Listing",
    "Mask",
    "Matches",
    "Pairs",
    "Quadruplets",
    "Relation",
    "Resolved",
    "Scores",
    "Sides",
    "Triplets",
    "as_relation",
    "join",
]


def as_relation(value: Any) -> Relation:
    """A relation as it is; anything else is taken for labels.

    >>> as_relation([0, 0, 1]).n_items
    3
    """
    return value if isinstance(value, Relation) else Labels(value)
