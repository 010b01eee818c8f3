"""What the set-ups of similarity learning are tried on: newsgroups by TF-IDF, and emoji by pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from likewise.data import load

__all__ = ["SIMILARITY_SETS", "Split", "similarity_split"]

SIMILARITY_SETS = ("20newsgroups", "emoji")


@dataclass(frozen=True)
class Split:
    """Rows (n, d), which may be sparse, and labels (n,): to learn from, to search in, to search for."""

    train: Any
    train_labels: NDArray[Any]
    gallery: Any
    gallery_labels: NDArray[Any]
    queries: Any
    query_labels: NDArray[Any]


def similarity_split(
    name: str,
    *,
    train: int,
    judged: int,
    features: int,
    dense: bool,
    seed: int,
    data: str | os.PathLike[str] | None = None,
) -> Split:
    """Draw a part of a set.

    20 newsgroups: TF-IDF of the most frequent words that aren't stop words, learned on the training part,
    rows of unit length; dense takes as many singular directions instead. Emoji: principal components of 16 x
    16 pixels, of unit length; judged on emoji that weren't trained on, one style searched for in the others.

    Parameters
    ----------
    train, judged : int
        Rows to learn from; rows to search for, and as many or more to search in.
    """
    generator = np.random.default_rng(seed)
    if name == "20newsgroups":
        records = load(name, data=data)
        rows = generator.permutation(len(records))[: train + 2 * judged]
        parts = np.split(rows, [train, train + judged])
        words = TfidfVectorizer(
            max_features=5000 if dense else features, stop_words="english", sublinear_tf=True
        )
        held = [words.fit_transform(records.items(parts[0]))]
        held += [words.transform(records.items(part)) for part in parts[1:]]
        if dense:
            directions = TruncatedSVD(features, random_state=seed).fit(held[0])
            held = [normalize(directions.transform(part)) for part in held]
        labels = [records.labels[part] for part in parts]
    else:
        records = load(name, size=(16, 16), data=data)
        order = generator.permutation(len(records.classes))
        seen, unseen = order[: train // 4], order[train // 4 :][:judged]
        style = records.columns["style"] == "twemoji"
        parts = [
            np.flatnonzero(np.isin(records.codes, seen)),
            np.flatnonzero(np.isin(records.codes, unseen) & ~style),
            np.flatnonzero(np.isin(records.codes, unseen) & style),
        ]
        pixels = [records.items(part).reshape(len(part), -1) for part in parts]
        axes = PCA(features, random_state=seed).fit(pixels[0])
        held = [normalize(axes.transform(part)) for part in pixels]
        labels = [records.codes[part] for part in parts]
    return Split(held[0], labels[0], held[1], labels[1], held[2], labels[2])
