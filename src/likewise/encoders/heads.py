"""Heads: what an embedding ends in. A network and a head make an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.errors import InputError

__all__ = ["HEADS", "BinaryHead", "Headed", "LinearHead", "NormalizedHead", "ScoreHead"]


class LinearHead(nn.Module):
    """``W x + b``.

    Parameters
    ----------
    inputs, dimension : int >= 1
    """

    def __init__(self, inputs: int, dimension: int) -> None:
        super().__init__()
        if inputs < 1 or dimension < 1:
            raise InputError(f"inputs and dimension must be at least 1; found {inputs} and {dimension}")
        self.dimension = dimension
        self.map = nn.Linear(inputs, dimension)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings (n, d) of features (n, inputs)."""
        out: Tensor = self.map(features)
        return out


class NormalizedHead(LinearHead):
    """``(W x + b) / ||W x + b||``: embeddings of unit length, so that Euclidean and cosine order alike."""

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(self.map(features), dim=-1)


class BinaryHead(LinearHead):
    """``sign(W x + b)``, a code of d bits written as 1 and -1.

    The sign's slope is 0 almost everywhere, so that in training the slope of ``tanh`` is taken instead
    (straight-through: Bengio et al., "Estimating or propagating gradients through stochastic neurons", 2013).

    >>> BinaryHead(3, 8)(torch.randn(2, 3)).abs().unique().tolist()
    [1.0]
    """

    def forward(self, features: Tensor) -> Tensor:
        smooth = torch.tanh(self.map(features))
        code = torch.where(smooth >= 0, 1.0, -1.0).to(smooth.dtype)
        return code + (smooth - smooth.detach())  # the added zero carries the slope


class ScoreHead(LinearHead):
    """``w x + b``, one number an item, by which items are put in order; ``dimension`` must be 1."""

    def __init__(self, inputs: int, dimension: int = 1) -> None:
        if dimension != 1:
            raise InputError(f"a score is one number: dimension must be 1; found {dimension}")
        super().__init__(inputs, 1)


HEADS: dict[str, type[LinearHead]] = {
    "binary": BinaryHead,
    "linear": LinearHead,
    "normalized": NormalizedHead,
    "score": ScoreHead,
}


class Headed(Encoder):
    """A network, and a head on it.

    Parameters
    ----------
    body : Encoder
    head : "linear", "normalized", "binary" or "score"
    dimension : int >= 1
        d, of the head; 1 for a score.

    >>> from likewise.encoders import MLP
    >>> Headed(MLP(4, dimension=8), head="normalized", dimension=2)(torch.ones(1, 4)).norm().round(decimals=5)
    tensor(1., grad_fn=...)
    """

    def __init__(self, body: Encoder, *, head: str, dimension: int) -> None:
        super().__init__()
        if head not in HEADS:
            raise InputError(f"head must be one of {', '.join(HEADS)}; found {head!r}")
        self.body, self.kind, self.dimension = body, head, dimension
        self.head = HEADS[head](body.dimension, dimension)

    def forward(self, items: Any) -> Tensor:
        """Embeddings (n, d) of prepared items (n, ...)."""
        out: Tensor = self.head(self.body(items))
        return out

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {"name": "Headed", "body": self.body.config(), "head": self.kind, "dimension": self.dimension}
