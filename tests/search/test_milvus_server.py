"""Milvus by address: an index in a server that is another process, as a cluster's would be."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.distances import Euclidean
from likewise.encoders import Standardize
from likewise.errors import InputError
from likewise.model import Model
from likewise.search import Index

D, N = 12, 120


def clouds(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


def model() -> Model:
    """Items are their own embeddings."""
    return Model(torch.nn.Identity(), Euclidean(), Standardize((D,)))


def ids_of(found: list) -> list[list[str]]:
    return [[hit.id for hit in hits] for hits in found]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a server, and its process, once it says that it listens."""
    pytest.importorskip("milvus_lite", reason="the scale extra brings Milvus Lite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-u", "-m", "milvus_lite", "server", "--data-dir", str(tmp_path / "milvus")]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert b"listening" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process
        process.kill()


def test_an_index_lives_in_a_server(tmp_path: Path, server: tuple[str, subprocess.Popen[bytes]]) -> None:
    address, process = server
    index = Index(model(), engine="milvus", address=address)
    index.add_embeddings(
        clouds(N), ids=[f"r{i}" for i in range(N)], metadata={"shop": ["AB"[i % 2] for i in range(N)]}
    )
    index.remove(["r3"])
    queries = clouds(15, seed=5)
    flat = index.with_engine("flat")
    found = index.search_embeddings(queries, 5)
    assert ids_of(found) == ids_of(flat.search_embeddings(queries, 5))
    assert not any("r3" in ids for ids in ids_of(found))
    only = index.search_embeddings(queries, 5, where="shop = 'B'")
    assert ids_of(only) == ids_of(flat.search_embeddings(queries, 5, where="shop = 'B'"))
    index.save(tmp_path / "index")
    index.close()
    back = Index.load(tmp_path / "index", model=model())
    assert ids_of(back.search_embeddings(queries, 5)) == ids_of(found)
    process.kill()
    process.wait()
    with pytest.raises(InputError, match=address):
        back.search_embeddings(queries, 5)
