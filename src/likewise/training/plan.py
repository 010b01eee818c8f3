"""Training as ``likewise.train`` does it: what is held back, how long, and the two passes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from likewise.data import Augmentation, ClassBalancedSampler, Records, turned_classes
from likewise.distances import Distance
from likewise.encoders import MLP, ConvNet, Standardize, config_of
from likewise.errors import InputError
from likewise.model import Model
from likewise.training.loop import Epoch, Fit, Schedule, fit
from likewise.training.methods import Method
from likewise.training.validation import calibrate, hold_out

__all__ = ["Plan", "distance_of", "epochs_for", "few_classes_of_images", "train_twice"]

_FEW_CLASSES = 20
_TURNED_CLASSES, _TURNED_ITEMS = 20, 8
_PROJECTION = 64
_SMALL_NET = 200_000
_FEWEST_STEPS, _MOST_STEPS = 150, 2000


@dataclass(frozen=True)
class Plan:
    """What to train on, and how."""

    records: Records
    method: Method
    augmentation: Augmentation
    epochs: int
    seed: int
    turned: bool = False
    """Whether turned and mirrored images are classes as well, and the loss sees a projection."""


def train_twice(
    plan: Plan, encoder: nn.Module, loss: nn.Module, advance: Callable[[int, int], None]
) -> Model:
    """Train without some classes, to find the best epoch and to calibrate; then anew on all of them.

    Parameters
    ----------
    plan : Plan
        Records, method, augmentation, epochs and seed.
    encoder, loss : nn.Module
        Trained in place; the first training works on copies.
    advance : callable
        Called with (epochs done, epochs in all), the second known better once the best is found.

    Returns
    -------
    Model
    """
    with _threads_for(encoder):
        return _trained(plan, encoder, loss, advance)


def _trained(plan: Plan, encoder: nn.Module, loss: nn.Module, advance: Callable[[int, int], None]) -> Model:
    held = hold_out(plan.records, seed=plan.seed)
    trial_encoder, trial_loss = copy.deepcopy(encoder), copy.deepcopy(loss)
    trial_preparation = Standardize.learned_from(held.learn.X)
    history: list[dict[str, Any]] = []
    total = 2 * plan.epochs

    def told(stage: str, before: int) -> Callable[[Epoch], None]:
        def tell(epoch: Epoch) -> None:
            history.append({"stage": stage, **epoch.line()})
            advance(before + epoch.epoch, total)

        return tell

    schedule = Schedule(
        epochs=plan.epochs,
        learning_rate=plan.method.learning_rate,
        loss_learning_rate=plan.method.loss_learning_rate,
    )
    trial = _fit(
        plan, trial_encoder, trial_loss, held.learn, trial_preparation, schedule,
        validation=held.held_out, on_epoch=told("held-out", 0),
    )  # fmt: skip
    calibration = calibrate(trial_encoder, distance_of(trial_loss), trial_preparation, held, seed=plan.seed)
    total = plan.epochs + trial.best.epoch
    preparation = Standardize.learned_from(plan.records.X)
    _fit(
        plan, encoder, loss, plan.records, preparation, replace(schedule, stop_after=trial.best.epoch),
        validation=None, on_epoch=told("all", plan.epochs),
    )  # fmt: skip
    return Model(
        encoder,
        distance_of(loss),
        preparation,
        calibration,
        classes=tuple(plan.records.classes.tolist()),
        training=_training(plan, encoder, loss, trial),
        history=tuple(history),
    )


def _fit(
    plan: Plan,
    encoder: nn.Module,
    loss: nn.Module,
    records: Records,
    preparation: Standardize,
    schedule: Schedule,
    *,
    validation: Records | None,
    on_epoch: Callable[[Epoch], None],
) -> Fit:
    shown = turned_classes(records) if plan.turned else records
    projection = None
    if plan.turned:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            projection = nn.LazyLinear(_PROJECTION)
            projection(encoder(preparation(torch.from_numpy(shown.X[:1]))))
    sampler = ClassBalancedSampler(
        shown.y,
        classes_per_batch=(
            min(_TURNED_CLASSES, len(shown.classes))
            if plan.turned
            else _classes_per_batch(shown, plan.method)
        ),
        items_per_class=_TURNED_ITEMS if plan.turned else plan.method.items_per_class,
        seed=plan.seed,
    )
    return fit(
        encoder,
        loss,
        shown,
        sampler=sampler,
        schedule=schedule,
        distance=distance_of(loss),
        preprocessing=preparation,
        validation=validation,
        augmentation=plan.augmentation,
        projection=projection,
        seed=plan.seed,
        on_epoch=on_epoch,
    )


def few_classes_of_images(records: Records) -> bool:
    """Whether turned and mirrored images are needed as classes: images of at most 20 classes."""
    return len(records.item_shape) >= 2 and len(records.classes) <= _FEW_CLASSES


def epochs_for(records: Records, method: Method) -> int:
    """Ten, but more to reach 150 steps and fewer not to pass 2,000; at least three."""
    batches = math.ceil(len(records) / (_classes_per_batch(records, method) * method.items_per_class))
    return max(3, round(_FEWEST_STEPS / batches), min(10, round(_MOST_STEPS / batches)))


def _classes_per_batch(records: Records, method: Method) -> int:
    return min(method.classes_per_batch, len(records.classes))


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
            "loss must have a likewise distance as loss.distance, by which its embeddings are compared; "
            f"found {type(distance).__name__}"
        )
    return distance


def _training(plan: Plan, encoder: nn.Module, loss: nn.Module, trial: Fit) -> dict[str, Any]:
    return {
        "data": plan.records.name,
        "data_fingerprint": plan.records.fingerprint,
        "method": plan.method.name,
        "epochs": plan.epochs,
        "best_epoch": trial.best.epoch,
        "seed": plan.seed,
        "loss": type(loss).__name__,
        "encoder": config_of(encoder) or {"class": type(encoder).__qualname__},
        "augmentation": plan.augmentation.config(),
        "torch_version": str(torch.__version__),
    }


@contextmanager
def _threads_for(encoder: nn.Module) -> Iterator[None]:
    """One thread while a small net trains, and as many as before after.

    Its products are so small that threads cost more than they bring, ten times and more on a busy machine.
    """
    before = torch.get_num_threads()
    small = isinstance(encoder, MLP | ConvNet) and sum(p.numel() for p in encoder.parameters()) < _SMALL_NET
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        if small:
            torch.set_num_threads(before)
