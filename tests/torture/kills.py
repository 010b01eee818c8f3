"""Processes killed while they write an index: nothing acknowledged is lost, nothing is half-written.

A child opens the index and adds, removes, replaces and saves without pause, saying after each what was
done; at a random moment it is killed. Then the index is read. One process imports the library and forks a
child for each kill, so that a kill costs milliseconds.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import LikewiseError
from likewise.model import Model
from likewise.search import Index

_D = 4


@dataclass
class Kills:
    """What so many kills led to."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    unreadable: int = 0
    saves_cut: int = 0


def small_model() -> Model:
    import torch

    torch.manual_seed(0)
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


def _killed_child(folder: Path, number: int, patience: float) -> list[str]:
    """What a child said before it was killed, ``patience`` seconds after it had opened the index."""
    listen, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(listen)
            _write_without_end(folder, number, say)
        finally:
            os._exit(1)  # reached only when writing failed
    os.close(say)
    said = b""
    deadline = time.monotonic() + 30
    while b"opened" not in said and time.monotonic() < deadline:
        if select.select([listen], [], [], 0.1)[0]:
            more = os.read(listen, 65536)
            if not more:
                break
            said += more
    begin = time.monotonic()
    while (left := patience - (time.monotonic() - begin)) > 0 and select.select([listen], [], [], left)[0]:
        more = os.read(listen, 65536)
        if not more:
            break
        said += more
    os.kill(child, signal.SIGKILL)
    while more := os.read(listen, 65536):
        said += more
    os.close(listen)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError(f"the writer ended by itself, with {status}, after {said[-80:]!r}")
    lines = said.decode().split("\n")
    return lines[:-1]


def run_kills(folder: Path, kills: int, *, seed: int = 0) -> Kills:
    """Kill so many writers of an index in a fresh folder, reading it after each."""
    generator = random.Random(seed)
    index = Index(small_model())
    index.add_embeddings(np.ones((5, _D)), ids=[f"first-{i}" for i in range(5)])
    index.save(folder)
    found, present, gone, renamed, number = Kills(), set(index.ids), set(), set(), 1
    for _ in range(kills):
        said = _killed_child(folder, number, generator.expovariate(1 / 0.03))
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
