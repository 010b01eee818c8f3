"""One training of one method: the same net, batches and steps as every other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from likewise.bench.protocol import Protocol
from likewise.data import ClassBalancedSampler, Records, augmentation_for
from likewise.distances import Cosine, Distance
from likewise.encoders import encoder_for, preprocessing_for
from likewise.evaluation import QueryScores, retrieval_scores
from likewise.model import Model
from likewise.training import Method, Schedule, Task, distance_of, fit

__all__ = ["FIGURES", "Trained", "by_class", "trained", "untrained"]

FIGURES = ("recall@1", "map@r")
_EACH = 4  # items of a class in a batch, where there are classes enough


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, how many items went through it in training, and the processor's seconds for that."""

    model: Model
    items: int
    seconds: float


def untrained(records: Records, protocol: Protocol, *, seed: int) -> Model:
    """The encoder of a bench with its first weights, which every method starts from."""
    prepared = preprocessing_for(records, encoder=protocol.encoder)
    encoder = encoder_for(prepared, dimension=protocol.dimension, name=protocol.encoder, seed=seed)
    return Model(encoder, Cosine(), prepared)


def trained(
    records: Records, method: Method, choice: Mapping[str, float], protocol: Protocol, *, seed: int
) -> Trained:
    """Train for the budget; the last weights are taken, so nothing is looked at on the way.

    Parameters
    ----------
    records : Records
        To learn from; means and deviations are theirs too.
    method : Method
    choice : mapping
        ``learning_rate``, ``loss_rate`` and ``loss.NAME`` over the method's own.
    protocol : Protocol
    seed : int
        Of weights, batches and augmentation.
    """
    model = untrained(records, protocol, seed=seed)
    options = {name.removeprefix("loss."): value for name, value in choice.items() if "." in name}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loss = method.loss(n_classes=len(records.classes), dimension=protocol.dimension, options=options)
    rate = choice.get("learning_rate", method.learning_rate)
    classes = min(len(records.classes), protocol.batch_size // _EACH)
    sampler = ClassBalancedSampler(
        records.labels,
        classes_per_batch=classes,
        items_per_class=protocol.batch_size // classes,
        batches=protocol.steps,
        seed=seed,
    )
    begin = time.process_time()
    done = fit(
        model.encoder,
        loss,
        Task(records),
        sampler=sampler,
        schedule=Schedule(
            epochs=1,
            learning_rate=rate,
            loss_learning_rate=rate * choice.get("loss_rate", method.loss_rate),
        ),
        preprocessing=model.preprocessing,
        augmentation=augmentation_for(records),
        seed=seed,
    )
    seconds = time.process_time() - begin
    return Trained(
        Model(model.encoder, _settled(distance_of(loss)), model.preprocessing),
        sum(epoch.items for epoch in done.epochs),
        seconds,
    )


def by_class(embeddings: Any, labels: Any, distance: Distance) -> dict[str, Any]:
    """The figures, and by class what their spread and their paired tests need.

    ``queries`` (C,) counts each class's; ``sums`` holds for each figure the sum over them, and ``without``
    by how much the sum over all queries would change without this class in the gallery.
    """
    scores = retrieval_scores(embeddings, labels, distance=distance, figures=list(FIGURES))
    found: dict[str, Any] = {name: float(np.mean(scores.scores[name])) for name in FIGURES}
    count = len(scores.classes)
    return {
        **found,
        "classes": scores.classes.tolist(),
        "queries": np.bincount(scores.codes, minlength=count).tolist(),
        "sums": {name: _sums(scores, name, count) for name in FIGURES},
        "without": {name: _without(scores, name, count) for name in FIGURES},
    }


def _sums(scores: QueryScores, name: str, count: int) -> list[float]:
    found: list[float] = np.bincount(scores.codes, weights=scores.scores[name], minlength=count).tolist()
    return found


def _without(scores: QueryScores, name: str, count: int) -> list[float]:
    changes = scores.changes[name].ravel().astype(np.float64)
    found: list[float] = np.bincount(scores.rivals.ravel(), weights=changes, minlength=count).tolist()
    return found


def _settled(distance: Distance) -> Distance:
    """The distance apart from its loss, its parameters no longer learned."""
    settled: nn.Module = distance.eval().requires_grad_(False)
    assert isinstance(settled, Distance)
    return settled
