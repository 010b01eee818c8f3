"""Retrieval: how early a query finds its own class.

Conventions, on which published numbers differ:

- Without ``gallery`` every item is a query against all others; it never finds itself.
- Items at equal distances are ranked by their place in the gallery, the lower first.
- A query whose class has no item in the gallery has nothing to find: it is counted in the report
  ("queries without a match") and left out of every denominator.
- ``R`` is the number of gallery items of the query's class, without the query itself, and
  ``r_1 < ... < r_R`` are their ranks.
- ``recall@k``: queries with a match among the k nearest / queries.
- ``precision@k``: matches among the k nearest / k, whatever R is and even where the gallery holds fewer.
- ``r_precision``: matches among the R nearest / R.
- ``map@r``: ``1/R sum_{i: r_i <= R} i / r_i`` (Musgrave, Belongie, Lim 2020, section 3.2).
- ``map``: ``1/R sum_i i / r_i``, over the whole ranking.
- ``mrr``: ``1 / r_1``.
- ``ndcg``: ``sum_i 1 / log2(1 + r_i)`` over its value for ranks 1 to R.
- ``bulls_eye``: matches among the 2R nearest / R; without gallery neither counts the query itself,
  which the MPEG-7 protocol does.

Every figure is a mean over queries; its interval is over classes, and knows that a query moves with its
own class and with the classes of the nearest items of others. ``map``, ``mrr`` and
``ndcg`` read the whole ranking and are given only when asked for by name.

Other libraries: pytorch-metric-learning's ``mean_average_precision``, ``mean_average_precision_at_r``,
``r_precision``, ``precision_at_1`` and ``mean_reciprocal_rank`` are ``map``, ``map@r``, ``r_precision``,
``recall@1`` and ``mrr`` where its ``k`` is the whole gallery; with a smaller one what lies beyond k counts
as not found. scikit-learn's ``average_precision_score`` and ``ndcg_score`` take items of equal scores
together. Open Metric Learning's ``map@k`` divides by the matches among the k nearest, not by R, and a query
with nothing to find scores 1 there. torchmetrics takes scores of 0 or less, so all negated distances, for
not retrieved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.inputs import (
    check_lengths,
    class_codes,
    class_codes_jointly,
    positive_integer,
    zero_vectors,
)
from likewise.evaluation.intervals import linked_figure
from likewise.evaluation.ranks import Relevant, ranked_blocks
from likewise.search.exact import vectors

__all__ = ["RETRIEVAL_FIGURES", "QueryScores", "retrieval", "retrieval_scores"]

_Floats = NDArray[np.float64]


def _recall(relevant: Relevant, k: int) -> Tensor:
    return (relevant.ranks[:, :1] <= k).any(1).double()


def _precision(relevant: Relevant, k: int) -> Tensor:
    return (relevant.ranks <= k).sum(1).double() / k


def _r_precision(relevant: Relevant) -> Tensor:
    return (relevant.ranks <= relevant.count[:, None]).sum(1).double() / relevant.count


def _bulls_eye(relevant: Relevant) -> Tensor:
    return (relevant.ranks <= 2 * relevant.count[:, None]).sum(1).double() / relevant.count


def _precisions(relevant: Relevant) -> Tensor:
    """``i / r_i``, (rows, P), 0 beyond R."""
    place = torch.arange(1, relevant.ranks.shape[1] + 1, device=relevant.ranks.device)
    return (place / relevant.ranks.double()).masked_fill(relevant.ranks == Relevant.padding, 0)


def _map_at_r(relevant: Relevant) -> Tensor:
    within = relevant.ranks <= relevant.count[:, None]
    return (_precisions(relevant) * within).sum(1) / relevant.count


def _mean_average_precision(relevant: Relevant) -> Tensor:
    return _precisions(relevant).sum(1) / relevant.count


def _reciprocal_rank(relevant: Relevant) -> Tensor:
    return _precisions(relevant)[:, 0]


def _ndcg(relevant: Relevant) -> Tensor:
    gains = 1 / torch.log2(1 + relevant.ranks.double())
    gains = gains.masked_fill(relevant.ranks == Relevant.padding, 0)
    place = torch.arange(1, relevant.ranks.shape[1] + 1, device=gains.device)
    best = (1 / torch.log2(1 + place.double())) * (place <= relevant.count[:, None])
    return gains.sum(1) / best.sum(1)


_AT_K: dict[str, Callable[[Relevant, int], Tensor]] = {"precision": _precision, "recall": _recall}
_AT_R: dict[str, tuple[int, Callable[[Relevant], Tensor]]] = {
    "bulls_eye": (2, _bulls_eye),
    "map@r": (1, _map_at_r),
    "r_precision": (1, _r_precision),
}
_FULL: dict[str, Callable[[Relevant], Tensor]] = {
    "map": _mean_average_precision,
    "mrr": _reciprocal_rank,
    "ndcg": _ndcg,
}

RETRIEVAL_FIGURES = tuple(sorted([*_AT_K, *_AT_R, *_FULL]))
"""Names that ``figures=`` of :func:`retrieval` takes; "recall" stands for recall@k at every k of ``ks``."""


@dataclass(frozen=True)
class _Wanted:
    name: str
    k: int  # ranks are read up to the largest of k and times_r * R, or all of them
    times_r: int
    full: bool
    scores: Callable[[Relevant], Tensor]


def _wanted(figures: Iterable[str] | None, ks: Sequence[int]) -> list[_Wanted]:
    names = ["recall", "precision", "map@r", "r_precision"] if figures is None else list(figures)
    out: dict[str, _Wanted] = {}
    for name in names:
        kind, at, k_text = name.partition("@")
        if name in _AT_R:
            out[name] = _Wanted(name, 0, _AT_R[name][0], False, _AT_R[name][1])
        elif name in _FULL:
            out[name] = _Wanted(name, 0, 0, True, _FULL[name])
        elif kind in _AT_K and (not at or (k_text.isdigit() and int(k_text) > 0)):
            for k in [int(k_text)] if at else ks:
                out[f"{kind}@{k}"] = _Wanted(f"{kind}@{k}", k, 0, False, _at_k(_AT_K[kind], k))
        else:
            raise InputError(f"figures must be of {', '.join(RETRIEVAL_FIGURES)}; found {name!r}")
    if not out:
        raise InputError("figures must name at least one figure; found none")
    return list(out.values())


def _at_k(scores: Callable[[Relevant, int], Tensor], k: int) -> Callable[[Relevant], Tensor]:
    return lambda relevant: scores(relevant, k)


@dataclass(frozen=True)
class QueryScores:
    """Every figure of every query that has a match: what reports, slices and comparisons are made of.

    ``scores`` holds for each figure an array (q,); ``queries`` (q,) are positions in the embeddings and
    ``codes`` (q,) their classes, as positions in ``classes``; ``rivals`` (q, V) are the nearest other
    classes, which a query's success hangs on too, and ``changes`` holds for each figure by how much it
    would change without each of them (q, V).
    """

    scores: Mapping[str, _Floats]
    queries: NDArray[np.int64]
    codes: NDArray[np.int64]
    rivals: NDArray[np.int32]
    changes: Mapping[str, NDArray[np.float32]]
    classes: NDArray[Any]
    counts: Mapping[str, int]

    def figure(self, name: str, where: NDArray[np.bool_] | None = None) -> Figure:
        """The mean of one figure, over the queries chosen by ``where`` (q,) or all."""
        chosen = slice(None) if where is None else where
        return linked_figure(
            self.scores[name][chosen],
            self.codes[chosen],
            self.rivals[chosen],
            changes=self.changes[name][chosen],
        )

    def report(self) -> Report:
        """All figures over all queries."""
        return Report("retrieval", {name: self.figure(name) for name in self.scores}, self.counts)

    def slices(self, values: Any) -> dict[str, Report]:
        """A report for each value of a column of metadata, one value for each embedding (n,).

        The gallery stays whole: a slice says how its queries fare among everything.
        """
        codes, names = class_codes(values, "values")
        check_lengths(len(codes), self.counts["items"], "values", "embeddings")
        out = {}
        for value in np.unique(codes[self.queries]):
            where = codes[self.queries] == value
            figures = {name: self.figure(name, where) for name in self.scores}
            out[str(names[value])] = Report(
                f"retrieval, {names[value]}", figures, {"queries": int(where.sum())}
            )
        return out


@torch.no_grad()
def retrieval(
    embeddings: Any,
    labels: Any,
    *,
    gallery: Any = None,
    gallery_labels: Any = None,
    ids: Any = None,
    gallery_ids: Any = None,
    distance: str | Distance = "euclidean",
    ks: Sequence[int] = (1, 2, 4, 8),
    figures: Iterable[str] | None = None,
) -> Report:
    """How well queries find their own class: recall@k, precision@k, MAP@R, R-precision, and others by name.

    Definitions, denominators and the treatment of ties stand at the head of this module.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        The queries; also the gallery when none is given, and then no query finds itself.
    labels : integers or strings (n,)
        Compared exactly. _Floats are refused.
    gallery : array or Tensor (m, d), optional
    gallery_labels : integers or strings (m,), optional
    ids, gallery_ids : integers or strings (n,), (m,), optional
        With a gallery: what each item is called. A query doesn't find the item of its own id. Ids of one
        side are all different.
    distance : str or Distance
        "euclidean", "squared_euclidean", "cosine", "cityblock", "hamming" or a distance of likewise.
    ks : sequence of int
        For recall@k and precision@k.
    figures : names, optional
        Of :data:`RETRIEVAL_FIGURES`, or with a k of their own ("recall@10"). recall, precision, map@r
        and r_precision when not given; "map", "mrr" and "ndcg" rank the whole gallery and cost more.

    Returns
    -------
    Report
        Each figure with a 95 % interval over classes; counts of queries, gallery items, classes and
        queries without a match.

    Raises
    ------
    DataError
        NaN, lengths that differ, float labels, one item only, an id twice, or no query with a match.

    >>> report = retrieval([[0.0], [0.1], [5.0], [5.1], [0.2]], ["a", "a", "b", "b", "c"])
    >>> report["recall@1"].value, report.counts["queries without a match"]
    (1.0, 1)

    References
    ----------
    Musgrave, Belongie, Lim (2020), A Metric Learning Reality Check.
    """
    scores = retrieval_scores(
        embeddings,
        labels,
        gallery=gallery,
        gallery_labels=gallery_labels,
        ids=ids,
        gallery_ids=gallery_ids,
        distance=distance,
        ks=ks,
        figures=figures,
    )
    return scores.report()


@torch.no_grad()
def retrieval_scores(
    embeddings: Any,
    labels: Any,
    *,
    gallery: Any = None,
    gallery_labels: Any = None,
    ids: Any = None,
    gallery_ids: Any = None,
    distance: str | Distance = "euclidean",
    ks: Sequence[int] = (1, 2, 4, 8),
    figures: Iterable[str] | None = None,
) -> QueryScores:
    """What :func:`retrieval` averages: the score of each query. For slices and paired comparisons.

    >>> scores = retrieval_scores([[0.0], [0.1], [5.0], [5.1]], [1, 1, 2, 2], figures=["recall@1"])
    >>> {value: report["recall@1"].value for value, report in scores.slices(["x", "y", "x", "y"]).items()}
    {'x': 1.0, 'y': 1.0}
    """
    measure = distance_from_name(distance)
    chosen = _wanted(figures, [positive_integer(k, "ks") for k in ks])
    rows = vectors(embeddings)
    if (ids is None) != (gallery_ids is None) or (ids is not None and gallery is None):
        raise InputError("ids and gallery_ids must be given together, and with a gallery; found one alone")
    if (gallery is None) != (gallery_labels is None):
        raise InputError("gallery and gallery_labels must be given together; found only one of them")
    columns = rows if gallery is None else vectors(gallery, "gallery")
    if gallery is None:
        (codes,), classes = class_codes_jointly([labels], ["labels"])
        column_codes = codes
        if len(rows) < 2:
            raise DataError("embeddings must hold at least two items, or a gallery be given; found one")
    else:
        (codes, column_codes), classes = class_codes_jointly(
            [labels, gallery_labels], ["labels", "gallery_labels"]
        )
        check_lengths(len(column_codes), len(columns), "gallery_labels", "gallery")
    check_lengths(len(codes), len(rows), "labels", "embeddings")
    exclude = (
        np.arange(len(rows)) if gallery is None else _own_places(ids, gallery_ids, len(rows), len(columns))
    )
    relevant = np.bincount(column_codes, minlength=len(classes))[codes]
    if exclude is not None:
        relevant = relevant - ((exclude >= 0) & (column_codes[exclude] == codes))
    if not np.any(relevant > 0):
        raise DataError(
            "labels must give some query a match; found none, as every class has too few items in the gallery"
        )
    device = rows.device
    query_codes, gallery_codes = torch.as_tensor(codes).to(device), torch.as_tensor(column_codes).to(device)
    depth = None
    if not any(wanted.full for wanted in chosen):
        depth = max(max(wanted.k, wanted.times_r * int(relevant.max())) for wanted in chosen)
    queries = np.flatnonzero(relevant > 0)
    found = _Found(len(queries), [wanted.name for wanted in chosen])
    for block in ranked_blocks(
        rows,
        columns,
        query_codes,
        gallery_codes,
        distance=measure,
        exclude=None if exclude is None else torch.as_tensor(exclude),
        depth=depth,
    ):
        asked = block.count > 0
        if bool(asked.any()):
            found.add(block.chosen(asked), query_codes[block.start : block.stop][asked], chosen)
    counts = {
        "queries": len(queries),
        "items": len(rows),
        "gallery": len(columns),
        "classes": len(np.unique(codes[queries])),
        "queries without a match": len(rows) - len(queries),
    }
    if ids is not None and exclude is not None:
        counts["queries in the gallery"] = int((exclude >= 0).sum())
    counts |= zero_vectors(measure, *([rows] if gallery is None else [rows, columns]))
    return QueryScores(found.scores, queries, codes[queries], found.rivals, found.changes, classes, counts)


class _Found:
    """The scores of so many queries, filled a block at a time, so that nothing is held twice."""

    def __init__(self, n: int, names: Sequence[str]) -> None:
        self.scores = {name: np.empty(n) for name in names}
        self.changes = {name: np.empty((n, 0), dtype=np.float32) for name in names}
        self.rivals = np.empty((n, 0), dtype=np.int32)
        self._filled = 0

    def add(self, ranked: Relevant, codes: Tensor, chosen: Sequence[_Wanted]) -> None:
        """The next queries, with their classes (rows,)."""
        n, width = len(self.rivals), ranked.rivals.shape[1]
        if self._filled == 0:
            self.rivals = np.empty((n, width), dtype=np.int32)
            self.changes = {name: np.empty((n, width), dtype=np.float32) for name in self.changes}
        here = slice(self._filled, self._filled + len(codes))
        self._filled = here.stop
        # The own class stands for no rival: a change of 0 there says nothing.
        self.rivals[here] = torch.where(ranked.rivals < 0, codes[:, None], ranked.rivals).cpu().numpy()
        # Without a rival nothing changes where no other class lies ahead of the last item that was found.
        there = ranked.ranks != Relevant.padding
        moves = torch.where(there, ranked.ranks, 0).amax(1) > there.sum(1)
        some, mask = ranked.chosen(moves), moves.cpu().numpy()
        without = some.without_rivals()
        for wanted in chosen:
            own, changes = wanted.scores(ranked), self.changes[wanted.name][here]
            self.scores[wanted.name][here], changes[~mask] = own.cpu().numpy(), 0
            moved = wanted.scores(without).view(width, len(some.ranks)) - own[moves]
            changes[mask] = moved.T.float().cpu().numpy()


def _own_places(ids: Any, gallery_ids: Any, n: int, m: int) -> NDArray[np.int64] | None:
    """The gallery place (n,) of each query's own id, -1 where it isn't there; None without ids."""
    if ids is None:
        return None
    sides = class_codes_jointly([ids, gallery_ids], ["ids", "gallery_ids"])
    (own, other), names = sides
    check_lengths(len(own), n, "ids", "embeddings")
    check_lengths(len(other), m, "gallery_ids", "gallery")
    for codes, name in ((own, "ids"), (other, "gallery_ids")):
        times = np.bincount(codes)
        if times.max() > 1:
            twice = names.tolist()[int(times.argmax())]
            raise DataError(f"{name} must all be different; found {twice!r} {int(times.max())} times")
    places = np.full(len(names), -1, dtype=np.int64)
    places[other] = np.arange(m)
    return places[own]
