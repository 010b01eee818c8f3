"""HTTP by httptools, which parses in C, with a limit on what comes before a body.

The parser itself keeps headers without end; whoever sends them could fill the memory.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedHttp"]

_MOST_BYTES = 64 * 1024
_LINGER_SECONDS = 1.0
_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s"
)


class BoundedHttp(HttpToolsProtocol):
    """One connection; a request whose line and headers are over 64 KiB gets 400, and the connection ends."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._in_head, self._heads, self._taken = True, 0, 0
        self._refused = False

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it where it is part of a head that hasn't ended."""
        if self._refused:
            return
        heads, in_head = self._heads, self._in_head
        super().data_received(data)
        if self._heads != heads or not in_head:
            self._taken = 0
            return
        self._taken += len(data)
        if self._taken > _MOST_BYTES and not self._refused:
            self.send_400_response("The request's line and headers are too long.")

    def send_400_response(self, msg: str) -> None:
        """Refuse, then pass over a second of what still comes: closing at once takes the answer back."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self.transport.write(_REFUSAL % (len(msg), msg.encode("ascii")))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._in_head, self._heads = False, self._heads + 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body has ended; another head may follow."""
        super().on_message_complete()
        self._in_head = True
