"""likewise: metric learning. Learn a distance under which things of one kind lie close together.

Names are imported when they are first used, so that ``import likewise`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

_MODULES = ("distances", "errors", "evaluation", "losses", "mining", "relations")
_NAMES = {
    "Client": "likewise.serve.client",
    "Index": "likewise.search",
    "Model": "likewise.model",
    "evaluate": "likewise.api",
    "train": "likewise.api",
}

__all__ = sorted([*_MODULES, *_NAMES])

if TYPE_CHECKING:
    from likewise import distances, errors, evaluation, losses, mining, relations  # noqa: F401
    from likewise.api import evaluate, train  # noqa: F401
    from likewise.model import Model  # noqa: F401
    from likewise.search import Index  # noqa: F401
    from likewise.serve.client import Client  # noqa: F401


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"likewise.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'likewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
