"""From records and settings to a plan: the method, the network, the augmentation, the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from likewise.data import Augmentation, Records, augmentation_for, check_trainable
from likewise.distances import Distance
from likewise.encoders import encoder_for, encoder_from_config, is_encoder_name, preprocessing_for
from likewise.errors import InputError
from likewise.settings import TrainingSettings
from likewise.training.loop import Batches
from likewise.training.methods import method_for
from likewise.training.plan import Plan, SamplerMaker, distance_of, epochs_for, few_classes_of_images
from likewise.training.task import Task, supervision_of

__all__ = ["device_from", "encoder_name", "encoder_of", "plan_from", "refuse_foreign"]


def refuse_foreign(settings: TrainingSettings, encoder: nn.Module | None, loss: nn.Module | None) -> None:
    """Refuse settings of a run that was made with a module of somebody's own, which isn't given.

    Raises
    ------
    InputError
    """
    for name, said, given in (("encoder", settings.encoder, encoder), ("loss", settings.loss, loss)):
        if isinstance(said, Mapping) and "class" in said and given is None:
            raise InputError(
                f"{name} was a {said['class']}, which isn't part of likewise: train in Python, with {name}="
            )


def plan_from(
    records: Records,
    settings: TrainingSettings,
    own_encoder: nn.Module | None,
    own_loss: nn.Module | None,
    distance: Distance | None,
    own_sampler: Batches | SamplerMaker | None,
    device: torch.device,
) -> Plan:
    """What to train on, and how, from settings, the data's own defaults, and what is somebody's own.

    Raises
    ------
    DataError
        One class only, or a class with one item.
    InputError
        A method that doesn't learn from such data, an augmentation that isn't there, a loss without a
        distance.
    """
    supervision = supervision_of(records)
    if supervision == "labels":
        check_trainable(records)
    method = method_for(supervision, settings.method).suited(records.kind)
    turned = settings.turned_classes
    if turned is None:
        turned = (
            own_encoder is None
            and settings.encoder is None
            and settings.dimension is None
            and settings.head is None
            and method.head is None
            and few_classes_of_images(records)
        )
    if settings.augmentation is not None:
        changes = _augmentation(settings.augmentation)
    elif supervision != "views" and _read_as_ngrams(records, settings):
        changes = Augmentation()  # leaving words out gains nothing there, and each text were hashed anew
    else:
        changes = augmentation_for(records, views=supervision == "views")
    task = Task(records)
    if own_loss is not None and distance is None:
        distance_of(own_loss)
    return Plan(
        records=records,
        method=method,
        settings=settings,
        augmentation=changes,
        epochs=settings.epochs or epochs_for(task, method, settings),
        turned=turned,
        own_loss=own_loss,
        own_distance=distance,
        own_sampler=own_sampler,
        device=device,
    )


def _augmentation(options: Mapping[str, Any]) -> Augmentation:
    try:
        return Augmentation(**options)
    except TypeError as error:
        known = ", ".join(one.name for one in fields(Augmentation))
        raise InputError(f"augmentation takes {known}; found {', '.join(options)}") from error


def encoder_name(settings: TrainingSettings) -> str | None:
    """The name of an encoder of ours that settings say, by which items are prepared; None is the default."""
    said = settings.encoder
    name = said.get("name") if isinstance(said, Mapping) else said
    return name if isinstance(name, str) and is_encoder_name(name) else None


def encoder_of(plan: Plan) -> nn.Module:
    """The network that settings name, or the default for such items.

    Raises
    ------
    InputError
        No such encoder or head, or options that don't fit.
    """
    settings, method = plan.settings, plan.method
    head = settings.head or method.head
    said = {"name": settings.encoder} if isinstance(settings.encoder, str) else dict(settings.encoder or {})
    if said and not is_encoder_name(str(said.get("name"))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            return encoder_from_config({"dimension": settings.dimension, **said})
    width = settings.dimension
    # N-grams have a width of their own.
    if width is None and not plan.turned and head is None and not _read_as_ngrams(plan.records, settings):
        width = 64
    prepared = preprocessing_for(plan.records, encoder=encoder_name(settings))
    options = {"dimension": width, "head": head, "seed": settings.seed, **said}
    return encoder_for(prepared, **options)


def _read_as_ngrams(records: Records, settings: TrainingSettings) -> bool:
    return records.kind == "text" and encoder_name(settings) in (None, "ngrams")


def device_from(name: str | None) -> torch.device:
    """Where to compute: as said, or the first GPU where there is one.

    Raises
    ------
    InputError
        No such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device must be cpu, cuda or cuda:1 ...; found {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name} isn't there: this PyTorch finds no GPU; use cpu")
    return device
