"""Skip-gram with negative sampling: word vectors from plain texts (Mikolov et al. 2013).

``log s(u_c . v_o) + sum over k drawn words n of log s(-u_c . v_n)`` for every word c and each word o in its
window, s the logistic function. Departures: the drawn words are shared by all pairs of a batch (weighted so
that each pair has k of them), and steps are Adagrad's with one pace a word, as a batch moves a word often.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.load import load
from likewise.data.places import data_file
from likewise.data.words import WordVectors, words_of
from likewise.errors import DataError, InputError

__all__ = ["CORPORA", "corpus", "skip_gram"]

CORPORA = ("brown", "wikitext-2", "20newsgroups")
_TAGGED = re.compile(r"(\S+)/[^/\s]+")


def corpus(name: str, *, data: str | os.PathLike[str] | None = None) -> Iterator[str]:
    """The texts of one of :data:`CORPORA`: paragraphs, lines or messages.

    Raises
    ------
    InputError
        No such corpus.
    """
    if name == "brown":
        with zipfile.ZipFile(data_file("nltk/brown.zip", data=data)) as archive:
            for member in sorted(archive.namelist()):
                if re.fullmatch(r"brown/c[a-r]\d\d", member):
                    yield " ".join(_TAGGED.findall(archive.read(member).decode("latin-1")))
    elif name == "wikitext-2":
        for part in ("valid", "test"):
            text = data_file(f"wikitext-2/{part}.txt", data=data).read_text("utf-8")
            yield from (line.replace("<unk>", " ") for line in text.splitlines() if line.strip())
    elif name == "20newsgroups":
        yield from load("20newsgroups", data=data).items().tolist()
    else:
        raise InputError(f"corpus must be one of {', '.join(CORPORA)}; found {name!r}")


def skip_gram(
    texts: Iterable[str],
    *,
    dimension: int = 100,
    window: int = 5,
    negatives: int = 5,
    least: int = 5,
    epochs: int = 1,
    subsample: float = 1e-4,
    rate: float = 0.2,
    batch_size: int = 4096,
    seed: int = 0,
) -> WordVectors:
    """Learn word vectors.

    Parameters
    ----------
    texts : iterable of str
        Windows don't reach from one into the next.
    window : int >= 1
        Each word draws its own reach from 1 to this, so that near words count more.
    negatives : int >= 1
        k; words are drawn by their frequency to the power 3/4.
    least : int >= 1
        Words that occur less often have no vector.
    subsample : float > 0
        t: an occurrence of a word of frequency f stays with probability ``sqrt(t / f) + t / f``.

    Returns
    -------
    WordVectors
        The most frequent first.

    Raises
    ------
    DataError
        Fewer than two words are frequent enough.
    """
    for name, value in (
        ("dimension", dimension),
        ("window", window),
        ("negatives", negatives),
        ("least", least),
    ):
        if value < 1:
            raise InputError(f"{name} must be at least 1; found {value}")
    if epochs < 1 or batch_size < 1 or not subsample > 0 or not rate > 0:
        raise InputError("epochs and batch_size must be at least 1, subsample and rate above 0")
    documents = [words_of(text) for text in texts]
    counts = Counter(word for words in documents for word in words)
    vocabulary = [word for word, count in counts.most_common() if count >= least]
    if len(vocabulary) < 2:
        raise DataError(
            f"texts must hold two words or more that occur {least} times; found {len(vocabulary)}"
        )
    numbers = {word: number for number, word in enumerate(vocabulary)}
    coded = [np.array([numbers[w] for w in words if w in numbers], dtype=np.int64) for words in documents]
    occurs = np.array([counts[word] for word in vocabulary], dtype=np.float64)
    share = occurs / occurs.sum()
    stays = np.minimum(1.0, np.sqrt(subsample / share) + subsample / share)
    drawn = torch.from_numpy(share**0.75)
    generator = np.random.default_rng(seed)
    torch_generator = torch.Generator().manual_seed(seed)
    shape = (len(vocabulary), dimension)
    centres = (torch.rand(shape, generator=torch_generator) - 0.5) / dimension
    contexts = torch.zeros(shape)
    paces = [torch.full((len(vocabulary),), 1e-6) for _ in range(2)]
    shared = max(64, negatives)
    for _ in range(epochs):
        centre, context = _pairs(coded, stays, window, generator)
        order = generator.permutation(len(centre))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            noise = torch.multinomial(drawn, shared, replacement=True, generator=torch_generator)
            _step(
                (centres, contexts),
                paces,
                (torch.from_numpy(centre[rows]).long(), torch.from_numpy(context[rows]).long(), noise),
                negatives / shared,
                rate,
            )
    return WordVectors(tuple(vocabulary), centres.numpy())


def _pairs(
    coded: list[NDArray[np.int64]], stays: NDArray[np.float64], window: int, generator: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Words and the words in their windows, of one pass over thinned texts."""
    lengths = [len(words) for words in coded]
    flat = np.concatenate(coded).astype(np.int32)
    text = np.repeat(np.arange(len(coded), dtype=np.int32), lengths)
    kept = generator.random(len(flat)) < stays[flat]
    flat, text = flat[kept], text[kept]
    reach = generator.integers(1, window + 1, len(flat))
    centres, contexts = [], []
    for gap in range(1, min(window, len(flat) - 1) + 1):
        together = text[gap:] == text[:-gap]
        forward, backward = together & (reach[:-gap] >= gap), together & (reach[gap:] >= gap)
        centres += [flat[:-gap][forward], flat[gap:][backward]]
        contexts += [flat[gap:][forward], flat[:-gap][backward]]
    return np.concatenate(centres), np.concatenate(contexts)


def _step(
    tables: tuple[Tensor, Tensor],
    paces: list[Tensor],
    rows: tuple[Tensor, Tensor, Tensor],
    weight: float,
    rate: float,
) -> None:
    """One step on a batch: centre and context rows (b,), drawn context rows (s,) of this weight each."""
    (centres, contexts), (centre, context, noise) = tables, rows
    u, v, n = centres[centre], contexts[context], contexts[noise]
    pull = torch.sigmoid(-(u * v).sum(dim=1, keepdim=True))  # (b, 1)
    push = torch.sigmoid(u @ n.T) * weight  # (b, s)
    up_u, up_v, up_n = pull * v - push @ n, pull * u, -push.T @ u
    for table, pace, changes in (
        (centres, paces[0], ((centre, up_u),)),
        (contexts, paces[1], ((context, up_v), (noise, up_n))),
    ):
        for places, change in changes:
            pace.index_add_(0, places, change.square().mean(dim=1))
        for places, change in changes:
            table.index_add_(0, places, change * (rate / pace[places].sqrt())[:, None])
