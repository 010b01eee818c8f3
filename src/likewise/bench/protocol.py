"""What every method of a bench has in common: the folds of classes, the seeds, the encoder, the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from likewise.data import Records, check_trainable, take_classes
from likewise.errors import DataError, InputError
from likewise.training import METHODS, Method

__all__ = ["Fold", "Protocol", "folds_of", "methods_from_names"]


@dataclass(frozen=True)
class Protocol:
    """How methods are held against each other.

    Parameters
    ----------
    seeds : int >= 1
        Trainings of each method in each fold, with seeds 0, 1, ...
    folds : int >= 2
        Parts of the classes, each held out in turn.
    steps : int >= 1
        The budget of a training: steps, each on the same batches whatever the method.
    trials : int >= 0
        Choices of hyper-parameters that each method may try in each fold; 0 leaves it its own.
    batch_size : int >= 8
        Items of a batch: four of a class, or more where there are few classes.
    dimension : int >= 1
        Of the embeddings.
    encoder : str, optional
        A name that :func:`likewise.encoders.encoder_for` takes; by default what suits the items.

    Raises
    ------
    InputError
        A number is out of range.
    """

    seeds: int = 3
    folds: int = 4
    steps: int = 300
    trials: int = 0
    batch_size: int = 64
    dimension: int = 64
    encoder: str | None = None

    def __post_init__(self) -> None:
        least = {"seeds": 1, "folds": 2, "steps": 1, "trials": 0, "batch_size": 8, "dimension": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError(f"{name} must be a whole number of at least {low}; found {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """What a cell's figures depend on: all but the number of seeds, which may grow."""
        return {name: value for name, value in asdict(self).items() if name != "seeds"}


@dataclass(frozen=True)
class Fold:
    """Items to learn from, and items of other classes to judge by."""

    number: int
    learn: Records
    test: Records


def folds_of(records: Records, protocol: Protocol) -> tuple[Fold, ...]:
    """The folds: every class is held out in one of them, and learned from in all others.

    Which class goes where doesn't depend on the seeds of training.

    Raises
    ------
    DataError
        Too few classes: each fold holds out at least two and learns from two, or from four where
        hyper-parameters are tuned, as two of those are then validated on.

    >>> from likewise.data import load
    >>> [fold.test.classes.tolist() for fold in folds_of(load("digits"), Protocol(folds=2))]
    [[2, 3, 4, 8, 9], [0, 1, 5, 6, 7]]
    """
    check_trainable(records)
    classes = records.classes
    largest = -(-len(classes) // protocol.folds)
    left, needed = len(classes) - largest, 4 if protocol.trials else 2
    if len(classes) // protocol.folds < 2 or left < needed:
        tuned = " and tuning" if protocol.trials else ""
        raise DataError(
            f"{records.name}: {protocol.folds} folds{tuned} need at least "
            f"{max(2 * protocol.folds, _fewest(protocol.folds, needed))} classes, as each fold holds out two "
            f"and learns from {needed}; found {len(classes)}"
        )
    order = np.random.default_rng(0).permutation(len(classes))
    parts = [np.sort(order[number :: protocol.folds]) for number in range(protocol.folds)]
    return tuple(
        Fold(
            number,
            take_classes(records, np.delete(classes, part).tolist()),
            take_classes(records, classes[part].tolist()),
        )
        for number, part in enumerate(parts)
    )


def _fewest(folds: int, needed: int) -> int:
    """The least number of classes of which this many are left when the largest fold is held out."""
    count = needed
    while count - -(-count // folds) < needed:
        count += 1
    return count


def methods_from_names(names: Iterable[str]) -> Mapping[str, Method]:
    """Methods that learn from labels, in the order given.

    Raises
    ------
    InputError
        There is none of a name (the nearest is told), or none at all.

    >>> list(methods_from_names(["triplet", "supcon"]))
    ['triplet', 'supcon']
    """
    usable = {name: method for name, method in METHODS.items() if "labels" in method.learns_from}
    found: dict[str, Method] = {}
    for name in names:
        if name not in usable:
            near = get_close_matches(name, usable, n=1)
            told = f"did you mean {near[0]}?" if near else f"one of {', '.join(usable)}"
            raise InputError(f"there is no method {name!r} that learns from labels; {told}")
        found[name] = usable[name]
    if not found:
        raise InputError(f"methods must name at least one of {', '.join(usable)}; found none")
    return found
