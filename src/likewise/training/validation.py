"""What is held back from training, the figure on it that chooses an epoch, and the calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from likewise.data import Records, split_by_class, split_items
from likewise.distances import Distance
from likewise.encoders import Standardize
from likewise.errors import DataError
from likewise.model import Calibration

__all__ = ["HoldOut", "calibrate", "hold_out", "mean_average_precision", "platt"]

_MOST_ITEMS = 1500
_SAMPLED_PAIRS = 20_000


@dataclass(frozen=True)
class HoldOut:
    """Records to learn from, and held back from that; ``of`` is ``classes`` or ``items``."""

    learn: Records
    held_out: Records
    of: str


def hold_out(records: Records, *, seed: int) -> HoldOut:
    """Hold back a fifth of the classes, at least two; of fewer than four classes, items.

    Raises
    ------
    DataError
        There are fewer than four classes and no two of them have four items.
    """
    count = len(records.classes)
    if count >= 4:
        parts = split_by_class(records, unseen_fraction=max(2, round(0.2 * count)) / count, seed=seed)
        return HoldOut(parts.seen, parts.unseen, "classes")
    parts = split_items(records, fraction=0.25, seed=seed)
    if len(parts.unseen) == 0 or len(parts.unseen.classes) < 2:
        raise DataError(
            f"{records.name}: with {count} classes, two of them need at least four items each, "
            "so that some can be held back; add items"
        )
    return HoldOut(parts.seen, parts.unseen, "items")


def mean_average_precision(
    encoder: nn.Module, distance: Distance, preprocessing: Standardize, records: Records
) -> float:
    """MAP@R of each item as a query among all others; items alone in their class ask nothing.

    Of a query with R others of its class: ``1/R sum_i precision@i [i-th is of the class]`` over its R
    nearest. At most 1,500 items, evenly taken, are looked at.
    """
    rows = _evenly(len(records), _MOST_ITEMS)
    codes = torch.from_numpy(records.codes[rows])
    with torch.inference_mode():
        embeddings = _embed(encoder, preprocessing, records.X[rows])
        table = distance.table(embeddings, embeddings)
        table.fill_diagonal_(torch.inf)
        same = codes[:, None] == codes  # (n, n), itself among them
        relevant = same.sum(1) - 1
        asked = relevant > 0
        order = table[asked].argsort(dim=1, stable=True)
        ranks = torch.arange(1, len(codes) + 1)
        hits = same[asked].gather(1, order) & (ranks <= relevant[asked, None])
        precision = hits.cumsum(1) / ranks
        figures = (precision * hits).sum(1) / relevant[asked]
    return float(figures.mean())


def calibrate(
    encoder: nn.Module, distance: Distance, preprocessing: Standardize, held: HoldOut, *, seed: int
) -> Calibration | None:
    """Fit Platt's sigmoid to the distances of held-back pairs, as many alike as not.

    The threshold is where both answers are equally probable. None when on these pairs a larger
    distance doesn't mean less alike.
    """
    records = held.held_out
    generator = np.random.default_rng(seed)
    left, right = _pairs(records.codes, _SAMPLED_PAIRS, generator)
    with torch.inference_mode():
        embeddings = _embed(encoder, preprocessing, records.X)
        distances = distance(embeddings[left], embeddings[right]).double().numpy()
    same = records.codes[left] == records.codes[right]
    fitted = platt(distances, same)
    if fitted is None:
        return None
    slope, offset = fitted
    return Calibration(slope=slope, offset=offset, threshold=offset / slope, held_out=held.of)


def platt(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Slope a and offset b of ``p = 1 / (1 + exp(a d - b))``, by maximum likelihood with Platt's targets.

    Parameters
    ----------
    distances : float64 array (n,)
        Finite.
    same : bool array (n,)
        Both kinds present.

    Returns
    -------
    (slope, offset), or None when the best slope isn't positive.

    Platt, "Probabilistic outputs for support vector machines" (1999), targets (N+ + 1) / (N+ + 2) and
    1 / (N- + 2); Newton's method with step halving as in Lin, Lin, Weng (2007), algorithm 1.
    """
    alike, unlike = int(same.sum()), int((~same).sum())
    target = np.where(same, (alike + 1) / (alike + 2), 1 / (unlike + 2))
    centre, spread = float(distances.mean()), float(distances.std())
    if not alike or not unlike or spread == 0:
        return None
    inputs = np.stack([(centre - distances) / spread, np.ones_like(distances)])  # (2, n)
    weights = np.zeros(2)

    def cost(w: NDArray[np.float64]) -> float:
        logit = w @ inputs
        return float((np.logaddexp(0, logit) - target * logit).sum())

    current = cost(weights)
    for _ in range(100):
        probability = 0.5 * (1 + np.tanh(weights @ inputs / 2))
        gradient = inputs @ (probability - target)
        if np.abs(gradient).max() < 1e-8 * len(target):
            break
        hessian = (inputs * (probability * (1 - probability))) @ inputs.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and cost(weights - size * step) > current - 1e-4 * size * float(gradient @ step):
            size /= 2
        weights = weights - size * step
        current = cost(weights)
    slope = float(weights[0]) / spread
    if slope <= 0:
        return None
    return slope, float(weights[1]) + slope * centre


def _embed(encoder: nn.Module, preprocessing: Standardize, X: NDArray[np.float32]) -> torch.Tensor:
    items = torch.from_numpy(np.ascontiguousarray(X))
    parts = [items[start : start + 1024] for start in range(0, len(items), 1024)]
    return torch.cat([encoder(preprocessing(part)) for part in parts])


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _pairs(
    codes: NDArray[np.int64], most: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equally many pairs alike and unlike, drawn without itself; (n,) and (n,)."""
    classes, counts = np.unique(codes, return_counts=True)
    members = {int(code): np.flatnonzero(codes == code) for code in classes}
    weights = counts * (counts - 1) / (counts * (counts - 1)).sum()
    half = most // 2
    left, right = [], []
    for code in generator.choice(classes, size=half, p=weights):
        first, second = generator.choice(members[int(code)], size=2, replace=False)
        left.append(first)
        right.append(second)
    while len(left) < 2 * half:
        first, second = generator.integers(len(codes), size=2)
        if codes[first] != codes[second]:
            left.append(first)
            right.append(second)
    return np.asarray(left), np.asarray(right)
