"""`likewise report`, `audit` and `compare`, as a user calls them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from likewise.distances import Euclidean
from likewise.encoders import Standardize, encoder_for
from likewise.evaluation import data_reads
from likewise.model import Model

GENERATOR = np.random.default_rng(0)
Y = np.repeat(np.arange(4), 12)
X = (GENERATOR.normal(size=(48, 4)) + 9 * np.eye(4)[Y]).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes, one wrong label (row 5) and one copy (row 30 of row 29)."""
    given, items = Y.copy(), X.copy()
    given[5], items[30] = 2, items[29]
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, X=items, y=given)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    for seed in (0, 1):
        encoder = encoder_for((4,), dimension=3, seed=seed)
        Model(encoder, Euclidean(), Standardize.learned_from(X)).save(tmp_path / f"run{seed}")
    return tmp_path / "run0", tmp_path / "run1"


def test_report_lies_in_the_run_which_still_loads_and_counts_its_looks(likewise, runs, data):
    said = likewise("report", runs[0], "--data", data)
    assert (said.status, said.out) == (0, f"wrote {runs[0] / 'report.html'}\n")
    assert "looked at this data once" in (runs[0] / "report.html").read_text()
    # The second time the data of the first look is taken.
    assert likewise("report", runs[0]).status == 0
    assert "looked at this data 2 times" in (runs[0] / "report.html").read_text()
    assert [read.purpose for read in data_reads(runs[0])] == ["report", "report"]
    Model.load(runs[0])


def test_report_goes_where_it_is_told(likewise, runs, data, tmp_path):
    assert likewise("report", runs[0], "--data", data, "-o", tmp_path / "page.html").status == 0
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert not (runs[0] / "report.html").exists()


def test_report_without_data_asks_for_it(likewise, runs):
    said = likewise("report", runs[0])
    assert said.status == 2 and "--data DATA" in said.err and said.err.count("\n") == 1


def test_audit_finds_the_wrong_label_and_the_copy(likewise, data, tmp_path):
    table, listed, page = (tmp_path / name for name in ("f.csv", "f.json", "f.html"))
    said = likewise("audit", "raw", data, "--csv", table, "--json", listed, "--page", page)
    assert said.status == 0 and "wrong labels: 1" in said.out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    told = [(row["kind"], row["row"], row["label"], row["other_label"]) for row in rows[:2]]
    assert told == [("wrong label", "5", "2", "0"), ("near duplicate", "29", "2", "2")]
    found = json.loads(listed.read_text())
    assert found["counts"]["items"] == 48 and len(found["findings"]) == len(rows)
    assert "<h2>Likely wrong labels</h2>" in page.read_text()


def test_audit_finds_leaks_from_other_data(likewise, data, tmp_path):
    np.savez(tmp_path / "train.npz", X=np.concatenate([X[[7]], X[:6] + 3]), y=np.zeros(7, dtype=int))
    said = likewise("audit", "raw", data, "--against", tmp_path / "train.npz", "--json", "-")
    found = json.loads(said.out)
    leaks = [each for each in found["findings"] if each["kind"] == "leak"]
    assert [(each["row"], each["other_row"]) for each in leaks] == [(7, 0)]


def test_audit_holds_one_split_against_the_rest(likewise, tmp_path):
    lines = []
    for i, (x, y) in enumerate(zip([*X, X[1]], [*Y, 0], strict=True)):
        lines.append(f"{x[0]},{x[1]},{x[2]},{x[3]},{y},{'train' if i % 4 else 'test'}")
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,d,label,split", *lines]) + "\n")
    said = likewise("audit", "raw", tmp_path / "t.csv", "--split", "split", "--json", "-")
    assert said.status == 0, said.err
    assert [each["kind"] for each in json.loads(said.out)["findings"]].count("leak") == 1
    assert "it has" in likewise("audit", "raw", tmp_path / "t.csv", "--split", "nothing").err


def test_compare_pairs_runs_and_says_what_the_data_can_tell(likewise, runs, data, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(runs[0], twin)
    said = likewise("compare", runs[0], twin, "raw", "--data", data, "--figure", "map@r", "--json", "-")
    found = json.loads(said.out)["map@r"]
    assert set(found["runs"]) == {str(runs[0]), str(twin), "raw"}
    same = next(each for each in found["differences"] if "raw" not in (each["first"], each["second"]))
    assert (same["value"], same["corrected_p_value"]) == (0, 1)
    assert same["verdict"] == "the data can't tell them apart"
    smallest = min(each["p_value"] for each in found["differences"])
    assert min(each["corrected_p_value"] for each in found["differences"]) == pytest.approx(
        min(1, 3 * smallest)
    )
    assert data_reads(runs[0])[-1].purpose == "compare"
    assert "the data can't tell them apart" in likewise("compare", runs[0], twin, "--data", data).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "raw", "raw", "--data", "DATA"), "two different runs"),
        (("compare", "raw", "nowhere", "--data", "DATA"), "nowhere"),
        (("compare", "RUN", "raw", "--data", "DATA", "--figure", "beauty"), "beauty"),
        (("compare", "RUN", "raw", "--data", "DATA", "--level", "2"), "between 0 and 1"),
        (("audit", "raw", "DATA", "--against", "DATA", "--split", "x"), "together"),
        (("audit", "nowhere", "DATA"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
        (("report", "RUN", "--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_wrong_requests_get_one_line(likewise, runs, data, words, message):
    said = likewise(*({"DATA": data, "RUN": runs[0]}.get(word, word) for word in words))
    assert said.status == 2 and message in said.err and said.err.count("\n") == 1
