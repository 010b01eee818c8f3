"""A small saved run and index, made once by the command line itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from likewise.cli import main


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


@pytest.fixture
def likewise(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


def blobs(classes: int, per_class: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian blobs in four dimensions, far apart."""
    generator = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), per_class)
    X = generator.normal(size=(len(y), 4)) + 8 * np.eye(max(classes, 4))[y, :4]
    return X.astype(np.float32), y


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .npz with X and y: four classes, easy to tell apart."""
    path = tmp_path_factory.mktemp("data") / "things.npz"
    X, y = blobs(4, 12)
    np.savez(path, X=X, y=y)
    return path


@pytest.fixture(scope="session")
def run_folder(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(things), "-o", str(folder), "--epochs", "2"]) == 0
    return folder


@pytest.fixture(scope="session")
def index_folder(things: Path, run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved index."""
    folder = tmp_path_factory.mktemp("indexes") / "index"
    assert main(["index", str(run_folder), str(things), "-o", str(folder)]) == 0
    return folder
