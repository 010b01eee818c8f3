"""Folders of artifacts: whole or not at all, and no changed byte is accepted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from likewise import artifacts
from likewise.artifacts import check_output, read_folder, sha256, write_folder
from likewise.errors import ArtifactError

HOW = {"manifest": "card.json", "kind": "test-folder"}
FILES = {"numbers.bin": bytes(range(200)), "deep/inside.txt": b"hello"}


def write(path: Path, files: dict[str, bytes] | None = None, **content: object) -> None:
    write_folder(path, FILES if files is None else files, {"about": "a test", **content}, **HOW)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", numbers=[1, 2.5])
    content, files = read_folder(tmp_path / "a" / "b", **HOW)
    assert files == FILES
    assert (content["about"], content["numbers"]) == ("a test", [1, 2.5])
    assert content["files"]["numbers.bin"] == sha256(FILES["numbers.bin"])
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["b"]


def test_every_changed_byte_of_every_file_is_refused_and_the_file_named(tmp_path: Path) -> None:
    write(tmp_path / "run")
    generator = np.random.default_rng(0)
    for place in (path for path in (tmp_path / "run").rglob("*") if path.is_file()):
        whole = place.read_bytes()
        for position in generator.integers(len(whole), size=60):
            for flip in (1, 32, 255):
                changed = bytearray(whole)
                changed[position] ^= flip
                place.write_bytes(bytes(changed))
                with pytest.raises(ArtifactError, match=place.name):
                    read_folder(tmp_path / "run", **HOW)
        for other in (whole[:-1], whole + b" ", b""):
            place.write_bytes(other)
            with pytest.raises(ArtifactError, match=place.name):
                read_folder(tmp_path / "run", **HOW)
        place.write_bytes(whole)
    assert read_folder(tmp_path / "run", **HOW)[1] == FILES


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "run")
    (tmp_path / "run" / "deep" / "inside.txt").unlink()
    with pytest.raises(ArtifactError, match=r"inside\.txt.*missing"):
        read_folder(tmp_path / "run", **HOW)


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "run")
    outside = tmp_path / "outside.txt"
    outside.write_bytes(FILES["deep/inside.txt"])
    (tmp_path / "run" / "deep" / "inside.txt").unlink()
    (tmp_path / "run" / "deep" / "inside.txt").symlink_to(outside)
    with pytest.raises(ArtifactError, match="leads out"):
        read_folder(tmp_path / "run", **HOW)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "nul\0", "", "C:evil"])
def test_names_that_could_escape_are_refused_in_writing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="stay inside"):
        write(tmp_path / "run", {name: b"x"})
    assert not (tmp_path / "run").exists()


def test_names_that_could_escape_are_refused_in_reading_even_with_a_right_checksum(tmp_path: Path) -> None:
    write(tmp_path / "run")
    (tmp_path / "evil").write_bytes(b"x")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    card["files"]["../evil"] = sha256(b"x")
    card["manifest_sha256"] = "0" * 64
    text = json.dumps(card)
    signed = text.replace("0" * 64, sha256(text.encode()))
    (tmp_path / "run" / "card.json").write_text(signed)
    with pytest.raises(ArtifactError, match="stay inside"):
        read_folder(tmp_path / "run", **HOW)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": "other"}', "[" * 100_000, "\xff"])
def test_a_manifest_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path / "run")
    (tmp_path / "run" / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"card\.json"):
        read_folder(tmp_path / "run", **HOW)


def test_what_is_not_a_folder_of_ours_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, found in [
        ("nothing", "nothing there"),
        ("file", "a file"),
        ("empty", r"no card\.json"),
        ("a" * 300, "too long"),
    ]:
        with pytest.raises(ArtifactError, match=found):
            read_folder(tmp_path / name, **HOW)


def test_ours_is_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    write(tmp_path / "run")
    write(tmp_path / "run", {"other.bin": b"new"})
    assert read_folder(tmp_path / "run", **HOW)[1] == {"other.bin": b"new"}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["card.json", "other.bin", "run"]


def test_ours_is_replaced_also_where_folders_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_exchange", lambda *_: False)
    test_ours_is_replaced_and_nothing_is_left_beside(tmp_path)


def test_what_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    (tmp_path / "file").write_text("x")
    write(tmp_path / "run")
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    write(tmp_path / "deep")
    (tmp_path / "deep" / "deep" / "mine.txt").write_text("x")
    for name, found in [
        ("deep", r"mine\.txt"),
        ("photos", r"isn't ours.*cat\.png"),
        ("file", "found a file"),
        ("run", r"thesis\.tex"),
    ]:
        for attempt in (lambda path: check_output(path, **HOW), write):
            with pytest.raises(ArtifactError, match=found):
                attempt(tmp_path / name)
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "x"


def test_a_disk_that_refuses_leaves_the_old_folder_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "run")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write(tmp_path / "run", {"other.bin": b"new"})
    monkeypatch.undo()
    assert read_folder(tmp_path / "run", **HOW)[1] == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("step", ["fsync", "rename", "_replace_folder"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new_folder(
    tmp_path: Path, step: str, call: int
) -> None:
    write(tmp_path / "run")
    code = f"""
import os, signal
from likewise import artifacts
owner = artifacts if {step!r}.startswith("_") else os
true, calls = getattr(owner, {step!r}), [0]
def killed(*arguments, **options):
    calls[0] += 1
    if calls[0] == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return true(*arguments, **options)
setattr(owner, {step!r}, killed)
artifacts.write_folder({str(tmp_path / "run")!r}, {{"other.bin": b"new"}}, {{}}, **{HOW!r})
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert read_folder(tmp_path / "run", **HOW)[1] in (FILES, {"other.bin": b"new"})
