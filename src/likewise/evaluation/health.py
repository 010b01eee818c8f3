"""The health of an embedding: what can be wrong with it whatever its retrieval figures say.

- ``alignment``: mean squared distance of items of one class, at unit length (Wang, Isola 2020, eq. 4
  with alpha = 2); smaller is tighter.
- ``uniformity``: log mean ``exp(-2 |x - y|^2)`` over pairs at unit length (eq. 5 with t = 2); 0 is one
  point, -4 the least that is possible.
- ``effective_rank``: ``exp`` of the entropy of the singular values of the centred embeddings, divided by
  their sum (Roy, Vetterli 2007): how many directions are in use.
- ``hubness``: skewness of how often an item is among the 10 nearest of others (Radovanovic, Nanopoulos,
  Ivanovic 2010, eq. 1); above about 1 a few items are everybody's neighbours.
- ``spread``: the root mean squared distance from the mean, over the root mean squared norm.

Intervals leave out a twentieth of the classes at a time (each class where there are fewer): the directions
are held fixed when their lengths are taken again, and so are the neighbours of those that stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.distances import unit_rows
from likewise.errors import DataError
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.inputs import paired_vectors
from likewise.evaluation.intervals import jackknife_figure
from likewise.evaluation.pairs import VerificationPairs, verification_pairs
from likewise.search.exact import nearest_blocks, vectors

__all__ = ["Health", "control_embeddings", "effective_rank", "embedding_health", "hubness"]

_SPREAD_OF_A_POINT = 0.02
_RANK_OF_A_LINE = 2.0
_GROUPS = 20
_BOUNDS = {
    "alignment": (0.0, 4.0),
    "uniformity": (-np.inf, 0.0),
    "effective_rank": (0.0, np.inf),
    "hubness": (-np.inf, np.inf),
    "spread": (0.0, np.inf),
}


@dataclass(frozen=True)
class Health:
    """How an embedding is: each figure, the ``report`` that gives them with intervals, and alarms."""

    alignment: float
    uniformity: float
    effective_rank: float
    hubness: float
    spread: float
    dimension: int
    alarms: tuple[str, ...]
    report: Report

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
        An alarm is raised where the spread is below 0.02 (all items are nearly one point: at unit length
        their squared distances are below a thousandth), and where the effective rank is below 2 of 8 or
        more dimensions (all items are nearly on a line).

    >>> embedding_health([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0, 0, 1, 1]).alignment
    0.0
    """
    rows, codes, classes = paired_vectors(embeddings, labels)
    pairs = verification_pairs(
        unit_rows(rows), codes, n_pairs=n_pairs, seed=seed, distance="squared_euclidean"
    )
    n_groups = min(len(classes), _GROUPS)
    groups = np.random.default_rng(seed).permutation(np.arange(len(classes)) % n_groups)
    of_class = groups[codes]
    parts = _of_pairs(pairs, np.bincount(codes), groups, n_groups)
    parts["hubness"] = _of_neighbours(rows, of_class, n_groups)
    parts |= _of_lengths(rows, of_class, n_groups)
    figures = {
        name: _bounded(
            jackknife_figure(own, np.array(left_out), bounds=(-np.inf, np.inf), n_units=len(classes)),
            *bounds,
        )
        for name, bounds in _BOUNDS.items()
        for own, *left_out in [parts[name]]
    }
    spread, rank = figures["spread"].value, figures["effective_rank"].value
    alarms = []
    if spread < _SPREAD_OF_A_POINT:
        alarms.append(f"collapsed: all items lie within {spread:.1e} of their mean, relative to their norm")
    elif rows.shape[1] >= 8 and rank < _RANK_OF_A_LINE:
        alarms.append(f"collapsed: {rank:.2f} of {rows.shape[1]} directions are in use")
    return Health(
        **{name: figure.value for name, figure in figures.items()},
        dimension=rows.shape[1],
        alarms=tuple(alarms),
        report=Report("embedding health", figures, {"items": len(rows), "classes": len(classes)}),
    )


def _bounded(figure: Figure, low: float, high: float) -> Figure:
    """An interval within the figure's range."""
    return replace(figure, low=max(figure.low, low), high=min(figure.high, high))


def _of_pairs(
    pairs: VerificationPairs, sizes: NDArray[np.int64], groups: NDArray[np.int64], n_groups: int
) -> dict[str, list[float]]:
    """Alignment and uniformity: of all classes, then without each group of them."""
    squared = pairs.distances.astype(np.float64)
    kernel = np.exp(-2 * squared)
    found: dict[str, list[float]] = {"alignment": [], "uniformity": []}
    for group in range(-1, n_groups):
        kept = (groups[pairs.left_classes] != group) & (groups[pairs.right_classes] != group)
        alike, unlike = kept & pairs.same, kept & ~pairs.same
        if not alike.any() or not unlike.any():
            found["alignment"].append(float(squared[alike].mean()) if alike.any() else np.nan)
            found["uniformity"].append(np.nan)
            continue
        # Pairs of one class are drawn more often than they come: weigh both kinds as in all pairs.
        left = sizes[groups != group].astype(np.float64)
        n_alike, n_all = (left * (left - 1) / 2).sum(), left.sum() * (left.sum() - 1) / 2
        mean = n_alike * kernel[alike].mean() + (n_all - n_alike) * kernel[unlike].mean()
        found["alignment"].append(float(squared[alike].mean()))
        found["uniformity"].append(float(np.log(mean / n_all)))
    return found


def _of_lengths(rows: Tensor, groups: NDArray[np.int64], n_groups: int) -> dict[str, list[float]]:
    """Spread and effective rank, likewise."""
    own = rows.double()
    centred = own - own.mean(0)
    where = torch.as_tensor(groups).to(rows.device)
    # Along the whole's own directions: without a group their lengths are others, to first order.
    along = centred @ torch.linalg.svd(centred, full_matrices=False)[2].T
    squares = torch.zeros(n_groups, along.shape[1], dtype=torch.float64, device=rows.device)
    squares.index_add_(0, where, along.square())
    sums = torch.zeros_like(squares).index_add_(0, where, along)
    norms = torch.zeros(n_groups, dtype=torch.float64, device=rows.device)
    norms.index_add_(0, where, own.square().sum(1))
    counts = torch.bincount(where, minlength=n_groups)
    found: dict[str, list[float]] = {"spread": [], "effective_rank": [effective_rank(rows)]}
    for group in range(-1, n_groups):
        kept = torch.arange(n_groups, device=rows.device) != group
        n = int(counts[kept].sum())
        lengths = (squares[kept].sum(0) - sums[kept].sum(0).square() / n).clamp(min=0)
        norm = float(norms[kept].sum())
        found["spread"].append((float(lengths.sum()) / norm) ** 0.5 if norm else 0.0)
        if group >= 0:
            found["effective_rank"].append(_entropy_rank(lengths.sqrt()))
    return found


def _of_neighbours(rows: Tensor, groups: NDArray[np.int64], n_groups: int) -> list[float]:
    """Hubness, likewise; what stays keeps its neighbours."""
    by_group = torch.zeros(n_groups, len(rows), dtype=torch.float64)
    for block in nearest_blocks(rows, rows, _near(rows), exclude=torch.arange(len(rows)), distances=False):
        asked = torch.as_tensor(groups[block.start : block.stop])
        at = (asked[:, None] * len(rows) + block.indices.cpu()).flatten()
        by_group += torch.bincount(at, minlength=by_group.numel()).view_as(by_group)
    times = by_group.sum(0)
    kept = [torch.as_tensor(groups != group) for group in range(n_groups)]
    return [_skewness(times), *(_skewness((times - by_group[g])[kept[g]]) for g in range(n_groups))]


def effective_rank(embeddings: Any) -> float:
    """``exp(-sum p log p)`` of the centred embeddings' singular values over their sum; 0 for one point.

    >>> round(effective_rank([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 6)
    2.0
    """
    rows = vectors(embeddings).double()
    values = torch.linalg.svdvals(rows - rows.mean(0)) if len(rows) > 1 else torch.zeros(1)
    if float(values.sum()) <= 1e-12 * float(rows.abs().sum()):
        return 0.0
    return _entropy_rank(values)


def _entropy_rank(values: Tensor) -> float:
    share = values[values > 0] / values.sum()
    return float(torch.exp(-(share * share.log()).sum())) if len(share) else 0.0


@torch.no_grad()
def hubness(embeddings: Any, *, neighbours: int = 10) -> float:
    """Skewness of the number of times each item is among the nearest of others; 0 where all are equal."""
    rows = vectors(embeddings)
    times = torch.zeros(len(rows), dtype=torch.float64)
    for block in nearest_blocks(rows, rows, _near(rows, neighbours), exclude=torch.arange(len(rows))):
        times += torch.bincount(block.indices.flatten().cpu(), minlength=len(rows))
    return _skewness(times)


def _near(rows: Tensor, neighbours: int = 10) -> int:
    if len(rows) < 3:
        raise DataError(f"embeddings must hold at least three items for hubness; found {len(rows)}")
    return min(neighbours, len(rows) - 1)


def _skewness(times: Tensor) -> float:
    deviation = times - times.mean()
    scale = float(deviation.square().mean().sqrt()) if len(times) else 0.0
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
