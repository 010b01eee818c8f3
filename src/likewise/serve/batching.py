"""Dynamic batching: requests that wait while the model works are answered together.

One thread works, so the model and the index need no locks. While it works, requests gather; when it is
done it takes all of them at once. Clients that were answered come back soon, so as many are waited for as
were answered last or waited meanwhile, for half as long as the last batch took: a batch of eight costs little
more than one of four, as a search reads the whole index for either. A lone request waits for nobody. All
answers of a batch are handed to the event loop in one step, as each step costs the two threads a change of
the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

__all__ = ["Batcher", "Job"]


@dataclass(frozen=True)
class Job:
    """Work that may be done together with others of the same kind.

    Parameters
    ----------
    kind : hashable
        Jobs of equal kinds go together; None goes alone.
    payload : object
    size : int
        How many items it holds.
    """

    kind: Any
    payload: Any
    size: int = 1


_Waiting: TypeAlias = tuple[Job, "asyncio.Future[Any]"]


class Batcher:
    """A thread that answers jobs, those of one kind together.

    Parameters
    ----------
    work : callable
        ``work(kind, payloads)`` gives one answer a payload, or raises; an answer may be an exception,
        which that job alone gets.
    most : int
        Items of one batch.
    linger : float
        Seconds to wait at most for those who are expected; half as long as the last batch took where that is
        less.
    watch : callable, optional
        Called with the items and jobs of each batch.
    """

    def __init__(
        self,
        work: Callable[[Any, Sequence[Any]], Sequence[Any]],
        *,
        most: int = 512,
        linger: float = 0.02,
        watch: Callable[[int, int], None] | None = None,
    ) -> None:
        self._work, self._most, self._linger, self._watch = work, most, linger, watch
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="likewise-batcher", daemon=True)
        self._thread.start()

    async def do(self, job: Job) -> Any:
        """The answer to a job; it is left out when nobody waits any more."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put((job, future))
        return await future

    def close(self) -> None:
        """Answer what waits, then end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_, expected, linger = True, 0, 0.0
        while open_:
            waiting: list[_Waiting] = []
            entry = self._queue.get()
            until = time.monotonic() + linger
            while entry is not None:
                waiting.append(entry)
                left = until - time.monotonic() if len(waiting) < expected else 0.0
                try:
                    entry = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
                except Empty:
                    break
            else:
                open_ = False
            begin = time.monotonic()
            for kind, batch in self._batches(waiting):
                self._answer(kind, batch)
            linger = min(self._linger, (time.monotonic() - begin) / 2)
            expected = len(waiting) + self._queue.qsize()

    def _batches(self, waiting: Sequence[_Waiting]) -> list[tuple[Any, list[_Waiting]]]:
        """Jobs in the order they came, those of one kind together up to the most."""
        batches: list[tuple[Any, list[_Waiting]]] = []
        open_: dict[Any, tuple[int, list[_Waiting]]] = {}
        for job, future in waiting:
            size, batch = open_.get(job.kind, (0, []))
            if job.kind is None:
                # What goes alone may change the index: nothing that came later overtakes it.
                open_.clear()
            elif batch and size + job.size <= self._most:
                batch.append((job, future))
                open_[job.kind] = (size + job.size, batch)
                continue
            fresh = [(job, future)]
            batches.append((job.kind, fresh))
            if job.kind is not None:
                open_[job.kind] = (job.size, fresh)
        return batches

    def _answer(self, kind: Any, batch: Sequence[_Waiting]) -> None:
        wanted = [(job, future) for job, future in batch if not future.cancelled()]
        if not wanted:
            return
        if self._watch is not None:
            self._watch(sum(job.size for job, _ in wanted), len(wanted))
        answers: Sequence[Any]
        try:
            answers = self._work(kind, [job.payload for job, _ in wanted])
        except BaseException as error:  # whoever waits must be told
            answers = [error] * len(wanted)
        futures = [future for _, future in wanted]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            futures[0].get_loop().call_soon_threadsafe(_hand_out, futures, answers)


def _hand_out(futures: Sequence[asyncio.Future[Any]], answers: Sequence[Any]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
