"""A moving average of the weights (EMA), by which a model is judged and saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    r"""``a <- b a + (1 - b) w`` after each step, with ``b = min(decay, (1 + t) / (10 + t))`` at step t.

    The smaller b of the first steps lets the average forget where the weights began. Buffers (statistics, a
    memory of embeddings) aren't averaged.

    Parameters
    ----------
    modules : nn.Module
        Whose parameters are averaged.
    decay : float in (0, 1)

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(layer.weight)
    >>> average = Average(layer, decay=0.5)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> average.update()  # b = 2 / 11
    >>> with average.applied():
    ...     round(layer.weight.item(), 3)
    2.636
    """

    def __init__(self, *modules: nn.Module, decay: float) -> None:
        self._parameters = [parameter for module in modules for parameter in module.parameters()]
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            average.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages stand where the weights were."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Swap averages and weights."""
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            held = parameter.clone()
            parameter.copy_(average)
            average.copy_(held)

    def state(self) -> dict[str, Tensor]:
        """The averages and the count of steps, as tensors."""
        numbered = {str(number): average for number, average in enumerate(self._averages)}
        return {"steps": torch.tensor(self.steps), **numbered}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state`."""
        self.steps = int(state["steps"])
        for number, average in enumerate(self._averages):
            average.copy_(state[str(number)])
