"""Pictures and words in one space: a network mapped to word vectors, and the vectors themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data.words import WordVectors
from likewise.encoders.base import Encoder
from likewise.errors import InputError

__all__ = ["WordMapped"]


class WordMapped(Encoder):
    """``M (v(x) - c) / s`` for items x, and for a text the mean of its words' unit vectors: d numbers both.

    Trained so that items lie near the words that name them (DeViSE), it answers words with items: compare by
    :class:`~likewise.distances.Cosine`. The vocabulary is part of the description, so that a saved model
    speaks it too.

    Parameters
    ----------
    body : Encoder
        v.
    words : sequence of str
        All different.
    dimension : int >= 1
        d, of the word vectors.

    >>> from likewise.encoders import MLP
    >>> encoder = WordMapped(MLP(4, dimension=3), words=["red", "car"], dimension=2)
    >>> _ = encoder.word_vectors.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> encoder.text(["a red car"])
    array([[0.70710677, 0.70710677]], dtype=float32)
    """

    word_vectors: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, body: Encoder, *, words: Sequence[str], dimension: int) -> None:
        super().__init__()
        if dimension < 1 or not words or len(set(words)) != len(words):
            raise InputError("words must be different, one or more, and dimension at least 1")
        self.body, self.words, self.dimension = body, tuple(words), dimension
        self.mapping = nn.Linear(body.dimension, dimension, bias=False)
        self.register_buffer("centre", torch.zeros(body.dimension))
        self.register_buffer("spread", torch.ones(body.dimension))
        self.register_buffer("word_vectors", torch.zeros(len(self.words), dimension))

    def forward(self, items: Any) -> Tensor:
        """Embeddings (n, d) of prepared items (n, ...)."""
        out: Tensor = self.mapping((self.body(items) - self.centre) / self.spread)
        return out

    def text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings (n, d) of unit length, of texts.

        Raises
        ------
        InputError
            A text is empty, or none of its words has a vector.
        """
        held = WordVectors(self.words, self.word_vectors.detach().cpu().numpy())
        return np.stack([held.text(text) for text in texts])

    def config(self) -> dict[str, Any]:
        """What builds this encoder again, apart from its arrays."""
        return {
            "name": "WordMapped",
            "body": self.body.config(),
            "words": list(self.words),
            "dimension": self.dimension,
        }
