"""The schedule: how long, and how fast the weights move at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from likewise.errors import InputError

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule:
    """AdamW's rates: a short linear warm-up, then half a cosine down to zero, or constant.

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
    warm_up : float in [0, 1)
        The part of all steps in which the rates rise.
    shape : str
        ``cosine`` or ``constant``.
    """

    epochs: int
    learning_rate: float = 2e-3
    loss_learning_rate: float = 2e-2
    weight_decay: float = 1e-4
    stop_after: int | None = None
    warm_up: float = 0.05
    shape: str = "cosine"

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
        if not 0 <= self.warm_up < 1 or self.shape not in ("cosine", "constant"):
            raise InputError(
                f"warm_up must lie in [0, 1) and shape be cosine or constant; found {self.warm_up} and "
                f"{self.shape!r}"
            )

    @property
    def last(self) -> int:
        """How many epochs are run."""
        return self.stop_after or self.epochs

    def factor(self, step: int, steps: int) -> float:
        """By what the learning rates are multiplied at this step of so many.

        >>> schedule = Schedule(epochs=1)
        >>> [round(schedule.factor(step, 100), 3) for step in (0, 4, 50, 99)]
        [0.2, 0.996, 0.5, 0.0]
        """
        warm = max(1, math.floor(steps * self.warm_up + 1e-9))
        rising = min(1.0, (step + 1) / warm)
        return rising if self.shape == "constant" else rising * (1 + math.cos(math.pi * step / steps)) / 2
