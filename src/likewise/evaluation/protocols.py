"""Verification protocols with thresholds chosen on other data than they are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import DataError, InputError
from likewise.evaluation.curves import ErrorCurve
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import check_lengths, class_codes, paired_vectors
from likewise.evaluation.intervals import jackknife_figure
from likewise.evaluation.pairs import pair_arrays
from likewise.search.exact import vectors

__all__ = ["GaussianIdentities", "best_threshold", "gaussian_identities", "k_fold_verification"]

_Floats = NDArray[np.float64]


def best_threshold(distances: Any, same: Any) -> float:
    """The threshold of the highest accuracy, midway between two distances; the least among equals.

    >>> best_threshold([1.0, 2.0, 4.0, 3.0], [1, 1, 0, 0])
    2.5
    """
    values, alike = pair_arrays(distances, same)
    curve = ErrorCurve.of(values, alike)
    i = int(np.argmax(curve.accepted_alike - curve.accepted_unlike))
    if i == 0:
        return float(np.nextafter(curve.thresholds[1], -np.inf))
    if i + 1 == len(curve.thresholds):
        return float(curve.thresholds[i])
    middle = float((curve.thresholds[i] + curve.thresholds[i + 1]) / 2)
    return middle if middle < curve.thresholds[i + 1] else float(curve.thresholds[i])


def k_fold_verification(distances: Any, same: Any, folds: Any) -> Report:
    """The LFW protocol: on each fold the accuracy of the threshold that is best on the other folds.

    ``accuracy`` is the mean over folds; its interval is Student's t over folds, whose identities the
    protocol keeps apart. The mean's standard error, which LFW tables show, stands in the notes.

    Parameters
    ----------
    distances : array (n,)
    same : booleans (n,)
    folds : integers or strings (n,)
        The fold of each pair; each fold and what remains without it hold alike and unlike pairs.

    >>> folds = [0, 0, 1, 1]
    >>> k_fold_verification([0.1, 0.9, 0.2, 0.8], [1, 0, 1, 0], folds)["accuracy"].value
    1.0

    References
    ----------
    Huang, Ramesh, Berg, Learned-Miller (2007), Labeled Faces in the Wild, section 3 (View 2).
    """
    values, alike = pair_arrays(distances, same)
    codes, names = class_codes(folds, "folds")
    check_lengths(len(codes), len(values), "folds", "distances")
    if len(names) < 2:
        raise DataError("folds must be two or more; found one")
    accuracies = []
    for fold in range(len(names)):
        own = codes == fold
        rest = alike[~own]
        if rest.all() or not rest.any():
            raise DataError(
                f"folds must leave alike and unlike pairs without fold {names[fold]!r}; found one kind"
            )
        threshold = best_threshold(values[~own], rest)
        accuracies.append(float(np.mean((values[own] <= threshold) == alike[own])))
    mean = float(np.mean(accuracies))
    left_out = (sum(accuracies) - np.array(accuracies)) / (len(accuracies) - 1)
    figure = jackknife_figure(mean, left_out, unit="fold")
    error = float(np.std(accuracies, ddof=1)) / len(accuracies) ** 0.5
    counts = {"pairs": len(values), "folds": len(names)}
    return Report("k-fold verification", {"accuracy": figure}, counts, (f"standard error {error:.4f}",))


@dataclass(frozen=True)
class GaussianIdentities:
    """A normal density for each known identity, and what an impostor's density is there.

    Build it with :func:`gaussian_identities`.
    """

    identities: NDArray[Any]
    means: Tensor  # (C, d)
    whitening: Tensor  # (C, d, d): |W (x - mean)|^2 is the squared Mahalanobis distance
    log_scale: Tensor  # (C,)
    log_impostor: Tensor  # (C,)

    @torch.no_grad()
    def probability(self, embeddings: Any, claimed: Any) -> _Floats:
        """``genuine / (genuine + impostor)`` of each item being who it is claimed to be, (n,)."""
        rows = vectors(embeddings).double()
        codes, names = class_codes(claimed, "claimed")
        check_lengths(len(codes), len(rows), "claimed", "embeddings")
        known = {name: place for place, name in enumerate(self.identities.tolist())}
        for name in names.tolist():
            if name not in known:
                raise InputError(f"claimed must name identities that were fitted; found {name!r}")
        places = torch.tensor([known[name] for name in names.tolist()])[torch.as_tensor(codes)]
        genuine = self.log_density(rows, places)
        impostor = self.log_impostor[places]
        out: _Floats = torch.sigmoid(genuine - impostor).numpy()
        return out

    def log_density(self, rows: Tensor, places: Tensor) -> Tensor:
        """Each row's log density under the identity at ``places``, (n,)."""
        whitened = torch.einsum("nij,nj->ni", self.whitening[places], rows - self.means[places])
        return self.log_scale[places] - whitened.square().sum(1) / 2


@torch.no_grad()
def gaussian_identities(embeddings: Any, labels: Any, *, shrinkage: float = 0.1) -> GaussianIdentities:
    """Chopra's rule for verification: a multivariate normal density for each identity.

    The density of an impostor is taken to be the same everywhere for an identity: the mean density
    that the other identities' items have there. A pair is accepted where the probability is above a
    threshold, chosen on validation data.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        Known items; each identity needs two or more.
    labels : integers or strings (n,)
    shrinkage : float
        In (0, 1]. Each covariance is mixed with the mean variance of all identities, so that few items
        do. The paper doesn't say how it estimates a covariance from five images.

    References
    ----------
    Chopra, Hadsell, LeCun (2005), Learning a Similarity Metric Discriminatively, section 4.3.
    """
    rows, codes, names = paired_vectors(embeddings, labels)
    rows, places = rows.double().cpu(), torch.as_tensor(codes)
    if not 0 < shrinkage <= 1:
        raise InputError(f"shrinkage must lie in (0, 1]; found {shrinkage!r}")
    sizes = np.bincount(codes)
    if sizes.min() < 2 or len(names) < 2:
        raise DataError(
            f"labels must have two identities or more, each with two items or more; found {len(names)} with "
            f"{int(sizes.min())} at least"
        )
    d = rows.shape[1]
    means = torch.zeros(len(names), d, dtype=torch.float64).index_add_(0, places, rows)
    means /= torch.as_tensor(sizes)[:, None]
    centred = rows - means[places]
    pooled = float(centred.square().sum() / ((len(rows) - len(names)) * d))
    if pooled == 0:
        raise DataError("embeddings must vary within some identity; found all items of each at one point")
    whitening, log_scale = (
        torch.empty(len(names), d, d, dtype=torch.float64),
        torch.empty(len(names)).double(),
    )
    for c in range(len(names)):
        own = centred[places == c]
        covariance = (1 - shrinkage) * own.T @ own / (len(own) - 1)
        covariance += shrinkage * pooled * torch.eye(d, dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance)
        whitening[c] = torch.linalg.inv(factor)
        log_scale[c] = -factor.diagonal().log().sum() - d / 2 * np.log(2 * np.pi)
    fitted = GaussianIdentities(names, means, whitening, log_scale, torch.zeros(len(names)).double())
    impostor = torch.empty(len(names), dtype=torch.float64)
    for c in range(len(names)):
        others = rows[places != c]
        densities = fitted.log_density(others, torch.full((len(others),), c))
        impostor[c] = torch.logsumexp(densities, 0) - np.log(len(others))
    return GaussianIdentities(names, means, whitening, log_scale, impostor)
