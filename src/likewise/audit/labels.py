"""Likely wrong labels: items whose own class lies farther off than another.

Each item is judged by all the others and never by itself (leave-one-out cross-validation): of each class
the three nearest items are taken, and their distances averaged as logarithms. The score is ``log d_own -
min_c log d_c`` over the other classes c: above 0 another class is nearer than the item's own. Three, so
that one neighbour that is itself mislabelled decides nothing. What it doesn't know: an encoder trained on
the very labels that are doubted has learned some of the mistakes and hides them; audit with an encoder
that has not seen them, or with raw features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError
from likewise.evaluation.inputs import paired_vectors, positive_integer
from likewise.search.exact import nearest

__all__ = ["LabelDoubts", "label_doubts"]

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_WITHIN = 100  # neighbours among which other classes are looked for
_FLOOR = (
    1e-3  # of the median nearest distance: below it distances count alike, so that copies have a logarithm
)


@dataclass(frozen=True)
class LabelDoubts:
    """How doubtful each label is.

    Parameters
    ----------
    score : array (n,)
        ``log d_own - log d_other``; above 0 another class is nearer. NaN for the only item of a class.
    likelier : int array (n,)
        The nearest other class, as a position in ``classes``; the item's own where no other is among its
        hundred nearest neighbours, the farthest of which then stands in.
    witness : int array (n,)
        The nearest item of that class; -1 where there is none.
    classes : array (C,)
    """

    score: _Floats
    likelier: _Integers
    witness: _Integers
    classes: NDArray[Any]

    def order(self) -> _Integers:
        """Rows from the most to the least doubtful; those that can't be judged last."""
        return np.argsort(-np.nan_to_num(self.score, nan=-np.inf), kind="stable")


@torch.no_grad()
def label_doubts(
    embeddings: Any, labels: Any, *, distance: str | Distance = "euclidean", neighbours: int = 3
) -> LabelDoubts:
    """Judge every label by the nearest items of its own class and of the others.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
        At least two classes.
    distance : str or Distance
    neighbours : int
        How many items stand for a class.

    Raises
    ------
    DataError
        NaN, lengths that differ, or one class only.

    >>> doubts = label_doubts([[0.0], [0.1], [0.2], [0.15], [5.0], [5.1]], list("aaabbb"))
    >>> int(doubts.order()[0]), str(doubts.classes[doubts.likelier[3]])
    (3, 'a')
    """
    m = positive_integer(neighbours, "neighbours")
    measure = distance_from_name(distance)
    rows, codes, classes = paired_vectors(embeddings, labels)
    if len(classes) < 2:
        raise DataError("labels must have at least two classes for a label to be doubted; found one")
    n = len(rows)
    k = min(max(_WITHIN, 4 * m), n - 1)
    found = nearest(rows, rows, k, distance=measure, exclude=torch.arange(n))
    near = found.indices.cpu().numpy()
    distances = found.distances.double().cpu().numpy()
    shift = _FLOOR * float(np.median(distances[:, 0]))
    floor = max(shift, float(np.finfo(np.float64).tiny) ** 0.5)
    logs = np.log(np.maximum(distances, 0) + floor)
    own = _own_logs(rows, codes, m, measure, floor)
    return LabelDoubts(*_against_others(own, logs, near, codes, m), classes)


def _own_logs(rows: Tensor, codes: _Integers, m: int, distance: Distance, floor: float) -> _Floats:
    """The mean log distance to the m nearest of the own class; NaN for the only item of one."""
    out = np.full(len(codes), np.nan)
    order = np.argsort(codes, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(members) < 2:
            continue
        of_class = rows[torch.as_tensor(members).to(rows.device)]
        within = nearest(
            of_class,
            of_class,
            min(m, len(members) - 1),
            distance=distance,
            exclude=torch.arange(len(members)),
        )
        logs = torch.log(within.distances.double().clamp(min=0) + floor).mean(1)
        out[members] = logs.cpu().numpy()
    return out


def _against_others(
    own: _Floats, logs: _Floats, near: _Integers, codes: _Integers, m: int
) -> tuple[_Floats, _Integers, _Integers]:
    """Score, likelier class and its nearest item; classes seen less than m times are filled up."""
    n, k = near.shape
    classes = codes[near]
    # Sorted by class within each row, so that a class's neighbours stand together, nearest first.
    order = np.argsort(classes, axis=1, kind="stable")
    grouped = np.take_along_axis(classes, order, 1)
    values = np.take_along_axis(logs, order, 1)
    place = np.arange(k)
    starts = np.ones((n, k), dtype=bool)
    starts[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    total = np.zeros((n, k))
    last = logs[:, -1:]
    for step in range(m):
        at = np.minimum(place + step, k - 1)
        there = (place + step < k) & (first[:, at] == place)
        total += np.where(there, values[:, at], last)
    mean = np.where(starts & (grouped != codes[:, None]), total / m, np.inf)
    best = mean.argmin(1)
    rows = np.arange(n)
    least = mean[rows, best]
    other = np.isfinite(least)
    score = own - np.where(other, least, last[:, 0])
    witness = np.where(other, np.take_along_axis(near, order, 1)[rows, best], -1)
    return score, np.where(other, grouped[rows, best], codes), witness
