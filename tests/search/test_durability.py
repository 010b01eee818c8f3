"""What was acknowledged survives: kills, full disks, two writers, changed bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from likewise.data import ArrayItems, Records
from likewise.distances import Euclidean
from likewise.encoders import MLP, Standardize
from likewise.errors import ArtifactError, InputError
from likewise.model import Calibration, Model
from likewise.search import Index

D = 4


def model() -> Model:
    import torch

    torch.manual_seed(0)
    calibration = Calibration(slope=2.0, offset=1.0, threshold=0.5, held_out="classes")
    return Model(MLP(D, dimension=D, hidden=()), Euclidean(), Standardize((D,)), calibration)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    index = Index(model())
    index.add_embeddings(rows(20), ids=[f"first-{i}" for i in range(20)], metadata={"n": list(range(20))})
    index.save(tmp_path / "index")
    return tmp_path / "index"


def held(index: Index) -> dict:
    return {
        name: (label, dict(told), embedding.tobytes())
        for name, label, told, embedding in zip(
            index.ids, index.labels, index.metadata, index.embeddings, strict=True
        )
    }


def test_every_kind_of_change_is_there_for_the_next_reader(folder: Path) -> None:
    with Index.open(folder) as index:
        index.add_embeddings(rows(3, 1), ids=["a", "b", "c"], labels=["x", 5, None])
        index.remove(["first-0", "a"])
        index.update(["b"], labels=["renamed"], metadata=[{"n": 7, "word": "ü"}])
        index.update(["first-3"], (rows(1, 2), ["again"]))
        expected = held(index)
        # A reader sees it while the writer is still at work.
        assert held(Index.load(folder)) == expected
    assert held(Index.load(folder)) == expected
    assert Index.load(folder).find("word = 'ü'") == ("b",)
    with Index.open(folder) as index:
        assert held(index) == expected
        index.save()
        index.add_embeddings(rows(1, 3), ids=["later"])
        expected = held(index)
    assert held(Index.load(folder)) == expected


def test_records_are_embedded_anew_in_one_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes since the save are kept, nobody else writes meanwhile, and a full disk leaves the old index."""
    import torch

    torch.manual_seed(1)
    other = Model(MLP(D, dimension=3, hidden=()), Euclidean(), Standardize((D,)))
    items = rows(22, 5)
    data = Records(
        ArrayItems(items),
        None,
        "data",
        columns={"id": np.array([*(f"first-{i}" for i in range(20)), "x", "new"])},
    )
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["new"], labels=["n"], metadata=[{"n": 99}])
        index.remove(["first-7"])
        before = held(index)
        with monkeypatch.context() as patch:
            patch.setattr(
                os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left"))
            )
            with pytest.raises(ArtifactError, match="No space left"):
                index.reembed(other, data)
        assert held(index) == held(Index.load(folder)) == before
        with pytest.raises(InputError, match="1 aren't there, such as 'new'"):
            index.reembed(other, data.take(slice(0, 21)))
        with pytest.raises(ArtifactError, match="another process is writing"):
            Index.open(folder)
        index.reembed(other, data)
        index.add_embeddings(np.ones((1, 3)), ids=["after"])
    back = Index.load(folder)
    assert back.model.fingerprint == other.fingerprint
    assert back.ids == (*(name for name in before), "after")
    assert {name: (label, told) for name, (label, told, _) in held(back).items() if name != "after"} == {
        name: (label, told) for name, (label, told, _) in before.items()
    }
    expected = other.embed(items[[*(i for i in range(20) if i != 7), 21]])
    np.testing.assert_array_equal(back.embeddings[:-1], expected)


def test_what_is_added_without_opening_stays_in_memory(folder: Path) -> None:
    index = Index.load(folder)
    index.add_embeddings(rows(1), ids=["memory"])
    assert "memory" not in Index.load(folder)
    with pytest.raises(InputError, match="path must be given"):
        index.save()


def test_two_writers_are_refused_and_so_is_a_save_under_a_writer(folder: Path) -> None:
    other = Index.load(folder)
    with Index.open(folder) as index:
        for attempt in (lambda: Index.open(folder), lambda: other.save(folder)):
            with pytest.raises(ArtifactError, match="another process is writing"):
                attempt()
        index.add_embeddings(rows(1), ids=["mine"])
    assert "mine" in Index.load(folder)
    Index.open(folder).close()


def test_a_full_disk_loses_nothing_and_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes 10 bytes of an entry, then no more; later there is room again."""
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["before"])
        true = index._home.journal._stream
        room = [10]

        class Full:
            def __getattr__(self, name: str) -> object:
                return getattr(true, name)

            def write(self, data: bytes) -> int:
                if room[0] <= 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written = true.write(data[: room[0]])
                room[0] -= written
                return written

        monkeypatch.setattr(index._home.journal, "_stream", Full())
        for change in (
            lambda: index.add_embeddings(rows(1), ids=["lost"]),
            lambda: index.remove(["before"]),
            lambda: index.update(["before"], labels=["x"]),
            lambda: index.update(["before"], (rows(1), ["x"])),
        ):
            with pytest.raises(ArtifactError, match="No space left"):
                change()
            assert "lost" not in index
            assert index.record("before").label is None
        monkeypatch.setattr(index._home.journal, "_stream", true)
        index.add_embeddings(rows(1), ids=["after"])
        expected = held(index)
    assert held(Index.load(folder)) == expected


def test_a_full_disk_while_saving_leaves_the_old_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["new"])
        expected = held(index)

        def full(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(ArtifactError, match="No space left"):
                index.save()
        assert held(Index.load(folder)) == expected
        index.add_embeddings(rows(1), ids=["and on"])
    assert "and on" in Index.load(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["index"]


def journal_bytes(folder: Path) -> bytes:
    with Index.open(folder) as index:
        for i in range(3):
            index.add_embeddings(rows(2, i), ids=[f"{i}-a", f"{i}-b"])
        index.remove(["0-a"])
    return (folder / "journal").read_bytes()


def test_every_changed_byte_of_a_journal_is_refused(folder: Path) -> None:
    whole = journal_bytes(folder)
    generator = np.random.default_rng(0)
    for position in [*range(0, 250, 2), *generator.integers(len(whole), size=60).tolist(), len(whole) - 1]:
        changed = bytearray(whole)
        changed[position] ^= 1 << int(generator.integers(8))
        (folder / "journal").write_bytes(changed)
        with pytest.raises(ArtifactError, match="journal"):
            Index.load(folder)
    for cut in [0, *generator.integers(1, len(whole), size=25).tolist()]:
        (folder / "journal").write_bytes(whole[:cut])
        with pytest.raises(ArtifactError, match="journal"):
            Index.load(folder)


def test_a_journal_that_was_removed_is_noticed_and_the_mend_is_told(folder: Path) -> None:
    saved = held(Index.load(folder))
    journal_bytes(folder)
    (folder / "journal").unlink()
    for attempt in (Index.load, Index.open):
        with pytest.raises(ArtifactError, match=r"journal is missing.*--as-saved -o NEW$") as caught:
            attempt(folder)
        assert "\n" not in str(caught.value)
    again = Index.load(folder, as_saved=True)
    assert held(again) == saved
    again.save(folder)
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["on"])
    assert set(held(Index.load(folder))) == {*saved, "on"}


def test_what_was_saved_is_had_from_beside_a_damaged_journal(folder: Path) -> None:
    saved = held(Index.load(folder))
    whole = journal_bytes(folder)
    (folder / "journal").write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="--as-saved"):
        Index.load(folder)
    assert held(Index.load(folder, as_saved=True)) == saved


def test_a_journal_that_is_removed_from_under_a_writer_takes_no_more_changes(folder: Path) -> None:
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["before"])
        (folder / "journal").unlink()
        for change in (
            lambda: index.add_embeddings(rows(1), ids=["lost"]),
            lambda: index.remove(["before"]),
        ):
            with pytest.raises(ArtifactError, match="removed while the index was open"):
                change()
        index.save()
        index.add_embeddings(rows(1), ids=["after"])
        expected = held(index)
    assert held(Index.load(folder)) == expected
    assert {"before", "after"} <= set(expected)
    assert "lost" not in expected


def test_an_index_that_is_taken_by_another_while_it_is_saved_takes_no_more_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from likewise.search import home

    others: list[Index] = []

    def written(*given: object, **named: object) -> str:
        stated = true(*given, **named)
        others.append(Index.open(folder))
        return stated

    with Index.open(folder) as index:
        true = home.write_snapshot
        monkeypatch.setattr(home, "write_snapshot", written)
        with pytest.raises(ArtifactError, match="another process is writing"):
            index.save()
        with pytest.raises(ArtifactError, match="open the index again"):
            index.add_embeddings(rows(1), ids=["lost"])
        assert "lost" not in index
    others[0].close()


def test_a_saved_index_comes_with_its_journal_in_one_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any step of a save, what lies there opens: the journal is never made afterwards."""
    from likewise import artifacts

    seen: list[bool] = []
    true = artifacts._replace_folder

    def replace(new: str, target: Path) -> None:
        seen.append(Path(new, "journal").is_file())
        true(new, target)
        with Index.open(target):  # as a process would find it that comes after a kill at this point
            pass

    monkeypatch.setattr(artifacts, "_replace_folder", replace)
    Index.load(folder).save(folder)
    with Index.open(folder) as index:
        index.save()
    assert seen == [True, True]
    assert [entry.name for entry in folder.parent.iterdir()] == ["index"]


def test_what_was_never_acknowledged_is_passed_over(folder: Path) -> None:
    whole = journal_bytes(folder)
    expected = held(Index.load(folder))
    for tail in (b"\0", b"x" * 300, whole[-50:]):
        (folder / "journal").write_bytes(whole + tail)
        assert held(Index.load(folder)) == expected
    with Index.open(folder) as index:
        index.add_embeddings(rows(1), ids=["over the tail"])
    assert "over the tail" in Index.load(folder)


def test_a_journal_of_another_index_or_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = journal_bytes(folder)
    index = Index(model())
    index.add_embeddings(rows(20), ids=[f"other-{i}" for i in range(20)])
    index.save(tmp_path / "other")
    (tmp_path / "other" / "journal").write_bytes(whole)
    for attempt in (Index.load, Index.open):
        with pytest.raises(ArtifactError, match="another saved index"):
            attempt(tmp_path / "other")
    (tmp_path / "other" / "journal").unlink()
    (tmp_path / "other" / "journal").symlink_to(folder / "journal")
    for attempt in (Index.load, Index.open):
        with pytest.raises(ArtifactError, match="journal"):
            attempt(tmp_path / "other")
    assert (folder / "journal").read_bytes() == whole


def test_calibration_and_fingerprint_stand_in_the_manifest(folder: Path) -> None:
    import json

    manifest = json.loads((folder / "index.json").read_text())
    assert manifest["model_fingerprint"] == model().fingerprint
    assert manifest["calibration"]["threshold"] == 0.5
    hit = Index.load(folder).search_embeddings(rows(1), 1)[0][0]
    assert hit.probability == pytest.approx(1 / (1 + np.exp(2 * hit.distance - 1)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index.add_embeddings(rows(1)[:, :3], ids=["x"]), r"found \(1, 3\)"),
        (lambda index: index.add_embeddings(rows(1) * np.nan, ids=["x"]), "NaN or infinity in row 0"),
        (lambda index: index.add_embeddings(rows(1) * np.inf, ids=["x"]), "NaN or infinity"),
        (lambda index: index.add_embeddings(np.full((1, D), 1e300), ids=["x"]), "infinity"),
        (lambda index: index.add_embeddings(np.full((1, D), 1e30), ids=["x"]), "below 1e"),
        (lambda index: index.add_embeddings([["a"] * D], ids=["x"]), "numbers"),
        (lambda index: index.search_embeddings(rows(1) * np.nan), "NaN"),
        (lambda index: index.remove(["nobody"]), "'nobody' isn't in the index"),
        (lambda index: index.remove(["nobody", "noone"]), "'nobody' and 1 more"),
        (lambda index: index.remove("first-0"), "sequence of ids"),
        (lambda index: index.remove(["first-0", "first-0"]), "twice"),
        (lambda index: index.update(["nobody"], labels=["x"]), "isn't in the index"),
        (lambda index: index.update(["first-0"], labels=["x", "y"]), "found 2 for 1"),
        (lambda index: index.update(["first-0"], labels=[1.5]), "whole numbers or strings"),
        (lambda index: index.update(["first-0"], metadata={"n": ["text"]}), "one kind"),
        (lambda index: index.record("nobody"), "isn't in the index"),
        (lambda index: index.add_embeddings(rows(1), ids=["first-0"]), "in the index already"),
        (lambda index: index.add_embeddings(rows(1), ids=["a\nb"]), "control sign"),
        (lambda index: index.add_embeddings(rows(1), ids=["x"], metadata={"n": [1, 2]}), "found 2 for 1"),
        (lambda index: index.add_embeddings(rows(1), ids=["x"], metadata={"label": [1]}), "own column"),
        (lambda index: index.add_embeddings(rows(1), ids=["x"], metadata=[{"m": [1]}]), "found list"),
        (lambda index: index.range_search_embeddings(rows(1), float("nan")), "radius"),
        (lambda index: index.range_search_embeddings(rows(1), 1.0, limit=0), "limit"),
        (lambda index: index.find("n <"), "character 4"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(folder: Path, change, told: str) -> None:
    with Index.open(folder) as index:
        before = held(index)
        with pytest.raises(InputError, match=told):
            change(index)
        assert held(index) == before
    assert held(Index.load(folder)) == before
