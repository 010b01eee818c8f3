"""The gate before every route: limits, hosts, request numbers, figures, logs, and no trace in any answer.

Plain ASGI, so that a body is counted as it comes and never held beyond its limit.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from likewise.serve.limits import Limits
from likewise.serve.logs import log
from likewise.serve.metrics import Metrics

__all__ = ["Gate", "error_body"]

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_LONGEST_TARGET = 8_000


def error_body(code: str, message: str, request: str) -> bytes:
    """An error's JSON; nothing of the request is echoed but what the message says, in ASCII."""
    return json.dumps({"error": {"code": code, "message": message, "request": request}}).encode()


class Gate:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app : ASGI application
    limits : Limits
    metrics : Metrics
    hosts : set of str, optional
        Names by which the server may be called; any when not given. A web page elsewhere that has its
        own name point here (DNS rebinding) is refused by it.
    """

    def __init__(
        self,
        app: Callable[[_Scope, _Receive, _Send], Awaitable[None]],
        *,
        limits: Limits,
        metrics: Metrics,
        hosts: frozenset[str] | None = None,
    ) -> None:
        self._app, self._limits, self._metrics, self._hosts = app, limits, metrics, hosts
        self._running = 0
        # Numbers tell requests apart and keep nothing secret; asking the system for each would cost a call.
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count(1)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one connection's request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = f"{self._prefix}{next(self._numbers):08x}"
        scope.setdefault("state", {})["request"] = number
        begin = time.perf_counter()
        answer = _Answer(send, number)
        self._running += 1
        self._metrics.in_flight.set(self._running)
        try:
            await self._guarded(scope, receive, answer, number)
        finally:
            self._running -= 1
            self._metrics.in_flight.set(self._running)
            seconds = time.perf_counter() - begin
            route = scope.get("route")
            path = getattr(route, "path", None) or "other"  # never the path itself: it is the client's
            answered, times = self._metrics.route(path, answer.status)
            answered.inc()
            times.observe(seconds)
            log(
                "request",
                level=logging.WARNING if answer.status >= 500 else logging.INFO,
                request=number,
                method=scope["method"][:16],
                route=path,
                status=answer.status,
                milliseconds=round(1000 * seconds, 2),
            )

    async def _guarded(self, scope: _Scope, receive: _Receive, answer: _Answer, number: str) -> None:
        refused = self._refused(scope)
        if refused is not None:
            await answer.refuse(*refused)
            return
        limit = self._limits.body_bytes
        try:
            # The body is read here: what FastAPI reads itself ends as 400, whatever went wrong.
            try:
                async with asyncio.timeout(self._limits.seconds):
                    body = await _read(receive, limit)
            except TimeoutError:
                await answer.refuse(408, "late_body", "the body didn't come in time")
                return
            if body is None:
                await answer.refuse(413, "too_large", f"the body must be at most {limit:,} bytes")
                return
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, _Replay(body, receive), answer)
        except TimeoutError:
            seconds = self._limits.seconds
            await answer.refuse(503, "busy", f"no answer within {seconds:g} seconds; try later")
        except Exception:
            log("failure", level=logging.ERROR, trace=True, request=number)
            await answer.refuse(
                500, "failure", "the server failed; its log has more under this request's number"
            )

    def _refused(self, scope: _Scope) -> tuple[int, str, str] | None:
        """What is wrong with a request before its body is looked at."""
        if self._running > self._limits.concurrency and scope["path"] not in ("/health", "/metrics"):
            return 503, "busy", f"more than {self._limits.concurrency} requests at once; try later"
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > _LONGEST_TARGET:
            return 414, "too_long", f"the address must be at most {_LONGEST_TARGET} bytes"
        headers = dict(scope["headers"])
        if self._hosts is not None:
            host = _name(headers.get(b"host", b""))
            origin = headers.get(b"origin")
            if host not in self._hosts:
                return 403, "wrong_host", "this server answers to its own names only"
            if origin is not None and _name(origin.partition(b"://")[2]) not in self._hosts:
                return 403, "wrong_origin", "pages of other sites may not call this server"
        length = headers.get(b"content-length")
        if length is not None:
            if not length.isdigit() or len(length) > 18:
                return 400, "bad_length", "content-length must be a whole number"
            if int(length) > self._limits.body_bytes:
                return 413, "too_large", f"the body must be at most {self._limits.body_bytes:,} bytes"
        return None


async def _read(receive: _Receive, limit: int) -> bytes | None:
    """A whole body; None beyond the limit. One that breaks off is as long as it came."""
    parts, taken = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        taken += len(part)
        if taken > limit:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


class _Replay:
    """Gives a body that has been read to the application."""

    def __init__(self, body: bytes, receive: _Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._body is None:
            return await self._receive()  # waits for the client to go
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """Sends an answer, with headers for all, and remembers its status."""

    def __init__(self, send: _Send, number: str) -> None:
        self._send, self._number = send, number
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {name for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *(pair for pair in _HEADERS if pair[0] not in own),
                (b"x-request-id", self._number.encode()),
            ]
        await self._send(message)

    async def refuse(self, status: int, code: str, message: str) -> None:
        """An error, unless an answer has begun."""
        if self.status:
            return
        body = error_body(code, message, self._number)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _name(host: bytes) -> str:
    """The name in a Host header, without its port."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]
