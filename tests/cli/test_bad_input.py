"""A wrong request gets one line and exit status 2, and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
Y = np.repeat(np.arange(3), 4)


def with_value(value: float) -> np.ndarray:
    bad = X.copy()
    bad[5, 2] = value
    return bad


BAD_DATA = {
    "one class only": ({"X": X, "y": np.zeros(12, dtype=int)}, "two classes"),
    "one item a class": ({"X": X, "y": np.arange(12)}, "two items"),
    "one item of one class": ({"X": X, "y": np.array([0] * 6 + [1] * 5 + [2])}, "two items"),
    "NaN": ({"X": with_value(np.nan), "y": Y}, "row 5"),
    "infinity": ({"X": with_value(-np.inf), "y": Y}, "row 5"),
    "labels with fractions": ({"X": X, "y": Y + 0.5}, "whole numbers or strings"),
    "labels of whole floats": ({"X": X, "y": Y.astype(float)}, "whole numbers or strings"),
    "labels that are complex": ({"X": X, "y": Y + 0j}, "whole numbers or strings"),
    "lengths that differ": ({"X": X, "y": Y[:-1]}, "(11,)"),
    "objects as labels": ({"X": X, "y": np.array(["a", 1, None] * 4, dtype=object)}, "Python objects"),
    "objects as items": ({"X": X.astype(object), "y": Y}, "Python objects"),
    "strings as items": ({"X": X.astype(str), "y": Y}, "numbers"),
    "no items to read": ({"y": Y}, "X"),
    "no items": ({"X": X[:0], "y": Y[:0]}, "(0, 4)"),
}


def refused(said, *told: object) -> None:
    """One line on standard error, none on standard output, and status 2."""
    assert said.status == 2, said
    assert said.out == ""
    assert said.err.startswith("likewise: ")
    assert said.err.rstrip("\n").isprintable()
    assert said.err.count("\n") == 1
    for part in told:
        assert str(part) in said.err


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_before_anything_is_written(likewise, tmp_path: Path, case: str) -> None:
    arrays, told = BAD_DATA[case]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    refused(likewise("train", path, "-o", tmp_path / "run", "--epochs", 1), "bad.npz", told)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.npz"]


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", b"PK\x03\x04" + bytes(40)], ids=["empty", "text", "cut"]
)
def test_a_file_that_is_no_npz(likewise, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    refused(likewise("train", tmp_path / "bad.npz", "-o", tmp_path / "run"), "bad.npz")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "index", "demo"])
def test_an_output_folder_that_is_not_ours(likewise, tmp_path, things, run_folder, command: str) -> None:
    theirs = tmp_path / "photos"
    theirs.mkdir()
    (theirs / "holiday.txt").write_text("dear")
    before = {"train": ("train", things), "index": ("index", run_folder, things), "demo": ("demo",)}[command]
    refused(likewise(*before, "-o", theirs), theirs, "holiday.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]
    assert (theirs / "holiday.txt").read_text() == "dear"


@pytest.mark.parametrize("command", ["train", "index", "demo"])
def test_an_output_that_is_a_file(likewise, tmp_path, things, run_folder, command: str) -> None:
    (tmp_path / "note").write_text("dear")
    before = {"train": ("train", things), "index": ("index", run_folder, things), "demo": ("demo",)}[command]
    refused(likewise(*before, "-o", tmp_path / "note"), "note", "a file")
    assert (tmp_path / "note").read_text() == "dear"


@pytest.mark.parametrize(
    "words", [("evaluate", "digits"), ("index", "digits", "-o", "x"), ("verify", "a:1", "a:2")]
)
def test_a_run_folder_that_is_not_one(likewise, tmp_path, words: tuple[str, ...]) -> None:
    command, *rest = words
    refused(likewise(command, tmp_path, *rest), tmp_path, "model.json")
    refused(likewise(command, tmp_path / "nothing", *rest), "nothing")


def test_an_index_folder_that_is_not_one(likewise, run_folder, tmp_path) -> None:
    refused(likewise("search", run_folder, "digits:1"), run_folder, "index.json")
    refused(likewise("search", tmp_path / "nothing", "digits:1"), "nothing")


def test_a_changed_byte_in_any_file_of_a_run(likewise, run_folder, things, tmp_path) -> None:
    names = sorted(path.name for path in run_folder.iterdir())
    assert "model.safetensors" in names
    for name in names:
        damaged = tmp_path / name
        shutil.copytree(run_folder, damaged)
        content = bytearray((damaged / name).read_bytes())
        content[len(content) // 2] ^= 1
        (damaged / name).write_bytes(content)
        refused(likewise("evaluate", damaged, things), name)


def test_a_changed_byte_in_any_file_of_an_index(likewise, index_folder, things, tmp_path) -> None:
    files = sorted(path.relative_to(index_folder) for path in index_folder.rglob("*") if path.is_file())
    for number, name in enumerate(files):
        damaged = tmp_path / str(number)
        shutil.copytree(index_folder, damaged)
        content = bytearray((damaged / name).read_bytes())
        content[len(content) // 2] ^= 1
        (damaged / name).write_bytes(content)
        refused(likewise("search", damaged, f"{things}:0"), name.name)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian", "digits"], "did you mean 'train'?"),
        (["zzz"], "one of demo, train"),
        (["train", "digits", "-o", "run", "--epoks", "3"], "did you mean '--epochs'?"),
        (["train", "digits", "-o", "run", "--epoch=3"], "did you mean '--epochs'?"),
        (["train", "digits", "-o", "run", "extra"], "one argument too many"),
        (["train", "digits", "-o", "run", "--epochs", "many"], "--epochs"),
        (["train", "digits", "-o", "run", "--epochs", "0"], "epochs must be at least 1"),
        (["train", "digits", "-o", "run", "--method", "supcn"], "did you mean supcon"),
        (["train", "digitz", "-o", "run"], "did you mean digits"),
        (["train", "missing.npz", "-o", "run"], "missing.npz"),
        (["train", "digits"], "-o/--out"),
        (["list", "los"], "did you mean 'losses'?"),
        (["evaluate", "run", "digits", "--task", "retreival"], "did you mean 'retrieval'?"),
        (["--nothing"], "--nothing"),
        (["train", "--help-me"], "--help"),
    ],
)
def test_wrong_words_get_the_nearest_right_one(likewise, tmp_path, monkeypatch, words, told) -> None:
    monkeypatch.chdir(tmp_path)
    refused(likewise(*words), told)
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_is_not_a_record(likewise, index_folder, things) -> None:
    refused(likewise("search", index_folder, "digits"), "SOURCE:ROW")
    refused(likewise("search", index_folder, f"{things}:48"), "48")
    refused(likewise("search", index_folder, "digits:1"), "shape")
    refused(likewise("search", index_folder, f"{things}:0", "-k", 0), "k must be")


def test_json_goes_nowhere_that_cannot_be_written(likewise, run_folder, things, tmp_path) -> None:
    said = likewise("evaluate", run_folder, things, "--json", tmp_path / "no" / "figures.json")
    assert said.status == 2
    assert said.err.splitlines()[-1].endswith("no such file or directory")


def test_a_message_cannot_drive_the_terminal(likewise) -> None:
    refused(likewise("train", "da\x1b[31mta\nset", "-o", "run"), "x1b[31m")


def broken(error: BaseException):
    def train(*_arguments: object, **_options: object) -> None:
        raise error

    return train


def test_a_failure_of_ours_is_one_line_and_status_1(likewise, monkeypatch) -> None:
    monkeypatch.setattr("likewise.api.train", broken(RuntimeError("first line\nsecond line")))
    said = likewise("train", "digits", "-o", "run")
    assert said.status == 1
    assert "first line second line" in said.err
    assert "--debug" in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("place", [["--debug", "train"], ["train", "--debug"]])
def test_debug_gives_the_traceback(likewise, monkeypatch, place) -> None:
    monkeypatch.setattr("likewise.api.train", broken(RuntimeError("ours")))
    with pytest.raises(RuntimeError, match="ours"):
        likewise(*place, "digits", "-o", "run")


def test_control_c_is_status_130(likewise, monkeypatch) -> None:
    monkeypatch.setattr("likewise.api.train", broken(KeyboardInterrupt()))
    said = likewise("train", "digits", "-o", "run")
    assert (said.status, said.err) == (130, "likewise: interrupted\n")
