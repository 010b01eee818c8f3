"""Bodies that are no request are refused in one line, whatever is wrong with them."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import httpx
import pytest
from PIL import Image

from likewise.data import load

X = load("digits").X[:300]


def item(row: int) -> list:
    return X[row].tolist()


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


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("application/vnd.api+json", 200),
        ("text/plain", 422),
        ("application/x-www-form-urlencoded", 422),
        (None, 422),
    ],
)
def test_a_body_must_say_that_it_is_json(address: str, kind: str | None, status: int) -> None:
    """Else another site's page could send one without asking first."""
    headers = {} if kind is None else {"content-type": kind}
    answer = httpx.post(f"{address}/v1/search", content=b'{"ids": ["digits:7"]}', headers=headers)
    assert answer.status_code == status, answer.text


def test_labels_and_metadata_of_any_text_come_back(serving) -> None:
    """Also those that JSON writes unlike other text, and those that look like what it doesn't have."""
    url = serving(writable=True)
    told = ["NaN", "Infinity", "é\u2028\U0001f600", 'quoted "\\', "\x00\x7f"]
    body = {
        "items": [item(row) for row in range(len(told))],
        "ids": [f"odd:{row}" for row in range(len(told))],
        "labels": told,
        "metadata": [{"shop": text, "price": 0.1 + row} for row, text in enumerate(told)],
    }
    assert httpx.post(f"{url}/v1/records", json=body).status_code == 201
    for row, text in enumerate(told):
        found = httpx.post(
            f"{url}/v1/search", json={"ids": [f"odd:{row}"], "where": "id like 'odd:%'", "k": 1}
        )
        hit = found.json()["hits"][0][0]
        assert (hit["label"], hit["metadata"]) == (text, {"shop": text, "price": 0.1 + row})
