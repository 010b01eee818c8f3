"""Processes killed while they write an index or a run: nothing acknowledged is lost, nothing half-written.

A child opens the index and adds, removes, replaces and saves without pause, saying after each what was
done; at a random moment it is killed. Then the index is read. Another child saves one model after the
other in one place. One process imports the library and forks a child for each kill, so that a kill costs
milliseconds.
"""

from __future__ import annotations

import os
import random
import select
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import LikewiseError
from likewise.model import Model
from likewise.search import Index
from torture.trial import Result, Trial

_D = 4


@dataclass
class Kills:
    """What so many kills led to; of a run, an acknowledged change is a save."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    unreadable: int = 0
    saves_cut: int = 0

    def told(self) -> Result:
        """As a line of the page."""
        outcome = (
            f"{self.acknowledged:,} acknowledged changes, {self.lost} lost; {self.unreadable} unreadable; "
            f"{self.saves_cut} kills within a save"
        )
        return Result(self.kills, outcome, self.lost + self.unreadable)


def trials(*, short: bool) -> list[Trial]:
    """Kills while an index is written, and while a run is."""
    count = 8 if short else 200

    def killed(run: Callable[[Path, int], Kills]) -> Result:
        with tempfile.TemporaryDirectory() as place:
            return run(Path(place, "folder"), count).told()

    return [
        Trial("kills during writes of an index", lambda: killed(run_kills)),
        Trial("kills during writes of a run", lambda: killed(run_run_kills)),
    ]


def small_model(seed: int = 0) -> Model:
    import torch

    torch.manual_seed(seed)
    return Model(MLP(_D, dimension=_D, hidden=()), Euclidean(), Standardize((_D,)))


def _write_without_end(folder: Path, number: int, say: int) -> None:
    index = Index.open(folder)
    generator = np.random.default_rng(number)
    os.write(say, b"opened 0\n")
    while True:
        names = [f"{number}-{i}" for i in range(3)]
        index.add_embeddings(generator.normal(size=(3, _D)), ids=names, labels=[number] * 3)
        os.write(say, f"added {number}\n".encode())
        if number % 3 == 0:
            index.remove(names[:1])
            os.write(say, f"removed {number}\n".encode())
        if number % 4 == 0:
            index.update([names[1]], labels=["renamed"])
            os.write(say, f"renamed {number}\n".encode())
        if number % 7 == 0:
            os.write(say, f"saving {number}\n".encode())
            index.save()
            os.write(say, f"saved {number}\n".encode())
        number += 1


def _save_without_end(folder: Path, number: int, say: int) -> None:
    models = [small_model(seed) for seed in (0, 1)]
    os.write(say, b"opened 0\n")
    while True:
        os.write(say, f"saving {number}\n".encode())
        models[number % 2].save(folder)
        os.write(say, f"saved {number}\n".encode())
        number += 1


def _killed_child(
    write: Callable[[Path, int, int], None], folder: Path, number: int, lines: int, patience: float
) -> list[str]:
    """What a writing child said before it was killed, ``patience`` seconds after so many lines."""
    listen, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(listen)
            write(folder, number, say)
        finally:
            os._exit(1)  # reached only when writing failed
    os.close(say)
    said = b""
    deadline = time.monotonic() + 60
    while said.count(b"\n") <= lines and time.monotonic() < deadline:
        if select.select([listen], [], [], 0.1)[0]:
            more = os.read(listen, 65536)
            if not more:
                break
            said += more
    time.sleep(patience)
    os.kill(child, signal.SIGKILL)
    while more := os.read(listen, 65536):
        said += more
    os.close(listen)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the writer ended by itself, with {status}, after {said[-80:]!r}")
    return said.decode().split("\n")[:-1]


def _moment(generator: random.Random) -> tuple[int, float]:
    """After how many lines, and how long after, so that kills fall on every step and between any two."""
    return generator.randrange(12), generator.expovariate(1 / 0.01)


def run_kills(folder: Path, kills: int, *, seed: int = 0) -> Kills:
    """Kill so many writers of an index in a fresh folder, reading it after each."""
    generator = random.Random(seed)
    index = Index(small_model())
    index.add_embeddings(np.ones((5, _D)), ids=[f"first-{i}" for i in range(5)])
    index.save(folder)
    found, present, gone, renamed, number = Kills(), set(index.ids), set(), set(), 1
    for _ in range(kills):
        said = _killed_child(_write_without_end, folder, number, *_moment(generator))
        found.kills += 1
        for line in said:
            word, count = line.split()
            if word == "added":
                present |= {f"{count}-{i}" for i in range(3)}
            elif word == "removed":
                gone.add(f"{count}-0")
            elif word == "renamed":
                renamed.add(f"{count}-1")
            number = max(number, int(count) + 2)
            found.acknowledged += word in ("added", "removed", "renamed")
        if said and said[-1].startswith("added"):
            # Its removal may have been under way: done or not, nobody was told.
            present.discard(f"{said[-1].split()[1]}-0")
        found.saves_cut += bool(said) and said[-1].startswith("saving")
        try:
            back = Index.load(folder)
            labels = dict(zip(back.ids, back.labels, strict=True))
            back.search_embeddings(np.zeros((1, _D)), 5)
        except LikewiseError:
            found.unreadable += 1
            continue
        found.lost += len((present - gone) - set(labels)) + len(gone & set(labels))
        found.lost += sum(labels[name] != "renamed" for name in renamed if name in labels)
        number = max([number, *(int(name.split("-")[0]) + 1 for name in labels if name[0] != "f")])
    return found


def run_run_kills(folder: Path, kills: int, *, seed: int = 0) -> Kills:
    """Kill so many savers of a run; what lies there must be the last one acknowledged, or the one after."""
    generator, found, number = random.Random(seed), Kills(), 1
    prints = [small_model(seed).fingerprint for seed in (0, 1)]
    small_model(0).save(folder)
    for _ in range(kills):
        said = _killed_child(_save_without_end, folder, number, *_moment(generator))
        found.kills += 1
        saved = [int(line.split()[1]) for line in said if line.startswith("saved")]
        found.acknowledged += len(saved)
        cut = bool(said) and said[-1].startswith("saving")
        found.saves_cut += cut
        last = saved[-1] if saved else number - 1
        try:
            back = prints.index(Model.load(folder).fingerprint)
        except (LikewiseError, ValueError):
            found.unreadable += 1
            continue
        found.lost += back != last % 2 and not cut
        # The next child's first number must differ from what lies there, or a lost save would look the same.
        number = last + 1 if back == last % 2 else last + 2
    return found
