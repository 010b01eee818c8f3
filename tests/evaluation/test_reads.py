"""How often a run looked at its data: kept in the run, verified with it, and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.artifacts import amend_folder, write_folder
from likewise.distances import Euclidean
from likewise.encoders import Standardize, encoder_for
from likewise.errors import ArtifactError
from likewise.evaluation import DataRead, data_reads, reads_sentence, record_read
from likewise.model import Model

LOOK = DataRead("2026-01-02 03:04:05", "digits", "aa", "evaluate")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    Model(encoder_for((3,), dimension=2, seed=0), Euclidean(), Standardize((3,))).save(
        folder, files={"report.html": b"page"}
    )
    return folder


def test_looks_are_kept_in_order_and_the_model_stays_what_it_was(run: Path) -> None:
    X = np.eye(3, dtype=np.float32)
    before = Model.load(run)
    assert data_reads(run) == ()
    record_read(run, LOOK)
    other = DataRead.now("wine", "bb", purpose="report")
    assert record_read(run, other) == (LOOK, other)
    assert data_reads(run) == (LOOK, other)
    after = Model.load(run)
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.embed(X), before.embed(X))
    assert (run / "report.html").read_bytes() == b"page"


def test_the_sentence_counts_looks_at_the_same_data_only() -> None:
    other = DataRead("", "wine", "bb", "evaluate")
    assert reads_sentence([LOOK, other], "aa") == "This run has looked at this data once."
    assert "2 times" in reads_sentence([LOOK, other, LOOK], "aa")
    assert "isn't recorded" in reads_sentence([other], "aa")


def test_a_changed_list_of_looks_is_refused(run: Path) -> None:
    record_read(run, LOOK)
    (run / "reads.jsonl").write_text("")
    with pytest.raises(ArtifactError, match=r"reads\.jsonl"):
        data_reads(run)


@pytest.mark.parametrize("text", [b"[]\n", b"{\n", b'{"time": 1}\n'])
def test_a_list_of_something_else_is_refused(run: Path, text: bytes) -> None:
    amend_folder(run, {"reads.jsonl": text}, manifest="model.json", kind="likewise-run")
    with pytest.raises(ArtifactError, match="not a list of reads"):
        data_reads(run)


def test_only_a_run_can_record(tmp_path: Path) -> None:
    write_folder(tmp_path / "other", {}, {}, manifest="card.json", kind="other")
    with pytest.raises(ArtifactError, match="likewise-run"):
        record_read(tmp_path / "other", LOOK)
