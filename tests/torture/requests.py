"""Malformed requests: each gets an answer of 4xx, or of 2xx where it happened to be right; never 5xx."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from torture.trial import Result, Trial, outcomes

_PATHS = ("/v1/search", "/v1/embed", "/v1/verify", "/v1/records", "/explorer/corrections")
_GETS = (
    "/v1/records",
    "/explorer/records",
    "/explorer/column",
    "/explorer/thumbnail",
    "/",
    "/ready",
    "/metrics",
)


@dataclass
class Requests:
    """What became of so many requests."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def bad(self) -> int:
        """5xx, and connections that ended without an answer."""
        return sum(count for outcome, count in self.outcomes.items() if outcome[0] not in "24")


def trials(*, short: bool) -> list[Trial]:
    """Requests to a server in a process of its own."""

    def run() -> Result:
        with server() as (address, item):
            found = run_requests(address, 500 if short else 10_000, item=item)
        for outcome, example in found.examples.items():
            if outcome[0] not in "24":
                print(f"  {outcome}: {example}")
        return Result(found.tried, outcomes(found.outcomes), found.bad)

    return [Trial("malformed requests", run)]


@contextmanager
def server() -> Iterator[tuple[str, list]]:
    """A server over digits that takes records, in a process of its own, and one item for it."""
    from likewise.data import load
    from likewise.distances import Cosine
    from likewise.encoders import Standardize, encoder_for
    from likewise.model import Calibration, Model
    from likewise.search import Index

    digits = load("digits").take(slice(0, 300))
    model = Model(
        encoder_for((8, 8), dimension=16),
        Cosine(),
        Standardize((8, 8)),
        Calibration(slope=8.0, offset=2.0, threshold=0.25, held_out="classes"),
    )
    with tempfile.TemporaryDirectory() as place:
        Index.build(model, digits, metadata={"price": list(range(300))}).save(Path(place, "index"))
        command = [sys.executable, "-m", "likewise", "serve", str(Path(place, "index"))]
        process = subprocess.Popen(
            [*command, "--port", "0", "--writable", "--data", "digits"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = next(word for word in process.stdout.readline().split() if word.startswith("http"))
            yield address, digits.X[0].tolist()
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


def _value(generator: random.Random, depth: int = 0) -> object:
    plain = [
        None, True, -1, 0, 3, 2**31, 2**63, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "x",
        "\ud800",
        "digits:1", "a" * 5000, "\0", "price <", "price < 5", [], {}, "A" * 40,
    ]  # fmt: skip
    if depth > 3 or generator.random() < 0.6:
        return generator.choice(plain)
    if generator.random() < 0.5:
        return [_value(generator, depth + 1) for _ in range(generator.randrange(5))]
    return {
        str(_value(generator, 9))[:20]: _value(generator, depth + 1) for _ in range(generator.randrange(4))
    }


def _body(generator: random.Random, item: list) -> bytes:
    good = {
        "items": [item],
        "ids": ["digits:1"],
        "k": 3,
        "where": "price < 5",
        "a": item,
        "b_id": "digits:2",
        "model": "0" * 64,
        "embeddings": [[0.5] * 16],
        "radius": 0.5,
        "rerank": True,
        "expand": 2,
        "labels": ["x"],
        "metadata": [{"price": 1}],
        "id": "digits:1",
        "decision": "accept",
        "suggested": "3",
    }
    names = generator.sample(sorted(good), generator.randrange(0, 5))
    content: object = {name: good[name] for name in names}
    if generator.random() < 0.8 and isinstance(content, dict):
        content[generator.choice(sorted(good))] = _value(generator)
    if generator.random() < 0.1:
        content = _value(generator)
    try:
        data = json.dumps(content).encode()
    except ValueError:
        data = b"{"
    match generator.randrange(12):
        case 0:
            data = data[: generator.randrange(len(data) + 1)]
        case 1:
            place = generator.randrange(len(data) + 1)
            data = data[:place] + generator.randbytes(4) + data[place:]
        case 2:
            data = b"[" * generator.randrange(1, 50_000)
        case 3:
            data = b'{"k":' + b"9" * generator.randrange(1, 6000) + b"}"
        case 4:
            data = data.decode().encode("utf-16")
    return data


def run_requests(address: str, count: int, *, item: list, seed: int = 0) -> Requests:
    """Send so many requests to a server."""
    generator, found = random.Random(seed), Requests()
    host = urlsplit(address).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    for _ in range(count):
        found.tried += 1
        if generator.random() < 0.05:
            outcome, example = _raw(host, generator)
        else:
            method = generator.choice(
                ("POST",) * 8 + ("GET", "GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "BREW")
            )
            path, body, headers = generator.choice(_PATHS), _body(generator, item), {}
            if method in ("GET", "DELETE"):
                path, body = generator.choice(_GETS), b""
                names = generator.sample(
                    ("id", "where", "limit", "offset", "row", "name"), generator.randrange(4)
                )
                pairs = [
                    f"{name}={quote(str(_value(generator, 9)).encode('utf-8', 'replace'))}" for name in names
                ]
                path += "?" + "&".join(pairs)[:4000]
            if generator.random() < 0.9:
                headers["content-type"] = generator.choice(
                    ("application/json",) * 9 + ("text/plain", "\xff", "multipart/form-data")
                )
            if generator.random() < 0.1:
                headers[generator.choice(("authorization", "accept", "x", "cookie"))] = (
                    "\xff" * generator.randrange(1, 500)
                )
            example = f"{method} {path[:60]} {body[:80]!r}"
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
                outcome = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                outcome = f"dropped: {type(error).__name__}"
                connection.close()
                connection = http.client.HTTPConnection(host, timeout=30)
        found.outcomes[outcome] += 1
        found.examples.setdefault(outcome, example)
    connection.close()
    return found


def _raw(host: str, generator: random.Random) -> tuple[str, str]:
    """Bytes that aren't HTTP, or nearly; the answer's status."""
    name, _, port = host.partition(":")
    lines = generator.choice(
        [
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x00\x01\x02\r\n\r\n",
            b"POST /v1/search HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -5\r\n\r\n",
            b"POST /v1/search HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            b"POST /v1/search HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a: " + b"b" * 300_000,
            b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a: b\r\n" * 30_000,
            b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 20,
            b"GET /%00%ff HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            b"GET http://[ HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
            generator.randbytes(60).replace(b"\r", b"") + b"\r\n\r\n",
        ]
    )
    try:
        with socket.create_connection((name, int(port)), timeout=30) as sent:
            sent.sendall(lines)
            sent.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sent.recv(65536):
                answer += part
    except OSError as error:
        return f"dropped: {type(error).__name__}", repr(lines[:60])
    if not answer.startswith(b"HTTP/1.1 "):
        return "dropped: no answer", repr(lines[:60])
    return answer[9:12].decode(), repr(lines[:60])
