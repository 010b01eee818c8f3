"""The two passes of a training: without what is held back, and then anew on everything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import nn

import likewise
from likewise.data import Records, turned_classes
from likewise.encoders import Encoder, Preprocessing, config_of, preprocessing_for
from likewise.model import Calibration, Model
from likewise.training.assembly import encoder_name
from likewise.training.calibrating import calibrate
from likewise.training.loop import fit
from likewise.training.plan import Plan, sampler_for
from likewise.training.processes import Place, place
from likewise.training.progress import Epoch, Fit
from likewise.training.reading import prepared_items
from likewise.training.run_folder import RunFolder
from likewise.training.state import Saved
from likewise.training.task import Task
from likewise.training.validation import HeldOut, hold_out

__all__ = ["lines_of", "train_passes"]

_PROJECTION = 64
_SMALL_NET = 200_000


@dataclass(frozen=True)
class _Trial:
    """What the first pass left for the second."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    calibration: Calibration | None

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "calibration": None if self.calibration is None else asdict(self.calibration),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> _Trial:
        held = facts["calibration"]
        return cls(
            tuple(Epoch(**epoch) for epoch in facts["epochs"]),
            facts["best_epoch"],
            Calibration(**held) if held else None,
        )


def train_passes(
    plan: Plan,
    encoder: nn.Module,
    *,
    folder: RunFolder | None = None,
    saved: Saved | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Model:
    """Train without some of the data, to find the best epoch and to calibrate; then anew on all of it.

    With ``hold_out=0`` there is the second pass alone, of all epochs; with ``refit=False`` the first alone.

    Parameters
    ----------
    plan : Plan
        What to train on, and how.
    encoder : nn.Module
        Trained in place; the first pass works on a copy, where there is a second.
    folder : RunFolder, optional
        Takes checkpoints.
    saved : Saved, optional
        The checkpoint to go on from.
    on_epoch : callable, optional
        Called with each :class:`Epoch`.

    Returns
    -------
    Model
    """
    with _threads_for(encoder):
        return _Passes(plan, encoder, folder, saved, on_epoch or _nobody).model()


def lines_of(saved: Saved) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` up to a checkpoint."""
    trial = saved.facts["trial"]
    epochs = [*(trial["epochs"] if trial else []), *saved.facts["epochs"]]
    return [Epoch(**epoch).line() for epoch in epochs]


class _Passes:
    def __init__(
        self,
        plan: Plan,
        encoder: nn.Module,
        folder: RunFolder | None,
        saved: Saved | None,
        on_epoch: Callable[[Epoch], None],
    ) -> None:
        self.plan, self.encoder, self.folder, self.saved = plan, encoder, folder, saved
        self.on_epoch = on_epoch
        self.place: Place = place()

    def model(self) -> Model:
        plan, said = self.plan, self.plan.settings
        name = encoder_name(said)
        # Of everything, as vocabularies and categories must be those that the encoder was made for.
        whole = preprocessing_for(plan.records, encoder=name)
        trial: _Trial | None = None
        if self.saved is not None and self.saved.facts["trial"] is not None:
            trial = _Trial.from_facts(self.saved.facts["trial"])
        if said.hold_out and trial is None:
            held = hold_out(plan.records, fraction=said.hold_out, seed=said.seed)
            trial_encoder = copy.deepcopy(self.encoder) if said.refit else self.encoder
            preparation = preprocessing_for(held.learn, encoder=name, like=whole)
            result, loss = self._fit(
                trial_encoder, held.learn, preparation, stage="held-out", held=held.held_out, trial=None
            )
            calibration = calibrate(trial_encoder, plan.distance(loss), preparation, held, seed=said.seed)
            trial = _Trial(result.epochs, result.best.epoch, calibration)
            if not said.refit:
                return self._finished(trial_encoder, loss, preparation, trial, ())
        preparation = whole
        result, loss = self._fit(self.encoder, plan.records, preparation, stage="all", held=None, trial=trial)
        return self._finished(self.encoder, loss, preparation, trial, result.epochs)

    def _fit(
        self,
        encoder: nn.Module,
        records: Records,
        preparation: Preprocessing,
        *,
        stage: str,
        held: Records | None,
        trial: _Trial | None,
    ) -> tuple[Fit, nn.Module]:
        plan, said = self.plan, self.plan.settings
        shown = turned_classes(records) if plan.turned else records
        task = Task(shown, class_weights=said.class_weights)
        width = _width(encoder, preparation, shown)
        projection = None
        if plan.turned:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(said.seed)
                projection = nn.Linear(width, _PROJECTION)
        loss = plan.loss(
            n_classes=len(shown.classes) if task.supervision == "labels" else 0,
            dimension=width if projection is None else _PROJECTION,
            trial=stage == "held-out" and said.refit,
        )
        validation = None
        if held is not None:
            validation = HeldOut(
                held,
                plan.distance(loss),
                preparation,
                figure=said.figure,
                augmentation=plan.augmentation,
            )
        keeper = None
        if self.folder is not None:
            facts = {
                "settings": said.to_mapping(),
                "data_fingerprint": plan.records.fingerprint,
                "trial": None if trial is None else trial.facts(),
            }
            keeper = _Stage(self.folder, stage, facts, self.saved)
        schedule = plan.schedule
        if trial is not None:
            schedule = replace(schedule, stop_after=trial.best_epoch)
        result = fit(
            encoder,
            loss,
            task,
            sampler=sampler_for(task, plan, self.place),
            schedule=schedule,
            preprocessing=preparation,
            validation=validation,
            augmentation=plan.augmentation,
            projection=projection,
            stepping=plan.stepping,
            patience=said.patience,
            seed=said.seed + self.place.rank,
            device=plan.device,
            workers=said.workers,
            stage=stage,
            keeper=keeper,
            on_epoch=self.on_epoch,
        )
        return result, loss

    def _finished(
        self,
        encoder: nn.Module,
        loss: nn.Module,
        preparation: Preprocessing,
        trial: _Trial | None,
        epochs: tuple[Epoch, ...],
    ) -> Model:
        plan = self.plan
        every = (*(trial.epochs if trial else ()), *epochs)
        return Model(
            encoder.cpu(),
            plan.distance(loss).cpu(),
            preparation,
            None if trial is None else trial.calibration,
            classes=tuple(plan.records.classes.tolist()) if plan.records.labelled else (),
            training=_training(plan, encoder, loss, trial.best_epoch if trial else len(epochs)),
            history=tuple(epoch.line() for epoch in every),
        )


class _Stage:
    """The keeper of one pass: the folder, and what the pass before left."""

    def __init__(self, folder: RunFolder, stage: str, facts: dict[str, Any], saved: Saved | None) -> None:
        self._folder, self._facts = folder, facts
        self._saved = saved if saved is not None and saved.facts["stage"] == stage else None

    def saved(self) -> Saved | None:
        return self._saved

    def due(self) -> bool:
        return self._folder.due()

    def save(self, state: Saved) -> None:
        self._folder.save(Saved(state.arrays, {**state.facts, **self._facts}))

    def failed(self, facts: Mapping[str, Any]) -> str:
        return self._folder.failed(facts)


def _nobody(_: Epoch) -> None:
    """Tell nobody."""


def _width(encoder: nn.Module, preparation: Preprocessing, records: Records) -> int:
    """How many numbers the encoder gives an item."""
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        device = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
        found = encoder(prepared_items(records.items(np.arange(1)), preparation).to(device))
    encoder.train(was_training)
    return int(found.shape[-1])


def _training(plan: Plan, encoder: nn.Module, loss: nn.Module, best_epoch: int) -> dict[str, Any]:
    """What trains it again, and under ``trained`` what came of it."""
    resolved: dict[str, Any] = {
        "data": plan.settings.data or plan.records.name,
        "method": plan.method.name,
        "epochs": plan.epochs,
        "augmentation": plan.augmentation.config(),
        "turned_classes": plan.turned,
    }
    if config_of(encoder) is None:
        resolved["encoder"] = {"class": type(encoder).__qualname__}
    if plan.own_loss is not None:
        resolved["loss"] = {"class": type(plan.own_loss).__qualname__}
    said = {**plan.settings.to_mapping(), **resolved}
    return {
        **{one.name: said[one.name] for one in fields(plan.settings) if one.name in said},
        "trained": {
            "best_epoch": best_epoch,
            "data_fingerprint": plan.records.fingerprint,
            "encoder": config_of(encoder) or {"class": type(encoder).__qualname__},
            "loss": type(loss).__name__,
            **({"skipped": plan.records.skipped} if plan.records.skipped else {}),
            "library_version": likewise.__version__,
            "torch_version": str(torch.__version__),
        },
    }


@contextmanager
def _threads_for(encoder: nn.Module) -> Iterator[None]:
    """One thread while a small net trains, and as many as before after.

    Its products are so small that threads cost more than they bring, ten times and more on a busy machine.
    """
    before = torch.get_num_threads()
    small = isinstance(encoder, Encoder) and sum(p.numel() for p in encoder.parameters()) < _SMALL_NET
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        if small:
            torch.set_num_threads(before)
