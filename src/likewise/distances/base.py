"""What a distance is: its verbs, what it promises, and the forms that a matrix product gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["PSEUDO_METRIC", "SYMMETRIC_DISSIMILARITY", "Axiom", "Distance", "Form", "ProductDistance"]


class Axiom(Enum):
    """What a distance may promise for every x, y, z."""

    NON_NEGATIVE = "d(x, y) >= 0"
    ZERO_ON_SELF = "d(x, x) == 0"
    SYMMETRIC = "d(x, y) == d(y, x)"
    TRIANGLE = "d(x, z) <= d(x, y) + d(y, z)"
    ANTISYMMETRIC = "d(x, y) == -d(y, x)"


PSEUDO_METRIC = frozenset({Axiom.NON_NEGATIVE, Axiom.ZERO_ON_SELF, Axiom.SYMMETRIC, Axiom.TRIANGLE})
SYMMETRIC_DISSIMILARITY = PSEUDO_METRIC - {Axiom.TRIANGLE}


class Form(Enum):
    """How a product distance reads two feature vectors u and v."""

    SQUARED = "|u - v|^2"
    EUCLIDEAN = "|u - v|"
    HALF_SQUARED = "|u - v|^2 / 2"
    NEGATIVE_PRODUCT = "-u.v"

    def pairs(self, u: Tensor, v: Tensor) -> Tensor:
        """Row by row distances of features ``(..., k)``, by subtraction; slope zero where u == v."""
        if self is Form.NEGATIVE_PRODUCT:
            return -(u * v).sum(-1)
        difference = u - v
        if self is Form.EUCLIDEAN:
            norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
            return norm
        squared = (difference * difference).sum(-1)
        return squared if self is Form.SQUARED else squared / 2


class Distance(nn.Module, ABC):
    """A learned or fixed dissimilarity of vectors; smaller is more alike."""

    axioms: ClassVar[frozenset[Axiom]] = frozenset()

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: x ``(..., d)`` and y ``(..., d)`` give ``(...)``, broadcasting."""

    __call__: Callable[..., Tensor]

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances: x ``(n, d)`` against y ``(m, d)`` give ``(n, m)``, by subtraction."""
        return self.forward(x[:, None, :], y[None, :, :])

    def width(self, dimension: int) -> int:
        """How many numbers one cell of a table costs while it is computed, for rows of ``dimension``."""
        return dimension

    def config(self) -> dict[str, Any]:
        """What builds this distance again, apart from its arrays: JSON values only."""
        return {"name": type(self).__name__}


class ProductDistance(Distance):
    """A distance that a matrix product of features gives: the engine walks these at full speed."""

    form: ClassVar[Form]
    unit: ClassVar[bool] = False
    """Whether ``features`` are the inputs at unit length and nothing else."""

    def features(self, x: Tensor) -> Tensor:
        """Map rows ``(..., d)`` to features ``(..., k)``."""
        return x

    def column_features(self, y: Tensor) -> Tensor:
        """Map columns ``(..., d)`` to features ``(..., k)``; as for rows unless stated."""
        return self.features(y)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances row by row: x ``(..., d)`` and y ``(..., d)`` give ``(...)``."""
        return self.form.pairs(self.features(x), self.column_features(y))

    def table(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances: ``(n, d)`` against ``(m, d)`` give ``(n, m)``, by subtraction."""
        u, v = self.features(x), self.column_features(y)
        if self.form is Form.NEGATIVE_PRODUCT:
            return -(u @ v.T)
        euclidean = torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist")
        if self.form is Form.EUCLIDEAN:
            return euclidean
        return euclidean.square() if self.form is Form.SQUARED else euclidean.square() / 2
