"""``likewise serve`` as the process that it is: where it listens, its log, signals, and its end."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from likewise.cli import main
from likewise.data import load
from likewise.distances import Cosine
from likewise.encoders import Standardize, encoder_for
from likewise.model import Model
from likewise.search import Index
from likewise.serve.keys import Keys


class Running:
    """A server's process: its address, and the lines of its log as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        assert process.stdout is not None
        first = process.stdout.readline()
        self.address = next((word for word in first.split() if word.startswith("http")), "")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)

    def logged(self, event: str) -> dict[str, Any]:
        """The next line of the log that tells of an event."""
        while True:
            told: dict[str, Any] = json.loads(self._lines.get(timeout=60))
            if told["event"] == event:
                return told


@pytest.fixture
def started() -> Iterator[Callable[..., Running]]:
    """Start ``likewise serve`` with these words; ended at the latest with the test."""
    with ExitStack() as stack:

        def start(*words: object) -> Running:
            return stack.enter_context(_process([str(word) for word in words]))

        yield start


@contextmanager
def _process(words: list[str]) -> Iterator[Running]:
    with subprocess.Popen(
        [sys.executable, "-m", "likewise", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.fixture
def folder(digits_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_index, tmp_path / "index"))


def test_a_hangup_swaps_the_index_and_a_bad_one_leaves_the_old(started, folder: Path) -> None:
    server = started(folder, "--port", 0)
    assert server.logged("listening")["records"] == 300
    grown = Index.load(folder)
    grown.remove(["digits:0"])
    grown.save(folder)
    assert httpx.get(f"{server.address}/ready").json()["records"] == 300
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.logged("swapped")["records"] == 299
    assert httpx.get(f"{server.address}/ready").json()["records"] == 299
    (folder / "records.json").write_text("{}")
    os.kill(server.process.pid, signal.SIGHUP)
    assert "records.json" in server.logged("swap failed")["traceback"]
    assert httpx.post(f"{server.address}/v1/search", json={"ids": ["digits:1"]}).status_code == 200


def test_a_follower_takes_an_index_that_was_embedded_anew_without_a_word(started, folder: Path) -> None:
    """A new model comes in: its index replaces the old one in one step, and the server follows."""
    server = started(folder, "--port", 0, "--follow")
    assert server.logged("listening")["records"] == 300
    before = httpx.get(f"{server.address}/ready").json()["model"]
    records = load("digits").take(slice(0, 300))
    other = Model(encoder_for((8, 8), dimension=5), Cosine(), Standardize((8, 8)))
    with Index.open(folder) as index:
        labels = index.labels
        index.reembed(other, records)
        assert (index.dimension, index.labels, len(index)) == (5, labels, 300)
    assert server.logged("swapped")["model"] == other.fingerprint != before
    answer = httpx.post(f"{server.address}/v1/search", json={"ids": ["digits:1"], "where": "price = 1"})
    assert answer.json()["model"] == other.fingerprint
    assert answer.json()["hits"][0][0]["id"] == "digits:1"


def test_a_writable_index_is_swapped_with_what_was_added_to_it(started, folder: Path) -> None:
    server = started(folder, "--port", 0, "--writable")
    body = {"items": [[[0.0] * 8] * 8], "ids": ["new"]}
    assert httpx.post(f"{server.address}/v1/records", json=body).status_code == 201
    os.kill(server.process.pid, signal.SIGHUP)
    assert server.logged("swapped")["records"] == 301
    assert httpx.delete(f"{server.address}/v1/records", params={"id": "new"}).json() == {"removed": 1}


def test_the_end_waits_for_requests_and_lets_go_of_the_index(started, folder: Path) -> None:
    """A request whose body is still coming is answered after SIGTERM; then the process ends with 0."""
    server = started(folder, "--port", 0, "--writable")
    whole = json.dumps({"items": [[[1.0] * 8] * 8], "ids": ["last"]}).encode()
    server.logged("listening")
    port = int(server.address.rpartition(":")[2])

    def halves() -> Iterator[bytes]:
        yield whole[:40]
        os.kill(server.process.pid, signal.SIGTERM)
        with suppress(ConnectionError):
            while True:  # until it takes no more connections, and so is ending
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
        yield whole[40:]

    answer = httpx.post(
        f"{server.address}/v1/records", content=halves(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 201
    assert server.logged("request")["route"] == "/v1/records"
    assert server.process.wait(60) == 0
    with Index.open(folder) as index:
        assert "last" in index


def test_the_log_is_json_and_tells_no_secret(started, folder: Path, tmp_path: Path, capsys) -> None:
    keys = tmp_path / "keys"
    assert main(["serve", "--new-key", "page", "--keys", str(keys), "--scopes", "read"]) == 0
    secret = capsys.readouterr().out.strip()
    assert Keys.load(keys)
    assert secret not in keys.read_text()
    server = started(folder, "--port", 0, "--host", "0.0.0.0", "--keys", keys)
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    told = {"authorization": f"Bearer {secret}"}
    for headers, status in ((None, 401), (told, 200)):
        answer = httpx.post(f"{address}/v1/search", json={"ids": ["digits:1"]}, headers=headers)
        assert answer.status_code == status
        line = server.logged("request")
        assert (line["route"], line["status"], line["method"]) == ("/v1/search", status, "POST")
        assert line["request"] == answer.headers["x-request-id"]
        assert line["milliseconds"] > 0
        assert secret not in json.dumps(line)
        assert "digits:1" not in json.dumps(line)


def test_beyond_this_machine_a_key_is_required(folder: Path, capsys) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        assert main(["serve", str(folder), "--host", host]) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert "keys are required" in said.err


def test_a_port_that_is_taken_and_one_that_is_none(started, folder: Path, capsys) -> None:
    server = started(folder, "--port", 0)
    taken = server.address.rpartition(":")[2]
    for port, told in ((taken, "choose another --port"), ("70000", "from 0 to 65535")):
        assert main(["serve", str(folder), "--port", port]) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert told in said.err
