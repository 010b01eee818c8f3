"""Two processes (gloo), as torchrun starts them, train the model of one; workers read the same batches."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from PIL import Image

from likewise.api import train
from likewise.data import Augmentation, ClassBalancedSampler, load
from likewise.encoders import MLP, Standardize
from likewise.losses import Contrastive, CrossBatchMemory
from likewise.model import Model
from likewise.training import Place, Task, joined, place
from likewise.training.reading import Reader

METHODS = ("supcon", "proxy-anchor")


def settings(method: str) -> dict[str, object]:
    return {
        "method": method,
        "epochs": 1,
        "dimension": 8,
        "seed": 1,
        "learning_rate": 0.01,
        "average": 0.5,
        "clip_gradient": 1.0,
    }


def work(rank: int, folder: str, port: int) -> None:
    import os

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with joined(torch.device("cpu")) as where:
        assert where == place() == Place(rank, 2)
        for method in METHODS:
            model = train("wine", out=f"{folder}/{method}", **settings(method))
            np.save(f"{folder}/{method}-{rank}.npy", flat(model))
        interrupted_and_resumed(folder)


def interrupted_and_resumed(folder: str) -> None:
    """A memory of each process's own batches comes back to the process that had it."""
    from likewise.training import Learner

    def run(out: str) -> Model:
        torch.manual_seed(0)
        loss = CrossBatchMemory(Contrastive(), 4, size=64)
        options = {"epochs": 2, "classes_per_batch": 2, "hold_out": 0.0, "checkpoint_seconds": 0.0, "seed": 2}
        return train("iris", encoder=MLP(4, dimension=4), loss=loss, out=out, resume=True, **options)

    class Stop(Exception):
        pass

    whole = flat(run(f"{folder}/whole"))
    step, done = Learner.step, []

    def counted(self: Learner, factor: float) -> None:
        if len(done) == 4:
            raise Stop
        step(self, factor)
        done.append(factor)

    Learner.step = counted  # type: ignore[method-assign]
    with pytest.raises(Stop):
        run(f"{folder}/broken")
    Learner.step = step  # type: ignore[method-assign]
    torch.distributed.barrier()
    np.testing.assert_array_equal(flat(run(f"{folder}/broken")), whole)


def flat(model: Model) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in model.encoder.parameters()]).numpy()


def test_two_processes_train_the_model_of_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, args=(str(tmp_path), port), nprocs=2)
    for method in METHODS:
        expected = flat(train("wine", **settings(method)))
        untrained = flat(train("wine", **{**settings(method), "learning_rate": 1e-12}))
        first, second = (np.load(tmp_path / f"{method}-{rank}.npy") for rank in (0, 1))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, expected, rtol=0, atol=1e-4)
        assert np.abs(expected - untrained).max() > 2e-3
        # The first process alone wrote the run.
        np.testing.assert_array_equal(flat(Model.load(tmp_path / method)), first)
        assert (tmp_path / method / "metrics.jsonl").read_text().count('"stage":"held-out"') == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of small images in files."""
    generator = np.random.default_rng(0)
    for label in "abc":
        (tmp_path / label).mkdir()
        for number in range(8):
            pixels = generator.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_read_the_same_batches_while_faiss_is_in_use(workers: int, folder: Path) -> None:
    import faiss

    images = load(folder)

    def batches(count: int) -> list[tuple[list[int], torch.Tensor]]:
        changes = Augmentation(shift=0.2)
        reader = Reader(Task(images), preprocessing=Standardize((8, 8)), augmentation=changes, workers=count)
        sampler = ClassBalancedSampler(images.y, classes_per_batch=2, items_per_class=4, batches=3)
        found = []
        for epoch in (0, 1):
            for prepared in reader.epoch(sampler, epoch, start=epoch):
                found.append((prepared.batch.rows.tolist(), prepared.items))
                index = faiss.IndexFlatL2(64)
                index.add(prepared.items.reshape(-1, 64).numpy())
        return found

    alone, together = batches(0), batches(workers)
    assert len(alone) == 5
    for (rows, items), (other_rows, other_items) in zip(alone, together, strict=True):
        assert rows == other_rows
        assert torch.equal(items, other_items)
