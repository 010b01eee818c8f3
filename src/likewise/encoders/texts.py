"""Preprocessing of texts: words of a vocabulary, and hashed n-grams with their weights."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from likewise.data import TextItems
from likewise.data.items import texts_from
from likewise.encoders.base import Preprocessing
from likewise.errors import DataError, InputError

__all__ = ["HashedNgrams", "TextPreprocessing", "Words"]

_WORD = re.compile(r"\w+|[^\w\s]")
_KEPT_TEXTS = 50_000


class TextPreprocessing(Preprocessing):
    """What prepares texts, however it does."""

    kind = "text"
    item_shape = ()

    def accept(self, X: Any) -> NDArray[Any]:
        """Texts (n,), from a list or an array of str, or from one str."""
        if isinstance(X, TextItems):
            return X.texts
        texts = [X] if isinstance(X, str) else list(X) if isinstance(X, (list, tuple)) else X
        if isinstance(texts, np.ndarray) and texts.ndim == 1 and texts.dtype.kind in "UO":
            texts = texts.tolist()
        if not isinstance(texts, list):
            raise InputError(f"X must be a list of texts; found {type(X).__name__}")
        try:
            return texts_from(texts, name="X").texts
        except DataError as error:
            raise InputError(str(error)) from error

    def examples(self) -> NDArray[Any]:
        return TextItems(["one text", "and another, longer one"]).texts


class HashedNgrams(TextPreprocessing):
    """Words, pairs of neighbouring words and the letters within them, hashed and weighed.

    Each text becomes a list of places in a table of ``buckets`` rows with weights
    ``(1 + log count) log((1 + n) / (1 + n_texts_with_it))`` of unit norm, so that it needs no vocabulary
    and no text is without one. Hashes are scikit-learn's (MurmurHash3), the same on every machine.

    Parameters
    ----------
    buckets : int >= 1
    longest : int >= 1
        Of a text's n-grams at most this many are kept, the weightiest.
    letters : (int, int) or None
        Lengths of the runs of letters; None takes words and pairs of them alone.

    >>> prepare = HashedNgrams.learned_from(TextItems(["a cat", "a dog"]).texts, buckets=64)
    >>> prepare(TextItems(["a cat"]).texts).shape[0], prepare(TextItems(["a cat"]).texts).shape[2]
    (1, 2)
    """

    rarity: Tensor

    def __init__(
        self, *, buckets: int = 2**15, longest: int = 512, letters: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        if buckets < 1 or longest < 1:
            raise InputError(f"buckets and longest must be at least 1; found {buckets} and {longest}")
        self.buckets, self.longest = buckets, longest
        self.letters = None if letters is None else (int(letters[0]), int(letters[1]))
        options: dict[str, Any] = {"n_features": buckets, "norm": None, "alternate_sign": False}
        self._hashers = [HashingVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **options)]
        if letters is not None:
            self._hashers.append(HashingVectorizer(analyzer="char_wb", ngram_range=self.letters, **options))
        self._known: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        self.register_buffer("rarity", torch.ones(buckets))

    @classmethod
    def learned_from(cls, texts: Any, **options: Any) -> HashedNgrams:
        """Learn how rare each n-gram is from texts (n,)."""
        made = cls(**options)
        counts = made._counts(list(texts))
        held = np.bincount(counts.indices, minlength=made.buckets)
        made.rarity.copy_(torch.from_numpy(np.log((1 + len(texts)) / (1 + held)) + 1e-3))
        return made

    def forward(self, items: Any) -> Tensor:
        """Places from 1 and weights, 0 where a text has no more: float32 (n, longest of these, 2)."""
        texts = self.accept(items).tolist()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > _KEPT_TEXTS:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        if new:
            self._known.update(zip(new, self._weighed(new), strict=True))
        rows = [self._known[text] for text in texts]
        out = torch.zeros(len(rows), max(1, *(len(places) for places, _ in rows)), 2)
        for row, (places, weights) in enumerate(rows):
            out[row, : len(places), 0] = torch.from_numpy(places + 1).float()
            out[row, : len(places), 1] = torch.from_numpy(weights)
        return out

    def vectors(self, items: Any) -> Tensor:
        """Weights by bucket, folded to at most 2,048 of them: (n, k)."""
        prepared = self(items)
        folded = min(self.buckets, 2048)
        places = (prepared[..., 0].long() - 1).clamp(min=0) % folded
        return torch.zeros(len(prepared), folded).scatter_add_(1, places, prepared[..., 1])

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        letters = None if self.letters is None else list(self.letters)
        return {
            "name": "HashedNgrams",
            "buckets": self.buckets,
            "longest": self.longest,
            "letters": letters,
        }

    def _counts(self, texts: list[str]) -> Any:
        total = self._hashers[0].transform(texts)
        for hasher in self._hashers[1:]:
            total = total + hasher.transform(texts)
        return total

    def _weighed(self, texts: list[str]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        counts = self._counts(texts)
        rarity = self.rarity.cpu().numpy()
        rows = []
        for row in range(len(texts)):
            span = slice(counts.indptr[row], counts.indptr[row + 1])
            places = counts.indices[span].astype(np.int64)
            weights = ((1 + np.log(counts.data[span])) * rarity[places]).astype(np.float32)
            if len(places) > self.longest:
                kept = np.sort(np.argsort(-weights, kind="stable")[: self.longest])
                places, weights = places[kept], weights[kept]
            rows.append((places, weights / max(float(np.linalg.norm(weights)), 1e-12)))
        return rows


class Words(TextPreprocessing):
    """Numbers of words: those of a vocabulary, and a few places shared by all other words.

    Words are runs of letters and digits, and single signs, in lower case. 0 is no word.

    Parameters
    ----------
    vocabulary : sequence of str
    longest : int >= 1
        Of a text the first so many words are kept.
    others : int >= 1
        Places that words outside the vocabulary share, by their hash.

    >>> Words(["a", "cat"], others=2)(TextItems(["A cat", "a"]).texts)
    tensor([[1, 2],
            [1, 0]])
    """

    def __init__(self, vocabulary: Sequence[str], *, longest: int = 128, others: int = 512) -> None:
        super().__init__()
        if longest < 1 or others < 1:
            raise InputError(f"longest and others must be at least 1; found {longest} and {others}")
        self.vocabulary, self.longest, self.others = tuple(vocabulary), longest, others
        self._numbers = {word: place + 1 for place, word in enumerate(self.vocabulary)}

    @classmethod
    def learned_from(cls, texts: Any, *, size: int = 20_000, **options: Any) -> Words:
        """Take the ``size`` most frequent words that occur at least twice in texts (n,)."""
        counts = Counter(word for text in texts for word in _words(text))
        ordered = sorted((word for word, count in counts.items() if count > 1), key=lambda w: (-counts[w], w))
        return cls(ordered[:size], **options)

    @property
    def size(self) -> int:
        """How many numbers there are, 0 among them."""
        return 1 + len(self.vocabulary) + self.others

    def forward(self, items: Any) -> Tensor:
        """Numbers of words, 0 where a text has no more: int64 (n, longest of these)."""
        rows = [
            [self._number(word) for word in _words(text)[: self.longest]]
            for text in self.accept(items).tolist()
        ]
        out = torch.zeros(len(rows), max(1, *(len(row) for row in rows)), dtype=torch.int64)
        for place, row in enumerate(rows):
            out[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return out

    def vectors(self, items: Any) -> Tensor:
        """How often each word occurs, of unit norm, folded to at most 2,048 numbers: (n, k)."""
        numbers = self(items)
        folded = min(self.size, 2048)
        counts = torch.zeros(len(numbers), folded).scatter_add_(1, numbers % folded, (numbers > 0).float())
        return torch.nn.functional.normalize(counts)

    def config(self) -> dict[str, Any]:
        """What builds this module again, apart from its arrays."""
        return {
            "name": "Words",
            "vocabulary": list(self.vocabulary),
            "longest": self.longest,
            "others": self.others,
        }

    def _number(self, word: str) -> int:
        known = self._numbers.get(word)
        if known is not None:
            return known
        return 1 + len(self.vocabulary) + zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.others


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
