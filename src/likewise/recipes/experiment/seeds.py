"""One seed of a recipe after another, or several at a time, each by a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch

from likewise.recipes.experiment.config import RecipeConfig
from likewise.recipes.experiment.outcome import Outcome

__all__ = ["run_seeds"]


def run_seeds(
    run: Callable[..., Outcome],
    config: RecipeConfig,
    seeds: int,
    data: str | os.PathLike[str] | None,
    parallel: int,
    threads: int,
) -> Iterator[tuple[int, Outcome]]:
    """Each seed with its outcome, as they are done; an error of any of them ends the others that wait."""
    if parallel == 1:
        for seed in range(seeds):
            yield seed, _one(run, config, seed, data)
        return
    # Not forked: a process that has computed holds threads of PyTorch, and a fork of it can stop for ever.
    with ProcessPoolExecutor(
        parallel, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        waiting: dict[Any, int] = {pool.submit(_one, run, config, seed, data): seed for seed in range(seeds)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one(
    run: Callable[..., Outcome], config: RecipeConfig, seed: int, data: str | os.PathLike[str] | None
) -> Outcome:
    start = time.process_time()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        outcome = run(config, seed=seed, data=data)
    outcome.seconds = time.process_time() - start
    return outcome
