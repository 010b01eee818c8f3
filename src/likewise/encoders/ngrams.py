"""An encoder of hashed n-grams: the weighted sum of learned vectors, and an MLP where one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.base import Encoder
from likewise.encoders.mlp import MLP
from likewise.errors import InputError

__all__ = ["NgramMLP"]


class _Vectors(nn.EmbeddingBag):
    """What n-grams mean: each is in few batches, so its steps are long."""

    pace = 3.0


class _Gains(nn.Embedding):
    """How much n-grams count, on a scale of logarithms: a step is a factor."""

    pace = 30.0


class NgramMLP(Encoder):
    """``MLP(sum_i w_i exp(g[h_i]) v[h_i])`` over the n-grams of a text, as HashedNgrams gives them.

    The vectors begin as a random projection, so that an untrained encoder compares texts roughly as their
    weighted n-grams do. In training they learn at three times the rate that is said, the gains at 30 times.

    Width, gains, rates, no map and no dropout were chosen on the dev part of the STS benchmark, learned from
    its training part, and on four of ten groups of 20 newsgroups, learned from the six others, of messages
    that no page reports. There vectors at a tenth of these rates, 64 numbers and a layer between were worse,
    and leaving n-grams out gained nothing.

    Parameters
    ----------
    buckets : int >= 1
        As of the preprocessing.
    dimension : int >= 1
        d, the length of an embedding.
    width : int >= 1
        Of the learned vectors.
    hidden : sequence of int
        The widths between; empty for a linear map, and for none where d is the width.
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
        width: int = 256,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        gains: bool = True,
    ) -> None:
        super().__init__()
        if buckets < 1 or width < 1 or not 0 <= dropout < 1:
            raise InputError(
                "buckets and width must be at least 1 and dropout in [0, 1); "
                f"found {buckets}, {width} and {dropout}"
            )
        self.buckets, self.width, self.dimension, self.hidden = buckets, width, dimension, tuple(hidden)
        self.vectors = _Vectors(buckets + 1, width, mode="sum", padding_idx=0)
        with torch.no_grad():
            nn.init.normal_(self.vectors.weight, std=width**-0.5)
            self.vectors.weight[0].zero_()
        self.gains = _Gains(buckets + 1, 1) if gains else None
        if self.gains is not None:
            nn.init.zeros_(self.gains.weight)
        self.dropout = nn.Dropout(dropout)
        mapped = bool(self.hidden) or dimension != width
        self.mlp = MLP(width, dimension=dimension, hidden=self.hidden) if mapped else None

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of places and weights (n, m, 2)."""
        places, weights = items[..., 0].long(), self.dropout(items[..., 1])
        if self.gains is not None:
            weights = weights * self.gains(places)[..., 0].exp()
        summed: Tensor = self.vectors(places, per_sample_weights=weights)
        return summed if self.mlp is None else self.mlp(summed)

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "NgramMLP",
            "buckets": self.buckets,
            "dimension": self.dimension,
            "width": self.width,
            "hidden": list(self.hidden),
            "dropout": self.dropout.p,
            "gains": self.gains is not None,
        }
