"""Serving an index: an HTTP API, the explorer page, and a typed client.

The server needs ``likewise[serve]``; the client needs httpx alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Client": "likewise.serve.client",
    "Limits": "likewise.serve.limits",
    "create_app": "likewise.serve.app",
    "serve": "likewise.serve.run",
}

__all__ = ["Client", "Limits", "create_app", "serve"]

if TYPE_CHECKING:
    from likewise.serve.app import create_app
    from likewise.serve.client import Client
    from likewise.serve.limits import Limits
    from likewise.serve.run import serve


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'likewise.serve' has no attribute {name!r}")
