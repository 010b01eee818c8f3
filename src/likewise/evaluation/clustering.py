"""Clustering: how well clusters agree with the classes.

k-means (faiss) with as many clusters as there are classes, or another number asked for; or clusters that
find their number themselves: HDBSCAN (Campello, Moulavi, Sander 2013; scikit-learn), and threshold linkage,
where everything within a distance of something else joins it. The interval holds the clusters fixed and
leaves out classes: it says how the figure moves with the classes, not how it moves with the start of k-means.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance, Form, ProductDistance, distance_from_name
from likewise.errors import DataError, InputError
from likewise.evaluation.agreement import Meetings, adjusted_rand, normalized_mutual_information
from likewise.evaluation.figures import Report
from likewise.evaluation.inputs import paired_vectors, positive_integer, zero_vectors
from likewise.evaluation.intervals import jackknife_figure
from likewise.search.exact import vectors

__all__ = [
    "clustering",
    "clustering_threshold",
    "hdbscan_clusters",
    "kmeans_clusters",
    "threshold_clusters",
]

_OF_TABLES = {"nmi": normalized_mutual_information, "ari": adjusted_rand}
_METHODS = ("kmeans", "hdbscan", "threshold")
_BLOCK_ELEMENTS = 4_000_000
_MOST_LINKED = 10_000  # items whose distances are all held to choose a threshold

_GROUPS = 50  # with more classes, so many groups of classes are left out in turn
_Codes = NDArray[np.int64]


@torch.no_grad()
def clustering(
    embeddings: Any,
    labels: Any,
    *,
    n_clusters: int | None = None,
    method: str = "kmeans",
    threshold: float | None = None,
    smallest: int = 2,
    distance: str | Distance = "euclidean",
    figures: Iterable[str] = ("nmi", "ami", "ari"),
    iterations: int = 25,
    restarts: int = 1,
    seed: int = 0,
) -> Report:
    """Agreement of clusters with classes: NMI, AMI, ARI.

    ``nmi = 2 I(U; V) / (H(U) + H(V))``; ``ami`` and ``ari`` subtract what chance gives. All three are
    scikit-learn's, with the arithmetic mean.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
    n_clusters : int, optional
        Of k-means: the number of classes when not given.
    method : "kmeans", "hdbscan" or "threshold"
    threshold : float
        Of threshold linkage: two items at most so far apart are of one cluster. Choose it on other data, by
        :func:`clustering_threshold`.
    smallest : int
        Of HDBSCAN: the smallest group that is a cluster. What it calls noise are clusters of one.
    distance : str or Distance
        A product distance that is one of subtraction (Euclidean, cosine, Mahalanobis): k-means runs on
        its features, and so does HDBSCAN. Threshold linkage takes any.
    figures : names
        Of "nmi", "ami", "ari". AMI grows costly from some thousand classes on.
    iterations, restarts : int
        Of k-means.
    seed : int

    Returns
    -------
    Report
        With 95 % intervals over classes, clusters held fixed.

    Raises
    ------
    DataError
        One class only, or fewer items than clusters.

    >>> points = [[0.0, 0.0], [0.0, 0.1], [5.0, 0.0], [5.0, 0.1]]
    >>> clustering(points, ["a", "a", "b", "b"])["nmi"].value
    1.0

    References
    ----------
    Vinh, Epps, Bailey (2010), Information Theoretic Measures for Clusterings Comparison.
    """
    measures = _measures(figures)
    measure = distance_from_name(distance)
    if method not in _METHODS:
        raise InputError(f"method must be of {', '.join(_METHODS)}; found {method!r}")
    if (threshold is None) == (method == "threshold"):
        raise InputError(
            f"threshold must be given for method='threshold' and for no other; found {threshold!r}"
        )
    rows, codes, classes = paired_vectors(embeddings, labels)
    if len(classes) < 2:
        raise DataError("labels must have at least two classes to compare clusters with; found one")
    k = len(classes) if n_clusters is None else positive_integer(n_clusters, "n_clusters")
    if k > len(rows):
        raise DataError(f"n_clusters must be at most the number of items, {len(rows)}; found {k}")
    if threshold is not None:
        clusters = threshold_clusters(rows, threshold, distance=measure)
    elif method == "hdbscan":
        least = positive_integer(smallest, "smallest", least=2)
        clusters = hdbscan_clusters(_features(rows, measure), smallest=least)
    else:
        features = _features(rows, measure)
        clusters = kmeans_clusters(features, k, iterations=iterations, restarts=restarts, seed=seed)
    groups = _groups(len(classes), seed)
    found = {}
    for name, left_out in _without_groups(measures, codes, clusters, groups).items():
        bounds = (-1.0, 1.0) if name != "nmi" else (0.0, 1.0)
        found[name] = jackknife_figure(
            left_out[0],
            np.array(left_out[1:]),
            bounds=bounds,
            n_units=len(classes),
            note="clusters held fixed",
        )
    counts = {"items": len(rows), "classes": len(classes), "clusters": len(np.unique(clusters))}
    counts |= zero_vectors(measure, rows)
    return Report("clustering", found, counts, ("intervals hold the clusters fixed and leave out classes",))


def kmeans_clusters(
    features: NDArray[np.float32], k: int, *, iterations: int = 25, restarts: int = 1, seed: int = 0
) -> _Codes:
    """The cluster of each row by faiss's k-means, over all rows."""
    import faiss

    machine = faiss.Kmeans(
        features.shape[1],
        k,
        niter=iterations,
        nredo=restarts,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(features),
    )
    machine.train(features)
    return np.asarray(machine.index.search(features, 1)[1][:, 0], dtype=np.int64)


def hdbscan_clusters(features: NDArray[np.float32], *, smallest: int = 2) -> _Codes:
    """The cluster of each row by HDBSCAN; each item that it calls noise is a cluster of its own."""
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(features).astype(np.int64)
    noise = np.flatnonzero(found < 0)
    found[noise] = found.max() + 1 + np.arange(len(noise))
    return np.asarray(found, dtype=np.int64)


@torch.no_grad()
def threshold_clusters(
    embeddings: Any, threshold: float, *, distance: str | Distance = "euclidean"
) -> _Codes:
    """The connected parts of the graph that joins items at most ``threshold`` apart (single linkage).

    >>> threshold_clusters([[0.0], [1.0], [2.0], [9.0]], 1.0).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = vectors(embeddings)
    measure = distance_from_name(distance)
    if not np.isfinite(threshold):
        raise InputError(f"threshold must be a finite distance; found {threshold!r}")
    n = len(rows)
    clusters: _Codes = np.arange(n)
    step = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n, step):
        near = (measure.table(rows[start : start + step], rows) <= threshold).cpu().numpy()
        left, right = np.nonzero(near)
        # Clusters found so far stand for their items, so that only a block's edges are ever held.
        ends = (clusters[left + start], clusters[right])
        graph = coo_array((np.ones(len(left), dtype=np.int8), ends), shape=(n, n))
        parts = connected_components(graph, directed=False)[1].astype(np.int64)
        clusters = parts[clusters]
    return np.asarray(np.unique(clusters, return_inverse=True)[1], dtype=np.int64)


@torch.no_grad()
def clustering_threshold(
    embeddings: Any,
    labels: Any,
    *,
    distance: str | Distance = "euclidean",
    figure: str = "ami",
    candidates: int = 64,
) -> float:
    """The threshold of :func:`threshold_clusters` whose clusters agree best with the classes.

    Choose it on validation data, of classes other than those that are judged. It is right for items that
    lie as densely as these: among more items of a class the way from one to the next is shorter.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
        At most 10,000 items, all of whose distances are held at once.
    labels : integers or strings (n,)
    distance : str or Distance
    figure : "nmi", "ami" or "ari"
        What is made largest. NMI favours many small clusters.
    candidates : int
        How many thresholds are tried, each halfway between two distances at which clusters join, spread
        evenly over those.

    Returns
    -------
    float
        The smallest among equals.

    Raises
    ------
    DataError
        One class only, too many items, or all items at the same distance from the next.

    >>> clustering_threshold([[0.0], [1.0], [2.0], [9.0], [10.0]], ["a", "a", "a", "b", "b"])
    4.0
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    agreement = _measures([figure])[figure]
    measure = distance_from_name(distance)
    rows, codes, classes = paired_vectors(embeddings, labels)
    if len(classes) < 2:
        raise DataError("labels must have at least two classes to choose a threshold by; found one")
    if len(rows) > _MOST_LINKED:
        raise DataError(f"embeddings must be at most {_MOST_LINKED:,} items; found {len(rows):,}; give fewer")
    table = measure.table(rows, rows).double().cpu().numpy()
    tree = linkage(squareform(np.maximum(table, table.T), checks=False), "single")
    heights = np.unique(tree[:, 2])
    between = (heights[1:] + heights[:-1]) / 2
    if not len(between):
        raise DataError("embeddings must lie at different distances to choose a threshold; found all alike")
    count = min(positive_integer(candidates, "candidates"), len(between))
    tried = between[np.unique(np.linspace(0, len(between) - 1, count).round().astype(np.int64))]
    scores = [agreement(codes, fcluster(tree, height, "distance").astype(np.int64)) for height in tried]
    return float(tried[int(np.argmax(scores))])


def _features(rows: torch.Tensor, measure: Distance) -> NDArray[np.float32]:
    if not isinstance(measure, ProductDistance) or measure.form is Form.NEGATIVE_PRODUCT:
        raise InputError(
            "distance must be Euclidean, squared, cosine or Mahalanobis for k-means and HDBSCAN; found "
            f"{type(measure).__name__}"
        )
    features: NDArray[np.float32] = measure.features(rows).float().cpu().numpy()
    return features


def _groups(n_classes: int, seed: int) -> _Codes:
    """The group of each class: one a class up to 50 classes, then 50 random ones of equal size."""
    if n_classes <= _GROUPS:
        return np.arange(n_classes)
    return np.random.default_rng(seed).permutation(np.arange(n_classes) % _GROUPS)


def _without_groups(
    measures: Mapping[str, Callable[[_Codes, _Codes], float]],
    codes: _Codes,
    clusters: _Codes,
    groups: _Codes,
) -> dict[str, list[float]]:
    """Each figure of all classes, then without each group (C,) of them; NaN where none is left."""
    table = Meetings.of(codes, clusters)
    found: dict[str, list[float]] = {name: [] for name in measures}
    for group in range(-1, int(groups.max()) + 1):
        kept = groups != group
        part = table.kept(kept)
        for name, agreement in measures.items():
            if not kept.any():
                found[name].append(np.nan)
            elif name in _OF_TABLES:
                found[name].append(_OF_TABLES[name](part))
            else:
                items = kept[codes]
                found[name].append(agreement(codes[items], clusters[items]))
    return found


def _measures(figures: Iterable[str]) -> dict[str, Callable[[_Codes, _Codes], float]]:
    from sklearn import metrics

    known = {
        "nmi": metrics.normalized_mutual_info_score,
        "ami": metrics.adjusted_mutual_info_score,
        "ari": metrics.adjusted_rand_score,
    }
    names = list(figures)
    for name in names:
        if name not in known:
            raise InputError(f"figures must be of {', '.join(known)}; found {name!r}")
    return {name: _quiet(known[name]) for name in names}


def _quiet(agreement: Callable[[_Codes, _Codes], float]) -> Callable[[_Codes, _Codes], float]:
    def measured(codes: _Codes, clusters: _Codes) -> float:
        with warnings.catch_warnings():
            # scikit-learn guesses that many distinct integers are a regression target.
            warnings.simplefilter("ignore", UserWarning)
            return float(agreement(codes, clusters))

    return measured
