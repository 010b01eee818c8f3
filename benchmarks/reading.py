"""Images in files through the loader, the augmentation and the encoder, beside a bare PyTorch loop.

    python benchmarks/reading.py [--files 600] [--workers 0 2] [--steps 60] [--page FILE]

"bare" is what one would write: a Dataset that opens, converts and resizes with Pillow, a DataLoader, an
affine augmentation of the batch, the encoder. Both sides read the same files, in the same order of batches,
with the same encoder, and decode every image anew; "kept" is what the library does by default with as few
images, which it decodes once. Three works: "batches" goes as far as the embeddings of changed images, without
a gradient, so that reading weighs most; "training" adds loss, gradient and step; "embed" is `Model.embed`.
In turn, best of nine; without workers in seconds of the processor, with workers in seconds that pass.

With `--page`, the loop over items in memory (training.py) stands on the same page, and JSON lines beside it.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import best_of, environment, table, told, write_lines
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import training
from likewise.data import Augmentation, ClassBalancedSampler, Records, load
from likewise.data.files import FileImages
from likewise.distances import Cosine
from likewise.encoders import ConvNet, Standardize
from likewise.losses import SupCon
from likewise.model import Model
from likewise.training import Schedule, Task, fit
from likewise.training.reading import Reader

COLUMNS = ("files", "work", "workers", "bare images/s", "ours images/s", "ours / bare", "kept / bare")
BATCH_CLASSES, BATCH_ITEMS, CLASSES = 8, 8, 20
MOVES = {"shift": 0.1, "rotation": 10.0, "scale": 0.1}
FORMS = {
    "PNG 105 x 105, grey": ("L", (105, 105), "png"),
    "JPEG 320 x 240, colour": ("RGB", (320, 240), "jpg"),
}


def written(folder: Path, mode: str, size: tuple[int, int], suffix: str, count: int) -> None:
    """Smooth images of some classes, as files in class folders."""
    generator = np.random.default_rng(0)
    channels = len(mode)
    for number in range(count):
        coarse = generator.integers(0, 256, size=(12, 16, channels), dtype=np.uint8)
        image = Image.fromarray(coarse[..., 0] if channels == 1 else coarse).resize(size, Image.BICUBIC)
        place = folder / f"class{number % CLASSES:02d}" / f"{number}.{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)


class Files(Dataset[Any]):
    """The bare way to read."""

    def __init__(self, records: Records) -> None:
        held = records.held
        assert isinstance(held, FileImages)
        self.paths, self.size = held.paths.tolist(), held.size[::-1]
        self.mode = "L" if held.colour == "grey" else "RGB"
        self.labels = records.codes.tolist()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[row]) as image:
            pixels = np.array(image.convert(self.mode).resize(self.size, Image.BILINEAR))
        tensor = torch.from_numpy(pixels)
        if tensor.ndim == 3:
            tensor = tensor.permute(2, 0, 1)
        return tensor.float() / 255, self.labels[row]


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """The bare way to change a batch: one affine map an image."""
    shown = images[:, None] if images.ndim == 3 else images

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle, size = uniform(math.radians(MOVES["rotation"])), 1 / (1 + uniform(MOVES["scale"]))
    across, down = uniform(2 * MOVES["shift"]), uniform(2 * MOVES["shift"])
    top = torch.stack([size * angle.cos(), -size * angle.sin(), across], dim=1)
    theta = torch.stack([top, torch.stack([size * angle.sin(), size * angle.cos(), down], dim=1)], dim=1)
    grid = nn.functional.affine_grid(theta, list(shown.shape), align_corners=False)
    out = nn.functional.grid_sample(shown, grid, align_corners=False)
    return out[:, 0] if images.ndim == 3 else out


class Case:
    """The works of one kind of files, bare and ours."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.kept = load(folder)
        held = self.kept.held
        assert isinstance(held, FileImages)
        anew = FileImages(held.paths, size=held.size, colour=held.colour)
        self.anew = Records(anew, self.kept.y, self.kept.name, columns=self.kept.columns)
        self.workers = workers
        self.preparation = Standardize.learned_from(self.kept.items())
        torch.manual_seed(0)
        self.encoder = ConvNet(self.kept.item_shape, dimension=64, width=16, stride=2)
        self.sampler = ClassBalancedSampler(
            self.kept.y, classes_per_batch=BATCH_CLASSES, items_per_class=BATCH_ITEMS
        )
        self.bare_files = Files(self.kept)
        self.batches = self._loader(batch_sampler=list(self.sampler))
        self.in_order = self._loader(batch_size=256)
        self.readers = {True: self._reader(self.kept), False: self._reader(self.anew)}
        self.count = sum(map(len, self.sampler))

    def _loader(self, **options: Any) -> DataLoader[Any]:
        processes: dict[str, Any] = {"num_workers": self.workers}
        if self.workers:
            processes |= {"persistent_workers": True, "multiprocessing_context": "forkserver"}
        return DataLoader(self.bare_files, **options, **processes)

    def _reader(self, records: Records) -> Reader:
        return Reader(
            Task(records),
            preprocessing=self.preparation,
            augmentation=Augmentation(**MOVES),
            workers=self.workers,
        )

    def bare_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for images, labels in self.batches:
            yield self.preparation(moved(images, generator)), labels

    def works(self) -> dict[str, dict[str, Callable[[], object]]]:
        def bare_embeddings() -> None:
            with torch.inference_mode():
                for images, _ in self.bare_batches():
                    self.encoder(images)

        def embeddings(kept: bool) -> None:
            with torch.inference_mode():
                for prepared in self.readers[kept].epoch(self.sampler, 0):
                    self.encoder(prepared.items)

        def bare_training() -> None:
            encoder, loss = copy.deepcopy(self.encoder), SupCon()
            optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
            for images, labels in self.bare_batches():
                value = loss(encoder(images), labels)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()

        def our_training(records: Records) -> None:
            fit(
                copy.deepcopy(self.encoder),
                SupCon(),
                Task(records),
                sampler=self.sampler,
                schedule=Schedule(epochs=1),
                preprocessing=self.preparation,
                augmentation=Augmentation(**MOVES),
                workers=self.workers,
            )

        model = Model(self.encoder, Cosine(), self.preparation)

        def bare_embed() -> None:
            with torch.inference_mode():
                torch.cat([self.encoder(self.preparation(images)) for images, _ in self.in_order])

        def embed(records: Records) -> None:
            model.embed(records, batch_size=256, workers=self.workers)

        return {
            "batches": {
                "bare": bare_embeddings,
                "ours": lambda: embeddings(False),
                "kept": lambda: embeddings(True),
            },
            "training": {
                "bare": bare_training,
                "ours": lambda: our_training(self.anew),
                "kept": lambda: our_training(self.kept),
            },
            "embed": {
                "bare": bare_embed,
                "ours": lambda: embed(self.anew),
                "kept": lambda: embed(self.kept),
            },
        }


def measured(folder: Path, form: str, workers: int, seconds: float) -> list[dict[str, Any]]:
    case = Case(folder, workers)
    rows = []
    for work, sides in case.works().items():
        if workers and work != "batches":
            continue  # those start workers of their own each time, which is not what is compared
        clock = time.perf_counter if workers else time.process_time
        times = best_of(sides, seconds=seconds, clock=clock)
        count = len(case.kept) if work == "embed" else case.count
        rows.append(
            {
                "files": form,
                "work": work,
                "workers": workers,
                "bare images/s": count / times["bare"],
                "ours images/s": count / times["ours"],
                "ours / bare": times["bare"] / times["ours"],
                "kept / bare": times["bare"] / times["kept"],
            }
        )
        print(table(rows[-1:], COLUMNS).splitlines()[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each work")
    parser.add_argument("--steps", type=int, default=60, help="of the loop over items in memory")
    parser.add_argument("--page", type=Path, help="such as docs/results/training.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for form, (mode, size, suffix) in FORMS.items():
            folder = Path(place, suffix)
            written(folder, mode, size, suffix, options.files)
            for workers in options.workers:
                rows += measured(folder, form, workers, options.seconds)
    if options.page is None:
        print(told(environment()))
        return
    loop = [training.measured(name, options.steps) for name in training.cases()]
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(rows, loop), encoding="utf-8")
    write_lines(options.page.with_suffix(".jsonl"), [*rows, *loop])


def page(rows: list[dict[str, Any]], loop: list[dict[str, Any]]) -> str:
    """The page, of nothing but the figures."""
    about = [part.replace("\n", " ") for part in (__doc__ or "").split("\n\n")]
    least = min(row["ours / bare"] for row in rows)
    return f"""# How fast it reads and trains

{about[2]}

{table(rows, COLUMNS)}

Target: at least 0.9 of the bare loop's images a second. The least here: {least:.2f}.

## The loop over items in memory

The same encoder, loss, batches and optimiser; milliseconds of the processor a step, best of nine.

{table(loop, training.COLUMNS)}

{told(environment())}
"""


if __name__ == "__main__":
    main()
