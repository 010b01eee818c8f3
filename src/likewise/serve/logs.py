"""Structured logs: one JSON object a line on standard error, for programs to read.

Lines are gathered and written by a thread of their own a few times a second, so that a slow terminal or
disk keeps no request waiting; warnings and errors are written at once, and all is written at the end.
"""

from __future__ import annotations

import atexit
import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["LOGGER", "log", "log_to"]

LOGGER = logging.getLogger("likewise.serve")
_EVERY_SECONDS = 0.2


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)


class _Gathering(logging.Handler):
    """Writes lines to a stream from a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._lines, self._writing = stream, list[str](), threading.Lock()
        self._some = threading.Event()
        threading.Thread(target=self._write_on, name="likewise-log", daemon=True).start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; one of a warning or worse is written at once, with all before it."""
        self._lines.append(self.format(record) + "\n")
        if record.levelno >= logging.WARNING:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write what was kept."""
        with self._writing:
            self.acquire()  # what keeps lines holds this too
            lines, self._lines = self._lines, []
            self.release()
            try:
                self._stream.write("".join(lines))
                self._stream.flush()
            except (OSError, ValueError):  # whoever read the log has gone; the server has not
                pass

    def _write_on(self) -> None:
        while True:
            self._some.wait()
            threading.Event().wait(_EVERY_SECONDS)
            self._some.clear()
            self.flush()


def log_to(stream: TextIO | None = None, *, level: int = logging.INFO) -> logging.Handler:
    """Write the server's log, and uvicorn's, as JSON lines to a stream; standard error by default."""
    handler = _Gathering(stream or sys.stderr)
    handler.setFormatter(_JsonLines())
    for logger in (LOGGER, logging.getLogger("uvicorn"), logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    return handler


def log(event: str, *, level: int = logging.INFO, trace: bool = False, **told: Any) -> None:
    """One line: an event and what belongs to it."""
    if not LOGGER.isEnabledFor(level):
        return
    # As LOGGER.log does, but without looking for the line of code that called, which no line of ours tells.
    error = sys.exc_info() if trace else None
    LOGGER.handle(LOGGER.makeRecord(LOGGER.name, level, "", 0, event, (), error, extra={"told": told}))
