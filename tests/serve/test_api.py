"""The API answers what the library answers, and says in 4xx what is wrong."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import likewise as lw
from likewise.data import load
from likewise.errors import InputError
from likewise.search import Index
from likewise.serve.client import Client, ServerError
from likewise.serve.keys import Keys, new_key
from likewise.serve.limits import Limits

X = load("digits").X[:300]


def item(row: int) -> list:
    return X[row].tolist()


def picture(array: np.ndarray) -> dict:
    stream = io.BytesIO()
    Image.fromarray((array * 255).round().astype(np.uint8)).save(stream, "PNG")
    return {"image": base64.b64encode(stream.getvalue()).decode()}


def test_search_answers_what_the_index_answers(address: str, digits_index: Path) -> None:
    index = Index.load(digits_index)
    for options in ({}, {"where": "shop = 'A' and price < 20"}, {"rerank": True}, {"expand": 3}):
        answer = httpx.post(f"{address}/v1/search", json={"items": [item(3), item(4)], "k": 5, **options})
        assert answer.status_code == 200
        told = {"expansion": lw.search.QueryExpansion(3)} if "expand" in options else {}
        told |= {"reranking": lw.search.KReciprocal()} if "rerank" in options else {}
        expected = index.search(X[3:5], 5, where=options.get("where"), **told)
        found = answer.json()["hits"]
        assert [[hit["id"] for hit in own] for own in found] == [[hit.id for hit in own] for own in expected]
        np.testing.assert_allclose(
            [[hit["distance"] for hit in own] for own in found],
            [[hit.distance for hit in own] for own in expected],
            atol=1e-6,
        )


def test_embed_then_search_by_embeddings_and_by_ids(address: str) -> None:
    embedded = httpx.post(f"{address}/v1/embed", json={"items": [item(7)]}).json()
    assert embedded["dimension"] == 16
    wanted = {"embeddings": embedded["embeddings"], "model": embedded["model"], "k": 3}
    by_embedding = httpx.post(f"{address}/v1/search", json=wanted).json()["hits"]
    by_id = httpx.post(f"{address}/v1/search", json={"ids": ["digits:7"], "k": 3}).json()["hits"]
    by_item = httpx.post(f"{address}/v1/search", json={"items": [item(7)], "k": 3}).json()["hits"]
    by_picture = httpx.post(f"{address}/v1/search", json={"items": [picture(X[7])], "k": 3}).json()["hits"]
    for hits in (by_embedding, by_id, by_item, by_picture):
        assert [hit["id"] for hit in hits[0]] == [hit["id"] for hit in by_id[0]]
    assert by_item[0][0]["id"] == "digits:7"
    assert by_item[0][0]["metadata"] == {"price": 7, "shop": "B"}
    radius = by_id[0][1]["distance"]
    within = httpx.post(f"{address}/v1/search", json={"ids": ["digits:7"], "radius": radius, "k": 100}).json()
    assert [hit["id"] for hit in within["hits"][0]] == [hit["id"] for hit in by_id[0][:2]]


def test_verify_says_what_the_model_says(address: str, digits_index: Path) -> None:
    model = Index.load(digits_index).model
    verdict = httpx.post(f"{address}/v1/verify", json={"a": item(0), "b_id": "digits:10"}).json()
    expected = model.verify(X[0], X[10])
    assert verdict["distance"] == pytest.approx(expected.distance, abs=1e-6)
    assert (verdict["alike"], verdict["threshold"]) == (expected.alike, 0.25)
    assert verdict["probability"] == pytest.approx(expected.probability, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("search", {}, 422, "exactly one of items, embeddings, ids"),
        ("search", {"items": [item(0)], "ids": ["x"]}, 422, "found 2"),
        ("search", {"ids": ["nobody"]}, 404, "isn't in the index"),
        ("search", {"items": [item(0)], "k": 0}, 422, "body.k"),
        ("search", {"items": [item(0)], "k": 2.5}, 422, "body.k"),
        ("search", {"items": [item(0)], "k": 100_000}, 422, "k must be at most 1000"),
        ("search", {"items": [item(0)], "where": "price <"}, 422, "at character 8"),
        ("search", {"items": [item(0)], "where": "cost = 1"}, 422, "no column"),
        ("search", {"items": [[1.0, 2.0]]}, 422, "shape (8, 8); found (2,)"),
        ("search", {"items": [[[1.0], [1.0, 2.0]]]}, 422, "different lengths"),
        ("search", {"items": [{"text": "seven"}]}, 422, "items[0] is a text"),
        ("search", {"items": [{"image": "!!!"}]}, 422, "base64"),
        ("search", {"items": [{"image": base64.b64encode(b"no picture").decode()}]}, 422, "known format"),
        ("search", {"items": [item(0)] * 257}, 422, "at most 256 items"),
        ("search", {"embeddings": [[0.0] * 16]}, 409, "another"),
        ("search", {"embeddings": [[0.0] * 16], "model": "0" * 64}, 409, "fingerprint"),
        ("search", {"items": [item(0)], "extra": 1}, 422, "extra"),
        ("search", {"items": [item(0)], "radius": "far"}, 422, "radius"),
        ("search", [], 422, "body"),
        ("embed", {"items": []}, 422, "items"),
        ("embed", {"items": "x"}, 422, "items"),
        ("verify", {"a": item(0)}, 422, "exactly one of b, b_id"),
        ("records", {"items": [item(0)], "ids": ["new"]}, 422, "for reading only"),
        ("nothing", {}, 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    address: str, path: str, body: object, status: int, told: str
) -> None:
    answer = httpx.post(f"{address}/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert told in error["message"]
    assert error["request"] == answer.headers["x-request-id"]
    assert "/home" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b'{"items": [[[NaN]]]}',
        b'{"items": [[[1e999]]]}',
        b'{"items": [[[' + b"9" * 5000 + b"]]]}",
        b"[" * 100_000,
        b'{"items": [{"image": "\\ud800"}]}',
        b'{"where": "\\ud800 = 1", "ids": ["\\udfff"]}',
        json.dumps({"items": [[[1e300] * 8] * 8]}).encode(),
    ],
)
def test_a_body_that_is_no_request_is_400_or_422(address: str, content: bytes) -> None:
    answer = httpx.post(f"{address}/v1/search", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 404, 422), answer.text
    answer.json()["error"]["message"].encode("ascii")


def test_a_picture_that_is_a_zip_or_a_bomb_is_refused(address: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", b"x" * 1000)
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    for data, told in ((packed.getvalue(), "known format"), (bomb.getvalue(), "at most 16,000,000")):
        body = {"items": [{"image": base64.b64encode(data).decode()}]}
        answer = httpx.post(f"{address}/v1/embed", json=body)
        assert answer.status_code == 422
        assert told in answer.json()["error"]["message"]


def test_records_are_added_found_and_removed_and_survive(serving) -> None:
    url = serving(writable=True)
    body = {
        "items": [item(0), item(1)],
        "ids": ["new-0", "new-1"],
        "labels": ["zero", None],
        "metadata": [{"price": 3}, {}],
    }
    assert httpx.post(f"{url}/v1/records", json=body).status_code == 201
    again = httpx.post(f"{url}/v1/records", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "taken")
    listed = httpx.get(f"{url}/v1/records", params={"where": "id like 'new-%'"}).json()
    assert listed["total"] == 2
    assert listed["records"][0] == {"id": "new-0", "label": "zero", "row": 300, "metadata": {"price": 3}}
    # Another process would see it already.
    assert "new-0" in Index.load(serving.app.state.folder)
    assert httpx.delete(f"{url}/v1/records", params={"id": ["new-0", "nobody"]}).status_code == 404
    assert httpx.delete(f"{url}/v1/records", params={"id": ["new-0"]}).json() == {"removed": 1}
    assert httpx.get(f"{url}/v1/records", params={"id": "new-0"}).status_code == 404
    assert httpx.get(f"{url}/v1/records", params={"limit": 2, "offset": 299}).json()["total"] == 301


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


def test_limits_on_body_time_and_concurrency(serving) -> None:
    url = serving(limits=Limits(body_bytes=1000, seconds=0.5, concurrency=2))
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


def test_a_failure_of_ours_tells_no_trace_and_no_path(serving, caplog: pytest.LogCaptureFixture) -> None:
    url = serving()
    served = serving.app.state.served
    true, served.index = served.index, None
    answer = httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]})
    served.index = true
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"code", "message", "request"}
    assert "NoneType" not in answer.text and ".py" not in answer.text


def test_requests_that_wait_are_answered_together(serving) -> None:
    url = serving()
    served = serving.app.state.served
    entered, release, sizes = threading.Event(), threading.Event(), []
    true = served._hits

    def slow(index, question, vectors, k):
        sizes.append(len(vectors))
        entered.set()
        release.wait(10)
        return true(index, question, vectors, k)

    served._hits = slow
    answers: dict[int, list] = {}

    def ask(row: int) -> None:
        body = {"ids": [f"digits:{row}"], "k": 1 + row}
        answers[row] = httpx.post(f"{url}/v1/search", json=body).json()["hits"][0]

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(6)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    queue = serving.app.state.batcher._queue
    while queue.qsize() < 5:
        threading.Event().wait(0.005)
    release.set()
    for thread in threads:
        thread.join(10)
    assert sizes == [1, 5]
    assert all(len(hits) == 1 + row and hits[0]["id"] == f"digits:{row}" for row, hits in answers.items())


def test_one_wrong_question_does_not_spoil_the_batch_of_others(digits_index: Path) -> None:
    from likewise.serve.served import Embedding, Question, Served

    served = Served(Index.load(digits_index))
    asked = [["digits:1", "digits:3"], ["nobody"], ["digits:2", "digits:4", "digits:5"]]
    first, wrong, last = served.work(Question(), [Embedding(ids=ids, k=1) for ids in asked])
    assert isinstance(wrong, InputError)
    assert [[hit.id for hit in own] for own in first[0]] == [["digits:1"], ["digits:3"]]
    assert [[hit.id for hit in own] for own in last[0]] == [["digits:2"], ["digits:4"], ["digits:5"]]


def test_a_swap_is_one_step(serving, digits_index: Path) -> None:
    url = serving(writable=True)
    served = serving.app.state.served
    other = Index.load(digits_index)
    other.remove(["digits:0"])
    served.swap(lambda: other)
    assert httpx.get(f"{url}/ready").json()["records"] == 299
    with pytest.raises(InputError):
        served.swap(lambda: Index.load(digits_index / "nothing"))
    assert httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]}).status_code == 200
    refused = httpx.post(f"{url}/v1/records", json={"items": [item(0)], "ids": ["a"]})
    assert refused.status_code == 422  # the old one can't be written any more, and nothing pretends so


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


def test_metrics_and_headers(address: str) -> None:
    httpx.get(f"{address}/health")
    text = httpx.get(f"{address}/metrics").text
    assert 'likewise_requests_total{route="/health",status="200"}' in text
    assert "likewise_batch_items_bucket" in text
    httpx.get(f"{address}/no/such/../path")
    assert "no/such" not in httpx.get(f"{address}/metrics").text
    assert httpx.get(f"{address}/health").headers["x-content-type-options"] == "nosniff"


def test_the_client_speaks_all_of_it(serving, tmp_path: Path) -> None:
    url = serving(writable=True)
    Image.fromarray((X[5] * 255).round().astype(np.uint8)).save(tmp_path / "five.png")
    with lw.Client(url) as client:
        assert client.ready()["records"] == 300
        assert client.embed(X[:3]).shape == (3, 16)
        hits = client.search(tmp_path / "five.png", k=3)
        assert hits[0].id == "digits:5"
        assert hits == client.similar("digits:5", k=3) or hits[0].distance < 1e-4
        assert client.search(X[5], k=1, where="shop = 'B'")[0].metadata["shop"] == "B"
        model = client.ready()["model"]
        assert client.search_embeddings(client.embed(X[5:6]), k=1, model=model)[0][0].id == "digits:5"
        assert client.verify(X[0], X[0]).alike
        assert client.add(X[:2], ids=["a", "b"], labels=[1, "x"], metadata=[{"price": 1}, {}]) == 2
        assert client.records(where="label = 'x'")[0]["id"] == "b"
        assert client.remove(["a", "b"]) == 2
        for wrong in (lambda: client.similar("nobody"), lambda: client.search(X[0], k=0)):
            with pytest.raises(InputError, match="127"):
                wrong()
        with pytest.raises(InputError, match="finite"):
            client.search(X[0] * np.nan)
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ServerError, match="can't be reached"):
        nobody.ready()
    with pytest.raises(InputError, match="http"):
        Client("127.0.0.1:8000")
