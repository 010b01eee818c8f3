"""Structured logs: one JSON object a line on standard error, for programs to read."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["LOGGER", "log", "log_to"]

LOGGER = logging.getLogger("likewise.serve")


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


def log_to(stream: TextIO | None = None, *, level: int = logging.INFO) -> logging.Handler:
    """Write the server's log, and uvicorn's, as JSON lines to a stream; standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonLines())
    for logger in (LOGGER, logging.getLogger("uvicorn"), logging.getLogger("uvicorn.error")):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    return handler


def log(event: str, *, level: int = logging.INFO, trace: bool = False, **told: Any) -> None:
    """One line: an event and what belongs to it."""
    LOGGER.log(level, event, extra={"told": told}, exc_info=trace)
