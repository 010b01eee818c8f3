"""Better orders at query time: expanding the query by what it found, and k-reciprocal re-ranking.

Both look at the neighbours of a query once more. Neither moves an embedding: distances that are reported
stay the model's own, only the order changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Cosine, Distance
from likewise.errors import InputError

__all__ = ["KReciprocal", "QueryExpansion", "averaged", "expanded", "k_reciprocal_order"]


@dataclass(frozen=True)
class QueryExpansion:
    """The query's embedding averaged with those of its neighbours.

    ``q' = q + sum_i s_i^alpha x_i`` over the ``neighbours`` nearest, with ``s_i`` their cosine with q, cut
    off at 0; unit vectors throughout when the distance is :class:`~likewise.distances.Cosine`. With
    ``alpha=0`` it is the plain average (O. Chum et al., *Total recall*, 2007, section 4.1); else that of
    F. Radenovic, G. Tolias, O. Chum, *Fine-tuning CNN image retrieval with no human annotation*, 2019,
    section 3.3, who take alpha = 3.

    Parameters
    ----------
    neighbours : int >= 1
    alpha : float >= 0
    """

    neighbours: int = 5
    alpha: float = 3.0

    def __post_init__(self) -> None:
        if isinstance(self.neighbours, bool) or not isinstance(self.neighbours, int) or self.neighbours < 1:
            raise InputError(f"neighbours must be a whole number of at least 1; found {self.neighbours!r}")
        if not 0 <= self.alpha < np.inf:
            raise InputError(f"alpha must be at least 0; found {self.alpha!r}")


@dataclass(frozen=True)
class KReciprocal:
    """Re-ranking by shared k-reciprocal neighbours.

    The order is that of ``(1 - weight) d_J + weight d`` (Z. Zhong et al., *Re-ranking person
    re-identification with k-reciprocal encoding*, 2017, eq. 12): ``d`` the model's distance divided by the
    largest of its row, ``d_J`` the Jaccard distance (eq. 10) of the expanded reciprocal sets (eq. 5),
    weighted by ``exp(-d)`` (eq. 7) and averaged over ``k2`` neighbours (eq. 11).

    Parameters
    ----------
    k1, k2 : int >= 1
        Neighbours that make a reciprocal set, and that are averaged over.
    weight : float in [0, 1]
        Of the model's distance; lambda in the paper.
    candidates : int >= 1
        The paper works on all of the gallery; here on this many nearest of each query, which costs
        candidates^2 distances a query. As many as there are records is the paper's own.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    candidates: int = 100

    def __post_init__(self) -> None:
        for name in ("k1", "k2", "candidates"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1; found {value!r}")
        if not 0 <= self.weight <= 1:
            raise InputError(f"weight must lie in [0, 1]; found {self.weight!r}")


def averaged(queries: NDArray[np.float32], *, distance: Distance) -> NDArray[np.float32]:
    """The mean (1, d) of the embeddings (n, d) of several queries that are one: views of one thing.

    Of unit vectors when the distance is :class:`~likewise.distances.Cosine`, so that each counts the same.

    Raises
    ------
    InputError
        There are none, or unit vectors that cancel each other out.

    >>> from likewise.distances import Euclidean
    >>> averaged(np.float32([[2, 0], [0, 2]]), distance=Euclidean())
    array([[1., 1.]], dtype=float32)
    """
    if not len(queries):
        raise InputError("a query of several items needs at least one; found none")
    rows = queries.astype(np.float64)
    mean = (_unit(rows) if isinstance(distance, Cosine) and len(rows) > 1 else rows).mean(0, keepdims=True)
    if isinstance(distance, Cosine) and len(rows) > 1 and np.linalg.norm(mean) < 1e-6:
        raise InputError("the items of the query cancel each other out; ask for each alone")
    out: NDArray[np.float32] = mean.astype(np.float32)
    return out


def expanded(
    query: NDArray[np.float32],
    neighbours: NDArray[np.float32],
    *,
    expansion: QueryExpansion,
    distance: Distance,
) -> NDArray[np.float32]:
    """The expanded embedding (d,) of a query (d,) with its neighbours (m, d).

    >>> from likewise.distances import Euclidean
    >>> once = QueryExpansion(neighbours=1, alpha=0)
    >>> expanded(np.float32([2, 0]), np.float32([[0, 2]]), expansion=once, distance=Euclidean())
    array([1., 1.], dtype=float32)
    """
    q, x = query.astype(np.float64), neighbours.astype(np.float64)
    unit_q, unit_x = _unit(q[None])[0], _unit(x)
    weights = np.clip(unit_x @ unit_q, 0, None) ** expansion.alpha if expansion.alpha else np.ones(len(x))
    if isinstance(distance, Cosine):
        q, x = unit_q, unit_x
    # Divided, so that a Euclidean query stays among its neighbours; a cosine doesn't see it.
    out: NDArray[np.float32] = ((q + weights @ x) / (1 + weights.sum())).astype(np.float32)
    return out


def k_reciprocal_order(
    query: NDArray[np.float32],
    candidates: NDArray[np.float32],
    *,
    reranking: KReciprocal,
    distance: Distance,
) -> NDArray[np.int64]:
    """The candidates' new order (m,): positions in ``candidates`` (m, d), nearest of all first.

    Parameters
    ----------
    query : float32 array (d,)
    candidates : float32 array (m, d)
        In the order of their distance to the query.
    reranking : KReciprocal
    distance : Distance
        Not negative, and symmetric.
    """
    points = torch.from_numpy(np.concatenate([query[None], candidates]))
    with torch.inference_mode():
        table = distance.table(points, points).double().numpy()
    largest = table.max(axis=1, keepdims=True)
    table = table / np.where(largest > 0, largest, 1)
    ranks = np.argsort(table, axis=1, kind="stable")
    k1, k2 = min(reranking.k1, len(table) - 1), min(reranking.k2, len(table))
    weights = _encoded(table, ranks, k1)
    if k2 > 1:
        weights = weights[ranks[:, :k2]].mean(axis=1)
    shared = np.minimum(weights[0], weights[1:]).sum(axis=1)
    union = np.maximum(weights[0], weights[1:]).sum(axis=1)
    jaccard = 1 - shared / np.where(union > 0, union, 1)
    score = (1 - reranking.weight) * jaccard + reranking.weight * table[0, 1:]
    order: NDArray[np.int64] = np.argsort(score, kind="stable")
    return order


def _encoded(table: NDArray[np.float64], ranks: NDArray[np.int64], k1: int) -> NDArray[np.float64]:
    """Each point's weights on its expanded k-reciprocal set; (n, n), rows that sum to 1."""
    near, half_near = _reciprocal(ranks, k1), _reciprocal(ranks, round(k1 / 2))
    weights = np.zeros_like(table)
    for point, own in enumerate(near):
        members = own.copy()
        for other in np.flatnonzero(own):
            theirs = half_near[other]
            if (theirs & own).sum() > 2 / 3 * theirs.sum():
                members |= theirs
        weights[point, members] = np.exp(-table[point, members])
    out: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return out


def _reciprocal(ranks: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Where each of two points is among the k nearest of the other, itself counted beyond; (n, n)."""
    near = np.zeros(ranks.shape, dtype=np.bool_)
    np.put_along_axis(near, ranks[:, : k + 1], True, axis=1)
    return near & near.T


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    out: NDArray[np.float64] = vectors / np.where(norms > 0, norms, 1)
    return out
