"""Pairs for verification: all pairs of a labelled set, or a seeded sample of them, with distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import Distance, ProductDistance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.evaluation.figures import Figure
from likewise.evaluation.inputs import (
    check_lengths,
    class_codes_jointly,
    finite_numbers,
    paired_vectors,
    positive_integer,
    sorted_distinct,
    zero_vectors,
)
from likewise.evaluation.intervals import jackknife_figure

__all__ = [
    "PairUnits",
    "VerificationPairs",
    "pair_arrays",
    "pair_distances",
    "pair_units",
    "verification_pairs",
]

_BLOCK_ELEMENTS = 2_000_000
_GROUPS = 50
_Integers = NDArray[np.int64]


@dataclass(frozen=True)
class VerificationPairs:
    """Pairs of items, with what :func:`likewise.evaluation.verification` reads of them.

    ``left`` and ``right`` are positions in the embeddings, ``left_classes`` and ``right_classes`` the
    classes there as numbers; every array is (n_pairs,). ``zero_vectors`` is how many embeddings had no
    direction, under cosine.
    """

    distances: NDArray[np.floating[Any]]
    same: NDArray[np.bool_]
    left: _Integers
    right: _Integers
    left_classes: _Integers
    right_classes: _Integers
    zero_vectors: int = 0


@torch.no_grad()
def verification_pairs(
    embeddings: Any,
    labels: Any,
    *,
    n_pairs: int = 1_000_000,
    seed: int = 0,
    distance: str | Distance = "euclidean",
) -> VerificationPairs:
    """All pairs of different items, or a sample where there are more than ``n_pairs``.

    The sample has all pairs of one class, or ``n_pairs // 2`` of them drawn where there are more, and
    pairs of two classes for the rest; both are drawn uniformly and without replacement.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
    n_pairs, seed : int
    distance : str or Distance
        An asymmetric one is taken from the earlier item to the later.

    Raises
    ------
    DataError
        No pair of one class, or no pair of two.

    >>> pairs = verification_pairs([[0.0], [1.0], [5.0]], ["a", "a", "b"])
    >>> pairs.distances.tolist(), pairs.same.tolist()
    ([1.0, 5.0, 4.0], [True, False, False])
    """
    n_pairs = positive_integer(n_pairs, "n_pairs", least=2)
    measure = distance_from_name(distance)
    rows, codes, _ = paired_vectors(embeddings, labels)
    n = len(codes)
    sizes = np.bincount(codes)
    n_alike = int((sizes * (sizes - 1) // 2).sum())
    n_unlike = n * (n - 1) // 2 - n_alike
    if n_alike == 0:
        raise DataError("labels must give a class two items for a pair of one class to exist; found none")
    if n_unlike == 0:
        raise DataError("labels must have two classes for a pair of different classes to exist; found one")
    if n_alike + n_unlike <= n_pairs:
        left, right = np.triu_indices(n, 1)
    else:
        generator = np.random.default_rng(seed)
        alike = _alike(generator, codes, min(n_alike, n_pairs // 2))
        unlike = _unlike(generator, codes, min(n_unlike, n_pairs - len(alike)), n_unlike)
        left, right = np.divmod(np.concatenate([alike, unlike]), n)
    return VerificationPairs(
        pair_distances(rows, left, right, measure),
        codes[left] == codes[right],
        left.astype(np.int64),
        right.astype(np.int64),
        codes[left],
        codes[right],
        zero_vectors(measure, rows).get("zero vectors", 0),
    )


def pair_distances(
    rows: Tensor, left: _Integers, right: _Integers, distance: Distance
) -> NDArray[np.floating[Any]]:
    """The distance of each pair of rows, by subtraction in float64, in the rows' precision."""
    product = isinstance(distance, ProductDistance)
    out: NDArray[np.floating[Any]] = np.empty(
        len(left), dtype=np.float64 if rows.dtype == torch.float64 else np.float32
    )
    u = distance.features(rows) if isinstance(distance, ProductDistance) else rows
    v = distance.column_features(rows) if isinstance(distance, ProductDistance) else rows
    step = max(1, _BLOCK_ELEMENTS // u.shape[1])
    for start in range(0, len(left), step):
        x = u[torch.as_tensor(left[start : start + step]).to(u.device)]
        y = v[torch.as_tensor(right[start : start + step]).to(v.device)]
        if product and isinstance(distance, ProductDistance):
            block = distance.form.pairs(x.double(), y.double())
        else:
            block = distance(x, y)
        out[start : start + step] = block.cpu().numpy()
    if np.isnan(out).any():
        raise DataError(f"distance {type(distance).__name__} must give numbers; found NaN")
    return out


def _distinct(generator: np.random.Generator, wanted: int, draw: Any) -> _Integers:
    """``wanted`` distinct numbers, from ``draw(count)`` again and again; sorted."""
    found = np.empty(0, dtype=np.int64)
    while len(found) < wanted:
        found = sorted_distinct(np.concatenate([found, draw(int((wanted - len(found)) * 1.1) + 16)]))
    return np.sort(generator.choice(found, wanted, replace=False))


def _alike(generator: np.random.Generator, codes: _Integers, wanted: int) -> _Integers:
    """Pairs of one class as ``left * n + right``, drawn without replacement."""
    n = len(codes)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    first = np.cumsum(sizes) - sizes
    per_class = sizes * (sizes - 1) // 2
    ends = np.cumsum(per_class)

    def pairs(rank: _Integers) -> _Integers:
        # Pair number r of a class, in the order (1,0), (2,0), (2,1), (3,0), ...
        c = np.searchsorted(ends, rank, side="right")
        r = rank - (ends[c] - per_class[c])
        j = ((1 + np.sqrt(8.0 * r + 1)) / 2).astype(np.int64)
        j -= (j * (j - 1) // 2 > r).astype(np.int64)
        j += (j * (j + 1) // 2 <= r).astype(np.int64)
        i = r - j * (j - 1) // 2
        out: _Integers = order[first[c] + i] * n + order[first[c] + j]
        return out

    if 2 * wanted > ends[-1]:
        return np.sort(pairs(generator.choice(int(ends[-1]), wanted, replace=False)))
    return _distinct(generator, wanted, lambda count: pairs(generator.integers(0, ends[-1], count)))


def _unlike(generator: np.random.Generator, codes: _Integers, wanted: int, total: int) -> _Integers:
    """Pairs of two classes as ``left * n + right``, drawn without replacement."""
    n = len(codes)
    if 2 * wanted > total:
        later = [i * n + i + 1 + np.flatnonzero(codes[i + 1 :] != codes[i]) for i in range(n)]
        return np.sort(generator.choice(np.concatenate(later), wanted, replace=False))
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    first = np.cumsum(sizes) - sizes
    partners = np.cumsum((n - sizes)[codes])  # how many unlike partners the items up to here have

    def draw(count: int) -> _Integers:
        rank = generator.integers(0, partners[-1], count)
        i = np.searchsorted(partners, rank, side="right")
        c = codes[i]
        place = rank - (partners[i] - (n - sizes[c]))
        j = order[np.where(place < first[c], place, place + sizes[c])]
        return np.minimum(i, j) * n + np.maximum(i, j)

    return _distinct(generator, wanted, draw)


@dataclass(frozen=True)
class PairUnits:
    """What an interval over pairs leaves out in turn: a class with all its pairs, or a fiftieth of them."""

    members: list[_Integers]
    unit: str
    n_units: int

    def figure(
        self, value: float, left_out: list[float], note: str = "", bounds: tuple[float, float] = (0.0, 1.0)
    ) -> Figure:
        """The figure, given its value without each unit."""
        said = "" if self.unit == "class" else "pairs taken as independent"
        notes = "; ".join(part for part in (note, said) if part)
        return jackknife_figure(
            value, np.array(left_out), bounds=bounds, unit=self.unit, n_units=self.n_units, note=notes
        )


def pair_units(n_pairs: int, left_classes: Any, right_classes: Any) -> PairUnits:
    """The units of so many pairs: the classes on either side, or the pairs where no class is given."""
    if (left_classes is None) != (right_classes is None):
        raise InputError("left_classes and right_classes must be given together; found only one of them")
    pairs = np.arange(n_pairs)
    if left_classes is None:
        # Fifty random parts of one size.
        groups = np.random.default_rng(0).permutation(pairs % min(_GROUPS, n_pairs))
        return PairUnits(_members(groups, pairs), "pair", n_pairs)
    names = ["left_classes", "right_classes"]
    (left, right), classes = class_codes_jointly([left_classes, right_classes], names)
    for codes, name in zip((left, right), names, strict=True):
        check_lengths(len(codes), n_pairs, name, "distances")
    other = np.flatnonzero(left != right)
    members = _members(np.concatenate([left, right[other]]), np.concatenate([pairs, other]))
    return PairUnits(members, "class", len(classes))


def _members(groups: _Integers, pairs: _Integers) -> list[_Integers]:
    order = np.argsort(groups, kind="stable")
    return np.split(pairs[order], np.flatnonzero(np.diff(groups[order])) + 1)


def pair_arrays(
    distances: Any, same: Any, name: str = "distances"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Distances (n,) in float64 and whether each pair is alike (n,), both checked."""
    values = finite_numbers(distances, name)
    truth = np.asarray(same.detach().cpu() if isinstance(same, Tensor) else same)
    check_lengths(len(values), truth.size, name, "same")
    if truth.shape != values.shape or truth.dtype.kind not in "biu" or not np.isin(truth, (0, 1)).all():
        raise DataError(
            f"same must be True or False (1 or 0) for each pair; found {truth.dtype} {truth.shape}"
        )
    alike = truth.astype(bool)
    if alike.all() or not alike.any():
        found = "alike" if alike.all() else "unlike"
        raise DataError(f"same must hold alike and unlike pairs; found {found} pairs only")
    return values, alike
