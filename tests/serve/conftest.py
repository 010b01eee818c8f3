"""A real server in a thread, over a small index of digits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from likewise.data import load
from likewise.distances import Cosine
from likewise.encoders import Standardize, encoder_for
from likewise.model import Calibration, Model
from likewise.search import Index
from likewise.serve.app import create_app
from likewise.serve.explorer import Explorer
from likewise.serve.run import http_protocol
from likewise.serve.served import Served


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of a server that answers with an application."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none", http=http_protocol())
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def digits_model() -> Model:
    calibration = Calibration(slope=8.0, offset=2.0, threshold=0.25, held_out="classes")
    return Model(encoder_for((8, 8), dimension=16), Cosine(), Standardize((8, 8)), calibration)


@pytest.fixture(scope="session")
def digits_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved index of 300 digits, with two columns of metadata."""
    folder = tmp_path_factory.mktemp("served") / "index"
    digits = load("digits").take(slice(0, 300))
    told = {"price": [row % 50 for row in range(300)], "shop": ["AB"[row % 2] for row in range(300)]}
    Index.build(digits_model(), digits, metadata=told, ids=[f"digits:{row}" for row in range(300)]).save(
        folder
    )
    return folder


@pytest.fixture
def serving(digits_index: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start servers: options of ``create_app``, and ``writable``, give an address."""
    import shutil
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(
            *, writable: bool = False, data: str | None = None, corrections: Any = None, **options: Any
        ) -> str:
            folder = tmp_path / "index"
            if not folder.exists():
                shutil.copytree(digits_index, folder)
            served = Served((Index.open if writable else Index.load)(folder), writable=writable)
            records = None if data is None else load(data)
            explorer = Explorer(served, records=records, corrections=corrections)
            app = create_app(served, explorer=explorer, **options)
            app.state.folder = folder
            start.app = app  # type: ignore[attr-defined]
            return stack.enter_context(running(app))

        yield start


@pytest.fixture
def run_app() -> Callable[[Any], Any]:
    """A server over any application, as a context that gives its address."""
    return running


@pytest.fixture(scope="session")
def address(digits_index: Path) -> Iterator[str]:
    """A server that is only read from, shared by all tests."""
    with running(create_app(Served(Index.load(digits_index)))) as url:
        yield url
