"""``likewise embed`` writes vectors whole or not at all, and names what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.errors import ArtifactError, InputError
from likewise.model import Model, write_vectors


def test_the_file_holds_embeddings_ids_and_labels(
    likewise, run_folder: Path, things: Path, tmp_path: Path
) -> None:
    out = tmp_path / "vectors.npz"
    said = likewise("embed", run_folder, f"{things}:classes=1-2", "-o", out)
    assert (said.status, said.err) == (0, "") and "24 embeddings of length 64, with labels" in said.out
    model, held = Model.load(run_folder), np.load(things)
    rows = np.isin(held["y"], [1, 2])
    with np.load(out, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["embeddings"], model.embed(held["X"][rows]))
        assert found["labels"].tolist() == held["y"][rows].tolist()
        assert found["ids"].tolist() == [f"{things}:classes=1-2:{row}" for row in range(24)]
        assert str(found["model_fingerprint"]) == model.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.npz"]


def test_unlabelled_things_have_no_labels(likewise, run_folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", X=np.eye(4))
    said = likewise("embed", run_folder, tmp_path / "bare.npz", "-o", tmp_path / "v.npz")
    assert said.status == 0 and "without labels" in said.out
    with np.load(tmp_path / "v.npz", allow_pickle=False) as found:
        assert sorted(found.files) == ["embeddings", "ids", "model_fingerprint"]


@pytest.mark.parametrize(
    ("data", "out", "found"),
    [
        ("things", "vectors.csv", "must end in .npz"),
        ("things", "folder.npz", "is a folder"),
        ("things", "nowhere/v.npz", "isn't a folder that can be written"),
        ("iris:classes=7", "v.npz", "there is no class 7"),
        ("digits", "v.npz", "items must be features (4,), as in training; found image (8, 8)"),
        ("missing.csv", "v.npz", "no such file or built-in set"),
    ],
)
def test_a_wrong_request_writes_nothing(
    likewise, run_folder: Path, things: Path, tmp_path: Path, data: str, out: str, found: str
) -> None:
    (tmp_path / "folder.npz").mkdir()
    said = likewise("embed", run_folder, things if data == "things" else data, "-o", tmp_path / out)
    assert said.status == 2 and found in said.err and said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npz"]


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "v.npz"
    target.write_bytes(b"before")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("likewise.model.vectors.os.fsync", full)
    vectors = np.eye(2, dtype=np.float32)
    with pytest.raises(ArtifactError, match=r"No space left on device.*nothing was changed"):
        write_vectors(target, vectors, ids=["a", "b"], labels=None, fingerprint="x")
    assert target.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="of one length"):
        write_vectors(target, vectors, ids=["a"], labels=None, fingerprint="x")
