"""What a report is about: embedded things with labels, a distance, and pictures of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance
from likewise.evaluation import QueryScores, VerificationPairs, retrieval_scores, verification_pairs
from likewise.report.thumbnails import Thumbnails
from likewise.search.exact import Neighbours, nearest

__all__ = ["Subject"]

_NEIGHBOURS = 8


@dataclass(frozen=True, eq=False)
class Subject:
    """Embeddings (n, d), the class of each as a position in ``names``, and what shows an item.

    ``calibration`` maps distances to the probability of being alike, where the model has one.
    """

    embeddings: NDArray[np.float32]
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    distance: Distance
    thumbnails: Thumbnails
    item_names: tuple[str, ...] | None = None
    calibration: Any = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.codes)

    def label(self, row: int) -> str:
        """The name of an item's class."""
        return self.names[int(self.codes[row])]

    def name(self, row: int) -> str:
        """What an item is called: its own name, or its row."""
        return f"row {row}" if self.item_names is None else self.item_names[row]

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest other items of each, (n, 8) or fewer."""
        k = min(_NEIGHBOURS, len(self) - 1)
        rows = torch.from_numpy(self.embeddings)
        return nearest(rows, rows, k, distance=self.distance, exclude=torch.arange(len(self)))

    @cached_property
    def scores(self) -> QueryScores:
        """How well each query finds its own class."""
        return retrieval_scores(
            self.embeddings, self.codes, distance=self.distance, ks=(1,), figures=["recall@1", "map@r"]
        )

    @cached_property
    def pairs(self) -> VerificationPairs:
        """All pairs, or a sample of them."""
        return verification_pairs(
            self.embeddings, self.codes, n_pairs=300_000, seed=self.seed, distance=self.distance
        )

    def probability(self, distance: float) -> str:
        """The calibrated probability in words, or nothing where there is none."""
        if self.calibration is None:
            return ""
        return f"{100 * float(self.calibration.probability(distance)):.0f} % alike"
