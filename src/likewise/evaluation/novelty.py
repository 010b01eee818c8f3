"""Open set: does an item of an unknown class lie farther from the gallery than one of a known class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError
from likewise.evaluation.curves import ErrorCurve, PairPart
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import check_lengths, class_codes_jointly, zero_vectors
from likewise.evaluation.intervals import jackknife_figure
from likewise.search.exact import nearest, vectors

__all__ = ["novelty"]


@torch.no_grad()
def novelty(
    embeddings: Any,
    labels: Any,
    *,
    gallery: Any,
    gallery_labels: Any,
    distance: str | Distance = "euclidean",
    neighbours: int = 1,
) -> Report:
    """AUROC of the distance to the gallery as a sign that a query's class isn't in it.

    The score of a query is its distance to the ``neighbours``-th nearest gallery item; ``auroc`` is the
    chance that a query of an unknown class scores higher than one of a known class, ties one half.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
        A query whose label no gallery item bears is novel.
    gallery, gallery_labels : (m, d) and (m,)
    distance : str or Distance
    neighbours : int

    Raises
    ------
    DataError
        All queries are novel, or none.

    >>> report = novelty([[0.1], [5.0]], ["a", "z"], gallery=[[0.0], [1.0]], gallery_labels=["a", "b"])
    >>> report["auroc"].value
    1.0
    """
    rows, columns = vectors(embeddings), vectors(gallery, "gallery")
    (codes, gallery_codes), classes = class_codes_jointly(
        [labels, gallery_labels], ["labels", "gallery_labels"]
    )
    check_lengths(len(codes), len(rows), "labels", "embeddings")
    check_lengths(len(gallery_codes), len(columns), "gallery_labels", "gallery")
    known = np.isin(np.arange(len(classes)), gallery_codes)[codes]
    if known.all() or not known.any():
        found = "known" if known.all() else "novel"
        raise DataError(f"labels must hold classes that the gallery has and others; found {found} ones only")
    measure = distance_from_name(distance)
    found_distances = nearest(rows, columns, neighbours, distance=measure).distances
    scores = found_distances[:, -1].double().cpu().numpy()
    curve = ErrorCurve.of(scores, known)
    left_out = []
    for c in np.unique(codes):
        own = np.sort(scores[codes == c])
        none = own[:0]
        is_known = bool(known[codes == c][0])
        left_out.append(curve.auc(PairPart(own, none) if is_known else PairPart(none, own)))
    counts = {
        "known queries": int(known.sum()),
        "novel queries": int((~known).sum()),
        "gallery": len(columns),
    }
    counts |= zero_vectors(measure, rows, columns)
    return Report("open set", {"auroc": jackknife_figure(curve.auc(), np.array(left_out))}, counts)
