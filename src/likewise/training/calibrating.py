"""From distances of held-back pairs to a probability of being alike: Platt's sigmoid."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from likewise.data.entries import entries_of
from likewise.distances import Distance
from likewise.model import Calibration
from likewise.relations import Pairs, Triplets
from likewise.training.reading import embedded
from likewise.training.task import supervision_of
from likewise.training.validation import HoldOut

__all__ = ["calibrate", "platt"]

_SAMPLED_PAIRS = 20_000


def calibrate(
    encoder: nn.Module, distance: Distance, preprocessing: nn.Module, held: HoldOut, *, seed: int
) -> Calibration | None:
    """Fit Platt's sigmoid to the distances of held-back pairs, of labels as many alike as not.

    The threshold is where both answers are equally probable. None when on these pairs a larger
    distance doesn't mean less alike, or when nobody says which pairs are alike.
    """
    records = held.held_out
    supervision = supervision_of(records)
    if supervision == "labels":
        left, right = _pairs(records.codes, _SAMPLED_PAIRS, np.random.default_rng(seed))
        same = records.codes[left] == records.codes[right]
    elif isinstance(records.relation, Pairs):
        listed = entries_of(records.relation)
        left, right, same = listed["left"], listed["right"], listed["same"].astype(bool)
    elif isinstance(records.relation, Triplets):
        listed = entries_of(records.relation)
        left = np.concatenate([listed["anchor"], listed["anchor"]])
        right = np.concatenate([listed["positive"], listed["negative"]])
        same = np.arange(len(left)) < len(left) // 2
    else:
        return None
    embeddings = embedded(encoder, preprocessing, records)
    with torch.inference_mode():
        distances = distance(embeddings[left], embeddings[right]).double().cpu().numpy()
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
