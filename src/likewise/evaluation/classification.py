"""Classification by what an embedding offers: kNN, the nearest centroid, and a linear probe.

The intervals are over classes, and know of each wrong answer whether the item would be right without the
class that was answered (of the linear probe: by its next best score, without training it again).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, distance_from_name
from likewise.errors import InputError
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import check_lengths, class_codes_jointly, positive_integer, zero_vectors
from likewise.evaluation.intervals import linked_figure
from likewise.search.exact import nearest_blocks, vectors

__all__ = ["classification"]

_Codes = NDArray[np.int64]
_FIGURES = ("knn", "nearest_centroid", "linear_probe")
_SPARE = 4  # times as many neighbours are listed as vote, to vote where a class is left out


@dataclass(frozen=True)
class _Answers:
    """The class (m,) answered for each test item, and what it would be without that class, -1 for nothing."""

    first: _Codes
    second: _Codes


@torch.no_grad()
def classification(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    *,
    neighbours: int = 5,
    distance: str | Distance = "euclidean",
    figures: Iterable[str] = _FIGURES,
) -> Report:
    """Accuracy on test items of three plain classifiers of the training embeddings.

    ``knn``: the class of most of the nearest ``neighbours``, and among equals that of the nearest one.
    ``nearest_centroid``: the class whose mean embedding is nearest, among equals the first class.
    ``linear_probe``: multinomial logistic regression on standardised embeddings (scikit-learn, C = 1).
    Each is correct items / items; test items of a class without training items count as wrong.

    Parameters
    ----------
    train, test : arrays or Tensors (n, d), (m, d)
    train_labels, test_labels : integers or strings (n,), (m,)
    neighbours : int
    distance : str or Distance
        Of kNN and centroids.
    figures : names
        Of "knn", "nearest_centroid", "linear_probe".

    >>> report = classification([[0.0], [1.0]], ["a", "b"], [[0.1], [0.9]], ["a", "b"], neighbours=1)
    >>> report["knn"].value, report["nearest_centroid"].value, report["linear_probe"].value
    (1.0, 1.0, 1.0)
    """
    names = list(figures)
    for name in names:
        if name not in _FIGURES:
            raise InputError(f"figures must be of {', '.join(_FIGURES)}; found {name!r}")
    measure = distance_from_name(distance)
    rows, columns = vectors(test, "test"), vectors(train, "train")
    (codes, train_codes), _ = class_codes_jointly(
        [test_labels, train_labels], ["test_labels", "train_labels"]
    )
    check_lengths(len(codes), len(rows), "test_labels", "test")
    check_lengths(len(train_codes), len(columns), "train_labels", "train")
    k = min(positive_integer(neighbours, "neighbours"), len(columns))
    found = {}
    for name in names:
        if name == "knn":
            answers = _knn(rows, columns, train_codes, k, measure)
        elif name == "nearest_centroid":
            answers = _nearest_centroid(rows, columns, train_codes, measure)
        else:
            answers = _linear_probe(rows, columns, train_codes)
        right = answers.first == codes
        change = (~right & (answers.second == codes)).astype(np.float64)
        found[name] = linked_figure(
            right.astype(np.float64), codes, answers.first[:, None], changes=change[:, None]
        )
    unseen = int((~np.isin(codes, train_codes)).sum())
    counts = {"test items": len(rows), "training items": len(columns), "test items of unseen classes": unseen}
    counts |= zero_vectors(measure, rows, columns)
    return Report("classification", found, counts)


def _knn(rows: Tensor, columns: Tensor, train_codes: _Codes, k: int, distance: Distance) -> _Answers:
    listed = min(_SPARE * k, len(columns))
    first, second = (np.empty(len(rows), dtype=np.int64) for _ in range(2))
    for block in nearest_blocks(rows, columns, listed, distance=distance):
        near = train_codes[block.indices.cpu().numpy()]  # (rows, listed), nearest first
        place = slice(block.start, block.stop)
        first[place] = _vote(near, np.ones(near.shape, dtype=bool), k)
        second[place] = _vote(near, near != first[place][:, None], k)
    return _Answers(first, second)


def _vote(near: _Codes, kept: NDArray[np.bool_], k: int) -> _Codes:
    """The class of most of the first k kept in each row, among equals the nearest's; -1 where none is."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    voted, counted = np.take_along_axis(near, order, 1), np.take_along_axis(kept, order, 1)
    votes = ((voted[:, :, None] == voted[:, None, :]) & counted[:, None, :]).sum(2) * counted
    # argmax takes the first place among equals: the class of the nearest.
    chosen = voted[np.arange(len(voted)), votes.argmax(1)]
    return np.where(counted.any(1), chosen, -1)


def _nearest_centroid(rows: Tensor, columns: Tensor, train_codes: _Codes, distance: Distance) -> _Answers:
    present, place = np.unique(train_codes, return_inverse=True)
    sums = torch.zeros(len(present), columns.shape[1], dtype=torch.float64, device=columns.device)
    where = torch.as_tensor(place).to(columns.device)
    sums.index_add_(0, where, columns.double())
    centroids = (sums / torch.bincount(where)[:, None]).to(columns.dtype)
    listed = min(2, len(present))
    found = torch.cat([b.indices for b in nearest_blocks(rows, centroids, listed, distance=distance)])
    return _answers(present, found.cpu().numpy())


def _answers(present: _Codes, places: _Codes) -> _Answers:
    """The classes at the places (m, 1 or 2) of the best and the next best."""
    best = present[places]
    return _Answers(best[:, 0], best[:, 1] if best.shape[1] > 1 else np.full(len(best), -1))


def _linear_probe(rows: Tensor, columns: Tensor, train_codes: _Codes) -> _Answers:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    present = np.unique(train_codes)
    if len(present) == 1:
        return _answers(present, np.zeros((len(rows), 1), dtype=np.int64))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the accuracy is what counts, not the last digit
        probe.fit(columns.double().cpu().numpy(), train_codes)
    scores = probe.decision_function(rows.double().cpu().numpy())
    if scores.ndim == 1:  # of two classes only the second's score is given
        scores = np.stack([-scores, scores], 1)
    best = scores.argmax(1)
    scores[np.arange(len(scores)), best] = -np.inf
    return _answers(present, np.stack([best, scores.argmax(1)], 1))
