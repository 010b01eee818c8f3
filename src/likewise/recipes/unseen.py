"""Classes never seen: data sets cut into classes to learn from and others to judge by; a small encoder."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data import ClassBalancedSampler, load
from likewise.encoders import MLP
from likewise.errors import DataError
from likewise.evaluation import clustering, retrieval_scores
from likewise.recipes.experiment import Outcome, embedded

__all__ = [
    "SOURCES",
    "SmallConvNet",
    "UnseenClasses",
    "balanced_batches",
    "judge",
    "small_encoder",
    "unseen_classes",
]

SOURCES = ("Omniglot", "emoji", "letter", "MNIST")
_SETS = {"Omniglot": "omniglot", "emoji": "emoji", "letter": "letter", "MNIST": "mnist"}
_JUDGED = 2000  # unseen items at most: whole classes where they are small
_TAUGHT = 20_000


@dataclass(frozen=True)
class UnseenClasses:
    """Items and labels to learn from, and others of other classes to judge by.

    ``items`` (n, ...) and ``labels`` (n,) are numbered from 0 for the losses that hold a vector a class.
    """

    name: str
    items: Tensor
    labels: Tensor
    unseen_items: Tensor
    unseen_labels: Tensor
    n_classes: int

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one item."""
        return tuple(self.items.shape[1:])


def unseen_classes(name: str, data: str | os.PathLike[str] | None = None) -> UnseenClasses:
    """One of :data:`SOURCES`, its classes in order cut in half; Omniglot as its publishers cut it.

    At most 20,000 items are learned from, and about 2,000 are judged on: whole classes of small ones, the
    first items of large ones. Features are brought to mean 0 and deviation 1 by the classes learned from.

    Raises
    ------
    DataError
        The set isn't found, or has fewer than four classes, two on either side.
    """
    return _read(name, None if data is None else os.fspath(data))


@functools.lru_cache(maxsize=4)
def _read(name: str, data: str | None) -> UnseenClasses:
    records = load(_SETS[name], data=data)
    items, labels = records.items(), records.labels
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 4:
        raise DataError(
            f"{records.name}: unseen classes need four classes, two on either side; found {len(classes)}"
        )
    seen = codes < len(classes) // 2
    if name == "Omniglot":
        seen = records.columns["part"] == "background"
    learned, judged = np.flatnonzero(seen), np.flatnonzero(~seen)
    learned = np.random.default_rng(0).permutation(learned)[:_TAUGHT]
    judged = _judged(codes, judged)
    found, numbers = np.unique(codes[learned], return_inverse=True)
    X, Z = torch.from_numpy(items[learned]), torch.from_numpy(items[judged])
    if X.ndim == 2:
        mean, deviation = X.mean(0), X.std(0).clamp_min(1e-6)
        X, Z = (X - mean) / deviation, (Z - mean) / deviation
    return UnseenClasses(name, X, torch.from_numpy(numbers), Z, torch.from_numpy(codes[judged]), len(found))


def _judged(codes: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes drawn until there are enough items; where that would be under ten, the first items of each."""
    classes, size = np.unique(codes[rows], return_counts=True)
    if size.max() > 100:
        each = _JUDGED // len(classes)
        return np.concatenate([rows[codes[rows] == code][:each] for code in classes])
    order = np.random.default_rng(0).permutation(len(classes))
    taken = classes[order[: int(np.searchsorted(np.cumsum(size[order]), _JUDGED)) + 1]]
    return rows[np.isin(codes[rows], taken)]


class SmallConvNet(nn.Module):
    """Three convolutions of 16, 32 and 64 filters, each normalised over the batch and halved; then linear."""

    def __init__(self, item_shape: tuple[int, ...], dimension: int) -> None:
        super().__init__()
        channels, side = (item_shape[0], item_shape[-1]) if len(item_shape) == 3 else (1, item_shape[-1])
        height = item_shape[-2]
        layers: list[nn.Module] = []
        for width in (16, 32, 64):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            channels, side, height = width, side // 2, height // 2
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Linear(channels * side * height, dimension)

    def forward(self, items: Tensor) -> Tensor:
        """Embeddings (n, d) of grey (n, height, width) or coloured images."""
        images = items[:, None] if items.ndim == 3 else items
        found: Tensor = self.head(
            self.features(images.contiguous(memory_format=torch.channels_last)).flatten(1)
        )
        return found


def small_encoder(item_shape: tuple[int, ...], dimension: int) -> nn.Module:
    """The encoder of every method: small convolutions for images, two layers for features."""
    if len(item_shape) == 1:
        return MLP(item_shape[0], dimension=dimension, hidden=(128,))
    return SmallConvNet(item_shape, dimension)


def balanced_batches(labels: Tensor, *, batch: int, each: int, seed: int) -> ClassBalancedSampler:
    """Batches of ``batch`` items, ``each`` of a class, or as many classes as there are with more of each."""
    codes = labels.numpy()
    classes = min(batch // each, len(np.unique(codes)))
    return ClassBalancedSampler(codes, classes_per_batch=classes, items_per_class=batch // classes, seed=seed)


def judge(
    outcome: Outcome,
    table: str,
    row: str,
    encoder: nn.Module | None,
    held: UnseenClasses,
    *,
    figures: dict[str, str],
    nmi: str | None = None,
    seed: int = 0,
    distance: Any = "cosine",
) -> None:
    """Enter retrieval figures of a row on the unseen classes, and the NMI; raw items without an encoder."""
    with torch.no_grad():
        items = held.unseen_items
        found = items.flatten(1) if encoder is None else embedded(encoder, items)
        measure = "euclidean" if encoder is None else distance
        scores = retrieval_scores(found, held.unseen_labels, distance=measure, figures=list(figures))
        outcome.record_retrieval(table, row, scores, figures)
        if nmi is not None:
            report = clustering(found, held.unseen_labels, distance=measure, figures=["nmi"], seed=seed)
            outcome.record(table, row, {nmi: report["nmi"].value})
