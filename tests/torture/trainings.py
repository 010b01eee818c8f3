"""Trainings killed while they run: what they lead to is what an unbroken one leads to, bit by bit.

A training is killed at a random moment after a checkpoint, goes on in a new process, is killed again,
and so on until it ends; then its arrays, settings, calibration and lines are compared with those of one that
nothing broke off. After every step a checkpoint is written, so many kills fall inside a save; besides, each
place inside a save is hit once on purpose. One process imports the library and forks a child for each start.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from likewise.api import train
from torture.trial import Result, Trial

_PROGRAM = Path(__file__).resolve().parents[1] / "training" / "breaking.py"
_SAVES = (1, 2, 6)


@dataclass
class Trainings:
    """What so many kills led to."""

    kills: int = 0
    in_a_save: int = 0
    ended: int = 0
    different: int = 0
    stuck: int = 0

    @property
    def bad(self) -> int:
        return self.different + self.stuck


def breaking() -> ModuleType:
    """The training that can be broken off."""
    spec = importlib.util.spec_from_file_location("breaking", _PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(broken: ModuleType) -> dict[str, Callable[[Path], None]]:
    """A memory, an average, dropout and own generators; gradients of parts; turned images and proxies."""

    def turned(folder: Path) -> None:
        generator = np.random.default_rng(0)
        y = np.repeat(np.arange(5), 6)
        X = generator.random(size=(5, 8, 8))[y] + 0.2 * generator.random(size=(30, 8, 8))
        options: dict[str, Any] = {"epochs": 2, "batch_size": 60, "checkpoint_seconds": 0.0, "seed": 2}
        train((X.astype(np.float32), y), method="proxy-anchor", out=folder, resume=True, **options)

    def parts(folder: Path) -> None:
        broken.run(str(folder), accumulate=2, cached_gradients=5, average=0.0, schedule="constant")

    return {"memory and average": lambda folder: broken.run(str(folder)), "parts": parts, "turned": turned}


def run_training_kills(place: Path, kills: int, *, kinds: int = 3, seed: int = 0) -> Trainings:
    """Kill trainings of so many kinds so many times at random moments, and compare what they end as."""
    torch.set_num_threads(1)  # children are forked
    generator, found = random.Random(seed), Trainings()
    broken = breaking()
    works = list(cases(broken).values())[:kinds]
    whole = [_unbroken(broken, work, place / f"unbroken{number}") for number, work in enumerate(works)]
    number = 0
    while found.kills < kills:
        which = number % len(works)
        expected = whole[which]
        folder = place / f"run{number}"
        for _ in range(200):
            last = found.kills >= kills
            child = _forked(works[which], folder)
            killed = not last and _killed_later(child, folder, generator.randrange(6), generator.random())
            if not killed:
                break
            found.kills += 1
            found.in_a_save += any((folder / "checkpoint").glob(".state.*"))
        _judge(broken, child, folder, expected, found)
        number += 1
    return found


def run_training_failpoints(place: Path) -> Trainings:
    """Kill a training at each place inside some of its saves, and compare what it ends as."""
    torch.set_num_threads(1)
    broken, found = breaking(), Trainings()
    work = cases(broken)["memory and average"]
    expected = _unbroken(broken, work, place / "unbroken")
    for number in _SAVES:
        for inside in broken.PLACES:
            folder = place / f"{number}-{inside}"

            def broken_off(folder: Path, number: int = number, inside: str = inside) -> None:
                broken.die_in_save(number, inside)
                work(folder)

            _, status = os.waitpid(_forked(broken_off, folder), 0)
            if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
                raise RuntimeError(f"nothing was killed in save {number} at {inside!r}: status {status}")
            found.kills += 1
            found.in_a_save += 1
            _judge(broken, _forked(work, folder), folder, expected, found)
    return found


def _unbroken(broken: ModuleType, work: Callable[[Path], None], folder: Path) -> Any:
    """What a training ends as, made here, so that no child spends its time on importing."""
    work(folder)
    return broken.content(folder)


def _forked(work: Callable[[Path], None], folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work(folder)
        status = 0
    except BaseException as error:
        print(f"{folder.name}: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _killed_later(child: int, folder: Path, saves: int, part: float) -> bool:
    """Kill a child some saves and a part of a step after its first checkpoint; False where it ended before.

    Counted in saves, as the time that a busy machine takes for nothing would leave none to get anywhere.
    """
    manifest = folder / "checkpoint" / "state" / "checkpoint.json"
    seen, count, since, interval = _stamp(manifest), 0, time.monotonic(), 0.01
    while seen is None or count < saves:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
        time.sleep(0.0005)
        now = _stamp(manifest)
        if now is not None and now != seen:
            count += seen is not None
            seen, interval, since = now, time.monotonic() - since, time.monotonic()
    time.sleep(part * interval)
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
        return False
    os.kill(child, signal.SIGKILL)
    ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if ended is None or ended.si_code != os.CLD_KILLED:
        return False
    os.waitpid(child, 0)
    return True


def _stamp(place: Path) -> tuple[int, int] | None:
    """What tells one save from the next; None while there is none."""
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _judge(broken: ModuleType, child: int, folder: Path, expected: Any, found: Trainings) -> None:
    """Wait for the last start of a training, and compare."""
    _, status = os.waitpid(child, 0)
    if status:
        found.stuck += 1
        return
    found.ended += 1
    found.different += broken.content(folder) != expected


def trials(short: bool) -> list[Trial]:
    """The promises of this part."""

    def kills() -> Result:
        with tempfile.TemporaryDirectory() as place:
            return _result(run_training_kills(Path(place), 3 if short else 50, kinds=1 if short else 3))

    def failpoints() -> Result:
        with tempfile.TemporaryDirectory() as place:
            return _result(run_training_failpoints(Path(place)))

    at_random = Trial("trainings killed at random and gone on with", kills)
    # In the short form that is left to the tests of resuming, which pass every place without a kill.
    return (
        [at_random] if short else [at_random, Trial("trainings killed at each place in a save", failpoints)]
    )


def _result(found: Trainings) -> Result:
    told = (
        f"{found.in_a_save} within a save; {found.ended} trainings gone on with to their end, "
        f"{found.ended - found.different} of them equal to the unbroken one in every byte and figure; "
        f"{found.stuck} that could not go on"
    )
    return Result(found.kills, told, found.bad)
