"""A training that was broken off goes on to the same bits, wherever it was broken off."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from likewise import artifacts
from likewise.api import train
from likewise.errors import ArtifactError, DataError, InputError
from likewise.model import Model
from likewise.training import Learner, NotFiniteError, RunFolder

PROGRAM = Path(__file__).with_name("breaking.py")


@pytest.fixture(scope="module")
def breaking() -> ModuleType:
    spec = importlib.util.spec_from_file_location("breaking", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def unbroken(breaking: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The run that nothing broke off."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    breaking.run(str(folder))
    assert not (folder / "checkpoint").exists()
    found = breaking.content(folder)
    assert len(found["lines"]) > 3
    return found


class Stop(Exception):
    """Breaks a training off in this process."""


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    step, done = Learner.step, []

    def counted(self: Learner, factor: float) -> None:
        if len(done) == count:
            raise Stop
        step(self, factor)
        done.append(factor)

    monkeypatch.setattr(Learner, "step", counted)


@pytest.mark.parametrize("steps", [0, 1, 4, 9, 11])
def test_any_step_of_both_passes_goes_on_to_the_same_bits(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path, steps: int
) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(Stop):
            breaking.run(str(folder))
    assert not (folder / "model.json").exists()
    np.random.seed(99)  # noqa: NPY002 - whatever the new process drew before must not matter
    breaking.run(str(folder))
    assert breaking.content(folder) == unbroken


def test_broken_off_again_and_again(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for _ in range(30):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, 3)
            try:
                breaking.run(str(folder))
            except Stop:
                continue
            break
    assert breaking.content(folder) == unbroken


def test_a_checkpoint_that_lies_back_a_few_steps(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done since the last checkpoint, lines of epochs among it, is done again and not twice."""
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        due = iter([False, True] + [False] * 50)
        patch.setattr(RunFolder, "due", lambda self: next(due))
        stop_after(patch, 9)
        with pytest.raises(Stop):
            breaking.run(str(folder), checkpoint_seconds=3600.0)
    assert (folder / "metrics.jsonl").read_text().count("\n") >= 2
    counts: list[int] = []
    breaking.run(
        str(folder),
        callbacks=[lambda _: counts.append((folder / "metrics.jsonl").read_text().count("\n"))],
    )
    assert counts == list(range(counts[0], len(unbroken["lines"])))  # each line once, while it runs too
    assert breaking.content(folder)["lines"] == unbroken["lines"]
    assert breaking.content(folder)["arrays"] == unbroken["arrays"]


def test_ctrl_c_saves_and_stops(breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        step, done = Learner.step, []

        def interrupted(self: Learner, factor: float) -> None:
            step(self, factor)
            done.append(factor)
            if len(done) == 5:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(Learner, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            breaking.run(str(folder), checkpoint_seconds=3600.0)
    assert len(done) == 5  # the step was finished, and no other begun
    assert signal.getsignal(signal.SIGINT) is before
    steps_done = RunFolder(folder).load().facts["at"]
    assert steps_done["epoch"] * 3 + steps_done["batch"] == 5
    breaking.run(str(folder))
    assert breaking.content(folder)["arrays"] == unbroken["arrays"]


def killed(folder: Path, point: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, PROGRAM, folder, point],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_killed_process_goes_on_in_another(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed(folder, "step:7")
    breaking.run(str(folder))
    assert breaking.content(folder) == unbroken


class Killed(Exception):
    """Stands for SIGKILL inside this process: nothing after it runs but what the test undoes."""


@pytest.mark.parametrize("number", [1, 2, 6])
@pytest.mark.parametrize("place", ["before", "files", "halves", "exchange", "exchanged", "synced"])
def test_killed_inside_a_save_leaves_one_checkpoint_whole(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path, place: str, number: int
) -> None:
    folder = tmp_path / "run"
    with failpoint(breaking, number, place), pytest.raises(Killed):
        breaking.run(str(folder))
    if (folder / "checkpoint" / "state").exists():
        RunFolder(folder).load()  # every byte is verified
    else:
        assert number == 1
    breaking.run(str(folder))
    assert breaking.content(folder) == unbroken
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def failpoint(breaking: ModuleType, number: int, place: str) -> Iterator[None]:
    """Like a kill at that place: cleaning up after an error doesn't happen either."""
    from contextlib import contextmanager

    @contextmanager
    def held() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("_write_file", "_replace_folder", "sync_folder"):
                patch.setattr(artifacts, name, getattr(artifacts, name))
            patch.setattr(RunFolder, "save", RunFolder.save)

            def raise_killed() -> None:
                patch.setattr(artifacts.shutil, "rmtree", lambda *_, **__: None)
                raise Killed

            patch.setattr(breaking, "die", raise_killed)
            breaking.die_in_save(number, place)
            yield

    return held()


@pytest.mark.parametrize("point", ["save:5:exchange"])
def test_a_real_kill_inside_a_save(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path, point: str
) -> None:
    folder = tmp_path / "run"
    killed(folder, point)
    breaking.run(str(folder))
    assert breaking.content(folder) == unbroken


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(
    breaking: ModuleType, unbroken: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        write, written = artifacts._write_file, []

        def full(target: Path, data: bytes) -> None:
            written.append(target)
            if len(written) > 7:
                target.write_bytes(data[:10])
                raise OSError(28, "No space left on device")
            write(target, data)

        patch.setattr(artifacts, "_write_file", full)
        with pytest.raises(ArtifactError, match="No space left on device") as error:
            breaking.run(str(folder))
    assert "\n" not in str(error.value)
    assert [entry.name for entry in (folder / "checkpoint").iterdir()] == ["state"]
    breaking.run(str(folder))
    assert breaking.content(folder) == unbroken


def test_lines_that_cannot_be_written_are_one_line_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: can't be written .*--resume"):
        folder.append({"epoch": 1})


def broken_off(breaking: ModuleType, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Stop):
            breaking.run(str(folder))


def test_an_unfinished_training_is_not_overwritten_by_mistake(breaking: ModuleType, tmp_path: Path) -> None:
    broken_off(breaking, tmp_path / "run")
    before = RunFolder(tmp_path / "run").load().facts
    with pytest.raises(InputError, match=r"isn't finished; go on with it .*--resume"):
        breaking.run(str(tmp_path / "run"), resume=False)
    assert RunFolder(tmp_path / "run").load().facts == before


def test_a_resumed_run_keeps_its_settings_data_and_modules(breaking: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    broken_off(breaking, folder)
    with pytest.raises(InputError, match=r"epochs must be 3, as when the run .* found 4"):
        breaking.run(str(folder), epochs=4)
    X, y = breaking.data()
    with pytest.raises(DataError, match="the data isn't what the run"):
        train((X + 1, y), encoder=breaking.Net(), out=folder, resume=True)
    with pytest.raises(ArtifactError, match="isn't of this encoder, loss"):
        train((X, y), out=folder, resume=True, encoder=breaking.Net())


def test_a_changed_byte_of_a_checkpoint_is_found(breaking: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    broken_off(breaking, folder)
    place = folder / "checkpoint" / "state" / "state.safetensors"
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"state\.safetensors: the file was changed or damaged"):
        breaking.run(str(folder))


def test_a_finished_run_stays_whole_while_another_is_trained_over_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = train("iris", epochs=1, out=folder)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Stop):
            train("iris", epochs=2, out=folder, checkpoint_seconds=0.0)
    assert Model.load(folder).fingerprint == first.fingerprint
    train("iris", epochs=2, out=folder, resume=True)
    assert Model.load(folder).fingerprint == train("iris", epochs=2).fingerprint != first.fingerprint


def test_resume_without_anything_to_go_on_from_begins(tmp_path: Path) -> None:
    model = train("iris", epochs=1, out=tmp_path / "run", resume=True)
    assert model.fingerprint == train("iris", epochs=1).fingerprint
    with pytest.raises(InputError, match="resume needs out="):
        train("iris", epochs=1, resume=True)


def test_a_loss_that_is_not_finite_leaves_the_rows_of_its_batch(tmp_path: Path) -> None:
    with pytest.raises(NotFiniteError, match=r"in epoch 1, batch 2 \(its rows are in .*failed-batch\.json\)"):
        train("iris", out=tmp_path / "run", epochs=3, learning_rate=1e30, warm_up=0.0)
    held = json.loads((tmp_path / "run" / "failed-batch.json").read_text())
    assert (held["epoch"], held["batch"]) == (1, 2)
    assert held["rows"] and all(name.startswith("iris") for name in held["ids"])
    assert len(held["ids"]) == len(held["rows"])
