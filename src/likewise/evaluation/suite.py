"""The figures that every labelled set gets, in one call: what evaluation, report and comparison share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from likewise.distances import Distance
from likewise.errors import InputError
from likewise.evaluation.clustering import clustering
from likewise.evaluation.few_shot import few_shot
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import paired_vectors
from likewise.evaluation.pairs import verification_pairs
from likewise.evaluation.retrieval import retrieval
from likewise.evaluation.verification import verification

__all__ = ["SUITE", "evaluate_embeddings"]

SUITE = ("retrieval", "verification", "few_shot", "clustering")
"""The tasks of :func:`evaluate_embeddings`."""


def evaluate_embeddings(
    embeddings: Any,
    labels: Any,
    *,
    distance: str | Distance = "euclidean",
    tasks: Iterable[str] = SUITE,
    ways: int = 5,
    seed: int = 0,
) -> dict[str, Report]:
    """Reports by task; two embeddings of the same items get the same pairs and episodes.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
    distance : str or Distance
        Clustering takes only what k-means can work with, and is left out for others.
    tasks : of :data:`SUITE`
        Verification samples a million pairs where there are more; few-shot is one-shot with ``ways``
        classes, or all of them where there are fewer, of those with two items.
    ways, seed : int

    >>> reports = evaluate_embeddings([[0.0], [0.1], [5.0], [5.1]], [1, 1, 2, 2], tasks=["verification"])
    >>> reports["verification"]["eer"].value
    0.0
    """
    wanted = list(dict.fromkeys(tasks))
    for task in wanted:
        if task not in SUITE:
            raise InputError(f"tasks must be among {', '.join(SUITE)}; found {task!r}")
    rows, codes, classes = paired_vectors(embeddings, labels)
    names = classes[codes]
    out = {}
    for task in wanted:
        if task == "retrieval":
            out[task] = retrieval(rows, names, distance=distance)
        elif task == "verification":
            pairs = verification_pairs(rows, names, seed=seed, distance=distance)
            report = verification(
                pairs.distances,
                pairs.same,
                left_classes=pairs.left_classes,
                right_classes=pairs.right_classes,
            )
            out[task] = replace(report, counts={**report.counts, "zero vectors": pairs.zero_vectors})
        elif task == "few_shot":
            able = int((np.bincount(codes) >= 2).sum())
            out[task] = few_shot(rows, names, ways=max(2, min(ways, able)), seed=seed, distance=distance)
        elif _can_cluster(distance):
            out[task] = clustering(rows, names, distance=distance, figures=("nmi", "ari"), seed=seed)
    return out


def _can_cluster(distance: str | Distance) -> bool:
    from likewise.distances import Form, ProductDistance, distance_from_name

    measure = distance_from_name(distance)
    return isinstance(measure, ProductDistance) and measure.form is not Form.NEGATIVE_PRODUCT
