"""Ranking: does a learned score, or a list of labels, come in the right order.

``spearman`` is the correlation of ranks (ties at their mean rank), ``kendall`` is tau-b, and
``pairwise_accuracy`` is, of the pairs of items that truly differ, the part ordered alike, with equal
predictions counted one half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import (
    check_lengths,
    class_codes,
    class_codes_jointly,
    finite_numbers,
    positive_integer,
)
from likewise.evaluation.intervals import jackknife_figure, ratio_figure
from likewise.search.exact import nearest, vectors

__all__ = ["label_ranking", "pairwise_accuracy", "ranking"]

_GROUPS = 50
_Floats = NDArray[np.float64]


def pairwise_accuracy(predicted: Any, true: Any) -> float:
    """Of the pairs of items that truly differ, the part ordered alike, equal predictions one half.

    >>> pairwise_accuracy([1.0, 2.0, 2.0], [1, 2, 3])
    0.8333333333333334
    """
    from scipy.stats import kendalltau

    x, y = finite_numbers(predicted, "predicted"), finite_numbers(true, "true")
    check_lengths(len(x), len(y), "predicted", "true")
    n_pairs = len(x) * (len(x) - 1) / 2
    tied_x, tied_y = _tied(x[:, None]), _tied(y[:, None])
    differing = n_pairs - tied_y
    if differing == 0:
        raise DataError("true must hold at least two different values; found one")
    if n_pairs == tied_x:
        return 0.5
    tau = float(kendalltau(x, y).statistic)
    # tau_b = (concordant - discordant) / sqrt((pairs - tied_x) (pairs - tied_y))
    excess = round(tau * float(np.sqrt((n_pairs - tied_x) * differing)))
    ordered = n_pairs - tied_x - tied_y + _tied(np.stack([x, y], axis=1))
    concordant = (ordered + excess) / 2
    return float((concordant + (differing - ordered) / 2) / differing)


def _tied(rows: _Floats) -> float:
    counts = np.unique(rows, axis=0, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def ranking(predicted: Any, true: Any, *, groups: Any = None) -> Report:
    """Spearman, Kendall and pairwise accuracy of predicted against true scores.

    Parameters
    ----------
    predicted, true : arrays or Tensors (n,)
        Both larger for more, or both smaller: a distance against a similarity is a negative correlation.
    groups : integers or strings (n,), optional
        What items were drawn by (a source text, a photographer): the intervals' unit. Without them the
        items are taken as independent.

    Returns
    -------
    Report
        "spearman", "kendall", "pairwise_accuracy", each with a 95 % interval.

    Raises
    ------
    DataError
        NaN, lengths that differ, or all values equal.

    >>> ranking([1.0, 2.0, 3.0, 4.0], [10, 20, 40, 30])["spearman"].value
    0.8
    """
    from scipy.stats import kendalltau, spearmanr

    x, y = finite_numbers(predicted, "predicted"), finite_numbers(true, "true")
    check_lengths(len(x), len(y), "predicted", "true")
    for values, name in ((x, "predicted"), (y, "true")):
        if np.all(values == values[0]):
            raise DataError(f"{name} must hold at least two different values; found one")
    if groups is None:
        unit, n_units = "item", len(x)
        codes = np.random.default_rng(0).permutation(np.arange(len(x)) % min(_GROUPS, len(x)))
    else:
        codes, names = class_codes(groups, "groups")
        check_lengths(len(codes), len(x), "groups", "predicted")
        unit, n_units = "group", len(names)
    measures: dict[str, tuple[Callable[[_Floats, _Floats], float], tuple[float, float]]] = {
        "spearman": (lambda a, b: round(float(spearmanr(a, b).statistic), 12), (-1.0, 1.0)),
        "kendall": (lambda a, b: float(kendalltau(a, b).statistic), (-1.0, 1.0)),
        "pairwise_accuracy": (pairwise_accuracy, (0.0, 1.0)),
    }
    figures = {}
    for name, (measure, bounds) in measures.items():
        left_out = []
        for group in range(int(codes.max()) + 1):
            a, b = x[codes != group], y[codes != group]
            varied = len(a) > 1 and bool(np.any(a != a[0])) and bool(np.any(b != b[0]))
            left_out.append(measure(a, b) if varied else np.nan)
        figures[name] = jackknife_figure(
            measure(x, y), np.array(left_out), bounds=bounds, unit=unit, n_units=n_units
        )
    return Report("ranking", figures, {"items": len(x)})


@torch.no_grad()
def label_ranking(
    embeddings: Any,
    labels: Any,
    class_embeddings: Any,
    class_names: Any,
    *,
    ks: Sequence[int] = (1, 2, 5, 10),
    distance: str | Distance = "cosine",
    class_distances: Any = None,
) -> Report:
    """Flat hit@k, and hierarchical precision@k, of the classes nearest to each item.

    ``hit@k``: items whose class is among the k nearest class embeddings / items. ``hierarchical@k``: of
    the k nearest classes, the part in the set of classes that is right for k: the item's class with
    the classes within the least distance in the hierarchy that gives k or more of them.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
        Each one of ``class_names``.
    class_embeddings : array or Tensor (c, d)
        Word vectors or prototypes.
    class_names : integers or strings (c,)
        All different.
    ks : sequence of int
    distance : str or Distance
    class_distances : array (c, c), optional
        How far apart classes are in the hierarchy (edges); without it only hit@k is given.

    References
    ----------
    Frome et al. (2013), DeViSE, section 4.2 and its supplement.
    """
    rows, columns = vectors(embeddings), vectors(class_embeddings, "class_embeddings")
    (codes, class_codes_), classes = class_codes_jointly([labels, class_names], ["labels", "class_names"])
    check_lengths(len(codes), len(rows), "labels", "embeddings")
    check_lengths(len(class_codes_), len(columns), "class_names", "class_embeddings")
    if len(np.unique(class_codes_)) != len(class_codes_):
        raise DataError("class_names must all be different; found one twice")
    if len(classes) != len(class_codes_):
        unknown = classes.tolist()[np.setdiff1d(codes, class_codes_)[0]]
        raise DataError(f"labels must all be among class_names; found {unknown!r}, which is not")
    ks = [positive_integer(k, "ks") for k in ks]
    deepest = min(max(ks), len(columns))
    near = nearest(rows, columns, deepest, distance=distance_from_name(distance)).indices
    found = class_codes_[near.cpu().numpy()]
    n_classes = len(classes)
    asked = np.bincount(codes, minlength=n_classes).astype(np.float64)
    figures = {}
    for k in ks:
        hit = (found[:, :k] == codes[:, None]).any(1)
        figures[f"hit@{k}"] = ratio_figure(_sums(codes, hit, n_classes), asked)
    if class_distances is not None:
        right = _hierarchy(class_distances, class_codes_)
        for k in ks:
            if k > n_classes:
                raise InputError(f"ks must be at most the {n_classes} classes for hierarchical@k; found {k}")
            share = _right_sets(right, k)[codes[:, None], found[:, :k]].mean(1)
            figures[f"hierarchical@{k}"] = ratio_figure(_sums(codes, share, n_classes), asked)
    return Report("label ranking", figures, {"items": len(rows), "classes": n_classes})


def _sums(codes: NDArray[np.int64], values: NDArray[Any], n_classes: int) -> _Floats:
    return np.bincount(codes, weights=values, minlength=n_classes).astype(np.float64)


def _hierarchy(class_distances: Any, codes: NDArray[np.int64]) -> _Floats:
    """Class distances with rows and columns in the order of the codes."""
    given = np.asarray(class_distances, dtype=np.float64)
    if given.shape != (len(codes), len(codes)) or not np.isfinite(given).all() or np.any(np.diag(given) != 0):
        raise DataError(
            f"class_distances must be finite ({len(codes)}, {len(codes)}) with a zero diagonal; found "
            f"{given.shape}"
        )
    place = np.argsort(codes)
    return given[np.ix_(place, place)]


def _right_sets(hierarchy: _Floats, k: int) -> NDArray[np.bool_]:
    """For each class the classes within the least radius that holds k or more, (c, c)."""
    radius = np.sort(hierarchy, axis=1)[:, k - 1]
    return np.asarray(hierarchy <= radius[:, None])
