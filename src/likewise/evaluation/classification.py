"""Classification by what an embedding offers: kNN, the nearest centroid, and a linear probe."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import check_lengths, class_codes_jointly, positive_integer
from likewise.evaluation.intervals import ratio_figure
from likewise.search.exact import distance_from_name, nearest_blocks, vectors

__all__ = ["classification"]

_Codes = NDArray[np.int64]
_FIGURES = ("knn", "nearest_centroid", "linear_probe")


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
    (codes, train_codes), classes = class_codes_jointly(
        [test_labels, train_labels], ["test_labels", "train_labels"]
    )
    check_lengths(len(codes), len(rows), "test_labels", "test")
    check_lengths(len(train_codes), len(columns), "train_labels", "train")
    k = min(positive_integer(neighbours, "neighbours"), len(columns))
    n_classes = len(classes)
    asked = np.bincount(codes, minlength=n_classes).astype(np.float64)
    found = {}
    for name in names:
        if name == "knn":
            answers = _knn(rows, columns, train_codes, k, measure)
        elif name == "nearest_centroid":
            answers = _nearest_centroid(rows, columns, train_codes, measure)
        else:
            answers = _linear_probe(rows, columns, train_codes)
        right = np.bincount(codes, weights=answers == codes, minlength=n_classes).astype(np.float64)
        found[name] = ratio_figure(right, asked)
    unseen = int((~np.isin(codes, train_codes)).sum())
    counts = {"test items": len(rows), "training items": len(columns), "test items of unseen classes": unseen}
    return Report("classification", found, counts)


def _knn(rows: Tensor, columns: Tensor, train_codes: _Codes, k: int, distance: Distance) -> _Codes:
    answers = np.empty(len(rows), dtype=np.int64)
    for block in nearest_blocks(rows, columns, k, distance=distance):
        voted = train_codes[block.indices.cpu().numpy()]  # (rows, k), nearest first
        votes = (voted[:, :, None] == voted[:, None, :]).sum(2)  # votes for the class at each place
        # argmax takes the first place among equals: the class of the nearest.
        answers[block.start : block.stop] = voted[np.arange(len(voted)), votes.argmax(1)]
    return answers


def _nearest_centroid(rows: Tensor, columns: Tensor, train_codes: _Codes, distance: Distance) -> _Codes:
    present, place = np.unique(train_codes, return_inverse=True)
    sums = torch.zeros(len(present), columns.shape[1], dtype=torch.float64, device=columns.device)
    where = torch.as_tensor(place).to(columns.device)
    sums.index_add_(0, where, columns.double())
    centroids = (sums / torch.bincount(where)[:, None]).to(columns.dtype)
    found = [block.indices for block in nearest_blocks(rows, centroids, 1, distance=distance)]
    return np.asarray(present[torch.cat(found).squeeze(1).cpu().numpy()], dtype=np.int64)


def _linear_probe(rows: Tensor, columns: Tensor, train_codes: _Codes) -> _Codes:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train_codes)) == 1:
        return np.full(len(rows), train_codes[0])
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the accuracy is what counts, not the last digit
        probe.fit(columns.double().cpu().numpy(), train_codes)
    return np.asarray(probe.predict(rows.double().cpu().numpy()), dtype=np.int64)
