"""Pictures with labels in words: emoji and CIFAR-10, seen and unseen labels, and how labels are ranked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data import Records, load
from likewise.data.words import WordVectors
from likewise.errors import InputError

__all__ = ["WordedPictures", "composition", "label_figures", "worded_pictures"]


@dataclass(frozen=True)
class WordedPictures:
    """Pictures of seen labels, 0 to s - 1, and of unseen ones, s to c - 1; groups, texts, vectors of all."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    unseen: Tensor
    unseen_labels: Tensor
    groups: NDArray[np.int64]
    texts: tuple[str, ...]
    vectors: Tensor
    seen: int
    words: WordVectors


def worded_pictures(
    name: str,
    held: WordVectors,
    *,
    size: int,
    most: int,
    unseen_part: float,
    pictures: int,
    seed: int,
    compose: Mapping[str, str] | None = None,
    data: str | os.PathLike[str] | None = None,
) -> WordedPictures:
    """Draw labels and pictures of "emoji" or "cifar10", and the vectors of the labels' words.

    Parameters
    ----------
    size : int
        Side of a picture.
    most : int
        Labels of emoji, at most.
    unseen_part : float
        Part of the labels that is left out of training.
    pictures : int
        Training pictures a class of CIFAR-10.
    compose : mapping of str to str, optional
        A label's name to the words that stand for it, where it has no vector of its own. An emoji of whose
        description no word has a vector is left out.

    Raises
    ------
    DataError
        Class names of CIFAR-10 have no vector: they are listed.
    """
    generator = np.random.default_rng(seed)
    records = load(name, size=(size, size), data=data)
    if name == "emoji":
        rows, texts, groups = _emoji(records, held, compose or {})
        held_back = records.columns["style"] == "twemoji"
        classes = np.array(sorted(texts))
        classes = generator.permutation(classes)[:most]
    else:
        classes = generator.permutation(records.classes)
        told = dict(zip(records.labels.tolist(), records.columns["class_name"].tolist(), strict=True))
        texts = {label: (compose or {}).get(word, word) for label, word in told.items()}
        held.labels(sorted(told.values()), compose=compose)
        groups = {
            label: int(word in ("airplane", "automobile", "ship", "truck")) for label, word in told.items()
        }
        held_back = records.columns["split"] == "test"
        rows = np.ones(len(records), dtype=bool)
        for label in classes:  # the first so many of each
            rows[np.flatnonzero((records.labels == label) & ~held_back)[pictures:]] = False
    seen = len(classes) - max(2, round(unseen_part * len(classes)))
    place = {label: number for number, label in enumerate(classes.tolist())}
    number = np.array([place.get(label, -1) for label in records.labels.tolist()])
    chosen = {
        "train": rows & (number >= 0) & (number < seen) & ~held_back,
        "test": (number >= 0) & (number < seen) & held_back,
        "unseen": rows & (number >= seen),
    }
    items = {part: torch.from_numpy(records.items(np.flatnonzero(which))) for part, which in chosen.items()}
    numbers = {part: torch.from_numpy(number[which]) for part, which in chosen.items()}
    ordered = classes.tolist()
    said = tuple(texts[label] for label in ordered)
    codes = {group: code for code, group in enumerate(sorted({groups[label] for label in ordered}, key=str))}
    return WordedPictures(
        items["train"],
        numbers["train"],
        items["test"],
        numbers["test"],
        items["unseen"],
        numbers["unseen"],
        np.array([codes[groups[label]] for label in ordered]),
        said,
        torch.from_numpy(held.labels(said)),
        seen,
        held,
    )


def _emoji(
    records: Records, held: WordVectors, compose: Mapping[str, str]
) -> tuple[NDArray[np.bool_], dict[str, str], dict[str, object]]:
    """Rows, texts and groups of the labels whose names have a vector; flags are left out."""
    texts: dict[str, str] = {}
    groups: dict[str, object] = {}
    columns = [records.columns[key].tolist() for key in ("description", "keywords", "group")]
    for label, description, keywords, group in zip(records.labels.tolist(), *columns, strict=True):
        description = compose.get(description, description)
        if label not in texts and group not in ("Flags", "") and held.known(description):
            texts[label], groups[label] = f"{description} {keywords}", group
    return np.isin(records.labels, sorted(texts)), texts, groups


def composition(said: str) -> dict[str, str]:
    """Names and the words that stand for them, from one text.

    Raises
    ------
    InputError
        A part isn't a name, =, and words.

    >>> composition("automobile = car; dog=hound")
    {'automobile': 'car', 'dog': 'hound'}
    """
    found = {}
    for part in filter(None, map(str.strip, said.split(";"))):
        name, equals, words = (each.strip() for each in part.partition("="))
        if not equals or not name or not words:
            raise InputError(f"compose must be NAME=WORDS, with semicolons between; found {part!r}")
        found[name] = words
    return found


def label_figures(
    scores: Tensor, own: Tensor, groups: NDArray[np.int64], *, ks: tuple[int, ...]
) -> dict[str, NDArray[np.float64]]:
    """hit@k and hierarchical@k of each picture, from scores (n, c), own labels (n,) and groups (c,).

    k beyond the number of labels is left out. The hierarchy has three levels: the label, its group, all.

    >>> scores, groups = torch.tensor([[0.1, 0.9, 0.5]]), np.array([0, 0, 1])
    >>> label_figures(scores, torch.tensor([0]), groups, ks=(2,))  # 1, 2 come first; right are 0, 1
    {'hit@2': array([0.]), 'hierarchical@2': array([0.5])}
    """
    if scores.shape != (len(own), len(groups)):
        raise InputError(f"scores must have shape ({len(own)}, {len(groups)}); found {tuple(scores.shape)}")
    order = scores.argsort(dim=1, descending=True, stable=True).numpy()
    right = groups[order] == groups[own.numpy()][:, None]
    sizes = np.bincount(groups)[groups[own.numpy()]]
    found = {}
    for k in (k for k in ks if k <= len(groups)):
        hit = (order[:, :k] == own.numpy()[:, None]).any(axis=1).astype(np.float64)
        found[f"hit@{k}"] = hit
        within = np.where(sizes >= k, right[:, :k].mean(axis=1), 1.0)
        found[f"hierarchical@{k}"] = hit if k == 1 else within
    return found
