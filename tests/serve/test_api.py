"""The API answers what the library answers, and says in 4xx what is wrong."""

from __future__ import annotations

import base64
import io
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


def test_several_items_or_ids_together_are_one_query(address: str, digits_index: Path) -> None:
    index = Index.load(digits_index)
    expected = [hit.id for hit in index.search_embeddings(index.embeddings[[1, 2, 3]], 5, together=True)[0]]
    for given in ({"items": [item(1), item(2), item(3)]}, {"ids": ["digits:1", "digits:2", "digits:3"]}):
        answer = httpx.post(f"{address}/v1/search", json={**given, "k": 5, "together": True}).json()
        assert [[hit["id"] for hit in hits] for hits in answer["hits"]] == [expected]
    with lw.Client(address) as client:
        assert [hit.id for hit in client.search(X[1:4], 5, together=True)] == expected
        one = {"embeddings": [[1.0] * 16, [-1.0] * 16], "model": client.ready()["model"], "together": True}
    refused = httpx.post(f"{address}/v1/search", json=one)
    assert refused.status_code == 422
    assert "cancel each other out" in refused.json()["error"]["message"]


def test_verify_says_what_the_model_says(address: str, digits_index: Path) -> None:
    model = Index.load(digits_index).model
    verdict = httpx.post(f"{address}/v1/verify", json={"a": item(0), "b_id": "digits:10"}).json()
    expected = model.verify(X[0], X[10])
    assert verdict["distance"] == pytest.approx(expected.distance, abs=1e-6)
    assert (verdict["alike"], verdict["threshold"]) == (expected.alike, 0.25)
    assert verdict["probability"] == pytest.approx(expected.probability, abs=1e-5)


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


def test_a_failure_of_ours_tells_no_trace_and_no_path(serving, caplog: pytest.LogCaptureFixture) -> None:
    url = serving()
    served = serving.app.state.served
    true, served.index = served.index, None
    answer = httpx.post(f"{url}/v1/search", json={"ids": ["digits:1"]})
    served.index = true
    assert answer.status_code == 500
    assert set(answer.json()["error"]) == {"code", "message", "request"}
    assert "NoneType" not in answer.text and ".py" not in answer.text


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
