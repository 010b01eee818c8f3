"""Few-shot: classes never seen, told apart from a few examples each.

An episode draws ``ways`` classes, and from each ``shots`` examples and ``queries`` others, all
without replacement. A query is given to the class whose prototype, the mean of the examples'
embeddings, is nearest (Snell, Swersky, Zemel 2017; for one shot, the nearest neighbour). A query as
near to several prototypes as to the nearest counts 1 / (their number) where its own is among them:
what guessing among them would give.

The interval is over classes: of each class it is known how the accuracy would be without its queries, and
without it among the prototypes. However many episodes ask an item, it is worth one draw. Groups, where
episodes stay within them, are held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.distances import Distance, distance_from_name
from likewise.errors import DataError
from likewise.evaluation.figures import Figure, Report
from likewise.evaluation.inputs import (
    check_lengths,
    class_codes,
    paired_vectors,
    positive_integer,
    sorted_distinct,
    zero_vectors,
)
from likewise.evaluation.intervals import linked_figure

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
    groups: Any = None,
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
    groups : integers or strings (n,), optional
        The group of each item's class (an alphabet): each episode then draws its classes within one group,
        groups in turn. Groups with fewer than ``ways`` classes can't and are counted. Without it episodes go
        across all classes.
    seed : int
    distance : str or Distance

    Returns
    -------
    Report
        "accuracy", correct queries / queries, with a 95 % interval over classes.

    Raises
    ------
    DataError
        Fewer than ``ways`` classes (of any group) have shots + queries items, or a class in two groups.

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
    pools = [able] if groups is None else _pools(able, codes, groups, ways, classes)
    generator = np.random.default_rng(seed)
    trials: list[_Trials] = []
    block = max(1, _BLOCK_ELEMENTS // (ways * ways * queries * rows.shape[1]))
    for start in range(0, episodes, block):
        turns = [pools[e % len(pools)] for e in range(start, min(start + block, episodes))]
        drawn = _draw(generator, turns, items, ways, shots + queries)
        trials.append(_trials(rows, drawn, shots, measure))
    counts = {
        "episodes": episodes,
        "classes": len(able),
        "classes with too few items": len(classes) - len(able),
    }
    if groups is not None:
        counts |= {"groups": len(pools), "classes": sum(map(len, pools))}
    counts |= zero_vectors(measure, rows)
    title = f"few-shot, {ways}-way {shots}-shot"
    return Report(title, {"accuracy": _figure(trials)}, counts)


def _items_by_class(codes: NDArray[np.int64], n_classes: int) -> list[NDArray[np.int64]]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes, minlength=n_classes))[:-1])


def _pools(
    able: NDArray[np.int64], codes: NDArray[np.int64], groups: Any, ways: int, classes: NDArray[Any]
) -> list[NDArray[np.int64]]:
    """The classes of each group that has enough of them."""
    group_codes, _ = class_codes(groups, "groups")
    check_lengths(len(group_codes), len(codes), "groups", "embeddings")
    of_class = np.zeros(len(classes), dtype=np.int64)
    of_class[codes] = group_codes
    torn = np.flatnonzero(of_class[codes] != group_codes)
    if len(torn):
        raise DataError(
            f"groups must hold each class whole; found {classes.tolist()[codes[torn[0]]]!r} in two of them"
        )
    pools = [able[of_class[able] == group] for group in np.unique(of_class[able])]
    pools = [pool for pool in pools if len(pool) >= ways]
    if not pools:
        raise DataError(f"groups must have {ways} classes in one of them; found fewer in each")
    return pools


@dataclass(frozen=True)
class _Drawn:
    """The classes (episodes, ways) and items (episodes, ways, shots + queries) of some episodes."""

    classes: NDArray[np.int64]
    items: NDArray[np.int64]


def _draw(
    generator: np.random.Generator,
    pools: Sequence[NDArray[np.int64]],
    items: list[NDArray[np.int64]],
    ways: int,
    per_class: int,
) -> _Drawn:
    classes = np.empty((len(pools), ways), dtype=np.int64)
    chosen = np.empty((len(pools), ways, per_class), dtype=np.int64)
    for e, pool in enumerate(pools):
        classes[e] = generator.choice(pool, ways, replace=False)
        for w, c in enumerate(classes[e]):
            chosen[e, w] = generator.choice(items[c], per_class, replace=False)
    return _Drawn(classes, chosen)


@dataclass(frozen=True)
class _Trials:
    """Each query asked: its item, whether it was right, its class, the class of the nearest wrong prototype,
    and by how much the credit would change without that one.
    """

    item: NDArray[np.int64]
    credit: NDArray[np.float64]
    own: NDArray[np.int64]
    rival: NDArray[np.int64]
    change: NDArray[np.float64]


def _trials(rows: torch.Tensor, drawn: _Drawn, shots: int, distance: Distance) -> _Trials:
    chosen = rows[torch.as_tensor(drawn.items).to(rows.device)]  # (episodes, ways, shots + queries, d)
    prototypes = chosen[:, :, :shots].mean(2)  # (episodes, ways, d)
    asked = chosen[:, :, shots:]  # (episodes, ways, queries, d)
    table = distance(asked[:, :, :, None, :], prototypes[:, None, None, :, :])  # (..., queries, ways)
    own = torch.eye(table.shape[-1], dtype=torch.bool, device=table.device)[:, None, :]  # (ways, 1, ways)
    rival = table.masked_fill(own, torch.inf).argmin(-1, keepdim=True)  # (episodes, ways, queries, 1)
    credit = _credit(table, own)
    change = _credit(table.scatter(-1, rival, torch.inf), own) - credit
    classes = np.broadcast_to(drawn.classes[:, :, None], credit.shape)
    places = rival.reshape(len(rival), 1, -1).cpu().numpy()
    rivals = np.take_along_axis(drawn.classes[:, None, :], places, axis=2)
    return _Trials(
        drawn.items[:, :, shots:].ravel(),
        credit.cpu().numpy().ravel(),
        classes.ravel(),
        rivals.ravel(),
        change.cpu().numpy().ravel(),
    )


def _credit(table: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    nearest = table == table.amin(-1, keepdim=True)
    return (nearest & own).any(-1).double() / nearest.sum(-1)


def _figure(trials: list[_Trials]) -> Figure:
    """The accuracy over all episodes."""
    credit = np.concatenate([part.credit for part in trials])
    own = np.concatenate([part.own for part in trials])
    rival = np.concatenate([part.rival for part in trials])[:, None]
    change = np.concatenate([part.change for part in trials])[:, None]
    asked = len(sorted_distinct(np.concatenate([part.item for part in trials])))
    return linked_figure(credit, own, rival, changes=change, draws=asked)
