"""The kernels in Triton: what ``interpreted_triton.py`` says of them, and that they compile for a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from likewise.losses import SupCon
from likewise.table import fused, value

HERE = Path(__file__).parent

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton isn't installed: the gpu extra brings it"
)

COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from likewise.table import triton_gradients, triton_hinges, triton_softmax

TYPES = {"codes": "*i32", "ids": "*i32", "marks": "*i8", "u": "*bf16", "v": "*bf16", "given": "*bf16"}
TYPES |= dict.fromkeys(("n", "m", "span", "many"), "i32") | dict.fromkeys(("rate", "margin", "reach"), "fp32")
CONSTANTS = {
    "IDS": True, "FORM": 1, "WIDTH": 32, "ROWS": 64, "COLUMNS": 64, "CHUNK": 32, "FEATURES": 32, "HALF": True,
    "PRECISION": "ieee", "RAISED": False, "POWER": 2, "OWN": True, "OTHER": True, "KIND": 0,
}

def kernel(function, **more):
    names = function.arg_names
    types = {
        name: "constexpr" if name.isupper() else TYPES.get(name, TYPES.get(name.split("_")[-1], "*fp32"))
        for name in names
    }
    constants = {name: number for name, number in (CONSTANTS | more).items() if name in names}
    made = triton.compile(ASTSource(function, types, constants), target=GPUTarget("cuda", 90, 32))
    print(function.__name__, len(made.asm["cubin"]), "wgmma" in made.asm["ptx"])

kernel(triton_softmax.log_sums)
kernel(triton_hinges.gap_sums)
kernel(triton_hinges.limit_sums)
kernel(triton_gradients.spread)
kernel(triton_gradients.spread_small, KIND=3)
"""


def child(*command: str, **environment: str) -> str:
    """The output of Python in a process of its own: Triton decides at import whether it interprets."""
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("PYTEST_")}
    finished = subprocess.run(
        [sys.executable, *command], env=inherited | environment, capture_output=True, text=True, timeout=900
    )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-6000:]
    return finished.stdout


@needs_triton
def test_kernels_through_the_interpreter() -> None:
    output = child(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        str(HERE / "interpreted_triton.py"),
        TRITON_INTERPRET="1",
        LIKEWISE_TRITON="1",
    )
    assert " passed" in output


@needs_triton
@pytest.mark.skipif(sys.platform != "linux", reason="Triton brings its compiler on Linux alone")
def test_kernels_compile_without_a_gpu(tmp_path: Path) -> None:
    """For compute capability 9.0, with products by its matrix units; the interpreter takes more than that."""
    script = tmp_path / "compiling.py"
    script.write_text(COMPILING)
    found = child(str(script), TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0").split()
    assert found[::3] == ["log_sums", "gap_sums", "limit_sums", "spread", "spread_small"]
    assert found[2::3] == ["True"] * 5
    assert all(int(size) > 1000 for size in found[1::3])


@pytest.mark.parametrize("asked", [True, False])
def test_they_are_used_where_they_were_asked_for_and_can_run(
    asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_TRITON", "1" if asked else "0")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fused._triton.cache_clear()
    try:
        assert fused.state() == (
            "none, PyTorch does their work (no GPU)" if asked else "not asked for (LIKEWISE_TRITON=1)"
        )
        monkeypatch.setattr(value, "fused_walk", lambda *_, **__: pytest.fail("nothing can run them"))
        SupCon()(torch.randn(8, 3), torch.arange(8) // 2)
    finally:
        fused._triton.cache_clear()
