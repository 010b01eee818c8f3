"""The examples run as written, and print what they promise."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'"(\w+)(?:\.py)?"\)', Path(__file__).read_text("utf-8")))
    assert sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in tested) == []


def test_the_plain_loop_beats_raw_pixels_on_unseen_items(capsys: pytest.CaptureFixture[str]) -> None:
    example("plain_loop").main()
    learned, raw = re.findall(r"map@r +learned ([\d.]+) +raw pixels ([\d.]+)", capsys.readouterr().out)[0]
    assert float(learned) > float(raw)


def test_a_loss_of_ones_own_is_the_exact_one(capsys: pytest.CaptureFixture[str]) -> None:
    example("own_loss").main()
    values = re.findall(r"value ([\d.]+) +length of the gradient ([\d.]+)", capsys.readouterr().out)
    assert len(values) == 2
    assert np.asarray(values[0], float) == pytest.approx(np.asarray(values[1], float), rel=1e-8)


def test_the_pipeline_is_searched_and_beats_no_learning(capsys: pytest.CaptureFixture[str]) -> None:
    example("scikit_learn").main()
    out = capsys.readouterr().out
    learned, plain = re.findall(r"other half: ([\d.]+)\nwithout learning: ([\d.]+)", out)[0]
    assert float(learned) >= float(plain) > 0.8


def test_a_folder_becomes_a_run_and_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    for name in "abcdef":
        (tmp_path / "photos" / name).mkdir(parents=True)
        base = generator.integers(0, 256, (8, 8))
        for number in range(6):
            pixels = np.clip(base + generator.normal(0, 20, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    example("folder_to_search").main("photos", "photos/c/3.png")
    first = capsys.readouterr().out.splitlines()[-4].split()
    assert first[0].endswith("c/3.png") and first[1] == "c" and float(first[2]) == pytest.approx(0, abs=1e-3)
    assert (tmp_path / "run" / "model.json").is_file() and (tmp_path / "run-index").is_dir()


def test_two_processes_say_the_same_number() -> None:
    script = str(FOLDER / "two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    lines: list[str] = []
    said: dict[str, str] = {}
    with subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as processes:
        # What they print is tested, and not how a process group ends on a busy machine.
        guard = threading.Timer(240, os.killpg, (processes.pid, signal.SIGKILL))
        guard.start()
        assert processes.stdout is not None
        for line in processes.stdout:
            lines.append(line)
            said.update(re.findall(r"process (\d): loss ([\d.]+)", line))
            if len(said) == 2:
                break
        guard.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(processes.pid, signal.SIGKILL)
    assert set(said) == {"0", "1"} and said["0"] == said["1"], "".join(lines)
