"""Kernels in C, for what takes PyTorch many passes over a tile; built once by the C compiler at hand.

The sources go with the package. The first time that a kernel is wanted it is compiled for this processor
(some seconds) into the user's cache, ``$XDG_CACHE_HOME/likewise`` or ``~/.cache/likewise``. Without a
compiler, without a cache that is the user's own, or with ``LIKEWISE_COMPILED=0`` in the environment, PyTorch
does the same work more slowly: every kernel has its PyTorch form, and the tests hold them equal.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["at", "function", "library", "name_of", "shape", "state", "takes", "threads", "whole"]

_KERNELS = (
    "bins", "both", "choices", "chunks", "exponentials", "gaps", "grades", "groups", "hinges", "pairs",
    "shorts", "sigmoids", "small", "softmax", "symmetric",
)  # fmt: skip
_SOURCES = tuple(Path(__file__).with_name(f"{name}.c") for name in _KERNELS)
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC", "-pthread")
_SECONDS = 60
_TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float, "d": ctypes.c_double}
_log = logging.getLogger(__name__)


def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none."""
    return _found()[0]


def state() -> str:
    """Whether the kernels are there, and if not why, in a few words."""
    return _found()[1]


@functools.cache
def _found() -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get("LIKEWISE_COMPILED", "1") == "0":
        return None, "turned off by LIKEWISE_COMPILED=0"
    try:
        built = _built()
        return ctypes.CDLL(str(built)), f"compiled, in {built.parent}"
    except (OSError, subprocess.SubprocessError) as problem:
        _log.info("no compiled kernels, PyTorch does their work: %s", problem)
        return None, f"none, PyTorch does their work ({problem})"


@functools.cache
def function(name: str, arguments: str, result: str = "") -> Callable[..., Any]:
    """A kernel that takes plain numbers and, for arrays, where they lie: the fastest way to call one often.

    arguments, result : a letter each, "p" for an array or None, "i" for a whole number, "f" for a float, "d"
        for a double; no result by default.
    """
    library = _found()[0]
    assert library is not None
    found: Callable[..., Any] = library[name]  # not an attribute, whose argument types others would share
    found.argtypes = [_TYPES[letter] for letter in arguments]  # type: ignore[attr-defined]
    found.restype = _TYPES[result] if result else None  # type: ignore[attr-defined]
    return found


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels can read these tensors as they lie, all of one dtype."""
    dtype = tensors[0].dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        return False
    for tensor in tensors:  # a loop, as a generator costs several times as much and this is asked often
        if tensor.dtype is not dtype or not tensor.is_cpu or not tensor.is_contiguous():
            return False
    return True


def at(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a tensor lies, as an argument."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def whole(number: int) -> ctypes.c_int64:
    """A whole number as an argument."""
    return ctypes.c_int64(number)


def name_of(tensor: Tensor) -> str:
    """The ending of the kernels for its dtype."""
    return "float" if tensor.dtype == torch.float32 else "double"


def shape(tile: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    """Rows and columns as arguments."""
    return whole(tile.shape[0]), whole(tile.shape[1])


def threads() -> ctypes.c_int64:
    """How many threads share the rows, as an argument."""
    return whole(torch.get_num_threads())


def _built() -> Path:
    """The library for these sources, these flags and this processor; compiled if it isn't there."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler found: neither $CC nor cc, gcc or clang")
    sources = [path.read_bytes() for path in (*_SOURCES, *sorted(_SOURCES[0].parent.glob("*.h")))]
    parts = (*sources, " ".join((compiler, *_FLAGS)).encode(), _processor())
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    folder = _own_folder()
    built = folder / f"kernels-{name}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / built.name
            subprocess.run(
                [compiler, *_FLAGS, "-o", str(made), *map(str, _SOURCES), "-lm"],
                check=True, capture_output=True, timeout=_SECONDS,
            )  # fmt: skip
            made.replace(built)  # in one step: another process may build the same
    return built


def _own_folder() -> Path:
    """The cache, refused where others could put a library of theirs."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "likewise"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise PermissionError(f"{folder} can be written to by others")
    return folder


def _processor() -> bytes:
    """What a library compiled for this very processor may depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    names = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(names)}))
