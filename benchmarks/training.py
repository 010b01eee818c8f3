"""The training loop beside a bare PyTorch loop: the same encoder, loss, batches and optimiser.

    python benchmarks/training.py [--steps 100] [--json FILE]

"bare" is what one would write: draw rows, index, prepare, embed, loss, backward, step. "fit" is
`likewise.training.fit` doing the same number of steps, with its checks, its schedule and its figures.
Seconds of the processor, of one thread; the two in turn, so that a busy moment hits both; best of nine. One
epoch a measurement, so what an epoch costs beside its steps is counted too.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from harness import best_of, environment, table, told, write_lines
from torch import nn

from likewise.data import Augmentation, ClassBalancedSampler, Records, load
from likewise.encoders import MLP, ConvNet, Standardize
from likewise.losses import ProxyAnchor, SupCon, TripletMargin
from likewise.training import Schedule, Stepping, Task, fit

COLUMNS = ("case", "batch", "ms a step, bare", "ms a step, fit", "fit / bare")


def images(side: int) -> Records:
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(40), 20)
    X = generator.random((len(y), side, side)).astype(np.float32)
    return Records(X, y, f"{side}x{side}")


def cases() -> dict[str, tuple[Records, nn.Module, nn.Module, Augmentation | None]]:
    wine, digits = load("wine"), load("digits")
    moved = Augmentation(shift=0.1, rotation=10.0)
    return {
        "wine, MLP, supcon": (wine, MLP(13, dimension=64), SupCon(), None),
        "digits, MLP, triplets": (digits, MLP(64, dimension=64), TripletMargin(), None),
        "digits, ConvNet, supcon": (digits, ConvNet((8, 8), dimension=64), SupCon(), moved),
        "28x28, ConvNet, supcon": (images(28), ConvNet((28, 28), dimension=64, width=16), SupCon(), moved),
        "28x28, ConvNet, proxies": (
            images(28),
            ConvNet((28, 28), dimension=64, width=16),
            ProxyAnchor(40, 64),
            None,
        ),
    }


def bare(
    records: Records,
    encoder: nn.Module,
    loss: nn.Module,
    augmentation: Augmentation | None,
    sampler: ClassBalancedSampler,
    preprocessing: nn.Module,
) -> None:
    optimizer = torch.optim.AdamW(
        [{"params": encoder.parameters(), "lr": 2e-3}, {"params": loss.parameters(), "lr": 2e-2}]
        if list(loss.parameters())
        else encoder.parameters(),
        lr=2e-3,
    )
    X, labels = torch.from_numpy(records.X), torch.from_numpy(records.codes)
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for rows in sampler:
        items = X[rows]
        if augmentation is not None:
            items = augmentation(items, generator=generator)
        value = loss(encoder(preprocessing(items)), labels[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item()


def measured(name: str, steps: int) -> dict[str, object]:
    records, encoder, loss, augmentation = cases()[name]
    preprocessing = Standardize.learned_from(records.X)
    sampler = ClassBalancedSampler(
        records.y, classes_per_batch=min(8, len(records.classes)), items_per_class=8, batches=steps
    )
    size = len(next(iter(sampler)))

    def by_hand() -> None:
        bare(records, copy.deepcopy(encoder), copy.deepcopy(loss), augmentation, sampler, preprocessing)

    def by_fit() -> None:
        fit(
            copy.deepcopy(encoder),
            copy.deepcopy(loss),
            Task(records),
            sampler=sampler,
            schedule=Schedule(epochs=1),
            preprocessing=preprocessing,
            augmentation=augmentation,
            stepping=Stepping(),
        )

    times = best_of({"bare": by_hand, "fit": by_fit}, clock=time.process_time)
    return {
        "case": name,
        "batch": size,
        "ms a step, bare": 1000 * times["bare"] / steps,
        "ms a step, fit": 1000 * times["fit"] / steps,
        "fit / bare": times["fit"] / times["bare"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [measured(name, options.steps) for name in cases()]
    print(table(found, COLUMNS))
    print(told(environment()))
    if options.json:
        write_lines(options.json, found)


if __name__ == "__main__":
    main()
