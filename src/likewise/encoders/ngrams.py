"""An encoder of hashed n-grams: the weighted sum of learned vectors, then an MLP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.encoders.mlp import MLP
from likewise.errors import InputError

__all__ = ["NgramMLP"]


class NgramMLP(Encoder):
    """``MLP(sum_i w_i exp(g[h_i]) v[h_i])`` over the n-grams of a text, as HashedNgrams gives them.

    The vectors begin as a random projection, so that an untrained encoder compares texts roughly as their
    weighted n-grams do.

    Parameters
    ----------
    buckets : int >= 1
        As of the preprocessing.
    dimension : int >= 1
        d, the length of an embedding.
    width : int >= 1
        Of the learned vectors.
    hidden : sequence of int
        The widths between; empty for a linear map.
    dropout : float in [0, 1)
        In training each n-gram is left out with this probability.
    gains : bool
        Learn g, how much an n-gram counts, zero at first: one number each, which a few thousand texts can
        teach where whole vectors only learn them by heart. Without, g is zero.

    >>> NgramMLP(64, dimension=4)(torch.tensor([[[1.0, 0.6], [7.0, 0.8], [0.0, 0.0]]])).shape
    torch.Size([1, 4])
    """

    def __init__(
        self,
        buckets: int,
        *,
        dimension: int,
        width: int = 128,
        hidden: Sequence[int] = (256,),
        dropout: float = 0.3,
        gains: bool = False,
    ) -> None:
        super().__init__()
        if buckets < 1 or width < 1 or not 0 <= dropout < 1:
            raise InputError(
                "buckets and width must be at least 1 and dropout in [0, 1); "
                f"found {buckets}, {width} and {dropout}"
            )
        self.buckets, self.width, self.dimension = buckets, width, dimension
        self.vectors = nn.EmbeddingBag(buckets + 1, width, mode="sum", padding_idx=0)
        with torch.no_grad():
            nn.init.normal_(self.vectors.weight, std=width**-0.5)
            self.vectors.weight[0].zero_()
        self.gains = nn.Embedding(buckets + 1, 1) if gains else None
        if self.gains is not None:
            nn.init.zeros_(self.gains.weight)
        self.dropout = nn.Dropout(dropout)
        self.mlp = MLP(width, dimension=dimension, hidden=hidden)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of places and weights (n, m, 2)."""
        places, weights = items[..., 0].long(), self.dropout(items[..., 1])
        if self.gains is not None:
            weights = weights * self.gains(places)[..., 0].exp()
        out: Tensor = self.mlp(self.vectors(places, per_sample_weights=weights))
        return out

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "NgramMLP",
            "buckets": self.buckets,
            "dimension": self.dimension,
            "width": self.width,
            "hidden": list(self.mlp.hidden),
            "dropout": self.dropout.p,
            "gains": self.gains is not None,
        }
