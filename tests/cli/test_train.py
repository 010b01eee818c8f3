"""``likewise train``: settings by every road, its own config, resuming, and what it says."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import likewise as library
from likewise.cli.parser import build_parser, parse
from likewise.model import Model
from likewise.settings import TrainingSettings
from likewise.training import Learner


def figures(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: line[name] for name in line if name not in ("seconds", "items_per_second")} for line in lines
    ]


def test_python_the_command_line_and_the_help_have_the_same_names_and_defaults(likewise) -> None:
    settings = {one.name: one for one in fields(TrainingSettings)}
    signature = inspect.signature(library.train)
    for name, one in settings.items():
        assert name in signature.parameters
        if name not in ("encoder", "loss", "sampler", "augmentation", "data"):
            assert signature.parameters[name].default == one.default
    page = likewise("train", "--help").out
    for name, one in settings.items():
        if name != "data":
            assert re.search(rf"^  (--)?{name.replace('_', '[-_]')}\b", page, re.MULTILINE), name
            assert one.metadata["about"] in " ".join(page.split())
    assert all(len(line) <= 100 for line in page.splitlines())
    assert len(page.splitlines()) <= 65
    options = vars(parse(build_parser(), ["train", "x", "-o", "y"]))
    assert all(options[name] is None for name in ("method", "epochs", "seed", "label", "skip_bad", "config"))


def test_a_runs_own_config_trains_it_again_to_the_same_figures(likewise, things, tmp_path: Path) -> None:
    words = ["--method", "proxy-anchor", "--epochs", 3, "--seed", 4, "--set", "loss.alpha=16"]
    words += ["--set", "average=0.5", "--set", "memory=0", "--set", "items_per_class=3"]
    assert likewise("train", things, "-o", tmp_path / "first", *words).status == 0
    said = likewise("train", "--config", tmp_path / "first" / "config.toml", "-o", tmp_path / "again")
    assert said.status == 0
    first, again = (Model.load(tmp_path / name) for name in ("first", "again"))
    assert first.fingerprint == again.fingerprint
    assert first.calibration == again.calibration
    assert figures(tmp_path / "first") == figures(tmp_path / "again")
    config = (tmp_path / "first" / "config.toml").read_text()
    assert config == (tmp_path / "again" / "config.toml").read_text()
    held = tomllib.loads(config)
    assert (held["loss"], held["average"], held["items_per_class"]) == ({"alpha": 16}, 0.5, 3)


def test_images_by_the_default_method_train_again_too(likewise, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 6)
    np.savez(tmp_path / "images.npz", X=generator.random((5, 8, 8))[y] + generator.random((30, 8, 8)), y=y)
    words = ["--epochs", 1, "-o", tmp_path / "first"]
    assert likewise("train", tmp_path / "images.npz", *words).status == 0
    assert (
        likewise("train", "--config", tmp_path / "first" / "config.toml", "-o", tmp_path / "again").status
        == 0
    )
    assert tomllib.loads((tmp_path / "first" / "config.toml").read_text())["turned_classes"] is True
    first, again = (Model.load(tmp_path / name) for name in ("first", "again"))
    assert first.fingerprint == again.fingerprint


def test_the_command_line_goes_over_the_config(likewise, things, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('method = "triplet"\nepochs = 1\n[loss]\nmargin = 0.3\n')
    said = likewise(
        "train", things, "--config", tmp_path / "own.toml", "--method", "contrastive", "-o", tmp_path / "r"
    )
    assert said.status == 0
    held = tomllib.loads((tmp_path / "r" / "config.toml").read_text())
    assert (held["method"], held["epochs"], held["loss"]) == ("contrastive", 1, {"margin": 0.3})


def test_a_config_of_other_data_is_refused_unless_data_is_named(likewise, things, tmp_path: Path) -> None:
    data = tmp_path / "own.npz"
    data.write_bytes(things.read_bytes())
    assert likewise("train", data, "-o", tmp_path / "run", "--epochs", 1).status == 0
    with np.load(data) as held:
        X, y = held["X"], held["y"]
    np.savez(data, X=X + 1, y=y)
    again = ["train", "--config", tmp_path / "run" / "config.toml", "-o", tmp_path / "again"]
    said = likewise(*again)
    assert said.status == 2 and "the data isn't what the run" in said.err
    assert likewise(*again, data).status == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "epoch=3"], "there is no setting 'epoch'; did you mean epochs?"),
        (["--set", "learning_rate=fast"], "learning_rate must be a number, above 0; found 'fast'"),
        (["--set", "learning_rate"], "--set takes key=value"),
        (["--set", "loss.margn=1"], "SupCon has no such option"),
        (["--set", "schedule=linear"], "schedule must be one of cosine, constant"),
        (["--config", "nowhere.toml"], "nowhere.toml: can't be read"),
        (["--method", "suppcon"], "did you mean supcon?"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["--resum"], "did you mean '--resume'?"),
    ],
)
def test_a_wrong_setting_is_one_line_with_the_nearest(likewise, things, tmp_path, words, told) -> None:
    said = likewise("train", things, "-o", tmp_path / "run", *words)
    assert said.status == 2
    assert said.err.count("\n") == 1 and told in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_no_toml_names_the_line(likewise, things, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("epochs = 3\nmethod = supcon\n")
    said = likewise("train", things, "-o", tmp_path / "run", "--config", tmp_path / "bad.toml")
    assert said.status == 2 and "bad.toml: not TOML" in said.err and "line 2" in said.err


def test_interrupted_says_how_to_go_on_and_goes_on(likewise, things, tmp_path: Path, monkeypatch) -> None:
    import signal

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        step, done = Learner.step, []

        def interrupted(self: Learner, factor: float) -> None:
            step(self, factor)
            done.append(factor)
            if len(done) == 3:
                signal.raise_signal(signal.SIGINT)

        patch.setattr(Learner, "step", interrupted)
        said = likewise("train", things, "-o", run, "--epochs", 4)
    assert said.status == 130
    assert f"train -o {run} --resume" in said.err
    assert likewise("train", things, "-o", run, "--epochs", 4).status == 2
    said = likewise("train", "-o", run, "--resume")
    assert said.status == 0
    assert "best: epoch" in said.out and "on what was held back" in said.out
    assert likewise("train", things, "-o", tmp_path / "whole", "--epochs", 4).status == 0
    assert Model.load(run).fingerprint == Model.load(tmp_path / "whole").fingerprint


def test_without_data_something_must_say_it(likewise, tmp_path: Path) -> None:
    said = likewise("train", "-o", tmp_path / "run")
    assert said.status == 2 and "data must be given" in said.err


def test_metrics_are_appended_while_training_and_events_are_kept(likewise, things, tmp_path: Path) -> None:
    seen: list[int] = []
    run = tmp_path / "run"

    def look(_: object) -> None:
        place = run / "metrics.jsonl"
        seen.append(len(place.read_text().splitlines()) if place.exists() else 0)

    model = library.train(things, epochs=2, out=run, callbacks=[look])
    assert seen == list(range(len(model.history)))
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(model.history)
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    told = [scalar.value for scalar in events.Scalars("held-out/validation_map@r")]
    expected = [line["validation_map@r"] for line in model.history if line["stage"] == "held-out"]
    assert told == pytest.approx(expected, rel=1e-6)
    Model.load(run)  # what was added is part of the run, and verified
