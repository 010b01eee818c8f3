"""The plain loop: batches of rows, one forward pass for each item of a batch, a step; and embedding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["Objective", "embedded", "fit", "thread_seconds"]

Objective = Callable[[Tensor, Tensor], Tensor]


def fit(
    encoder: nn.Module,
    objective: Objective,
    items: Tensor,
    labels: Tensor,
    batches: Iterable[list[int]],
    *,
    steps: int,
    optimiser: torch.optim.Optimizer,
    change: Callable[[Tensor], Tensor] | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    watch: Callable[[int], None] | None = None,
) -> float:
    """Take a number of optimiser steps; give back the processor seconds that they took.

    Parameters
    ----------
    encoder : module
        (b, ...) to (b, d). Left in training mode.
    objective : callable
        (embeddings, labels) to a scalar: a loss of likewise, or any function.
    items : Tensor (n, ...)
    labels : int64 Tensor (n,)
    batches : iterable of lists of rows
        A sampler; begun again as often as it takes.
    steps : int
    optimiser, schedule
        Of PyTorch; the schedule is stepped once a step.
    change : callable, optional
        An augmentation of a batch of items.
    watch : callable, optional
        Called with the number of steps done after each step; its time isn't counted, and the encoder is
        put back into training mode after it.
    """
    encoder.train()
    spent, start = 0.0, thread_seconds()
    for done, rows in enumerate(_repeated(batches, steps), start=1):
        chosen = torch.as_tensor(rows)
        batch = items[chosen] if change is None else change(items[chosen])
        loss = objective(encoder(batch), labels[chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if schedule is not None:
            schedule.step()
        if watch is not None:
            spent += thread_seconds() - start
            watch(done)
            encoder.train()
            start = thread_seconds()
    return spent + thread_seconds() - start


def thread_seconds() -> float:
    """Seconds of the processor that this process has used: other programs don't lengthen them."""
    return time.process_time()


@torch.no_grad()
def embedded(encoder: nn.Module, items: Tensor, *, batch: int = 512) -> Tensor:
    """Embeddings (n, d) of items, in evaluation mode, the mode put back afterwards."""
    training = encoder.training
    encoder.eval()
    found = torch.cat([encoder(part) for part in torch.split(items, batch)])
    encoder.train(training)
    return found


def _repeated(batches: Iterable[list[int]], steps: int) -> Iterator[list[int]]:
    done = 0
    while done < steps:
        before = done
        for rows in batches:
            if done == steps:
                return
            yield rows
            done += 1
        if done == before:
            return
