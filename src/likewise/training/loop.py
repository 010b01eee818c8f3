"""The training loop: plain PyTorch, an encoder and a loss, deterministic by seed.

It validates on what is held back, and keeps the weights of the best epoch. It doesn't know what a method
is, where data comes from, or what a saved run looks like; a keeper takes its state and gives it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from likewise.data import Augmentation
from likewise.errors import InputError, LikewiseError
from likewise.training.interruption import Interruption
from likewise.training.learner import Learner, NotFiniteError, Stepping
from likewise.training.memory import OutOfMemoryError, fitting_size, is_out_of_memory
from likewise.training.progress import Epoch, Fit
from likewise.training.randomness import seeded
from likewise.training.reading import Prepared, Reader
from likewise.training.schedule import Schedule
from likewise.training.state import Saved, captured, restored
from likewise.training.task import Task

__all__ = ["Batches", "Keeper", "Validation", "fit"]


class Batches(Protocol):
    """Lists of numbers of what a task draws from, and how many lists make an epoch."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        """Those of the next epoch."""


class Validation(Protocol):
    """Judges an encoder on what was held back."""

    figure: str
    """The one that chooses the epoch; larger is better."""

    def __call__(self, encoder: nn.Module) -> Mapping[str, float]:
        """Every figure by name."""


class Keeper(Protocol):
    """Keeps the state of a training while it runs."""

    def saved(self) -> Saved | None:
        """The state to go on from, where there is one."""

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""

    def save(self, state: Saved) -> None:
        """Keep this state."""

    def failed(self, facts: Mapping[str, Any]) -> str:
        """Keep what is known of a batch whose loss isn't finite; say where, for the message."""


@dataclass
class _Run:
    """Where a training stands, beside the weights."""

    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    items: int = 0
    seconds: float = 0.0
    best: int | None = None


def fit(
    encoder: nn.Module,
    loss: nn.Module,
    task: Task,
    *,
    sampler: Batches,
    schedule: Schedule,
    preprocessing: nn.Module,
    validation: Validation | None = None,
    augmentation: Augmentation | None = None,
    projection: nn.Module | None = None,
    stepping: Stepping | None = None,
    patience: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    workers: int = 0,
    stage: str = "all",
    keeper: Keeper | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fit:
    """Train an encoder in place.

    Parameters
    ----------
    encoder : nn.Module
        Maps items (n, ...) to embeddings (n, d).
    loss : nn.Module
        ``loss(embeddings, relation)`` gives a scalar; its parameters are learned at their own rate.
    task : Task
        What to learn.
    sampler : Batches
        Lists of numbers of what the task draws from; one of ours begins each epoch by its number.
    schedule : Schedule
        Epochs and learning rates.
    preprocessing : nn.Module
        Applied to every item, after augmentation.
    validation : Validation, optional
        The weights of the epoch with the best figure are kept (the first among equals). Without, those of
        the last epoch.
    augmentation : Augmentation, optional
        Changes items at random.
    projection : nn.Module, optional
        Stands between encoder and loss while training and is dropped after: what it forgets for the sake
        of the classes at hand, the embedding keeps for others (Khosla et al. 2020, section 3).
    stepping : Stepping, optional
        Precision, clipping, accumulation, cached gradients, average.
    patience : int, optional
        Stop after so many epochs without a better figure.
    seed : int
        Of augmentation, and of the generators of PyTorch, NumPy and Python while training runs (given back
        after).
    device, workers
        Where to compute, and how many processes read items.
    stage : str
        What :class:`Epoch` is told.
    keeper : Keeper, optional
        Takes checkpoints, and gives one back to go on from. With one, Ctrl-C saves before it stops.
    on_epoch : callable, optional
        Called with each :class:`Epoch`.

    Returns
    -------
    Fit

    Raises
    ------
    NotFiniteError
        The loss became NaN or infinite; epoch and batch are named, and its rows kept.
    OutOfMemoryError
        A batch doesn't fit; the setting and the size that fits are named.
    InputError
        The loss isn't a scalar, or there is nothing to learn.
    """
    with seeded(seed):
        learner = Learner(
            encoder,
            loss,
            schedule=schedule,
            stepping=stepping or Stepping(),
            projection=projection,
            device=device,
        )
        reader = Reader(
            task,
            preprocessing=preprocessing,
            augmentation=augmentation,
            seed=seed,
            device=device,
            workers=workers,
        )
        loop = _Loop(learner, reader, sampler, validation, patience, stage, keeper, on_epoch)
        return loop.run()


class _Loop:
    """The state of :func:`fit` while it runs."""

    def __init__(
        self,
        learner: Learner,
        reader: Reader,
        sampler: Batches,
        validation: Validation | None,
        patience: int | None,
        stage: str,
        keeper: Keeper | None,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> None:
        self.learner, self.reader, self.sampler = learner, reader, sampler
        self.batches = len(sampler)
        self.validation, self.patience, self.stage = validation, patience, stage
        self.keeper, self.on_epoch = keeper, on_epoch
        self.done: list[Epoch] = []
        self.kept: dict[str, Tensor] = {}
        self.at = _Run()

    def run(self) -> Fit:
        last = self.learner.schedule.last
        saved = None if self.keeper is None else self.keeper.saved()
        if saved is not None:
            self._restore(saved)
        elif self.keeper is not None:
            self.keeper.save(self._state())
        with Interruption() if self.keeper is not None else _Uninterrupted() as interruption:
            while self.at.epoch < last and not self._out_of_patience():
                self._epoch(interruption)
            if interruption.asked:
                self._stop()
        if self.validation is not None and self.kept:
            _put_back(self.kept, self.learner)
        elif self.learner.average is not None:
            self.learner.average.exchange()
        self.learner.eval()
        assert self.at.best is not None
        return Fit(tuple(self.done), self.done[self.at.best])

    def _epoch(self, interruption: Any) -> None:
        at, learner = self.at, self.learner
        started = time.perf_counter() - at.seconds
        learner.train()
        accumulate = learner.stepping.accumulate
        steps = learner.schedule.epochs * -(-self.batches // accumulate)
        for prepared in self.reader.epoch(self.sampler, at.epoch, start=at.batch):
            at.total += self._gradients(prepared)
            at.batch += 1
            at.items += len(prepared.items)
            if at.batch % accumulate == 0 or at.batch == self.batches:
                step = at.epoch * -(-self.batches // accumulate) + (at.batch - 1) // accumulate
                learner.step(learner.schedule.factor(step, steps))
                at.seconds = time.perf_counter() - started
                if interruption.asked:
                    self._stop()
                if at.batch < self.batches and self.keeper is not None and self.keeper.due():
                    self.keeper.save(self._state())
            if at.batch == self.batches:
                break
        self._end(started)

    def _stop(self) -> NoReturn:
        """Save what there is, and end as Ctrl-C does."""
        if self.keeper is not None:
            self.keeper.save(self._state())
        raise KeyboardInterrupt

    def _end(self, started: float) -> None:
        """Judge the epoch, keep its weights where they are the best so far, and tell of it."""
        at, learner = self.at, self.learner
        if not at.batch:
            raise InputError("the sampler gave no batch; every epoch needs one")
        learner.eval()
        with nullcontext() if learner.average is None else learner.average.applied():
            figures = {} if self.validation is None else dict(self.validation(learner.encoder))
            better = self.validation is None or self._better(self.validation, figures)
            if better and self.validation is not None:
                self.kept = _copied(learner)
        ended = Epoch(
            epoch=at.epoch + 1,
            loss=at.total / at.batch,
            figures=figures,
            seconds=time.perf_counter() - started,
            items=at.items,
            epochs=learner.schedule.last,
            stage=self.stage,
        )
        self.done.append(ended)
        self.at = _Run(epoch=at.epoch + 1, best=len(self.done) - 1 if better else at.best)
        if self.on_epoch is not None:
            self.on_epoch(ended)
        if self.keeper is not None and self.keeper.due():
            self.keeper.save(self._state())

    def _better(self, validation: Validation, figures: Mapping[str, float]) -> bool:
        best = self.at.best
        return best is None or figures[validation.figure] > self.done[best].figures[validation.figure]

    def _out_of_patience(self) -> bool:
        if self.patience is None or self.at.best is None or self.at.batch:
            return False
        return len(self.done) - 1 - self.at.best >= self.patience

    def _gradients(self, prepared: Prepared) -> float:
        learner, at = self.learner, self.at
        weight = 1.0 / self._batches_of_this_step()
        where = f"epoch {at.epoch + 1}, batch {at.batch + 1}"
        try:
            return learner.gradients(prepared.items, prepared.batch, weight=weight)
        except NotFiniteError as error:
            rows = prepared.batch.rows.tolist()
            told = f"rows {', '.join(map(str, rows[:5]))}{' ...' if len(rows) > 5 else ''}"
            if self.keeper is not None:
                ids = self.reader.task.records.ids
                told = self.keeper.failed(
                    {
                        "epoch": at.epoch + 1,
                        "batch": at.batch + 1,
                        "reason": str(error),
                        "rows": rows,
                        "ids": [ids[row] for row in rows],
                    }
                )
            raise NotFiniteError(
                f"{error} in {where} ({told}); lower the learning rate, or clip_gradient=1"
            ) from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory(prepared, where) from None

    def _batches_of_this_step(self) -> int:
        accumulate = self.learner.stepping.accumulate
        first = self.at.batch // accumulate * accumulate
        return min(accumulate, self.batches - first)

    def _out_of_memory(self, prepared: Prepared, where: str) -> LikewiseError:
        count = len(prepared.items)
        self.learner.optimizer.zero_grad(set_to_none=True)
        size = fitting_size(
            self.learner.stepping.cached_gradients or count,
            lambda size: self.learner.gradients(prepared.items, prepared.batch, cached=size),
        )
        found = f"out of memory with {count} items a batch in {where}"
        if size is None:
            return OutOfMemoryError(f"{found}; not even one at a time fits: take a smaller encoder")
        return OutOfMemoryError(
            f"{found}; cached_gradients={size} fits and gives the same gradient, or take a batch_size of "
            f"at most {size}"
        )

    def _state(self) -> Saved:
        facts = {"stage": self.stage, "at": asdict(self.at), "epochs": [asdict(epoch) for epoch in self.done]}
        return captured(self.learner, self.reader.generator, self.kept, facts)

    def _restore(self, saved: Saved) -> None:
        self.kept = restored(saved, self.learner, self.reader.generator)
        self.at = _Run(**saved.facts["at"])
        self.done = [Epoch(**epoch) for epoch in saved.facts["epochs"]]


class _Uninterrupted:
    """Stands for an interruption that never comes."""

    asked = False

    def __enter__(self) -> _Uninterrupted:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _copied(learner: Learner) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": value.detach().clone()
        for part, module in (("encoder", learner.encoder), ("loss", learner.loss))
        for name, value in module.state_dict().items()
    }


def _put_back(kept: Mapping[str, Tensor], learner: Learner) -> None:
    for part, module in (("encoder", learner.encoder), ("loss", learner.loss)):
        module.load_state_dict(
            {
                name.removeprefix(f"{part}."): value
                for name, value in kept.items()
                if name.startswith(f"{part}.")
            }
        )
