"""The health of an embedding: what can be wrong with it whatever its retrieval figures say.

- ``alignment``: mean squared distance of items of one class, at unit length (Wang, Isola 2020, eq. 4
  with alpha = 2); smaller is tighter.
- ``uniformity``: log mean ``exp(-2 |x - y|^2)`` over pairs at unit length (eq. 5 with t = 2); 0 is one
  point, -4 the least that is possible.
- ``effective_rank``: ``exp`` of the entropy of the singular values of the centred embeddings, divided by
  their sum (Roy, Vetterli 2007): how many directions are in use.
- ``hubness``: skewness of how often an item is among the 10 nearest of others (Radovanovic, Nanopoulos,
  Ivanovic 2010, eq. 1); above about 1 a few items are everybody's neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.distances import unit_rows
from likewise.errors import DataError
from likewise.evaluation.inputs import paired_vectors
from likewise.evaluation.pairs import verification_pairs
from likewise.search.exact import nearest_blocks, vectors

__all__ = ["Health", "control_embeddings", "effective_rank", "embedding_health", "hubness"]

_SPREAD_OF_A_POINT = 1e-3
_RANK_OF_A_LINE = 2.0


@dataclass(frozen=True)
class Health:
    """Figures of one embedding, without intervals: they describe these items, not a population."""

    alignment: float
    uniformity: float
    effective_rank: float
    hubness: float
    spread: float
    dimension: int
    alarms: tuple[str, ...]

    @property
    def collapsed(self) -> bool:
        """Whether an alarm was raised."""
        return bool(self.alarms)


@torch.no_grad()
def embedding_health(embeddings: Any, labels: Any, *, n_pairs: int = 200_000, seed: int = 0) -> Health:
    """Alignment, uniformity, effective rank, hubness, and alarms.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
        Two items of one class and two classes at least.
    n_pairs, seed : int
        Pairs are sampled for alignment and uniformity where there are more.

    Returns
    -------
    Health
        ``spread`` is the root mean squared distance from the mean, over the root mean squared norm. An
        alarm is raised where it is below 1e-3 (all items are nearly one point), and where the
        effective rank is below 2 of 8 or more dimensions (all items are nearly on a line).

    >>> embedding_health([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 0, 1, 1]).alignment
    0.0
    """
    rows, codes, _ = paired_vectors(embeddings, labels)
    pairs = verification_pairs(
        unit_rows(rows), codes, n_pairs=n_pairs, seed=seed, distance="squared_euclidean"
    )
    squared = pairs.distances.astype(np.float64)
    # Pairs of one class are drawn more often than they come: weigh both kinds as in all pairs.
    sizes = np.bincount(codes).astype(np.float64)
    n_alike = float((sizes * (sizes - 1) / 2).sum())
    n_unlike = len(codes) * (len(codes) - 1) / 2 - n_alike
    kernel = np.exp(-2 * squared)
    total = n_alike * kernel[pairs.same].mean() + n_unlike * kernel[~pairs.same].mean()
    norm = float(torch.linalg.vector_norm(rows.double()) / len(rows) ** 0.5)
    off = float(torch.linalg.vector_norm(rows.double() - rows.double().mean(0)) / len(rows) ** 0.5)
    spread = off / norm if norm else 0.0
    rank = effective_rank(rows)
    alarms = []
    if spread < _SPREAD_OF_A_POINT:
        alarms.append(f"collapsed: all items lie within {spread:.1e} of their mean, relative to their norm")
    elif rows.shape[1] >= 8 and rank < _RANK_OF_A_LINE:
        alarms.append(f"collapsed: {rank:.2f} of {rows.shape[1]} directions are in use")
    return Health(
        alignment=float(squared[pairs.same].mean()),
        uniformity=float(np.log(total / (n_alike + n_unlike))),
        effective_rank=rank,
        hubness=hubness(rows),
        spread=spread,
        dimension=rows.shape[1],
        alarms=tuple(alarms),
    )


def effective_rank(embeddings: Any) -> float:
    """``exp(-sum p log p)`` of the centred embeddings' singular values over their sum; 0 for one point.

    >>> round(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
    2.0
    """
    rows = vectors(embeddings).double()
    values = torch.linalg.svdvals(rows - rows.mean(0)) if len(rows) > 1 else torch.zeros(1)
    total = float(values.sum())
    if total <= 1e-12 * float(rows.abs().sum()):
        return 0.0
    share = values[values > 0] / total
    return float(torch.exp(-(share * share.log()).sum()))


@torch.no_grad()
def hubness(embeddings: Any, *, neighbours: int = 10) -> float:
    """Skewness of the number of times each item is among the nearest of others; 0 where all are equal."""
    rows = vectors(embeddings)
    if len(rows) < 3:
        raise DataError(f"embeddings must hold at least three items for hubness; found {len(rows)}")
    k = min(neighbours, len(rows) - 1)
    times = torch.zeros(len(rows), dtype=torch.float64)
    for block in nearest_blocks(rows, rows, k, exclude=torch.arange(len(rows))):
        times += torch.bincount(block.indices.flatten().cpu(), minlength=len(rows))
    deviation = times - times.mean()
    scale = float(deviation.square().mean().sqrt())
    return float(deviation.pow(3).mean()) / scale**3 if scale else 0.0


@torch.no_grad()
def control_embeddings(train: Any, test: Any) -> dict[str, Tensor]:
    """What a rescaling of raw features gives already: the plain rows to hold a learned embedding against.

    "raw" is ``test`` as it is; "standardised" divides each feature by its deviation in ``train``;
    "whitened" rotates onto the principal components of ``train`` and divides each by its deviation,
    without components below 1e-4 of the largest.

    Parameters
    ----------
    train, test : arrays or Tensors (n, d), (m, d)

    >>> sorted(control_embeddings([[0.0, 1.0], [2.0, 5.0], [4.0, 4.0]], [[1.0, 1.0]]))
    ['raw', 'standardised', 'whitened']
    """
    fitted, rows = vectors(train, "train").double(), vectors(test, "test")
    if fitted.shape[1] != rows.shape[1]:
        raise DataError(
            f"train and test must have the same dimension; found {fitted.shape[1]} and {rows.shape[1]}"
        )
    mean, deviation = fitted.mean(0), fitted.std(0, correction=0)
    centred = rows.double() - mean
    standardised = centred / torch.where(deviation > 0, deviation, torch.inf)
    _, values, components = torch.linalg.svd(fitted - mean, full_matrices=False)
    kept = values > 1e-4 * values.max()
    whitened = centred @ components[kept].T / (values[kept] / len(fitted) ** 0.5)
    return {"raw": rows, "standardised": standardised.to(rows.dtype), "whitened": whitened.to(rows.dtype)}
