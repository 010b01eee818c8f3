"""A training that can be broken off at will, as a program of its own: the tests of resuming run it.

``python breaking.py RUN [point]``: trains in RUN, going on where a checkpoint lies there; kills itself with
SIGKILL at a named point: ``step:N`` after N steps of this process, or ``save:N:PLACE`` at a place inside the
N-th save of this process.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from likewise import artifacts
from likewise.api import train
from likewise.distances import Euclidean
from likewise.losses import Contrastive, CrossBatchMemory
from likewise.training import Learner, RunFolder

SETTINGS = {
    "epochs": 3,
    "classes_per_batch": 3,
    "items_per_class": 4,
    "average": 0.9,
    "seed": 3,
    "checkpoint_seconds": 0.0,
    "clip_gradient": 5.0,
    "augmentation": {"shift": 0.1, "rotation": 10.0},
}


class Net(nn.Module):
    """Draws from the generators of PyTorch, NumPy and Python, and keeps statistics of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)
        )

    def forward(self, items: Tensor) -> Tensor:
        embeddings = self.layers(items)
        if self.training:
            noise = np.random.normal(size=4) * 0.01 + random.gauss(0.0, 0.01)  # noqa: NPY002
            embeddings = embeddings + torch.from_numpy(noise).to(embeddings)
        return embeddings


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images of 4 x 4 in six classes."""
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(6), 8)
    shapes = generator.normal(size=(6, 4, 4))
    return (shapes[y] + generator.normal(size=(48, 4, 4)) * 0.3).astype(np.float32), y


def run(folder: str, *, resume: bool = True, **settings: object) -> None:
    """Train in a folder."""
    torch.manual_seed(0)
    encoder = Net()
    loss = CrossBatchMemory(Contrastive(margin=1.0, distance=Euclidean()), 4, size=40)
    train(data(), encoder=encoder, loss=loss, out=folder, resume=resume, **{**SETTINGS, **settings})


def content(folder: Path) -> dict[str, object]:
    """What a finished run holds, but for the clock: arrays, manifest, settings, lines."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    card = json.loads((folder / "model.json").read_text())
    return {
        "arrays": (folder / "model.safetensors").read_bytes(),
        "config": (folder / "config.toml").read_text(),
        "fingerprint": card["fingerprint"],
        "calibration": card["calibration"],
        "lines": [
            {name: value for name, value in line.items() if name not in ("seconds", "items_per_second")}
            for line in lines
        ],
    }


def die() -> None:
    """As the system kills: no handler, no cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_steps(count: int) -> None:
    """Arrange to be killed after so many steps."""
    step, done = Learner.step, []

    def counted(self: Learner, factor: float) -> None:
        step(self, factor)
        done.append(factor)
        if len(done) == count:
            die()

    Learner.step = counted


PLACES = ("before", "files", "halves", "exchange", "exchanged", "synced")


def die_in_save(number: int, place: str) -> None:
    """Arrange to be killed at a place inside the so-manieth save."""
    save, saves = RunFolder.save, []
    write, swap, sync = artifacts._write_file, artifacts._replace_folder, artifacts.sync_folder

    def at(here: str) -> None:
        if len(saves) == number and here == place:
            die()

    def counted(self: RunFolder, state: object) -> None:
        saves.append(state)
        at("before")
        save(self, state)
        at("synced")

    def writing(target: object, content: bytes) -> None:
        if len(saves) == number and place == "halves":
            with open(target, "wb") as stream:
                stream.write(content[: len(content) // 2])
            die()
        write(target, content)
        at("files")

    def swapping(new: str, target: object) -> None:
        at("exchange")
        swap(new, target)
        at("exchanged")

    RunFolder.save = counted
    artifacts._write_file, artifacts._replace_folder, artifacts.sync_folder = writing, swapping, sync


if __name__ == "__main__":
    for point in sys.argv[2:]:
        kind, *rest = point.split(":")
        if kind == "step":
            die_after_steps(int(rest[0]))
        else:
            die_in_save(int(rest[0]), rest[1])
    run(sys.argv[1])
