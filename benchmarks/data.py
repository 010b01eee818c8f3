"""Images a second through loader, augmentation and encoder, beside a bare PyTorch loop over the same files.

    python benchmarks/data.py [--images 512] [--workers 0 1 2] [--out FILE]

The bare loop is what one writes without this library: a Dataset that opens, converts and resizes with
Pillow, a DataLoader, and the same encoder, without augmentation. "train" is a step forward and backward,
"embed" forward alone. Ours decodes anew in every pass, as with data that doesn't fit in memory; "kept" is
what happens by default up to 256 MB. Times are of one thread, workers have one each; best of several, in
turn. The figure to reach is 0.9 of the bare loop.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from harness import best_of, environment, table, told, write_lines
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import likewise.data.files as files
from likewise.data import Augmentation, Loader, Records, augmentation_for, load
from likewise.distances import Cosine
from likewise.encoders import Standardize, encoder_for, preprocessing_for
from likewise.model import Model

COLUMNS = ("files", "work", "workers", "bare images/s", "our images/s", "of the bare loop", "kept images/s")
SIDE, BATCH = 64, 64


class Bare(Dataset[torch.Tensor]):
    """The files as one would read them by hand."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small)).permute(2, 0, 1).float().div_(255)


def write_images(folder: Path, count: int, suffix: str) -> None:
    """Smooth colour images with a little noise, 160 x 200, in two classes."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 255, size=(8, 10, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((200, 160), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = np.clip(pixels + generator.integers(-8, 9, size=pixels.shape), 0, 255).astype(np.uint8)
        place = folder / "ab"[number % 2] / f"{number:05}.{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(place, quality=90)


def opened(folder: Path, *, kept: bool) -> Records:
    """The folder as records, in memory or on the disk."""
    before = files._KEPT_BYTES
    try:
        files._KEPT_BYTES = before if kept else 0
        return load(folder, size=SIDE)
    finally:
        files._KEPT_BYTES = before


def stepped(encoder: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    encoder.train()
    for batch in batches:
        encoder.zero_grad(set_to_none=True)
        encoder(batch).square().mean().backward()


def embedded(encoder: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    encoder.eval()
    with torch.inference_mode():
        for batch in batches:
            encoder(batch)


def ours(
    loader: Loader, order: list[list[int]], preparation: Standardize, change: Augmentation
) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    for raw in loader(order):
        yield preparation(torch.from_numpy(change(raw, generator=generator)))


def measure(folder: Path, suffix: str, workers: int, seconds: float) -> list[dict[str, object]]:
    lazy, kept = opened(folder, kept=False), opened(folder, kept=True)
    preparation = preprocessing_for(kept)
    assert isinstance(preparation, Standardize)
    encoder = encoder_for(preparation, dimension=64)
    model = Model(encoder, Cosine(), preparation)
    order = np.array_split(np.random.default_rng(0).permutation(len(lazy)), len(lazy) // BATCH)
    batches = [part.tolist() for part in order]
    context = "fork" if workers else None
    bare = DataLoader(
        Bare([str(path) for path in lazy.held.paths]),  # type: ignore[attr-defined]
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=bool(workers),
        multiprocessing_context=context,
    )
    loader = Loader(lazy, workers=workers, start=context)
    memory = Loader(kept)
    change = augmentation_for(lazy)
    works: dict[str, dict[str, Callable[[], object]]] = {
        "train": {
            "bare": lambda: stepped(encoder, bare),
            "ours": lambda: stepped(encoder, ours(loader, batches, preparation, change)),
            "kept": lambda: stepped(encoder, ours(memory, batches, preparation, change)),
        },
        "embed": {
            "bare": lambda: embedded(encoder, bare),
            "ours": lambda: model.embed(lazy, batch_size=BATCH),
            "kept": lambda: model.embed(kept, batch_size=BATCH),
        },
    }
    if workers:
        works["embed"]["ours"] = lambda: embedded(encoder, map(preparation, loader(batches)))
    rows = []
    clock = time.perf_counter if workers else time.process_time
    for work, contenders in works.items():
        speed = {
            name: len(lazy) / passed
            for name, passed in best_of(contenders, seconds=seconds, clock=clock).items()
        }
        rows.append(
            {
                "files": suffix,
                "work": work,
                "workers": workers,
                "bare images/s": speed["bare"],
                "our images/s": speed["ours"],
                "of the bare loop": speed["ours"] / speed["bare"],
                "kept images/s": speed["kept"],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    parser.add_argument("--seconds", type=float, default=12.0, help="for each row")
    parser.add_argument("--out", type=Path)
    request = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for suffix in ("jpg", "png"):
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder), request.images, suffix)
            for workers in request.workers:
                rows += measure(Path(folder), suffix, workers, request.seconds)
    print(table(rows, COLUMNS))
    print("\n" + told(environment()))
    if request.out is not None:
        write_lines(request.out, rows)


if __name__ == "__main__":
    main()
