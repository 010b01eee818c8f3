"""Clients of a served index, each asking again as soon as it is answered; all in one process, on one thread.

    python benchmarks/search_clients.py HOST:PORT CLIENTS SECONDS DIMENSION

Requests are written as they were prepared, and of an answer no more is read than its status and its length,
so that little of the processor's time goes to the clients. What was measured is printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import numpy as np

_PREPARED = 50
_LENGTH = b"content-length: "


class Client(asyncio.Protocol):
    """One connection that is kept."""

    def __init__(self, requests: list[bytes], first: int, until: float) -> None:
        self.requests, self.next, self.until = requests, first, until
        self.seconds: list[float] = []
        self.wrong, self.got, self.begun = 0, b"", 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head[head.lower().index(_LENGTH) + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.seconds.append(now - self.begun)
        self.wrong += not head.startswith(b"HTTP/1.1 200 ") or length < 100 or len(body) > length
        self.got = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.wrong += time.perf_counter() < self.until or error is not None
        if not self.done.done():
            self.done.set_result(None)


def prepared(host: str, d: int) -> list[bytes]:
    """Whole requests, each with the item of one query."""
    queries = np.random.default_rng(0).normal(size=(_PREPARED, d)).astype(np.float32)
    bodies = [json.dumps({"items": [row.tolist()], "k": 10}).encode() for row in queries]
    head = f"POST /v1/search HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: "
    return [head.encode() + b"%d\r\n\r\n%s" % (len(body), body) for body in bodies]


async def ask(address: str, clients: int, seconds: float, d: int) -> dict[str, object]:
    """All clients for so many seconds."""
    host, _, port = address.partition(":")
    requests, loop, begin = prepared(host, d), asyncio.get_running_loop(), time.perf_counter()
    used, made = time.process_time(), []
    for number in range(clients):
        first = number * _PREPARED // clients
        _, client = await loop.create_connection(
            lambda first=first: Client(requests, first, begin + seconds),  # type: ignore[misc]
            host,
            int(port),
        )
        made.append(client)
    await asyncio.gather(*(client.done for client in made))
    return {
        "times": [one for client in made for one in client.seconds],
        "wrong": sum(client.wrong for client in made),
        "spent": time.perf_counter() - begin,
        "processor": time.process_time() - used,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))))
