"""What follows from data, method and settings: batches, epochs, rates, and the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from likewise.data import (
    Augmentation,
    BalancedSampler,
    ClassBalancedSampler,
    HierarchicalSampler,
    Records,
    ShuffledSampler,
)
from likewise.distances import Distance
from likewise.errors import InputError
from likewise.losses import CrossBatchMemory, Loss
from likewise.settings import TrainingSettings
from likewise.training.learner import Stepping
from likewise.training.loop import Batches
from likewise.training.methods import Method
from likewise.training.processes import Place
from likewise.training.schedule import Schedule
from likewise.training.task import Task

__all__ = [
    "Plan",
    "SamplerMaker",
    "distance_of",
    "epochs_for",
    "few_classes_of_images",
    "sampler_for",
]

SamplerMaker: TypeAlias = Callable[[Any], Batches]
"""From labels (n,), the numbers of classes, to batches of rows."""

_FEW_CLASSES = 20
_TURNED_CLASSES, _TURNED_ITEMS = 20, 8
_MOST_TURNED = 2**25
_FEWEST_STEPS, _MOST_STEPS = 150, 2000
_FEW_IMAGES, _FEWEST_IMAGE_STEPS = 1000, 600
_SHOWN_CLASS, _SHOWN_IMAGE, _MOST_PIXELS = 60, 256, 2**29  # batches of a class, times an image, pixels in all


@dataclass(frozen=True)
class Plan:
    """What to train on, and how.

    Parameters
    ----------
    records : Records
    method : Method
    settings : TrainingSettings
    augmentation : Augmentation
    epochs : int
    turned : bool
        Whether turned and mirrored images are classes as well, and the loss sees a projection.
    own_loss : nn.Module, optional
        In place of the method's.
    own_distance : Distance, optional
        By which to compare, where the loss has none.
    own_sampler : Batches or callable, optional
        In place of the method's.
    device : torch.device
    """

    records: Records
    method: Method
    settings: TrainingSettings
    augmentation: Augmentation
    epochs: int
    turned: bool = False
    own_loss: nn.Module | None = None
    own_distance: Distance | None = None
    own_sampler: Batches | SamplerMaker | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def schedule(self) -> Schedule:
        """Epochs and rates: those said, else the method's."""
        said = self.settings
        rate = self.method.learning_rate if said.learning_rate is None else said.learning_rate
        of_loss = rate * self.method.loss_rate if said.loss_learning_rate is None else said.loss_learning_rate
        return Schedule(
            epochs=self.epochs,
            learning_rate=rate,
            loss_learning_rate=of_loss,
            weight_decay=said.weight_decay,
            warm_up=said.warm_up,
            shape=said.schedule,
        )

    @property
    def stepping(self) -> Stepping:
        """How a step is computed."""
        said = self.settings
        return Stepping(
            precision=said.precision,
            clip_gradient=said.clip_gradient,
            accumulate=said.accumulate,
            cached_gradients=said.cached_gradients,
            average=said.average,
        )

    def loss(self, *, n_classes: int, dimension: int, trial: bool) -> nn.Module:
        """The loss for so many classes; of a user's own a copy for the trial, and itself after."""
        if self.own_loss is not None:
            return copy.deepcopy(self.own_loss) if trial else self.own_loss
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            made: Loss = self.method.loss(
                n_classes=n_classes, dimension=dimension, options=self.settings.loss
            )
            if self.settings.memory:
                made = CrossBatchMemory(made, dimension, size=self.settings.memory)
        return made

    def distance(self, loss: nn.Module) -> Distance:
        """By which embeddings are compared."""
        if self.own_distance is not None:
            return self.own_distance
        if self.own_loss is None and self.method.compares is not None:
            return self.method.compares()
        return distance_of(loss)


def few_classes_of_images(records: Records) -> bool:
    """Whether turned and mirrored images are needed as classes: images of at most 20 classes.

    They are all held in memory, so not of more than that allows.
    """
    few = records.kind == "image" and records.labelled and len(records.classes) <= _FEW_CLASSES
    return few and len(records) * math.prod(records.item_shape) <= _MOST_TURNED


def epochs_for(task: Task, method: Method, settings: TrainingSettings) -> int:
    """Ten, but more to reach 150 steps and fewer not to pass 2,000; at least three.

    Of at most 1,000 labelled images at least 600 steps, or as many more as show each class in 60 batches; but
    no image more than 256 times, and no more than about five minutes of one core (2^29 pixels through both
    passes). That was chosen on characters of Omniglot's background alphabets, judged on others of them: 600
    steps rather than 150 brought MAP@R from 0.20 to 0.29 with 20 classes of 15 images, and 750 from 0.21 to
    0.25 with 100 of 4. Rows of features gained nothing (optdigits, five digits learned, the others judged).
    """
    if task.supervision == "labels" and _sampler_name(method, settings) in ("classes", "hierarchical"):
        classes, items = _classes_and_items(task, method, settings)
        size = classes * items
    else:
        classes, size = 0, min(settings.batch_size or method.batch_size, task.count)
    batches = math.ceil(task.count / size)
    fewest = _fewest_steps(task, classes, size)
    return max(3, round(fewest / batches), min(10, round(_MOST_STEPS / batches)))


def _fewest_steps(task: Task, classes: int, size: int) -> int:
    """Steps that a training has at least, of so many items and classes each."""
    if task.supervision != "labels" or task.records.kind != "image" or task.count > _FEW_IMAGES:
        return _FEWEST_STEPS
    wanted = _FEWEST_IMAGE_STEPS
    if classes:
        wanted = max(wanted, math.ceil(_SHOWN_CLASS * len(task.records.classes) / classes))
    often_enough = _SHOWN_IMAGE * task.count // size
    quick_enough = _MOST_PIXELS // (2 * size * math.prod(task.records.item_shape))
    return max(_FEWEST_STEPS, min(wanted, often_enough, quick_enough, _MOST_STEPS))


def sampler_for(task: Task, plan: Plan, place: Place) -> Batches:
    """The batches of a task: a user's own, or those of settings and method.

    Raises
    ------
    InputError
        A sampler of one's own that isn't made for the part that is learned from, sizes that don't fit.
    """
    own, said = plan.own_sampler, plan.settings
    if own is not None:
        if callable(own):
            return own(task.labels)
        if said.hold_out:
            raise InputError(
                "sampler must be a function of labels, as some classes are held back and rows then have "
                "other numbers; give lambda labels: MySampler(labels), or hold_out=0"
            )
        return own
    options: dict[str, Any] = {"seed": said.seed, "rank": place.rank, "world_size": place.world_size}
    name = _sampler_name(plan.method, said)
    if task.supervision != "labels" or name == "shuffled":
        if task.supervision == "labels" and not plan.method.has_classes:
            raise InputError(
                f"sampler shuffled may give batches without a pair alike, which {plan.method.name} needs; "
                "use classes or balanced"
            )
        size = min(said.batch_size or plan.method.batch_size, task.count)
        return ShuffledSampler(task.count, batch_size=size, strata=task.strata, **options)
    if name == "balanced":
        size = said.batch_size or plan.method.batch_size
        return BalancedSampler(task.labels, batch_size=min(size, task.count), **options)
    classes, items = _classes_and_items(task, plan.method, said)
    if name == "hierarchical":
        superclasses = task.records.columns.get("superclass")
        if superclasses is None:
            raise InputError(
                "sampler hierarchical needs a column 'superclass', the class of each class; "
                f"found {', '.join(task.records.columns) or 'no column'}"
            )
        above = len(set(superclasses.tolist()))
        several = min(above, 2 if classes < 8 else 4)
        return HierarchicalSampler(
            task.labels,
            superclasses,
            superclasses_per_batch=several,
            classes_per_superclass=max(1, classes // several),
            items_per_class=items,
            **options,
        )
    if plan.turned and said.classes_per_batch is None and said.items_per_class is None:
        classes, items = min(_TURNED_CLASSES, len(task.records.classes)), _TURNED_ITEMS
    return ClassBalancedSampler(task.labels, classes_per_batch=classes, items_per_class=items, **options)


def _sampler_name(method: Method, settings: TrainingSettings) -> str:
    return settings.sampler or method.sampler


def _classes_and_items(task: Task, method: Method, settings: TrainingSettings) -> tuple[int, int]:
    """P and K: as said, or of a batch size that was said, or the method's; P at most all classes."""
    items = settings.items_per_class or method.items_per_class
    classes = settings.classes_per_batch or method.classes_per_batch
    if settings.batch_size is not None and settings.classes_per_batch is None:
        classes = max(2, settings.batch_size // items)
    return min(classes, len(task.records.classes)), items


def distance_of(loss: nn.Module) -> Distance:
    """The distance by which a loss compares embeddings.

    Raises
    ------
    InputError
        It has none.
    """
    distance = getattr(loss, "distance", None)
    if not isinstance(distance, Distance):
        raise InputError(
            "loss must have a likewise distance as loss.distance, by which its embeddings are compared, or "
            f"distance= must give one; found {type(distance).__name__}"
        )
    return distance
