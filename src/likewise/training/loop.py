"""The training loop: plain PyTorch, an encoder and a loss, deterministic by seed.

It validates on classes held back from training, and keeps the weights of the best epoch. It doesn't
know what a method is, where data comes from, or what a saved run looks like.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from likewise.data import Augmentation, ClassBalancedSampler, Records
from likewise.distances import Distance
from likewise.encoders import Standardize
from likewise.errors import InputError, LikewiseError
from likewise.training.validation import mean_average_precision

__all__ = ["Epoch", "Fit", "Schedule", "fit"]


@dataclass(frozen=True)
class Schedule:
    """How the weights move: AdamW, a short linear warm-up, then half a cosine down to zero.

    Parameters
    ----------
    epochs : int >= 1
        Passes; the cosine ends with the last.
    learning_rate : float > 0
        The encoder's, at its highest.
    loss_learning_rate : float > 0
        Of parameters of the loss and its distance.
    weight_decay : float >= 0
        Of the encoder.
    stop_after : int, optional
        Stop after this many epochs of the same schedule.
    """

    epochs: int
    learning_rate: float = 2e-3
    loss_learning_rate: float = 2e-2
    weight_decay: float = 1e-4
    stop_after: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs must be at least 1; found {self.epochs}")
        if not (self.learning_rate > 0 and self.loss_learning_rate > 0 and self.weight_decay >= 0):
            raise InputError(
                "learning rates must be over 0 and weight_decay at least 0; found "
                f"{self.learning_rate}, {self.loss_learning_rate} and {self.weight_decay}"
            )
        if self.stop_after is not None and not 1 <= self.stop_after <= self.epochs:
            raise InputError(f"stop_after must lie between 1 and epochs; found {self.stop_after}")

    def factor(self, step: int, steps: int) -> float:
        """By what the learning rates are multiplied at this step of so many."""
        warm = max(1, steps // 20)
        return min(1.0, (step + 1) / warm) * (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; ``map@r`` is None where nothing was held back."""

    epoch: int
    loss: float
    map_at_r: float | None
    seconds: float

    def line(self) -> dict[str, Any]:
        """For ``metrics.jsonl``."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "validation_map@r": self.map_at_r,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Fit:
    """A finished training: its epochs, and which one's weights the encoder and the loss now hold."""

    epochs: tuple[Epoch, ...]
    best: Epoch = field(repr=False)


def fit(
    encoder: nn.Module,
    loss: nn.Module,
    records: Records,
    *,
    sampler: ClassBalancedSampler,
    schedule: Schedule,
    distance: Distance,
    preprocessing: Standardize,
    validation: Records | None = None,
    augmentation: Augmentation | None = None,
    projection: nn.Module | None = None,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Train an encoder in place.

    Parameters
    ----------
    encoder : nn.Module
        Maps items (n, ...) to embeddings (n, d).
    loss : nn.Module
        ``loss(embeddings, labels)`` gives a scalar; its parameters are learned at their own rate.
    records : Records
        What to learn from.
    sampler : ClassBalancedSampler
        Batches of row numbers of ``records``; drawn from epoch 0 on.
    schedule : Schedule
        Epochs and learning rates.
    distance : Distance
        Compares embeddings for validation; usually ``loss.distance``.
    preprocessing : Standardize
        Applied to every item, after augmentation.
    validation : Records, optional
        Held-back items, of other classes where there are enough: the weights of the epoch with the
        best MAP@R on them are kept (the first among equals). Without, those of the last epoch.
    augmentation : Augmentation, optional
        Changes items at random.
    projection : nn.Module, optional
        Stands between encoder and loss while training and is dropped after: what it forgets for the sake
        of the classes at hand, the embedding keeps for others (Khosla et al. 2020, section 3).
    seed : int
        Of augmentation, and of PyTorch's own generator while training runs (restored after).
    on_epoch : callable, optional
        Called with each :class:`Epoch`.

    Returns
    -------
    Fit

    Raises
    ------
    LikewiseError
        The loss isn't a finite scalar; the epoch and batch are named.
    """
    learned = encoder if projection is None else nn.Sequential(encoder, projection)
    optimizer = torch.optim.AdamW(_groups(learned, loss, schedule))
    rates = [group["lr"] for group in optimizer.param_groups]
    items, labels = torch.from_numpy(records.X), torch.from_numpy(records.codes)
    generator = torch.Generator().manual_seed(seed)
    steps = schedule.epochs * len(sampler)
    done: list[Epoch] = []
    kept = _Kept(encoder, loss)
    best: Epoch | None = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(schedule.stop_after or schedule.epochs):
            started = time.perf_counter()
            encoder.train()
            loss.train()
            sampler.set_epoch(epoch)
            total = 0.0
            for batch, rows in enumerate(sampler):
                factor = schedule.factor(epoch * len(sampler) + batch, steps)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                chosen = items[rows]
                if augmentation is not None:
                    chosen = augmentation(chosen, generator=generator)
                value = loss(learned(preprocessing(chosen)), labels[rows])
                _check_loss(value, epoch, batch)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                total += float(value.detach())
            encoder.eval()
            figure = None
            if validation is not None:
                figure = mean_average_precision(encoder, distance, preprocessing, validation)
            ended = Epoch(epoch + 1, total / len(sampler), figure, time.perf_counter() - started)
            done.append(ended)
            if best is None or figure is None or figure > (best.map_at_r or 0.0):
                best = ended
                if validation is not None:
                    kept.take()
            if on_epoch is not None:
                on_epoch(ended)
    if best is None:
        raise InputError("epochs must be at least 1")
    if validation is not None:
        kept.give_back()
    encoder.eval()
    loss.eval()
    return Fit(tuple(done), best)


def _groups(encoder: nn.Module, loss: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    own = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    seen = {id(parameter) for parameter in own}
    of_loss = [p for p in loss.parameters() if p.requires_grad and id(p) not in seen]
    if not own and not of_loss:
        raise InputError("encoder has no parameter to learn, and neither has the loss")
    groups = [
        {"params": own, "lr": schedule.learning_rate, "weight_decay": schedule.weight_decay},
        {"params": of_loss, "lr": schedule.loss_learning_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _check_loss(value: Tensor, epoch: int, batch: int) -> None:
    where = f"epoch {epoch + 1}, batch {batch + 1}"
    if value.ndim != 0:
        raise InputError(f"loss must give a scalar; found shape {tuple(value.shape)} in {where}")
    if not bool(torch.isfinite(value)):
        raise LikewiseError(f"the loss became {value.item()} in {where}; lower the learning rate")


class _Kept:
    """A copy of the weights of some modules, to go back to."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._states: list[dict[str, Any]] = []

    def take(self) -> None:
        self._states = [copy.deepcopy(module.state_dict()) for module in self._modules]

    def give_back(self) -> None:
        for module, state in zip(self._modules, self._states, strict=True):
            module.load_state_dict(state)
