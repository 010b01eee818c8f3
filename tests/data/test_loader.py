"""Batches read ahead are the batches, whoever reads them; no worker hangs after OpenMP and faiss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from PIL import Image

import likewise.data.files as files
from likewise.data import Loader, load
from likewise.errors import DataError, InputError

BATCHES = [[0, 5], [7], [3, 3, 1], list(range(8))]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Images that are decoded when they are read."""
    generator = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            pixels = generator.integers(0, 255, size=(20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    monkeypatch.setattr(files, "_KEPT_BYTES", 0)
    return load(tmp_path)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order_epoch_after_epoch(photos, workers: int) -> None:
    faiss.IndexFlatL2(4).search(np.zeros((3, 4), dtype=np.float32), 1)
    torch.rand(300, 300) @ torch.rand(300, 300)
    loader = Loader(photos, workers=workers, start="fork" if sys.platform == "linux" else None)
    for epoch in range(2):
        found = list(loader(BATCHES[epoch:]))
        assert len(found) == len(BATCHES) - epoch
        for rows, items in zip(BATCHES[epoch:], found, strict=True):
            np.testing.assert_array_equal(items, photos.items(rows))
    named = [
        (batch, items.shape[0]) for batch, items in loader.read([("x", [1]), ("y", [2, 3])], lambda b: b[1])
    ]
    assert named == [(("x", [1]), 1), (("y", [2, 3]), 2)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_is_told_as_it_is(photos, workers: int) -> None:
    Path(photos.held.paths[6]).write_bytes(b"")
    loader = Loader(photos, workers=workers, start="fork" if sys.platform == "linux" else None)
    with pytest.raises(DataError, match=r"2\.png: the image is empty") as error:
        list(loader([[0], [6], [1]]))
    assert "\n" not in str(error.value)


def test_what_is_in_memory_is_read_here() -> None:
    loader = Loader(load("iris"), workers=2)
    assert loader._loader is None
    assert next(loader([[3]])).tolist() == load("iris").X[[3]].tolist()


@pytest.mark.parametrize("options", [{"workers": -1}, {"workers": 1.5}, {"start": "thread"}, {"ahead": 0}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        Loader(load("iris"), **options)  # type: ignore[arg-type]


SCRIPT = """
import sys
import faiss, numpy as np, torch
import likewise.data.files as files
from likewise.data import Loader, load

if __name__ == "__main__":
    files._KEPT_BYTES = 0
    torch.set_num_threads(2)
    faiss.omp_set_num_threads(2)
    index = faiss.IndexFlatL2(16)
    vectors = np.random.default_rng(0).normal(size=(2000, 16)).astype("f4")
    index.add(vectors)
    index.search(vectors, 3)
    (torch.rand(600, 600) @ torch.rand(600, 600)).sum()
    records = load(sys.argv[1])
    wanted = float(records.X[[0, 1]].sum()) + float(records.X[[6, 7]].sum())
    for start in sys.argv[2:]:
        for workers in (0, 1, 2):
            total = 0.0
            for items in Loader(records, workers=workers, start=start)([[0, 1], [6, 7]]):
                total += float(items.sum())
                index.search(vectors[:100], 3)
            print(start, workers, total == wanted)
"""


def test_workers_beside_faiss_with_threads_end(photos, tmp_path: Path) -> None:
    script = tmp_path / "read.py"
    script.write_text(SCRIPT)
    folder = Path(photos.held.paths[0]).parent.parent
    starts = ["fork", "spawn"] if sys.platform == "linux" else ["spawn"]
    finished = subprocess.run(
        [sys.executable, script, folder, *starts], capture_output=True, text=True, timeout=150, check=False
    )
    told = [f"{start} {workers} True" for start in starts for workers in (0, 1, 2)]
    assert finished.stdout.splitlines() == told, finished.stderr
