"""Re-identification: the same person seen by another camera, with the rules of the benchmarks.

Gallery items of the query's own class and own camera are no evidence: they are passed over, neither right nor
wrong (Zheng et al. 2015, Scalable Person Re-identification: A Benchmark, section 4.2; Market-1501).
``cmc@k`` is the part of queries with a match among the k nearest that are left (one shown person counts once,
however often it matches), ``map`` is ``1/R sum_i i / r_i`` over the R matches of other cameras. The intervals
are over classes, with each out of the queries and out of the gallery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import check_lengths, class_codes_jointly, positive_integer, zero_vectors
from likewise.evaluation.intervals import linked_figure
from likewise.search.exact import nearest_blocks, vectors

__all__ = ["reidentification"]

_RIVALS = 4  # other classes whose absence is tried for each query, for the intervals


@torch.no_grad()
def reidentification(
    embeddings: Any,
    labels: Any,
    cameras: Any,
    *,
    gallery: Any,
    gallery_labels: Any,
    gallery_cameras: Any,
    distance: str | Distance = "euclidean",
    ks: Sequence[int] = (1, 5, 10),
) -> Report:
    """CMC and mAP where a query's own class seen by its own camera doesn't count.

    Parameters
    ----------
    embeddings, gallery : arrays or Tensors (n, d), (m, d)
    labels, gallery_labels : integers or strings (n,), (m,)
        Who is seen.
    cameras, gallery_cameras : integers or strings (n,), (m,)
        Where.
    distance : str or Distance
    ks : sequence of int

    Returns
    -------
    Report
        "cmc@k" for each k, and "map", with 95 % intervals over classes. Queries whose class no other camera
        saw are counted and left out.

    Raises
    ------
    DataError
        NaN, lengths that differ, or no query that another camera saw.

    >>> report = reidentification([[0.0]], ["ann"], ["door"], gallery=[[0.1], [0.2], [0.3]],
    ...     gallery_labels=["ann", "bob", "ann"], gallery_cameras=["door", "hall", "hall"], ks=(1, 2))
    >>> report["cmc@1"].value, report["cmc@2"].value, report["map"].value
    (0.0, 1.0, 0.5)
    """
    rows, columns = vectors(embeddings), vectors(gallery, "gallery")
    ks = [positive_integer(k, "ks") for k in ks]
    sides = {"labels": [labels, gallery_labels], "cameras": [cameras, gallery_cameras]}
    codes = {}
    for name, given in sides.items():
        codes[name], _ = class_codes_jointly(given, [name, f"gallery_{name}"])
        check_lengths(len(codes[name][0]), len(rows), name, "embeddings")
        check_lengths(len(codes[name][1]), len(columns), f"gallery_{name}", "gallery")
    (who, other_who), (where, other_where) = (
        [torch.as_tensor(side) for side in codes[name]] for name in ("labels", "cameras")
    )
    found: dict[str, list[Tensor]] = {}
    asked, rivals = [], []
    changes: dict[str, list[Tensor]] = {}
    measure = distance_from_name(distance)
    blocks = nearest_blocks(rows, columns, len(columns), distance=measure, block_rows=64)
    for block in blocks:
        own, seen = who[block.start : block.stop, None], where[block.start : block.stop, None]
        indices = block.indices.cpu()
        same = other_who[indices] == own
        kept = ~(same & (other_where[indices] == seen))
        place = kept.cumsum(1)
        right = same & kept
        some = right.any(1)
        asked.append(torch.arange(block.start, block.stop)[some])
        scores = _scores(right[some], place[some], ks)
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
        contended, moved = _without_rivals(
            other_who[indices][some], own[some], kept[some], right[some], scores, ks
        )
        rivals.append(contended)
        for name, change in moved.items():
            changes.setdefault(name, []).append(change)
    queries = torch.cat(asked)
    if len(queries) == 0:
        raise DataError("labels must give some query a match by another camera; found none")
    classes, others = who[queries].numpy(), torch.cat(rivals).numpy()
    figures = {
        name: linked_figure(
            torch.cat(parts).double().numpy(), classes, others, changes=torch.cat(changes[name]).numpy()
        )
        for name, parts in found.items()
    }
    counts = {
        "queries": len(queries),
        "gallery": len(columns),
        "classes": len(np.unique(classes)),
        "queries that no other camera saw": len(rows) - len(queries),
    }
    counts |= zero_vectors(measure, rows, columns)
    return Report("re-identification", figures, counts)


def _without_rivals(
    ranked: Tensor, own: Tensor, kept: Tensor, right: Tensor, scores: dict[str, Tensor], ks: Sequence[int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The nearest other classes (rows, V), the own one for none, and how scores would change without each.

    ``ranked`` (rows, m) are the gallery's classes in the order found, ``own`` (rows, 1) the queries'.
    """
    taken = ranked == own
    rivals, changes = [], []
    for _ in range(_RIVALS):
        first = ranked.gather(1, (~taken).byte().argmax(1, keepdim=True))
        rival = torch.where(taken.all(1, keepdim=True), own, first)
        gone = (ranked == rival) & (rival != own)
        without = _scores(right, (kept & ~gone).cumsum(1), ks)
        changes.append({name: without[name].double() - scores[name].double() for name in scores})
        rivals.append(rival)
        taken = taken | gone
    return torch.cat(rivals, 1), {name: torch.stack([part[name] for part in changes], 1) for name in scores}


def _scores(right: Tensor, place: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """Figures of each query from its matches (rows, m) and the places of what is left (rows, m)."""
    first = torch.where(right, place, place.shape[1] + 1).amin(1)
    out = {f"cmc@{k}": (first <= k).double() for k in ks}
    precisions = torch.where(right, right.cumsum(1) / place.clamp(min=1), 0.0)
    out["map"] = precisions.sum(1) / right.sum(1)
    return out
