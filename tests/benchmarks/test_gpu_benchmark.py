"""The benchmark of the kernels in Triton refuses a machine without a GPU in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(
        [sys.executable, str(script)], env=hidden, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.splitlines() == ["benchmarks/gpu.py: expected a GPU that PyTorch can use; found none"]
