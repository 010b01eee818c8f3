"""``evaluate``: every figure of a model, beside raw items and an untrained network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.data import Records, Source, load
from likewise.data.entries import entries_of
from likewise.distances import Distance
from likewise.errors import InputError
from likewise.evaluation import (
    Report,
    clustering,
    few_shot,
    model_controls,
    ranking,
    retrieval,
    verification,
    verification_pairs,
)
from likewise.model import Model
from likewise.relations import Pairs, Scores

__all__ = ["TASKS", "Evaluation", "evaluate"]

TASKS = ("retrieval", "verification", "few_shot", "clustering", "ranking")
_USUAL = ("retrieval", "verification", "few_shot")


@dataclass(frozen=True)
class Evaluation:
    """Reports by task, of a model and of its controls.

    Parameters
    ----------
    reports : mapping of task to Report
        The model's, as asked for.
    controls : mapping of name to such a mapping
        ``raw``: the prepared items themselves, Euclidean. ``whitened``: those on their principal components,
        each divided by its deviation. ``untrained``: the same architecture with fresh weights.
    notes : tuple of str
        What a reader must know: classes that training saw, a control that couldn't be made.
    """

    reports: MappingProxyType[str, Report]
    controls: MappingProxyType[str, MappingProxyType[str, Report]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    notes: tuple[str, ...] = ()

    def __getitem__(self, task: str) -> Report:
        return self.reports[task]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``{"retrieval": {...}, ..., "controls": {"raw": {...}, "whitened": {...}, ...}}``."""
        told: dict[str, Any] = {task: report.to_dict() for task, report in self.reports.items()}
        if self.controls:
            told["controls"] = {
                name: {task: report.to_dict() for task, report in reports.items()}
                for name, reports in self.controls.items()
            }
        return told

    def told(self) -> list[str]:
        """What went in, what was left out and what holds for all figures, a sentence each."""
        lines = []
        for task, report in self.reports.items():
            counted = ", ".join(f"{name}: {count:,}" for name, count in report.counts.items() if count)
            lines += [f"{task.replace('_', '-')}: {counted}"] if counted else []
            lines += report.notes
        return list(dict.fromkeys([*lines, *self.notes]))

    def __str__(self) -> str:
        lines = [str(report) for report in self.reports.values()]
        for name, reports in self.controls.items():
            lines += [f"control: {name}", *(str(report) for report in reports.values())]
        return "\n".join([*lines, *self.notes])


def evaluate(
    model: Model,
    data: Source,
    *,
    tasks: Iterable[str] | None = None,
    controls: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Judge a model on items of which it is known what is alike, best of classes that it never saw.

    Parameters
    ----------
    model : Model
        The model.
    data : name, path, (X, y) or Records
        As :func:`likewise.data.load`: labels, or a table of pairs or scores.
    tasks : of "retrieval", "verification", "few_shot", "clustering", "ranking"
        By default the first three for labels, verification for pairs, ranking for scores. Few-shot is
        5-way one-shot (fewer ways where there are fewer classes).
    controls : bool
        Also judge raw and whitened items and an untrained net, on the same pairs and episodes.
    seed : int
        Of sampled pairs, episodes, and the untrained net's weights.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        A task that isn't known or that the data doesn't allow, items of another shape, one class only.

    >>> from likewise.api import train
    >>> model = train("iris", epochs=2)
    >>> sorted(evaluate(model, "iris", tasks=["retrieval"]).to_dict())
    ['controls', 'retrieval']
    """
    if tasks is not None:
        _known([tasks] if isinstance(tasks, str) else list(tasks))
    records = model.adapted(load(data))
    wanted = _tasks_for(records, None if tasks is None else [tasks] if isinstance(tasks, str) else tasks)
    judge = _Judge(records, wanted, seed)
    reports = judge.reports(model.embed(records), model.distance)
    notes = _seen_classes(model, records)
    beside: dict[str, MappingProxyType[str, Report]] = {}
    if controls:
        controlled = model_controls(model, records, seed=seed)
        notes += controlled.notes
        for name, control in controlled.made.items():
            beside[name] = judge.reports(control.embeddings, control.distance)
    return Evaluation(reports, MappingProxyType(beside), tuple(notes))


def _known(tasks: list[str]) -> None:
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks:
        raise InputError(
            f"tasks must be among {', '.join(TASKS)}; found {unknown[0] if unknown else 'none'!r}"
        )


def _tasks_for(records: Records, asked: Iterable[str] | None) -> tuple[str, ...]:
    """What is asked for, or what the data allows; refused where it doesn't."""
    allowed: tuple[str, ...]
    usual: tuple[str, ...]
    if isinstance(records.relation, Pairs):
        allowed, usual = ("verification",), ("verification",)
    elif isinstance(records.relation, Scores):
        allowed, usual = ("ranking",), ("ranking",)
    elif records.labelled:
        allowed, usual = ("retrieval", "verification", "few_shot", "clustering"), _USUAL
        if len(records.classes) < 2:
            raise InputError(f"{records.name}: evaluation needs at least two classes; found one")
    else:
        raise InputError(f"{records.name}: evaluation needs labels, or a table of pairs or scores")
    wanted = usual if asked is None else tuple(dict.fromkeys(asked))
    for task in wanted:
        if task not in allowed:
            raise InputError(f"{records.name}: {task} can't be judged on it; {', '.join(allowed)} can")
    return wanted


def _seen_classes(model: Model, records: Records) -> list[str]:
    if not records.labelled:
        return []
    seen = sorted(set(map(str, model.classes)) & set(map(str, records.classes.tolist())))
    if not seen:
        return []
    told = f"{len(seen)} of {len(records.classes)} classes bear names that training saw ({seen[0]}, ...)"
    return [f"{told}; what these figures say of new classes is too good"]


@dataclass(frozen=True)
class _Judge:
    """Judges embeddings of the same records by the same tasks, pairs and episodes."""

    records: Records
    tasks: tuple[str, ...]
    seed: int

    def reports(self, embeddings: NDArray[np.float32], distance: Distance) -> MappingProxyType[str, Report]:
        return MappingProxyType({task: self._report(task, embeddings, distance) for task in self.tasks})

    def _report(self, task: str, embeddings: NDArray[np.float32], distance: Distance) -> Report:
        records, seed = self.records, self.seed
        if isinstance(records.relation, Pairs | Scores):
            return self._listed(records.relation, embeddings, distance)
        if task == "retrieval":
            return retrieval(embeddings, records.labels, distance=distance)
        if task == "clustering":
            return clustering(embeddings, records.labels)
        if task == "few_shot":
            ways = min(5, len(records.classes))
            return few_shot(embeddings, records.labels, ways=ways, shots=1, seed=seed, distance=distance)
        pairs = verification_pairs(embeddings, records.labels, seed=seed, distance=distance)
        return verification(
            pairs.distances,
            pairs.same,
            left_classes=records.labels[pairs.left],
            right_classes=records.labels[pairs.right],
        )

    def _listed(
        self, relation: Pairs | Scores, embeddings: NDArray[np.float32], distance: Distance
    ) -> Report:
        listed = entries_of(relation)
        rows = torch.from_numpy(embeddings)
        with torch.inference_mode():
            distances = distance(rows[listed["left"]], rows[listed["right"]]).double().numpy()
        if isinstance(relation, Pairs):
            return verification(distances, listed["same"].astype(bool))
        return ranking(-distances, listed["score"])
