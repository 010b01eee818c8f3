"""Few-shot: classes never seen, told apart from a few examples each.

An episode draws ``ways`` classes, and from each ``shots`` examples and ``queries`` others, all
without replacement. A query is given to the class whose prototype, the mean of the examples'
embeddings, is nearest (Snell, Swersky, Zemel 2017; for one shot, the nearest neighbour). A query as
near to several prototypes as to the nearest counts 1 / (their number) where its own is among them:
what guessing among them would give.

The interval is over classes, by the jackknife: the accuracy of the episodes that a class has no part
in, for each class. Where an episode has all classes, or all but one, there are none such, and the
interval knows only of each query's own class and of its nearest rival: it is then too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance
from likewise.errors import DataError
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.inputs import paired_vectors, positive_integer
from likewise.evaluation.intervals import error_figure, linked_figure, linked_variance
from likewise.search.exact import distance_from_name

__all__ = ["few_shot"]

_BLOCK_ELEMENTS = 4_000_000


@torch.no_grad()
def few_shot(
    embeddings: Any,
    labels: Any,
    *,
    ways: int = 20,
    shots: int = 1,
    queries: int = 1,
    episodes: int = 1000,
    seed: int = 0,
    distance: str | Distance = "euclidean",
) -> Report:
    """Accuracy of N-way K-shot classification by the nearest prototype.

    Parameters
    ----------
    embeddings : array or Tensor (n, d)
    labels : integers or strings (n,)
    ways, shots, queries : int
        Classes in an episode, and examples and queries of each. Classes with fewer than
        shots + queries items can't take part and are counted.
    episodes : int
        How many are drawn.
    seed : int
    distance : str or Distance

    Returns
    -------
    Report
        "accuracy", correct queries / queries, with a 95 % interval over classes.

    Raises
    ------
    DataError
        Fewer than ``ways`` classes have shots + queries items.

    >>> report = few_shot([[0.0], [0.1], [5.0], [5.1]], [3, 3, 8, 8], ways=2, episodes=10)
    >>> report["accuracy"].value
    1.0

    References
    ----------
    Vinyals et al. (2016), Matching Networks; Snell, Swersky, Zemel (2017), Prototypical Networks, eq. 1.
    """
    ways, shots = positive_integer(ways, "ways", least=2), positive_integer(shots, "shots")
    queries, episodes = positive_integer(queries, "queries"), positive_integer(episodes, "episodes")
    measure = distance_from_name(distance)
    rows, codes, classes = paired_vectors(embeddings, labels)
    items = _items_by_class(codes, len(classes))
    able = np.array([c for c, members in enumerate(items) if len(members) >= shots + queries])
    if len(able) < ways:
        raise DataError(
            f"labels must have {ways} classes of {shots + queries} items for {ways}-way {shots}-shot; "
            f"found {len(able)} of {len(classes)}"
        )
    generator = np.random.default_rng(seed)
    trials: list[_Trials] = []
    classes_of_episodes: list[NDArray[np.int64]] = []
    block = max(1, _BLOCK_ELEMENTS // (ways * ways * queries * rows.shape[1]))
    for start in range(0, episodes, block):
        drawn = _draw(generator, able, items, min(block, episodes - start), ways, shots + queries)
        trials.append(_trials(rows, drawn, shots, measure))
        classes_of_episodes.append(drawn.classes)
    counts = {
        "episodes": episodes,
        "classes": len(able),
        "classes with too few items": len(classes) - len(able),
    }
    title = f"few-shot, {ways}-way {shots}-shot"
    accuracy = _figure(trials, classes_of_episodes, ways, queries, len(able))
    return Report(title, {"accuracy": accuracy}, counts)


def _items_by_class(codes: NDArray[np.int64], n_classes: int) -> list[NDArray[np.int64]]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes, minlength=n_classes))[:-1])


@dataclass(frozen=True)
class _Drawn:
    """The classes (episodes, ways) and items (episodes, ways, shots + queries) of some episodes."""

    classes: NDArray[np.int64]
    items: NDArray[np.int64]


def _draw(
    generator: np.random.Generator,
    able: NDArray[np.int64],
    items: list[NDArray[np.int64]],
    episodes: int,
    ways: int,
    per_class: int,
) -> _Drawn:
    classes = np.empty((episodes, ways), dtype=np.int64)
    chosen = np.empty((episodes, ways, per_class), dtype=np.int64)
    for e in range(episodes):
        classes[e] = generator.choice(able, ways, replace=False)
        for w, c in enumerate(classes[e]):
            chosen[e, w] = generator.choice(items[c], per_class, replace=False)
    return _Drawn(classes, chosen)


@dataclass(frozen=True)
class _Trials:
    """Each query asked: whether it was right, its class, and the class of the nearest wrong prototype."""

    credit: NDArray[np.float64]
    own: NDArray[np.int64]
    rival: NDArray[np.int64]


def _trials(rows: torch.Tensor, drawn: _Drawn, shots: int, distance: Distance) -> _Trials:
    chosen = rows[torch.as_tensor(drawn.items).to(rows.device)]  # (episodes, ways, shots + queries, d)
    prototypes = chosen[:, :, :shots].mean(2)  # (episodes, ways, d)
    asked = chosen[:, :, shots:]  # (episodes, ways, queries, d)
    table = distance(asked[:, :, :, None, :], prototypes[:, None, None, :, :])  # (..., queries, ways)
    nearest = table == table.amin(-1, keepdim=True)
    own = torch.eye(table.shape[-1], dtype=torch.bool, device=table.device)[:, None, :]  # (ways, 1, ways)
    credit = ((nearest & own).any(-1).double() / nearest.sum(-1)).cpu().numpy()
    rival = table.masked_fill(own, torch.inf).argmin(-1).cpu().numpy()  # (episodes, ways, queries)
    classes = np.broadcast_to(drawn.classes[:, :, None], credit.shape)
    rivals = np.take_along_axis(drawn.classes[:, None, :], rival.reshape(len(rival), 1, -1), axis=2)
    return _Trials(credit.ravel(), classes.ravel(), rivals.ravel())


def _figure(
    trials: list[_Trials], drawn: list[NDArray[np.int64]], ways: int, queries: int, n_classes: int
) -> Figure:
    """The accuracy over all episodes; see the head of this module for its interval."""
    credit = np.concatenate([part.credit for part in trials])
    own = np.concatenate([part.own for part in trials])
    rival = np.concatenate([part.rival for part in trials])
    linked = linked_figure(credit, own, rival)
    if n_classes < ways + 2 or linked.value in (0.0, 1.0):
        return linked
    episodes = credit.reshape(-1, ways * queries).mean(1)  # (episodes,)
    classes = np.concatenate(drawn)  # (episodes, ways)
    present = np.unique(classes)
    sums = np.bincount(classes.ravel(), weights=np.repeat(episodes, ways))[present]
    counts = np.bincount(classes.ravel())[present]
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = (episodes.sum() - sums) / (len(episodes) - counts)
    # Two accuracies over some of the episodes differ by chance alone; that much is taken off.
    noise = episodes.var() * counts / (len(episodes) * np.maximum(len(episodes) - counts, 1))
    n = len(present)
    spread = (n - 1) / n * float(np.sum((left_out - left_out.mean()) ** 2 - (n - 1) / n * noise))
    variance = spread + float(episodes.var()) / len(episodes)
    own_variance = linked_variance((credit - linked.value) / len(credit), own, rival) * n / (n - 1)
    return error_figure(linked.value, float(np.sqrt(max(variance, own_variance))), n)
