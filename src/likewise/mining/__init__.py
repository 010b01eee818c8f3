"""Mining: a relation in, a smaller relation out, chosen by the distances of the embeddings.

A miner looks at the table tile by tile, as a loss does, and lists what it chooses: nothing grows with the
number of triplets. It works on every kind of relation: rows are anchors, and a listed triplet or
quadruplet is a row of its own. Of equal distances the lower row or column is chosen.

An anchor without a near or without a far cell drops out. Gradients don't pass through a choice.
"""

from __future__ import annotations

from likewise.mining.base import Miner
from likewise.mining.pairs import MultiSimilarityPairs
from likewise.mining.quadruplets import HardQuadruplets
from likewise.mining.triplets import AllTriplets, BatchHard, EasyPositive, Hardest, SemiHard
from likewise.mining.weighted import DistanceWeighted

__all__ = [
    "AllTriplets",
    "BatchHard",
    "DistanceWeighted",
    "EasyPositive",
    "HardQuadruplets",
    "Hardest",
    "Miner",
    "MultiSimilarityPairs",
    "SemiHard",
]
