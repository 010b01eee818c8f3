"""What every benchmark shares: honest ratios within one run, and how they are written down.

A figure is a ratio: to the design's floor, to a peer, to a plain PyTorch version, all measured in the
same process, in turn, best of nine. Absolute times stand beside it to be read with the machine's name.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Work = Callable[[], object]


def best_of(
    works: Mapping[str, Work],
    *,
    repeats: int = 9,
    seconds: float = 20.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The best time of each work, taken in turn so that a busy moment hits all alike.

    A first round warms up. Rounds of all works follow up to ``repeats`` times, until ``seconds`` are spent;
    where the first round alone takes longer than that, it counts. ``clock=time.process_time`` counts the
    seconds of the processor instead of those that pass, which a busy machine disturbs less.
    """
    best = dict.fromkeys(works, float("inf"))
    begin = time.perf_counter()
    for _ in range(repeats + 1):
        for name, work in works.items():
            start = clock()
            work()
            best[name] = min(best[name], clock() - start)
        if time.perf_counter() - begin > seconds:
            break
    return best


def peak_megabytes(script: Path, arguments: Sequence[str]) -> float | None:
    """Peak memory of a child process beyond its start, as it says itself; None if it fails."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    lines = done.stdout.strip().splitlines()
    return float(lines[-1]) if done.returncode == 0 and lines else None


def own_peak_megabytes(work: Work) -> float:
    """Peak memory of this process during a work, beyond what it held before.

    Where the system can forget earlier peaks (Linux), it does so first. Elsewhere a peak from before the
    work, or that of the parent process, hides as much of the work's.
    """
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    before = _kilobytes("VmRSS")
    work()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))


def environment() -> dict[str, Any]:
    """What a figure depends on: versions, commit, machine, threads."""
    packages = {}
    for name in ("torch", "numpy", "scikit-learn", "faiss-cpu", "pytorch-metric-learning"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "-"
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "python": platform.python_version(),
        "packages": packages,
        "commit": commit,
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "command": _command(),
    }


def _command() -> str:
    """The command line, without where its results went and where things lie on this machine."""
    words = ["python", *sys.argv]
    for option in ("--out", "--json", "--page", "--oml"):
        if option in words:
            place = words.index(option)
            del words[place : place + 2]
    return shlex.join(words)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as JSON lines, the environment first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(row) for row in [environment(), *rows])
    path.write_text(text + "\n", encoding="utf-8")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a Markdown table; numbers to three figures or whole, what is missing as "-"."""

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, float):
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        return str(value)

    lines = ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def told(environment_: Mapping[str, Any]) -> str:
    """The environment as a sentence for a page."""
    packages = ", ".join(f"{name} {number}" for name, number in environment_["packages"].items())
    return (
        f"Written by `{environment_['command']}` at commit `{environment_['commit']}` "
        f"on {environment_['machine']}; "
        f"Python {environment_['python']}, {packages}."
    )
