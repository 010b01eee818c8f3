"""Word vectors: read from files of GloVe and word2vec, looked up, and composed for labels of several words.

What it doesn't know: how vectors are learned; see :mod:`likewise.data.skip_gram`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from likewise.data.places import data_file
from likewise.errors import DataError, InputError

__all__ = [
    "WORD_SIMILARITY_SETS",
    "WordSimilarity",
    "WordVectors",
    "read_word_vectors",
    "word_similarity",
    "words_of",
]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_MOST_WORDS = 5_000_000
WORD_SIMILARITY_SETS = ("MEN-TR-3k", "MTurk-771", "RG-65", "RW-STANFORD", "SIMLEX-999", "WS-353-ALL")


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters, without signs.

    >>> words_of("Man’s ice-cream, No. 1")
    ['man', 's', 'ice', 'cream', 'no', '1']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Parameters
    ----------
    words : tuple of str
        All different.
    vectors : float32 array (n, d)

    >>> held = WordVectors(("red", "car"), np.array([[3, 0], [0, 2]], dtype=np.float32))
    >>> held.text("a red car")
    array([0.70710677, 0.70710677], dtype=float32)
    """

    words: tuple[str, ...]
    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.words) or not len(self.words):
            raise InputError(
                f"vectors must have shape ({len(self.words)}, d), one a word; found {self.vectors.shape}"
            )
        if not np.isfinite(self.vectors).all():
            raise InputError("vectors must be finite numbers; found NaN or infinity")
        if len(self.places) != len(self.words):
            raise InputError("words must all be different; found one twice")

    def __contains__(self, word: object) -> bool:
        return word in self.places

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each word stands."""
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """The vectors at unit length (n, d); a zero vector stays."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return np.asarray(self.vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    def known(self, text: str) -> list[str]:
        """The words of a text that have a vector; "cars" is read as "car" where only that has one."""
        found = []
        for word in words_of(text):
            single = word[:-1] if word.endswith("s") else word
            if word in self.places or single in self.places:
                found.append(word if word in self.places else single)
        return found

    def text(self, text: str) -> NDArray[np.float32]:
        """The vector (d,) of unit length of a text: the mean of its words' unit vectors.

        Raises
        ------
        InputError
            The text is empty, or none of its words has a vector.
        """
        if not words_of(text):
            raise InputError(f"the text holds no word; found {text!r}")
        found = self.known(text)
        if not found:
            raise InputError(f"none of the words of {text!r} has a vector; use other words")
        mean = self.unit[[self.places[word] for word in found]].mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)

    def labels(
        self, names: Sequence[str], *, compose: Mapping[str, str] | None = None
    ) -> NDArray[np.float32]:
        """Vectors (c, d) of unit length of label names.

        A name of several words is the mean of those that have a vector.

        Parameters
        ----------
        names : sequence of str
        compose : mapping of str to str, optional
            A name to the words that stand for it.

        Raises
        ------
        DataError
            Names of which no word has a vector: they are listed.
        """
        said = [(compose or {}).get(name, name) for name in names]
        missing = [name for name, text in zip(names, said, strict=True) if not self.known(text)]
        if missing:
            shown = ", ".join(repr(name) for name in missing[:20]) + (", ..." if len(missing) > 20 else "")
            raise DataError(
                f"{len(missing)} label names have no word vector: {shown}; say with which words each is "
                f"composed, as compose={{{missing[0]!r}: 'other words'}}, or leave them out"
            )
        return np.stack([self.text(text) for text in said])

    def centred(self, *, frequent: int = 20_000) -> WordVectors:
        """Unit vectors less the mean of the most frequent words', which all of them share.

        What all vectors have in common tells no word from another, and makes some near to everything.

        >>> held = WordVectors(("red", "car"), np.array([[3, 4], [0, 2]], dtype=np.float32))
        >>> held.centred().vectors.round(2)
        array([[ 0.3, -0.1],
               [-0.3,  0.1]], dtype=float32)
        """
        if frequent < 1:
            raise InputError(f"frequent must be at least 1; found {frequent}")
        return WordVectors(self.words, self.unit - self.unit[:frequent].mean(axis=0))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a word2vec text file."""
        lines = [f"{len(self.words)} {self.vectors.shape[1]}"]
        lines += [
            f"{word} " + " ".join(f"{number:.6g}" for number in vector)
            for word, vector in zip(self.words, self.vectors.tolist(), strict=True)
        ]
        Path(path).write_text("\n".join(lines) + "\n", "utf-8")


def read_word_vectors(path: str | os.PathLike[str], *, limit: int | None = None) -> WordVectors:
    """Read a text file of GloVe (a word and d numbers a line) or word2vec (a first line "n d").

    Binary word2vec files, which begin with the same line, are read too. A word that comes twice counts once.

    Parameters
    ----------
    limit : int >= 1, optional
        Read the first so many words; files begin with the most frequent.

    Raises
    ------
    DataError
        Not such a file; the line is told.
    """
    place = Path(path)
    most = _MOST_WORDS if limit is None else limit
    if most < 1:
        raise InputError(f"limit must be at least 1; found {limit}")
    try:
        with place.open("rb") as stream:
            first = stream.readline().split()
            header = len(first) == 2 and all(part.isdigit() for part in first)
            if header and place.suffix == ".bin":
                return _binary(place, stream.read(), int(first[0]), int(first[1]), most)
            stream.seek(0)
            return _text(place, stream, header, most)
    except OSError as error:
        raise DataError(f"{place}: can't be read ({error.strerror or error})") from error


def _text(place: Path, stream: object, header: bool, most: int) -> WordVectors:
    held: dict[str, NDArray[np.float32]] = {}
    width = 0
    for number, raw in enumerate(stream, start=1):  # type: ignore[arg-type, var-annotated]
        if header and number == 1:
            continue
        if len(held) == most:
            break
        word, _, rest = raw.rstrip().partition(b" ")
        try:
            vector = np.array(rest.split(), dtype=np.float32)
            name = word.decode("utf-8")
        except (ValueError, UnicodeDecodeError):
            raise DataError(
                f"{place}: line {number} must be a word and numbers; found {raw[:40]!r}"
            ) from None
        width = width or len(vector)
        if not len(vector) or len(vector) != width or not np.isfinite(vector).all():
            raise DataError(
                f"{place}: line {number} must hold a word and {width or 'some'} finite numbers; "
                f"found {len(vector)} numbers"
            )
        held.setdefault(name, vector)
    if not held:
        raise DataError(f"{place}: holds no word vectors")
    return WordVectors(tuple(held), np.stack(list(held.values())))


def _binary(place: Path, content: bytes, count: int, width: int, most: int) -> WordVectors:
    held: dict[str, NDArray[np.float32]] = {}
    at = 0
    for number in range(min(count, most)):
        end = content.find(b" ", at, at + 1000)
        stop = end + 1 + 4 * width
        if end < 0 or width < 1 or stop > len(content):
            raise DataError(f"{place}: ends, or is damaged, at word {number} of {count}")
        name = content[at:end].strip().decode("utf-8", "replace")
        held.setdefault(name, np.frombuffer(content, "<f4", width, end + 1).astype(np.float32))
        at = stop
    if not held:
        raise DataError(f"{place}: holds no word vectors")
    try:
        return WordVectors(tuple(held), np.stack(list(held.values())))
    except InputError as error:
        raise DataError(f"{place}: {error}") from error


@dataclass(frozen=True)
class WordSimilarity:
    """How vectors' cosines follow human ratings: Spearman's correlation over the pairs that are known."""

    spearman: float
    known: int
    pairs: int


def word_similarity(
    held: WordVectors, name: str, *, data: str | os.PathLike[str] | None = None
) -> WordSimilarity:
    """Compare with one of :data:`WORD_SIMILARITY_SETS`.

    Raises
    ------
    DataError
        Fewer than three pairs have vectors.
    """
    from scipy.stats import spearmanr

    if name not in WORD_SIMILARITY_SETS:
        raise InputError(f"set must be one of {', '.join(WORD_SIMILARITY_SETS)}; found {name!r}")
    place = data_file(f"wordsim/EN-{name}.txt", data=data)
    ours, theirs, pairs = [], [], 0
    for line in place.read_text("utf-8").splitlines():
        fields = line.lower().split()
        if len(fields) < 3:
            continue
        pairs += 1
        if fields[0] in held and fields[1] in held:
            first, second = (held.unit[held.places[word]] for word in fields[:2])
            ours.append(float(first @ second))
            theirs.append(float(fields[2]))
    if len(ours) < 3:
        raise DataError(f"{place}: {len(ours)} of {pairs} pairs have vectors; too few to compare")
    return WordSimilarity(float(spearmanr(ours, theirs).statistic), len(ours), pairs)
