"""What one epoch gave, as callbacks, the table and ``metrics.jsonl`` are told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Epoch", "Fit"]


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Parameters
    ----------
    epoch : int
        From 1.
    loss : float
        The mean over its batches.
    figures : mapping of name to float
        Of what was held back; empty where nothing was.
    seconds : float
        That it took, validation included.
    items : int
        That went through the encoder in training.
    epochs : int
        How many there will be at most.
    stage : str
        ``held-out`` while some is held back, ``all`` when everything is learned from.
    """

    epoch: int
    loss: float
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    items: int = 0
    epochs: int = 0
    stage: str = "all"

    @property
    def items_per_second(self) -> float:
        """Items through the encoder a second, validation included in the time."""
        return self.items / self.seconds if self.seconds else 0.0

    def line(self) -> dict[str, Any]:
        """For ``metrics.jsonl``.

        >>> Epoch(1, 0.5, {"map@r": 0.25}).line()["validation_map@r"]
        0.25
        """
        return {
            "stage": self.stage,
            "epoch": self.epoch,
            "loss": self.loss,
            **{f"validation_{name}": value for name, value in self.figures.items()},
            "seconds": round(self.seconds, 3),
            "items_per_second": round(self.items_per_second, 1),
        }


@dataclass(frozen=True)
class Fit:
    """A finished training: its epochs, and which one's weights the encoder and the loss now hold."""

    epochs: tuple[Epoch, ...]
    best: Epoch = field(repr=False)
