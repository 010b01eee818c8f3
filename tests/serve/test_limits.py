"""What a request may ask of the server: keys, size, time, hosts; the server goes on after each."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import httpx
import pytest

from likewise.data import load
from likewise.errors import InputError
from likewise.search import Index
from likewise.serve.keys import Keys, new_key
from likewise.serve.limits import Limits

X = load("digits").X[:300]


def item(row: int) -> list:
    return X[row].tolist()


def test_keys_and_scopes(serving, tmp_path: Path) -> None:
    place = tmp_path / "keys.json"
    reading = new_key(place, "reader")
    writing = new_key(place, "writer", scopes=["read", "write"])
    assert reading not in place.read_text()
    assert place.stat().st_mode & 0o077 == 0
    url = serving(writable=True, keys=Keys.load(place))
    search, add = {"ids": ["digits:0"]}, {"items": [item(0)], "ids": ["a"]}
    expected = {
        None: (401, 401),
        "wrong": (401, 401),
        reading + "x": (401, 401),
        "ümlaut": (401, 401),
        reading: (200, 403),
        writing: (200, 201),
    }
    for key, statuses in expected.items():
        headers = {} if key is None else {"authorization": f"Bearer {key}".encode()}
        found = (
            httpx.post(f"{url}/v1/search", json=search, headers=headers).status_code,
            httpx.post(f"{url}/v1/records", json=add, headers=headers).status_code,
        )
        assert found == statuses
    assert httpx.get(f"{url}/health").status_code == 200
    for path in ("/metrics", "/explorer/about", "/v1/records"):
        assert httpx.get(url + path).status_code == 401
    assert "Bearer" in httpx.get(f"{url}/metrics").headers["www-authenticate"]


def test_every_route_but_health_and_page_asks_for_a_key(serving, tmp_path: Path) -> None:
    new_key(tmp_path / "keys.json", "one")
    url = serving(keys=Keys.load(tmp_path / "keys.json"))
    open_ = {"/", "/health", "/ready", "/openapi.json"}
    for route in serving.app.routes:
        for method in getattr(route, "methods", None) or ():
            if route.path not in open_ and method != "HEAD":
                assert httpx.request(method, url + route.path, json={}).status_code == 401, route.path


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"keys": [{}]}', '{"keys": [{"name": "a", "sha256": "x", "scopes": ["all"]}]}'],
)
def test_a_file_that_is_none_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(InputError, match="keys"):
        Keys.load(tmp_path / "keys")
    with pytest.raises(InputError, match="keys"):
        new_key(tmp_path / "keys", "name")


def test_requests_beyond_the_limit_are_503_at_once_and_those_within_are_answered(serving) -> None:
    url = serving(limits=Limits(concurrency=2))
    served = serving.app.state.served
    true, release = served.index, threading.Event()
    begun = threading.Semaphore(0)

    class Slow:
        def __getattr__(self, name: str) -> object:
            if name == "search_embeddings":
                begun.release()
                release.wait(20)
            return getattr(true, name)

    served.index = Slow()
    answers: list[int] = []

    def ask() -> None:
        answers.append(httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]}, timeout=30).status_code)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    try:
        for one in asking:
            one.start()
        assert begun.acquire(timeout=20)
        while b"in_flight 2.0" not in serving.app.state.metrics.text():
            threading.Event().wait(0.01)
        refused = httpx.get(f"{url}/v1/records")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert httpx.get(f"{url}/health").status_code == 200  # who watches the server isn't sent away
    finally:
        release.set()
        for one in asking:
            one.join(30)
    assert answers == [200, 200]


def test_a_full_disk_is_503_without_a_path_and_nothing_is_lost(
    serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serving(writable=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add = {"items": [item(0)], "ids": ["later"]}
    with monkeypatch.context() as patch:
        patch.setattr(serving.app.state.served.index._home.journal, "_write", full)
        for answer in (
            httpx.post(f"{url}/v1/records", json=add),
            httpx.delete(f"{url}/v1/records", params={"id": "digits:0"}),
        ):
            assert answer.status_code == 503
            assert str(serving.app.state.folder) not in answer.text
    assert httpx.get(f"{url}/v1/records").json()["total"] == 300
    assert httpx.post(f"{url}/v1/records", json=add).status_code == 201
    assert len(Index.load(serving.app.state.folder)) == 301


def test_limits_on_body_and_its_time(serving) -> None:
    url = serving(limits=Limits(body_bytes=1000, seconds=0.5))
    big = httpx.post(f"{url}/v1/embed", content=b"x" * 2000)
    assert (big.status_code, big.json()["error"]["code"]) == (413, "too_large")
    pieces = httpx.post(f"{url}/v1/embed", content=(b"x" * 300 for _ in range(9)))
    assert pieces.status_code == 413

    def drip():
        yield b"{"
        threading.Event().wait(2)
        yield b"}"

    late = httpx.post(f"{url}/v1/embed", content=drip())
    assert (late.status_code, late.json()["error"]["code"]) == (408, "late_body")


def test_what_takes_too_long_is_503_and_the_server_goes_on(serving) -> None:
    url = serving(limits=Limits(seconds=0.3))
    served = serving.app.state.served
    release = threading.Event()
    true = served.work
    served_index = served.index

    class Slow:
        def __getattr__(self, name: str) -> object:
            if name == "search_embeddings":
                release.wait(5)
            return getattr(served_index, name)

    served.index = Slow()
    answer = httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    release.set()
    served.index = served_index
    assert true == served.work
    assert httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]}).status_code == 200


def test_a_long_search_for_suspects_keeps_nobody_waiting(serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on while searches are answered; whoever stopped waiting finds it done."""
    from likewise.serve import suspects

    begun, let_go = threading.Event(), threading.Event()

    def slow(*_: object) -> list[dict[str, str]]:
        begun.set()
        assert let_go.wait(20)
        return [{"id": "digits:1"}]

    monkeypatch.setattr(suspects, "suspects_among", slow)
    address = serving(limits=Limits(seconds=0.3))
    try:
        assert httpx.get(f"{address}/explorer/suspects").status_code == 503
        assert begun.is_set()
        answer = httpx.post(f"{address}/v1/search", json={"ids": ["digits:1"], "k": 1})
        assert answer.json()["hits"][0][0]["id"] == "digits:1"
    finally:
        let_go.set()
    assert httpx.get(f"{address}/explorer/suspects").json() == [{"id": "digits:1"}]


def test_another_sites_page_is_refused(serving) -> None:
    url = serving(hosts=frozenset({"127.0.0.1", "localhost"}))
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.get(f"{url}/health", headers={"host": "evil.example:80"}).status_code == 403
    assert httpx.get(f"{url}/health", headers={"origin": "http://evil.example"}).status_code == 403
    assert httpx.get(f"{url}/health", headers={"origin": "http://localhost:5000"}).status_code == 200


@pytest.mark.parametrize("endless", [b"a: " + b"b" * 200_000, b"a: b\r\n" * 30_000])
def test_a_head_without_end_is_refused(address: str, endless: bytes) -> None:
    """The line and headers are held until they end; 64 KiB of them is enough, and the answer arrives."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as sent:
        sent.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n" + endless)
        answer = b""
        while part := sent.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400")


def test_bodies_do_not_count_as_heads(address: str) -> None:
    """Requests one after the other on one connection, each with a body beyond what a head may be."""
    with httpx.Client(base_url=address) as client:
        for _ in range(3):
            answer = client.post("/v1/search", content=b'{"where": "' + b"x" * 200_000 + b'"}')
            assert answer.status_code == 422
            assert client.get("/health").status_code == 200
