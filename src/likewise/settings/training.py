"""Every setting of a training, once: Python, the command line and ``config.toml`` read this list.

It doesn't know what the names of methods, encoders or samplers mean; that is said where they are made.
"""

# ruff: noqa: RUF009  (a field made by setting() is dataclasses.field with its rule)
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from likewise.errors import InputError
from likewise.settings.fields import Rule, setting
from likewise.settings.toml import toml_value

__all__ = ["TrainingSettings", "merged_settings", "settings_from_assignments", "settings_from_mapping"]

_WHOLE, _COUNT = Rule(int, low=0), Rule(int, low=1)


@dataclass(frozen=True)
class TrainingSettings:
    """What a training can be told; None means that data or method decide.

    Each field's meaning stands beside it, and ``likewise train --help`` prints it.

    >>> TrainingSettings(epochs=0)
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: epochs must be at least 1; found 0
    """

    data: str | None = setting(None, "what to learn from: DATA", Rule(str))
    label: str | None = setting(None, "the column of labels, in a table", Rule(str))
    skip_bad: bool = setting(False, "go on without items that can't be read", Rule(bool))
    method: str | None = setting(
        None, "loss with its batches and rates; see: likewise list methods", Rule(str)
    )
    epochs: int | None = setting(None, "passes over the data", _COUNT)
    seed: int = setting(0, "of every random choice", _WHOLE)
    encoder: Any = setting(
        None, "the network: a name, or a table with name and options", Rule(dict, or_text=True)
    )
    head: str | None = setting(
        None,
        "what it ends in: linear, normalized, binary or score",
        Rule(str, choices=("linear", "normalized", "binary", "score")),
    )
    dimension: int | None = setting(None, "numbers in an embedding", _COUNT)
    loss: dict[str, Any] = setting({}, "options of the method's loss, as loss.margin=0.2", Rule(dict))
    memory: int = setting(0, "embeddings of earlier batches that the loss sees too", _WHOLE)
    sampler: str | None = setting(
        None,
        "classes, balanced, hierarchical or shuffled",
        Rule(str, choices=("classes", "balanced", "hierarchical", "shuffled")),
    )
    batch_size: int | None = setting(
        None, "items in a batch; pairs or triplets, where there are such", _COUNT
    )
    classes_per_batch: int | None = setting(None, "classes in a batch", Rule(int, low=2))
    items_per_class: int | None = setting(None, "items of each class in a batch", Rule(int, low=2))
    class_weights: bool = setting(False, "weigh classes alike in the loss, whatever their size", Rule(bool))
    learning_rate: float | None = setting(None, "the encoder's, at its highest", Rule(float, above=0))
    loss_learning_rate: float | None = setting(
        None, "of proxies and other parameters of the loss", Rule(float, above=0)
    )
    weight_decay: float = setting(1e-4, "of the encoder", Rule(float, low=0))
    warm_up: float = setting(
        0.05, "the part of all steps in which the rates rise", Rule(float, low=0, below=1)
    )
    schedule: str = setting(
        "cosine", "how the rates fall: cosine or constant", Rule(str, choices=("cosine", "constant"))
    )
    average: float = setting(
        0.0, "decay of a moving average of the weights (EMA); 0 is none", Rule(float, low=0, below=1)
    )
    precision: str = setting(
        "float32", "bf16 computes the encoder in bfloat16", Rule(str, choices=("float32", "bf16"))
    )
    clip_gradient: float | None = setting(None, "the gradient's largest norm", Rule(float, above=0))
    accumulate: int = setting(1, "batches a step, their gradients averaged", _COUNT)
    cached_gradients: int = setting(0, "items through the encoder at once, to save memory; 0 is all", _WHOLE)
    augmentation: dict[str, Any] | None = setting(
        None, "random changes of items, as augmentation.shift=0.1", Rule(dict)
    )
    turned_classes: bool | None = setting(None, "turned and mirrored images are classes as well", Rule(bool))
    hold_out: float = setting(
        0.2, "the part held back to choose the epoch and calibrate; 0 is none", Rule(float, low=0, below=1)
    )
    refit: bool = setting(True, "train anew on everything, up to the best epoch", Rule(bool))
    figure: str | None = setting(None, "the held-back figure that chooses the epoch", Rule(str))
    patience: int | None = setting(None, "stop after so many epochs without a better figure", _COUNT)
    workers: int = setting(0, "processes that load items; 0 loads in this one", _WHOLE)
    device: str | None = setting(None, "cpu, cuda, cuda:1 ...", Rule(str))
    checkpoint_seconds: float = setting(30.0, "time between checkpoints", Rule(float, low=0))
    tensorboard: bool = setting(True, "write TensorBoard events, where it is installed", Rule(bool))

    def __post_init__(self) -> None:
        for own in fields(self):
            value = getattr(self, own.name)
            if value is not None or own.default is not None:
                object.__setattr__(self, own.name, own.metadata["rule"].check(own.name, value))

    def to_mapping(self) -> dict[str, Any]:
        """Every setting that isn't at None or at an empty default, as ``config.toml`` holds them."""
        found = {own.name: getattr(self, own.name) for own in fields(self)}
        return {
            name: value for name, value in found.items() if value is not None and (value or name != "loss")
        }


def settings_from_mapping(values: Mapping[str, Any]) -> TrainingSettings:
    """Settings by name; the table ``trained``, in which a run states what came of it, is passed over.

    Raises
    ------
    InputError
        A name that isn't a setting (the nearest is told), or a value that doesn't fit.

    >>> settings_from_mapping({"epoch": 3})
    Traceback (most recent call last):
    ...
    likewise.errors.InputError: there is no setting 'epoch'; did you mean epochs?
    """
    known = [own.name for own in fields(TrainingSettings)]
    given = {name: value for name, value in values.items() if name != "trained"}
    for name in given:
        if name not in known:
            import difflib  # only after a mistake, as it costs start-up time

            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"settings are {', '.join(known)}"
            raise InputError(f"there is no setting {name!r}; {hint}")
    return TrainingSettings(**given)


def settings_from_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Settings from ``key=value``; a dot goes into a table, and values are written as in TOML.

    Raises
    ------
    InputError
        No ``=``, or a table and a value under one name.

    >>> settings_from_assignments(["loss.margin=0.2", "precision=bf16"])
    {'loss': {'margin': 0.2}, 'precision': 'bf16'}
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        names = path.strip().split(".")
        if not sign or not all(names):
            raise InputError(f"--set takes key=value, as learning_rate=1e-3; found {assignment!r}")
        table = found
        for name in names[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise InputError(f"--set {assignment}: {name} was given a value already")
        table[names[-1]] = toml_value(text.strip())
    return found


def merged_settings(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of several layers, later ones over earlier; tables are merged name by name.

    >>> merged_settings({"seed": 1, "loss": {"margin": 1.0}}, {"loss": {"scale": 2.0}})
    {'seed': 1, 'loss': {'margin': 1.0, 'scale': 2.0}}
    """
    found: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            below = found.get(name)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                found[name] = {**below, **value}
            else:
                found[name] = value
    return found
