"""Data never runs code: what could unpickle is banned from the package, whatever it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "likewise"
BANNED_MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
BANNED_CALLS = {"torch.load", "torch.save", "joblib.load", "numpy.load(allow_pickle)", "eval", "exec"}


def banned_uses(source: str) -> Iterator[str]:
    """Every banned import and call in a source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (
                f"{node.lineno}: import {alias.name}"
                for alias in node.names
                if alias.name.split(".")[0] in BANNED_MODULES
            )
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            names = {f"{origin}.{alias.name}" for alias in node.names}
            if origin.split(".")[0] in BANNED_MODULES or names & BANNED_CALLS:
                yield f"{node.lineno}: from {origin}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in BANNED_CALLS:
                yield f"{node.lineno}: {called}"
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield f"{node.lineno}: allow_pickle"


def test_the_package_uses_none_of_it() -> None:
    found = [
        f"{path.name}:{use}" for path in PACKAGE.rglob("*.py") for use in banned_uses(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "import numpy\nflag = 1\nnumpy.load('x', allow_pickle=flag)",
        "eval('1')",
    ],
)
def test_each_of_it_is_seen(source: str) -> None:
    assert len(list(banned_uses(source))) == 1
