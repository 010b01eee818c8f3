"""What is held back from training, and the figures on it that choose an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import rankdata, spearmanr
from torch import Tensor, nn

from likewise.data import Augmentation, Records, split_by_class, split_items
from likewise.data.entries import entries_of, places_of
from likewise.distances import Distance
from likewise.errors import DataError, InputError
from likewise.training.methods import Supervision
from likewise.training.reading import embedded
from likewise.training.task import supervision_of

__all__ = ["FIGURES", "HeldOut", "HoldOut", "hold_out", "mean_average_precision"]

_MOST_ITEMS = 1500

FIGURES: Mapping[Supervision, tuple[str, ...]] = MappingProxyType(
    {
        "labels": ("map@r", "recall@1"),
        "pairs": ("auc",),
        "scores": ("spearman",),
        "triplets": ("triplet_accuracy",),
        "preferences": ("preference_accuracy",),
        "views": ("view_recall@1",),
    }
)
"""The figures on what is held back, by what is known; the first chooses the epoch if nobody says."""


@dataclass(frozen=True)
class HoldOut:
    """Records to learn from, and held back from that; ``of`` is ``classes``, ``items`` or ``entries``."""

    learn: Records
    held_out: Records
    of: str


def hold_out(records: Records, *, fraction: float = 0.2, seed: int) -> HoldOut:
    """Hold back a part.

    Of labelled items this part of the classes, at least two; of fewer than four classes, a quarter of the
    items. Of a table of pairs, scores, triplets or preferences this part of the entries, so that no item
    is on both sides, or, where nearly all of them hang together, by entry. Of items about which nothing is
    known, this part of them.

    Raises
    ------
    DataError
        There is too little: fewer than four classes and no two of them with four items, fewer than four
        entries or items.
    """
    supervision = supervision_of(records)
    if supervision == "labels":
        return _hold_out_classes(records, fraction, seed)
    if supervision == "views":
        if len(records) < 4:
            raise DataError(f"{records.name}: training needs at least four items; found {len(records)}")
        held = np.zeros(len(records), dtype=bool)
        order = np.random.default_rng(seed).permutation(len(records))
        held[order[: max(2, round(fraction * len(records)))]] = True
        return HoldOut(records.take(~held), records.take(held), "items")
    entries, of = _entries_held_back(records, fraction, seed)
    return HoldOut(records.take_entries(~entries), records.take_entries(entries), of)


def _hold_out_classes(records: Records, fraction: float, seed: int) -> HoldOut:
    count = len(records.classes)
    if count >= 4:
        parts = split_by_class(records, unseen_fraction=max(2, round(fraction * count)) / count, seed=seed)
        return HoldOut(parts.seen, parts.unseen, "classes")
    parts = split_items(records, fraction=0.25, seed=seed)
    if len(parts.unseen) == 0 or len(parts.unseen.classes) < 2:
        raise DataError(
            f"{records.name}: with {count} classes, two of them need at least four items each, "
            "so that some can be held back; add items, or hold_out=0"
        )
    return HoldOut(parts.seen, parts.unseen, "items")


def _entries_held_back(records: Records, fraction: float, seed: int) -> tuple[NDArray[np.bool_], str]:
    """Which entries to hold back (m,): whole groups that share items where those are small."""
    assert records.relation is not None
    places = list(places_of(records.relation).values())
    count = len(places[0])
    if count < 4:
        raise DataError(f"{records.name}: training needs at least four entries; found {count}")
    wanted = min(max(2, round(fraction * count)), count - 2)
    generator = np.random.default_rng(seed)
    first = np.concatenate([places[0]] * (len(places) - 1))
    links = coo_array((np.ones(len(first)), (first, np.concatenate(places[1:]))), shape=(len(records),) * 2)
    group = connected_components(links, directed=False)[1][places[0]]
    sizes = np.bincount(group)
    held, reached = np.zeros(count, dtype=bool), 0
    if sizes.max() <= max(wanted // 2, 1):
        chosen = []
        for number in generator.permutation(np.flatnonzero(sizes)):
            if reached >= wanted:
                break
            chosen.append(number)
            reached += sizes[number]
        return np.isin(group, chosen), "items"
    held[generator.permutation(count)[:wanted]] = True
    return held, "entries"


class HeldOut:
    """Judges an encoder on what was held back.

    Parameters
    ----------
    records : Records
        What was held back.
    distance : Distance
        Compares embeddings.
    preprocessing : nn.Module
        Applied to every item.
    figure : str, optional
        The one that chooses the epoch; by default the first of :data:`FIGURES` for such records.
    augmentation : Augmentation, optional
        Makes the views, where nothing is known of the items.

    Raises
    ------
    InputError
        There is no such figure.
    """

    def __init__(
        self,
        records: Records,
        distance: Distance,
        preprocessing: nn.Module,
        *,
        figure: str | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.records, self.distance, self.preprocessing = records, distance, preprocessing
        self.supervision = supervision_of(records)
        known = FIGURES[self.supervision]
        if figure is not None and figure not in known:
            raise InputError(
                f"figure must be one of {', '.join(known)} where there are {self.supervision}; "
                f"found {figure!r}"
            )
        self.figure = known[0] if figure is None else figure
        self._augmentation = augmentation

    def __call__(self, encoder: nn.Module) -> dict[str, float]:
        """Every figure by name; larger is better."""
        measure: Callable[[nn.Module], dict[str, float]]
        if self.supervision == "labels":
            measure = self._retrieval
        elif self.supervision == "views":
            measure = self._views
        else:
            measure = self._listed
        with torch.inference_mode():
            return measure(encoder)

    def _retrieval(self, encoder: nn.Module) -> dict[str, float]:
        rows = _evenly(len(self.records), _MOST_ITEMS)
        embeddings = embedded(encoder, self.preprocessing, self.records, rows)
        codes = torch.from_numpy(self.records.codes[rows]).to(embeddings.device)
        return _retrieval_figures(self.distance.table(embeddings, embeddings), codes)

    def _views(self, encoder: nn.Module) -> dict[str, float]:
        rows = _evenly(len(self.records), _MOST_ITEMS)
        generator = torch.Generator().manual_seed(0)
        first, second = (
            embedded(
                encoder,
                self.preprocessing,
                self.records,
                rows,
                augmentation=self._augmentation,
                generator=generator,
            )
            for _ in range(2)
        )
        found = self.distance.table(first, second).argmin(1).cpu()
        return {"view_recall@1": float((found == torch.arange(len(rows))).double().mean())}

    def _listed(self, encoder: nn.Module) -> dict[str, float]:
        assert self.records.relation is not None
        listed = entries_of(self.records.relation)
        embeddings = embedded(encoder, self.preprocessing, self.records)

        def distances(left: str, right: str) -> NDArray[np.float64]:
            found = self.distance(embeddings[listed[left]], embeddings[listed[right]])
            return np.asarray(found.double().cpu().numpy())

        if self.supervision == "preferences":
            values = embeddings[:, 0].double().cpu().numpy()
            right = values[listed["left"]] > values[listed["right"]]
            return {"preference_accuracy": float(right.mean())}
        if self.supervision == "triplets":
            nearer = distances("anchor", "positive") < distances("anchor", "negative")
            return {"triplet_accuracy": float(nearer.mean())}
        measured = distances("left", "right")
        if self.supervision == "pairs":
            return {"auc": _area(measured, listed["same"].astype(bool))}
        correlation = float(spearmanr(-measured, listed["score"]).statistic) if np.ptp(measured) > 0 else 0.0
        return {"spearman": correlation if math.isfinite(correlation) else 0.0}


def mean_average_precision(
    encoder: nn.Module, distance: Distance, preprocessing: nn.Module, records: Records
) -> float:
    """MAP@R of each item as a query among all others; items alone in their class ask nothing.

    Of a query with R others of its class: ``1/R sum_i precision@i [i-th is of the class]`` over its R
    nearest. At most 1,500 items, evenly taken, are looked at.
    """
    return HeldOut(records, distance, preprocessing)(encoder)["map@r"]


def _retrieval_figures(table: Tensor, codes: Tensor) -> dict[str, float]:
    table.fill_diagonal_(torch.inf)
    same = codes[:, None] == codes  # (n, n), itself among them
    relevant = same.sum(1) - 1
    asked = relevant > 0
    order = table[asked].argsort(dim=1, stable=True)
    ranks = torch.arange(1, len(codes) + 1, device=codes.device)
    found = same[asked].gather(1, order)
    hits = found & (ranks <= relevant[asked, None])
    precision = hits.cumsum(1) / ranks
    figures = (precision * hits).sum(1) / relevant[asked]
    return {"map@r": float(figures.mean()), "recall@1": float(found[:, 0].double().mean())}


def _area(distances: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The chance that a pair alike is nearer than one that isn't; one half where a kind is missing."""
    alike, unlike = int(same.sum()), int((~same).sum())
    if not alike or not unlike:
        return 0.5
    ranks = rankdata(distances)
    return float(1 - (ranks[same].sum() - alike * (alike + 1) / 2) / (alike * unlike))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
