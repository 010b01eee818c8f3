"""A wrong request gets one line and exit status 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise import artifacts

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


def pictures(folder: Path, *, per_class: int = 3) -> Path:
    """A folder of two class folders."""
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.random.default_rng(number).integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def zero_bytes(folder: Path) -> str:
    (folder / "cat" / "1.png").write_bytes(b"")
    return "cat/1.png: the image is empty (0 bytes)"


def cut_short(folder: Path) -> str:
    whole = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(whole[:-20])
    return "cat/1.png: the image is cut short"


def bomb(folder: Path) -> str:
    data = bytearray((folder / "cat" / "1.png").read_bytes())
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (folder / "cat" / "1.png").write_bytes(bytes(data))
    return "cat/1.png: the image claims"


def link_out(folder: Path) -> str:
    (folder.parent / "outside.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "cat" / "1.png").unlink()
    (folder / "cat" / "1.png").symlink_to(folder.parent / "outside.png")
    return "cat/1.png: the link leads out of"


def once(folder: Path) -> str:
    (folder / "cow").mkdir()
    (folder / "cat" / "1.png").rename(folder / "cow" / "1.png")
    return "two items"


def empty(folder: Path) -> str:
    shutil.rmtree(folder / "cat")
    shutil.rmtree(folder / "dog")
    return "there is no image in this folder"


BAD_PICTURES = {made.__name__: made for made in (zero_bytes, cut_short, bomb, link_out, once, empty)}


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_a_bad_folder_of_images_is_refused_before_anything_is_written(likewise, tmp_path, case: str) -> None:
    folder = pictures(tmp_path / "pictures")
    told = BAD_PICTURES[case](folder)
    before = sorted(tmp_path.iterdir())
    refused(likewise("train", folder, "-o", tmp_path / "run", "--epochs", 1), told)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("case", ["zero_bytes", "cut_short", "bomb", "link_out"])
def test_what_is_bad_can_be_left_out_and_is_counted(likewise, tmp_path, case: str) -> None:
    folder = pictures(tmp_path / "pictures", per_class=8)
    BAD_PICTURES[case](folder)
    said = likewise("train", folder, "-o", tmp_path / "run", "--epochs", 1, "--skip-bad")
    assert said.status == 0, said.err
    assert said.out.startswith("left out 1 item")


BAD_TABLES = {
    "a path that is not there": (
        "image,label\na.png,x\nb.png,y\n",
        "row 0: ",
        "a.png: there is no such file",
    ),
    "a column that is not there": ("size,lable\n1,x\n2,x\n3,y\n4,y\n", "no column 'label'", "lable"),
    "a label that occurs once": ("size,label\n1,x\n2,x\n3,y\n4,z\n5,z\n", "one item of y", "two items"),
    "a label that is missing": ("size,label\n1,x\n2,x\n3,\n4,y\n", "row 2", "label"),
    "pairs that contradict": ("left,right,same\na,b,1\nc,d,0\nb,a,0\n", "rows 0 and 2 contradict", ""),
    "infinity": ("size,label\n1,x\ninf,x\n3,y\n4,y\n", "row 1", "size"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_before_anything_is_written(likewise, tmp_path, case: str) -> None:
    text, *told = BAD_TABLES[case]
    (tmp_path / "table.csv").write_text(text)
    words = ["--label", "label"] if case.startswith("a column") else []
    refused(
        likewise("train", tmp_path / "table.csv", "-o", tmp_path / "run", "--epochs", 1, *words),
        "table.csv",
        *told,
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_mixed_types_name_the_column_and_the_row(likewise, tmp_path) -> None:
    lines = [{"size": 1, "label": "x"}, {"size": "two", "label": "x"}, {"size": [3], "label": "y"}]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused(likewise("train", tmp_path / "table.jsonl", "-o", tmp_path / "run"), "table.jsonl", "size")
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_leaves_no_run(likewise, things, tmp_path, monkeypatch) -> None:
    def full(target: Path, data: bytes) -> None:
        with open("/dev/full", "wb", buffering=0) as stream:
            stream.write(data)

    monkeypatch.setattr(artifacts, "_write_file", full)
    refused(likewise("train", things, "-o", tmp_path / "run", "--epochs", 1), "No space left on device")
    assert not (tmp_path / "run" / "model.json").exists()
    assert not list(tmp_path.rglob("*.partial"))


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
