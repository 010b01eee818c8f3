"""Models for use elsewhere: as ONNX, as plain NumPy where they are linear, and by a name on a hub."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "NumpyModel": "likewise.export.plain",
    "OnnxReport": "likewise.export.onnx",
    "from_pretrained": "likewise.export.pretrained",
    "numpy_model": "likewise.export.linear",
    "save_pretrained": "likewise.export.pretrained",
    "to_onnx": "likewise.export.onnx",
}

__all__ = ["NumpyModel", "OnnxReport", "from_pretrained", "numpy_model", "save_pretrained", "to_onnx"]

if TYPE_CHECKING:
    from likewise.export.linear import numpy_model
    from likewise.export.onnx import OnnxReport, to_onnx
    from likewise.export.plain import NumpyModel
    from likewise.export.pretrained import from_pretrained, save_pretrained


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'likewise.export' has no attribute {name!r}")
