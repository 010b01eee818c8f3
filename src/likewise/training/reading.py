"""Batches of an epoch: drawn, read, changed at random and prepared for the encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from likewise.data import Augmentation, BatchSampler, Loader, Records
from likewise.training.task import Batch, Task

__all__ = ["Prepared", "Reader", "embedded", "prepared_items"]

_AT_ONCE = 1024


def prepared_items(raw: NDArray[Any], preprocessing: nn.Module) -> Tensor:
    """Items as the records give them, as the encoder takes them."""
    return cast("Tensor", preprocessing(raw))


def embedded(
    encoder: nn.Module,
    preprocessing: nn.Module,
    records: Records,
    rows: NDArray[np.int64] | None = None,
    *,
    augmentation: Augmentation | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Embeddings (n, d) of records, or of some of their rows, without gradients, where the encoder is."""
    device = next((parameter.device for parameter in encoder.parameters()), torch.device("cpu"))
    chosen = np.arange(len(records)) if rows is None else rows
    parts = []
    with torch.inference_mode():
        for start in range(0, len(chosen), _AT_ONCE):
            raw = records.items(chosen[start : start + _AT_ONCE])
            if augmentation is not None and generator is not None:
                raw = augmentation(raw, generator=generator)
            parts.append(encoder(prepared_items(raw, preprocessing).to(device)))
    return torch.cat(parts)


@dataclass(frozen=True)
class Prepared:
    """A batch, and its items as the encoder takes them (n, ...)."""

    batch: Batch
    items: Tensor


class Reader:
    """Reads batches of a task.

    Parameters
    ----------
    task : Task
    preprocessing : nn.Module
        Applied to every item, after augmentation.
    augmentation : Augmentation, optional
        Changes items at random.
    seed : int
        Of the augmentation.
    device : torch.device, optional
        Where prepared items go.
    workers : int
        Processes that read ahead; 0 reads in this one. The batches are the same.
    """

    def __init__(
        self,
        task: Task,
        *,
        preprocessing: nn.Module,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        device: torch.device | None = None,
        workers: int = 0,
    ) -> None:
        self.task = task
        self.generator = torch.Generator().manual_seed(seed)
        self._preprocessing, self._augmentation = preprocessing, augmentation
        self._device = torch.device("cpu") if device is None else device
        self._loader = Loader(task.records, workers=workers)

    def epoch(self, sampler: Iterable[list[int]], epoch: int, *, start: int = 0) -> Iterator[Prepared]:
        """The batches of an epoch from the ``start``-th on."""
        if isinstance(sampler, BatchSampler):
            sampler.set_epoch(epoch)
        drawn = (self.task.batch(chosen) for chosen in islice(sampler, start, None))
        for batch, raw in self._loader.read(drawn, lambda batch: batch.rows):
            yield Prepared(batch, self._prepare(batch, raw))

    def _prepare(self, batch: Batch, raw: NDArray[Any]) -> Tensor:
        if batch.views > 1:
            raw = np.concatenate([raw] * batch.views)
        if self._augmentation is not None:
            raw = self._augmentation(raw, generator=self.generator)
        return prepared_items(raw, self._preprocessing).to(self._device)
