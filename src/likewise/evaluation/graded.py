"""Retrieval where relevance isn't one class: several labels, a hierarchy, or any grades.

``gains`` says how relevant gallery items are to queries: 0 is not at all. NDCG reads the grades
(``sum_i gain_i / log2(1 + i)`` over the same for the best order; Jarvelin, Kekalainen 2002, with the
gains as given); recall@k, precision@k and map read only whether a gain is above 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import (
    check_lengths,
    class_codes,
    class_codes_jointly,
    positive_integer,
    zero_vectors,
)
from likewise.evaluation.intervals import linked_figure
from likewise.search.exact import nearest_blocks, vectors

__all__ = ["Gains", "graded_retrieval", "hierarchy_gains", "shared_label_gains"]

Gains = Callable[[NDArray[np.int64]], NDArray[np.floating[Any]]]
"""Given query positions (q,), the gains (q, m) of all gallery items, 0 or more."""


def shared_label_gains(labels: Any, gallery_labels: Any = None, *, graded: bool = False) -> Gains:
    """Items of several labels: relevant when they share one.

    Parameters
    ----------
    labels : array (n, L) of 0 and 1
        Which labels each query has.
    gallery_labels : array (m, L), optional
        The same as ``labels`` when not given.
    graded : bool
        The gain is the number of labels shared, in place of 1.

    >>> shared_label_gains([[1, 1, 0], [0, 1, 1]], graded=True)(np.array([0])).tolist()
    [[2.0, 1.0]]
    """
    left = _multi_hot(labels, "labels")
    right = left if gallery_labels is None else _multi_hot(gallery_labels, "gallery_labels")
    check_lengths(left.shape[1], right.shape[1], "columns of labels", "columns of gallery_labels")

    def gains(queries: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        shared = left[queries] @ right.T
        return shared if graded else (shared > 0).astype(np.float32)

    return gains


def hierarchy_gains(levels: Sequence[Any], gallery_levels: Sequence[Any] | None = None) -> Gains:
    """Items in a hierarchy: the gain is the number of levels shared from the top down.

    Parameters
    ----------
    levels : sequence of labels (n,)
        From the coarsest to the finest; items share a level when they also share all above it.
    gallery_levels : the same of the gallery, optional

    >>> hierarchy_gains([["cat", "cat", "dog"], ["tabby", "lynx", "tabby"]])(np.array([0])).tolist()
    [[2.0, 1.0, 0.0]]
    """
    if gallery_levels is not None and len(gallery_levels) != len(levels):
        raise InputError(f"gallery_levels must be {len(levels)} levels too; found {len(gallery_levels)}")
    left, right = [], []
    for i, level in enumerate(levels):
        if gallery_levels is None:
            codes, _ = class_codes(level, f"levels[{i}]")
            left.append(codes)
            right.append(codes)
        else:
            names = [f"levels[{i}]", f"gallery_levels[{i}]"]
            (codes, gallery_codes), _ = class_codes_jointly([level, gallery_levels[i]], names)
            left.append(codes)
            right.append(gallery_codes)

    def gains(queries: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
        shared = np.ones((len(queries), len(right[0])), dtype=bool)
        out = np.zeros(shared.shape, dtype=np.float32)
        for own, other in zip(left, right, strict=True):
            shared &= own[queries][:, None] == other
            out += shared
        return out

    return gains


@torch.no_grad()
def graded_retrieval(
    embeddings: Any,
    gains: Gains | Any,
    *,
    gallery: Any = None,
    classes: Any = None,
    distance: str | Distance = "euclidean",
    ks: Sequence[int] = (1, 5, 10),
) -> Report:
    """Retrieval under any relevance: ndcg, ndcg@k, map, recall@k, precision@k.

    A query to which nothing is relevant is counted and left out. ``recall@k`` is the part of queries
    with a relevant item among the k nearest, as in :func:`likewise.evaluation.retrieval`; ``map`` is
    ``1/R sum_i i / r_i`` over the R relevant items.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    gains : array (n, m), or a function of query positions
        From :func:`shared_label_gains`, :func:`hierarchy_gains`, or your own.
    gallery : array or Tensor (m, d), optional
        Without it the embeddings are the gallery too, and no query finds itself.
    classes : integers or strings (n,), optional
        The intervals' unit; the gallery is held fixed, as the report says. Without it queries are taken as
        independent, and the note says so.
    distance : str or Distance
    ks : sequence of int

    >>> report = graded_retrieval([[0.0], [1.0], [3.0]], [[0, 1, 2], [1, 0, 0], [2, 0, 0]], ks=(1,))
    >>> round(report["ndcg"].value, 4), report["recall@1"].value
    (0.8302, 0.6666666666666666)
    """
    rows, measure = vectors(embeddings), distance_from_name(distance)
    columns = rows if gallery is None else vectors(gallery, "gallery")
    ks = [positive_integer(k, "ks") for k in ks]
    lookup = gains if callable(gains) else _matrix_gains(gains, len(rows), len(columns))
    codes, unit = np.arange(len(rows)), "query"
    if classes is not None:
        (codes, _), unit = class_codes(classes, "classes"), "class"
        check_lengths(len(codes), len(rows), "classes", "embeddings")
    exclude = torch.arange(len(rows)) if gallery is None else None
    parts, queries, firsts = [], [], []
    blocks = nearest_blocks(rows, columns, len(columns), distance=measure, exclude=exclude, block_rows=64)
    for block in blocks:
        asked = np.arange(block.start, block.stop)
        gained = torch.as_tensor(np.array(lookup(asked), dtype=np.float64))
        if gained.shape != (len(asked), len(columns)) or not bool((gained >= 0).all()):
            raise DataError(
                f"gains must be ({len(asked)}, {len(columns)}) and 0 or more for queries {block.start} to "
                f"{block.stop - 1}; found {tuple(gained.shape)}"
            )
        if gallery is None:
            gained[torch.arange(len(asked)), torch.as_tensor(asked)] = 0
        ranked = gained.gather(1, block.indices.cpu().clamp(min=0))
        ranked[block.indices.cpu() < 0] = 0
        some = (gained > 0).any(1)
        if bool(some.any()):
            parts.append(_scores(ranked[some], ks))
            queries.append(asked[some.numpy()])
            firsts.append(
                _first_irrelevant(ranked, block.indices.cpu(), torch.as_tensor(asked))[some].numpy()
            )
    if not parts:
        raise DataError("gains must be above 0 for some query and item; found none")
    asked_codes = codes[np.concatenate(queries)]
    # Without a gallery of its own the nearest irrelevant item's class is known: the query's rival.
    rivals = codes[np.concatenate(firsts)] if gallery is None else asked_codes
    note = "" if unit == "class" else "queries taken as independent"
    figures = {}
    for name in parts[0]:
        values = torch.cat([part[name] for part in parts]).numpy()
        figures[name] = linked_figure(values, asked_codes, rivals, unit=unit, note=note)
    n_asked = len(asked_codes)
    counts = {"queries": n_asked, "gallery": len(columns), "queries without a match": len(rows) - n_asked}
    counts |= zero_vectors(measure, *([rows] if gallery is None else [rows, columns]))
    return Report("graded retrieval", figures, counts, ("intervals hold the gallery fixed",))


def _first_irrelevant(ranked: Tensor, indices: Tensor, queries: Tensor) -> Tensor:
    """The nearest item with no gain, or the query itself where all have some, (rows,)."""
    irrelevant = (ranked == 0) & (indices >= 0)
    first = indices.gather(1, irrelevant.byte().argmax(1, keepdim=True)).squeeze(1)
    return torch.where(irrelevant.any(1), first, queries)


def _scores(ranked: Tensor, ks: Sequence[int]) -> dict[str, Tensor]:
    """Figures of each query from its gains in the order found, (rows, m)."""
    place = torch.arange(1, ranked.shape[1] + 1, dtype=torch.float64)
    discounts = 1 / torch.log2(1 + place)
    best = ranked.sort(1, descending=True).values
    relevant = (ranked > 0).double()
    out = {"ndcg": (ranked * discounts).sum(1) / (best * discounts).sum(1)}
    out["map"] = (relevant.cumsum(1) / place * relevant).sum(1) / relevant.sum(1)
    for k in ks:
        got = (ranked[:, :k] * discounts[:k]).sum(1)
        out[f"ndcg@{k}"] = got / (best[:, :k] * discounts[:k]).sum(1)
        out[f"recall@{k}"] = relevant[:, :k].any(1).double()
        out[f"precision@{k}"] = relevant[:, :k].sum(1) / k
    return out


def _matrix_gains(gains: Any, n: int, m: int) -> Gains:
    matrix = np.asarray(gains.detach().cpu() if isinstance(gains, Tensor) else gains)
    if matrix.shape != (n, m) or matrix.dtype.kind not in "fiub" or not np.isfinite(matrix).all():
        raise DataError(f"gains must be finite numbers ({n}, {m}); found {matrix.dtype} of {matrix.shape}")
    return lambda queries: matrix[queries].astype(np.float64)


def _multi_hot(labels: Any, name: str) -> NDArray[np.float32]:
    matrix = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biu" or not np.isin(matrix, (0, 1)).all():
        raise DataError(
            f"{name} must be 0 and 1 of shape (n, labels); found {matrix.dtype} of {matrix.shape}"
        )
    return matrix.astype(np.float32)
