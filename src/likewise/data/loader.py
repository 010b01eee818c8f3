"""Batches of items, read ahead by other processes where reading is work."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from likewise.data.items import Items
from likewise.data.records import Records
from likewise.errors import InputError, LikewiseError

__all__ = ["Loader", "StartMethod"]

_T = TypeVar("_T")
StartMethod: TypeAlias = Literal["fork", "forkserver", "spawn"]


class Loader:
    """Reads batches of some records, in the order in which they are asked for.

    Items that are in memory are read at once, in this process, whatever ``workers`` says. Images in files
    and items of a dataset are read ahead by worker processes, each with one thread. What is read doesn't
    depend on how many there are. An item that can't be read raises the same error here as without them.

    Parameters
    ----------
    records : Records
    workers : int >= 0
        Processes that read ahead; 0 reads in this one.
    start : "fork", "forkserver" or "spawn", optional
        How they start; by default forkserver (spawn on Windows). A fork is quickest to start, and safe here
        although this process has used OpenMP (faiss, PyTorch), as the workers decode and nothing else.
    ahead : int >= 1
        Batches that each worker has ready.

    >>> from likewise.data import load
    >>> [items.shape for items in Loader(load("iris"))([[0, 1], [2]])]
    [(2, 4), (1, 4)]
    """

    def __init__(
        self, records: Records, *, workers: int = 0, start: StartMethod | None = None, ahead: int = 2
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise InputError(f"workers must be a whole number of at least 0; found {workers!r}")
        if start not in (None, "fork", "forkserver", "spawn"):
            raise InputError(f"start must be fork, forkserver or spawn; found {start!r}")
        if ahead < 1:
            raise InputError(f"ahead must be at least 1; found {ahead}")
        self.records = records
        self._asked: _Asked[Any] = _Asked()
        self._loader = None
        if workers and records.held.costly:
            self._loader = _processes(records.held, self._asked, workers, start, ahead)

    def __call__(self, batches: Iterable[Any]) -> Iterator[NDArray[Any]]:
        """The items of each batch of rows: arrays (m, ...) as ``records.items(rows)`` gives them."""
        for _, items in self.read(batches, _itself):
            yield items

    def read(self, batches: Iterable[_T], rows: Callable[[_T], Any]) -> Iterator[tuple[_T, NDArray[Any]]]:
        """Each batch, whatever it is, with its items.

        Parameters
        ----------
        batches : iterable
            Drawn ahead by up to ``workers * ahead`` of them.
        rows : callable
            The positions of a batch's items.
        """
        if self._loader is None:
            for batch in batches:
                yield batch, self.records.items(rows(batch))
            return
        drawn = self._asked.now(batches, rows)
        with _no_advice():
            reading = iter(self._loader)
        for found in reading:
            if isinstance(found, LikewiseError):
                raise found
            yield drawn.popleft(), found.numpy() if isinstance(found, torch.Tensor) else found


class _Asked(Generic[_T]):
    """What is asked for at the moment, as what a DataLoader asks anew in each epoch."""

    def __init__(self) -> None:
        self._rows: Iterator[Any] = iter(())

    def now(self, batches: Iterable[_T], rows: Callable[[_T], Any]) -> deque[_T]:
        drawn: deque[_T] = deque()

        def positions() -> Iterator[NDArray[np.int64] | slice]:
            for batch in batches:
                drawn.append(batch)
                chosen = rows(batch)
                yield chosen if isinstance(chosen, slice) else np.asarray(chosen)

        self._rows = positions()
        return drawn

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class _Read(Dataset[Any]):
    """Reads one batch; an error of ours is given back, as a DataLoader would wrap it in a traceback."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __getitem__(self, rows: Any) -> Any:
        try:
            found = self._items.read(rows)
        except LikewiseError as error:
            return error
        # Tensors travel through shared memory, arrays through a pipe.
        return torch.from_numpy(found) if found.dtype.kind == "f" else found


def _processes(
    items: Items, asked: _Asked[Any], workers: int, start: StartMethod | None, ahead: int
) -> DataLoader[Any]:
    method = start or ("spawn" if sys.platform == "win32" else "forkserver")
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # Imported once by the server, rather than once by each worker.
        context.set_forkserver_preload(["likewise.data.loader"])
    with _no_advice():
        return DataLoader(
            _Read(items),
            batch_size=None,
            sampler=cast("Any", asked),
            num_workers=workers,
            collate_fn=_itself,
            multiprocessing_context=context,
            persistent_workers=True,
            prefetch_factor=ahead,
            worker_init_fn=_one_thread,
            generator=torch.Generator(),  # or it would draw from the one that training uses
        )


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without PyTorch's warning where there are more workers than cores: how many is the user's to say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


def _one_thread(_worker: int) -> None:
    # A forked child whose parent used OpenMP hangs in the first parallel region it enters.
    torch.set_num_threads(1)


def _itself(found: Any) -> Any:
    return found
