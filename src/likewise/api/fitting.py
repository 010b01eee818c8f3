"""``train``: from anyone's data to a model, in one call."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, TypeAlias

import torch
from torch import nn

from likewise.artifacts import check_output
from likewise.data import (
    Augmentation,
    Source,
    load,
)
from likewise.distances import Distance
from likewise.errors import DataError, InputError
from likewise.model import Model
from likewise.settings import TrainingSettings, merged_settings, read_toml, settings_from_mapping
from likewise.training import (
    METHODS,
    Batches,
    Epoch,
    Plan,
    RunFolder,
    SamplerMaker,
    Saved,
    device_from,
    encoder_of,
    joined,
    lines_of,
    live_table,
    plan_from,
    refuse_foreign,
    tensorboard_events,
    train_passes,
)

__all__ = ["train"]

_Progress: TypeAlias = Callable[[int, int], None] | bool | None


def train(
    data: Source | None = None,
    *,
    encoder: nn.Module | str | Mapping[str, Any] | None = None,
    loss: nn.Module | Callable[..., Any] | Mapping[str, Any] | None = None,
    distance: Distance | None = None,
    sampler: Batches | SamplerMaker | str | None = None,
    augmentation: Augmentation | Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: _Progress = None,
    callbacks: Sequence[Callable[[Epoch], None]] = (),
    **settings: Any,
) -> Model:
    """Learn an embedding under which things that are alike lie close together.

    It trains twice. First without a fifth of the classes (at least two), to find the best epoch by MAP@R
    on those and to calibrate the probability of being alike; then anew on all classes, up to that epoch.
    With fewer than four classes, items are held back instead; of tables of pairs, scores and triplets,
    entries.

    From at most 20 classes of images the default encoder learns turned and mirrored images as classes of
    their own (:func:`likewise.data.turned_classes`), through a projection that is dropped after training:
    both keep what unseen classes need.

    Parameters
    ----------
    data : name, path, (X, y) or Records
        As :func:`likewise.data.load`: labels (at least two classes, two items of each), or a relation:
        pairs, scores, triplets. Without either, two changed views of an item are alike. May be left out
        where ``config`` or a resumed run says it.
    encoder : nn.Module, name or table, optional
        Maps items (n, ...) to (n, d); a module is trained in place. By default one that suits the items.
    loss : nn.Module, function or table, optional
        ``loss(embeddings, relation)`` gives a scalar; the relation is a tensor of class numbers where there
        are labels. A module is trained in place. A table holds options of the method's own loss.
    distance : Distance, optional
        Compares embeddings; by default ``loss.distance``.
    sampler : callable, Batches or name, optional
        From class numbers (n,) to batches of rows. By default the method's.
    augmentation : Augmentation or table, optional
        By default random shifts and turns for images, a tenth of the words left out of texts that a
        transformer reads, nothing for other texts and for rows; ``Augmentation()`` is none.
    out : path, optional
        Save the run there, with checkpoints on the way; refused before training when it isn't ours.
    config : path, optional
        A ``config.toml``: its settings, under those given here. That of a run trains it again to the same
        figures.
    resume : bool
        Go on with an unfinished training in ``out``, to the same bits as one that wasn't broken off; begin
        where there is none. Settings that aren't given are those it was begun with.
    progress : bool or callable, optional
        True shows a table, False nothing; a callable gets (epochs done, epochs in all). By default a table
        on a terminal.
    callbacks : sequence of functions
        Each called with every :class:`~likewise.training.Epoch`.
    **settings
        Fields of :class:`~likewise.settings.TrainingSettings`: ``method``, ``epochs``, ``seed``,
        ``dimension``, ``learning_rate`` ...; a misspelt one is refused, and the nearest named.

    Returns
    -------
    Model

    Raises
    ------
    DataError
        One class only, one item of a class, NaN, and the like.
    InputError
        A setting that isn't there or out of range, or an output folder that isn't ours.
    NotFiniteError, OutOfMemoryError
        While training; the message says what to change.

    >>> model = train("iris", epochs=2)
    >>> model.embed(load("iris").X).shape
    (150, 64)
    """
    given = dict(settings)
    own_encoder = encoder if isinstance(encoder, nn.Module) else None
    own_loss = _as_module(loss)
    own_sampler = None if isinstance(sampler, str) else sampler
    for name, value, is_own in (
        ("encoder", encoder, own_encoder is not None),
        ("loss", loss, own_loss is not None),
        ("sampler", sampler, own_sampler is not None),
    ):
        if value is not None and not is_own:
            given[name] = dict(value) if isinstance(value, Mapping) else value
    if augmentation is not None:
        said = augmentation.config() if isinstance(augmentation, Augmentation) else dict(augmentation)
        given["augmentation"] = said
    if isinstance(data, str | os.PathLike):
        given["data"] = os.fspath(data)
    written = {} if config is None else read_toml(config)
    expected = written.get("trained", {}).get("data_fingerprint") if data is None else None
    given = merged_settings({name: value for name, value in written.items() if name != "trained"}, given)
    folder, saved = _folder(out, resume=resume, given=given)
    if folder is None and resume:
        raise InputError("resume needs out=, the folder of the run")
    chosen = settings_from_mapping(given if saved is None else saved.facts["settings"] | given)
    refuse_foreign(chosen, own_encoder, own_loss)
    if data is None:
        if chosen.data is None:
            raise InputError("data must be given: a name, a path, (X, y) or Records")
        data = chosen.data
    device = device_from(chosen.device)
    with ExitStack() as stack:
        where = stack.enter_context(joined(device))
        if folder is not None:
            folder.writes, folder.seconds = where.rank == 0, chosen.checkpoint_seconds
        records = load(data, label=chosen.label, skip_bad=chosen.skip_bad)
        if saved is not None:
            expected = saved.facts["data_fingerprint"]
        if expected is not None and records.fingerprint != expected:
            raise DataError(
                f"{records.name}: the data isn't what the run in {out if config is None else config} was "
                "trained on; name DATA to train on what is there now, elsewhere"
            )
        if chosen.method is not None and chosen.method not in METHODS:
            from likewise.training.linear_heads import linear_methods, train_linear_head  # loads them all

            if chosen.method in linear_methods():
                for name, own in (("loss", own_loss), ("distance", distance), ("sampler", own_sampler)):
                    if own is not None:
                        raise InputError(f"{name} doesn't apply to method {chosen.method}; leave it out")
                model = train_linear_head(records, chosen, own_encoder, device=device, callbacks=callbacks)
                if folder is not None and folder.writes:
                    model.save(folder.path)
                return model
        plan = plan_from(records, chosen, own_encoder, own_loss, distance, own_sampler, device)
        made = own_encoder if own_encoder is not None else encoder_of(plan)
        watchers: list[Callable[[Epoch], None]] = [*callbacks]
        if folder is not None:
            folder.begin([] if saved is None else lines_of(saved))
            watchers.append(lambda epoch: folder.append(epoch.line()))
            events = folder.live if chosen.tensorboard and folder.writes else None
            write = stack.enter_context(tensorboard_events(events))
            watchers += [] if write is None else [write]
        shown = where.rank == 0 and (progress is True or (progress is None and sys.stderr.isatty()))
        if shown:
            passes = 2 if chosen.refit and chosen.hold_out else 1
            watchers.append(stack.enter_context(live_table(passes=passes)))
        if callable(progress):
            watchers.append(_counted(progress, plan, saved))

        def tell(epoch: Epoch) -> None:
            for watch in watchers:
                watch(epoch)

        model = train_passes(plan, made, folder=folder, saved=saved, on_epoch=tell)
    if out is not None and folder is not None and folder.writes:
        model.save(out, files=_kept_files(folder))
    return model


def _documented() -> inspect.Signature:
    """The signature with every setting and its default, as ``help`` shows it."""
    own = inspect.signature(train)
    held = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named = {p.name for p in held}
    return own.replace(
        parameters=[
            *held,
            *(
                inspect.Parameter(
                    one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.type
                )
                for one in fields(TrainingSettings)
                if one.name not in named
            ),
        ]
    )


train.__signature__ = _documented()  # type: ignore[attr-defined]


class _Function(nn.Module):
    """A plain function as a loss."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, embeddings: torch.Tensor, relation: Any) -> Any:
        return self.function(embeddings, relation)


def _as_module(loss: Any) -> nn.Module | None:
    if loss is None or isinstance(loss, nn.Module):
        return loss
    if isinstance(loss, Mapping):
        return None
    if not callable(loss):
        raise InputError(
            "loss must be a module, a function of (embeddings, labels), or a table of options; "
            f"found {type(loss).__name__}"
        )
    return _Function(loss)


def _folder(
    out: str | os.PathLike[str] | None, *, resume: bool, given: dict[str, Any]
) -> tuple[RunFolder | None, Saved | None]:
    """Where the run lies, and the checkpoint to go on from."""
    if out is None:
        return None, None
    check_output(out, manifest="model.json", kind="likewise-run")
    folder = RunFolder(out)
    if not folder.unfinished():
        return folder, None
    if not resume:
        raise InputError(
            f"{out}: a training was begun there and isn't finished; go on with it (resume=True, --resume), "
            "or choose another name"
        )
    saved = folder.load()
    before = saved.facts["settings"]
    for name, value in given.items():
        if (
            name in before
            and before[name] != value
            and name not in ("checkpoint_seconds", "workers", "tensorboard")
        ):
            raise InputError(
                f"{name} must be {before[name]!r}, as when the run in {out} was begun; found {value!r}; "
                "leave it out, or begin anew elsewhere"
            )
    return folder, saved


def _counted(
    progress: Callable[[int, int], None], plan: Plan, saved: Saved | None
) -> Callable[[Epoch], None]:
    """Tell epochs done and epochs in all, the second known better once the best is found."""
    both = bool(plan.settings.hold_out and plan.settings.refit)
    before = 0 if saved is None else len(lines_of(saved))
    done = before

    def tell(epoch: Epoch) -> None:
        nonlocal done
        done += 1
        total = 2 * plan.epochs if both and epoch.stage == "held-out" else done - epoch.epoch + epoch.epochs
        progress(done, total)

    return tell


def _kept_files(folder: RunFolder) -> dict[str, bytes]:
    """What was written while training and belongs to the run: TensorBoard's events."""
    return {path.name: path.read_bytes() for path in sorted(folder.live.glob("events.out.tfevents.*"))}
