"""``train`` and ``evaluate``: what the library offers in one call each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from likewise.artifacts import check_output
from likewise.data import (
    Augmentation,
    Records,
    Source,
    augmentation_for,
    check_trainable,
    load,
)
from likewise.distances import Distance, Euclidean
from likewise.encoders import encoder_for, fresh_copy
from likewise.errors import InputError
from likewise.evaluation import Report, few_shot, retrieval, verification, verification_pairs
from likewise.model import Model
from likewise.training import (
    METHODS,
    Plan,
    Schedule,
    distance_of,
    epochs_for,
    few_classes_of_images,
    method_from_name,
    train_twice,
)

__all__ = ["METHODS", "TASKS", "Evaluation", "evaluate", "train"]

_Progress: TypeAlias = Callable[[int, int], None] | bool | None

TASKS = ("retrieval", "verification", "few_shot")


def train(
    data: Source,
    *,
    method: str = "supcon",
    encoder: nn.Module | None = None,
    loss: nn.Module | None = None,
    epochs: int | None = None,
    seed: int = 0,
    dimension: int | None = None,
    augmentation: Augmentation | None = None,
    out: Any = None,
    progress: _Progress = None,
) -> Model:
    """Learn an embedding under which items of one class lie close together.

    It trains twice. First without a fifth of the classes (at least two), to find the best epoch by MAP@R
    on those and to calibrate the probability of being alike; then anew on all classes, up to that epoch.
    With fewer than four classes, items are held back instead.

    From at most 20 classes of images the default encoder learns turned and mirrored images as classes of
    their own (:func:`likewise.data.turned_classes`), through a projection that is dropped after training:
    both keep what unseen classes need.

    Parameters
    ----------
    data : name, path, (X, y) or Records
        As :func:`likewise.data.load`: at least two classes, at least two items of each.
    method : str
        One of :data:`METHODS`: loss, batches and learning rates.
    encoder : nn.Module, optional
        Maps float32 items (n, *item_shape) to (n, d); trained in place. By default one that suits the
        items' shape.
    loss : nn.Module, optional
        ``loss(embeddings, labels)`` gives a scalar, ``loss.distance`` a likewise distance; trained in
        place. By default the method's.
    epochs : int >= 1, optional
        Passes over as many items as there are. By default ten; more where that is under 150 batches, fewer
        where it is over 2,000.
    seed : int
        Of weights, batches, augmentation and what is held back.
    dimension : int >= 1, optional
        d, of the default encoder: 64, or what its last block gives where a projection is dropped. Given,
        no projection is used.
    augmentation : Augmentation, optional
        By default random shifts and turns for images, nothing for rows; ``Augmentation()`` is none.
    out : path, optional
        Save the run there; refused before training when it exists and isn't ours.
    progress : bool or callable, optional
        True shows a bar, False nothing; a callable gets (epochs done, epochs in all). By default a bar
        on a terminal.

    Returns
    -------
    Model

    Raises
    ------
    DataError
        One class only, one item of a class, NaN, and the like.
    InputError
        An option out of range, or an output folder that isn't ours.

    >>> model = train("iris", epochs=2)
    >>> model.embed(load("iris").X).shape
    (150, 64)
    """
    records = load(data)
    check_trainable(records)
    chosen = method_from_name(method)
    plan = Plan(
        records=records,
        method=chosen,
        augmentation=augmentation_for(records.item_shape) if augmentation is None else augmentation,
        epochs=epochs_for(records, chosen) if epochs is None else epochs,
        seed=seed,
        turned=encoder is None and dimension is None and few_classes_of_images(records),
    )
    Schedule(epochs=plan.epochs)
    if dimension is not None and dimension < 1:
        raise InputError(f"dimension must be at least 1; found {dimension}")
    if out is not None:
        check_output(out, manifest="model.json", kind="likewise-run")
    if encoder is None:
        width = dimension if plan.turned or dimension is not None else 64
        encoder = encoder_for(records.item_shape, dimension=width, seed=seed)
    if loss is None:
        loss = plan.method.loss()
    distance_of(loss)
    with _bar(progress) as advance:
        model = train_twice(plan, encoder, loss, advance)
    if out is not None:
        model.save(out)
    return model


def _bar(progress: _Progress) -> AbstractContextManager[Callable[[int, int], None]]:
    if callable(progress):
        return nullcontext(progress)
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return nullcontext(lambda _done, _total: None)
    return _RichBar()


class _RichBar(AbstractContextManager[Callable[[int, int], None]]):
    """A bar of epochs on standard error."""

    def __enter__(self) -> Callable[[int, int], None]:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True))
        self._bar.start()
        task = self._bar.add_task("training", total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


@dataclass(frozen=True)
class Evaluation:
    """Reports by task, of a model and of its controls.

    Parameters
    ----------
    reports : mapping of task to Report
        The model's: ``retrieval``, ``verification``, ``few_shot``, as asked for.
    controls : mapping of name to such a mapping
        ``raw``: the preprocessed items themselves, Euclidean. ``untrained``: the same architecture
        with fresh weights.
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
        """For JSON: ``{"retrieval": {...}, ..., "controls": {"raw": {...}, "untrained": {...}}}``."""
        told: dict[str, Any] = {task: report.to_dict() for task, report in self.reports.items()}
        if self.controls:
            told["controls"] = {
                name: {task: report.to_dict() for task, report in reports.items()}
                for name, reports in self.controls.items()
            }
        return told

    def __str__(self) -> str:
        lines = [str(report) for report in self.reports.values()]
        for name, reports in self.controls.items():
            lines += [f"control: {name}", *(str(report) for report in reports.values())]
        return "\n".join([*lines, *self.notes])


def evaluate(
    model: Model,
    data: Source,
    *,
    tasks: Iterable[str] = TASKS,
    controls: bool = True,
    seed: int = 0,
) -> Evaluation:
    """Judge a model on labelled items, best of classes that it never saw.

    Parameters
    ----------
    model : Model
        The model.
    data : name, path, (X, y) or Records
        As :func:`likewise.data.load`.
    tasks : of "retrieval", "verification", "few_shot"
        Few-shot is 5-way one-shot (fewer ways where there are fewer classes).
    controls : bool
        Also judge raw items and an untrained net, on the same pairs and episodes.
    seed : int
        Of sampled pairs, episodes, and the untrained net's weights.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        A task that isn't known, items of another shape, one class only.

    >>> model = train("iris", epochs=2)
    >>> sorted(evaluate(model, "iris", tasks=["retrieval"]).to_dict())
    ['controls', 'retrieval']
    """
    wanted = tuple(dict.fromkeys([tasks] if isinstance(tasks, str) else tasks))
    unknown = [task for task in wanted if task not in TASKS]
    if unknown or not wanted:
        raise InputError(
            f"tasks must be among {', '.join(TASKS)}; found {unknown[0] if unknown else 'none'!r}"
        )
    records = load(data)
    if len(records.classes) < 2:
        raise InputError(f"{records.name}: evaluation needs at least two classes; found one")
    reports = _reports(model.embed(records.X), records, model.distance, wanted, seed)
    seen = sorted(set(map(str, model.classes)) & set(map(str, records.classes.tolist())))
    notes = []
    if seen:
        notes.append(
            f"{len(seen)} of {len(records.classes)} classes bear names that training saw ({seen[0]}, ...)"
        )
    beside: dict[str, MappingProxyType[str, Report]] = {}
    if controls:
        with torch.inference_mode():
            raw = model.preprocessing(torch.from_numpy(records.X)).flatten(1).numpy()
        beside["raw"] = _reports(raw, records, Euclidean(), wanted, seed)
        learned = any(True for _ in model.distance.parameters())
        distance = Euclidean() if learned else model.distance
        try:
            untrained = replace(model, encoder=fresh_copy(model.encoder, seed=seed))
        except InputError as error:
            notes.append(f"no untrained control: {error}")
        else:
            beside["untrained"] = _reports(untrained.embed(records.X), records, distance, wanted, seed)
    return Evaluation(reports, MappingProxyType(beside), tuple(notes))


def _reports(
    embeddings: NDArray[np.float32],
    records: Records,
    distance: Distance,
    tasks: tuple[str, ...],
    seed: int,
) -> MappingProxyType[str, Report]:
    made: dict[str, Report] = {}
    for task in tasks:
        if task == "retrieval":
            made[task] = retrieval(embeddings, records.y, distance=distance)
        elif task == "verification":
            pairs = verification_pairs(embeddings, records.y, seed=seed, distance=distance)
            made[task] = verification(
                pairs.distances,
                pairs.same,
                left_classes=records.y[pairs.left],
                right_classes=records.y[pairs.right],
            )
        else:
            ways = min(5, len(records.classes))
            made[task] = few_shot(embeddings, records.y, ways=ways, shots=1, seed=seed, distance=distance)
    return MappingProxyType(made)
