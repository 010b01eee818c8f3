"""The commands do their job, and their JSON keeps its form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import likewise as library
from likewise.cli.parser import _COMMANDS
from likewise.data import record
from likewise.model import Model
from likewise.search import Index


def test_train_saves_a_run_that_the_library_loads(run_folder: Path) -> None:
    assert (run_folder / "model.json").is_file()
    assert Model.load(run_folder).embed(np.zeros((2, 4), dtype=np.float32)).shape[0] == 2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(likewise, things, tmp_path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert likewise("train", things, "-o", tmp_path / name, "--epochs", 1, "--seed", seed).status == 0
    first, again, other = (Model.load(tmp_path / name).fingerprint for name in "abc")
    assert first == again
    assert first != other


def test_evaluate_writes_stable_json_and_a_table(likewise, run_folder, things, tmp_path) -> None:
    said = likewise("evaluate", run_folder, things, "--json", tmp_path / "figures.json")
    assert said.status == 0
    assert "recall@1" in said.out
    assert "untrained net" in said.out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures) == {"retrieval", "verification", "few_shot", "controls"}
    assert set(figures["controls"]) == {"raw", "whitened", "untrained"}
    for measured in (figures, figures["controls"]["raw"], figures["controls"]["untrained"]):
        assert {"value", "low", "high"} <= set(measured["retrieval"]["recall@1"])
        assert {"value", "low", "high"} <= set(measured["verification"]["eer"])


def test_evaluate_cuts_no_figure_and_says_what_a_reader_must_know(likewise, run_folder, things) -> None:
    out = likewise("evaluate", run_folder, things).out
    assert "…" not in out
    for figure in library.evaluate(Model.load(run_folder), str(things))["retrieval"].values():
        assert f"{figure.value:.3f} ({figure.low:.3f} - {figure.high:.3f})" in out
    assert "few classes: " in out
    assert "not measurable with this many pairs" in out
    assert "retrieval: queries: 48" in out
    assert "4 of 4 classes bear names that training saw" in out


def test_a_narrow_terminal_shows_the_controls_without_their_intervals(monkeypatch, capsys) -> None:
    from likewise.cli.terminal import figures_table, print_table

    figure = {"value": 0.5, "low": 0.25, "high": 0.75}
    figures = {"retrieval": {"map@r": figure}, "controls": {"raw": {"retrieval": {"map@r": figure}}}}
    tables = figures_table(figures), figures_table(figures, bare_controls=True)
    shown = []
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for columns in ("80", "58"):
        monkeypatch.setenv("COLUMNS", columns)
        print_table(tables[0], narrower=tables[1])
        shown.append(capsys.readouterr().out)
    assert shown[0].count("0.500 (0.250 - 0.750)") == 2
    assert shown[1].count("0.500 (0.250 - 0.750)") == 1 and shown[1].count("0.500") == 2


def test_evaluate_one_task_as_json_on_standard_output(likewise, run_folder, things) -> None:
    said = likewise("evaluate", run_folder, things, "--task", "few-shot", "--json", "-")
    assert set(json.loads(said.out)) == {"few_shot", "controls"}


def test_search_finds_the_query_itself_first_and_its_like_next(likewise, index_folder, things) -> None:
    said = likewise("search", index_folder, f"{things}:13", "-k", 5, "--json")
    hits = json.loads(said.out)
    assert hits[0]["id"] == f"{things}:13"
    assert [hit["label"] for hit in hits] == [1] * 5
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances)


def test_search_prints_what_the_library_finds(likewise, index_folder, things) -> None:
    said = likewise("search", index_folder, f"{things}:0", "-k", 3)
    shown = [line.split()[0] for line in said.out.splitlines() if str(things) in line]
    assert shown == [hit.id for hit in Index.load(index_folder).search(f"{things}:0", k=3)]


def test_search_takes_several_queries_as_one(likewise, index_folder, things) -> None:
    names = [f"{things}:{row}" for row in (0, 2, 4)]
    said = likewise("search", index_folder, *names, "-k", 3, "--json")
    assert said.status == 0, said.err
    expected = Index.load(index_folder).search(names, k=3, together=True)
    assert [hit["id"] for hit in json.loads(said.out)] == [hit.id for hit in expected]
    assert {hit.label for hit in expected} == {0}
    refused = likewise("search", index_folder, *names, "--within", 1)
    assert (refused.status, "--within takes one QUERY; found 3" in refused.err) == (2, True)


def test_index_from_moves_an_index_to_another_engine(likewise, index_folder, tmp_path) -> None:
    moved = likewise("index", "--from", index_folder, "--engine", "hnsw", "-o", tmp_path / "moved")
    assert moved.status == 0, moved.err
    before, after = Index.load(index_folder), Index.load(tmp_path / "moved")
    assert (after.ids, after.labels, after.engine.name) == (before.ids, before.labels, "hnsw")
    np.testing.assert_array_equal(after.embeddings, before.embeddings)


def test_index_embeds_the_records_of_another_anew(
    likewise, index_folder, run_folder, things, tmp_path
) -> None:
    held, run = tmp_path / "held", tmp_path / "run"
    old = Index.load(index_folder)
    old.remove([old.ids[0]])
    old.with_engine("hnsw").save(held)
    assert likewise("train", things, "-o", run, "--epochs", 1, "--seed", 5).status == 0
    made = likewise("index", run, things, "--from", held, "-o", held)
    assert made.status == 0, made.err
    new = Index.load(held)
    assert (new.ids, new.labels, new.engine.name) == (old.ids, old.labels, "hnsw")
    assert new.model.fingerprint == Model.load(run).fingerprint != old.model.fingerprint
    refused = likewise("index", run, things, "--from", held, "--engine", "flat", "-o", held)
    assert (refused.status, "keeps its engine" in refused.err) == (2, True)
    lone = likewise("index", run, "-o", tmp_path / "new")
    assert (lone.status, "needs RUN and DATA" in lone.err) == (2, True)


def test_an_index_without_its_journal_is_refused_and_what_was_saved_is_taken(
    likewise, index_folder, things, tmp_path
) -> None:
    held = tmp_path / "held"
    Index.load(index_folder).save(held)
    (held / "journal").unlink()
    for words in (("search", held, f"{things}:0"), ("index", "--from", held, "-o", tmp_path / "new")):
        refused = likewise(*words)
        assert refused.status == 2
        assert refused.err.count("\n") == 1
        assert "journal is missing" in refused.err
        assert "--as-saved" in refused.err
    taken = likewise("index", "--from", held, "--as-saved", "-o", tmp_path / "new")
    assert taken.status == 0, taken.err
    assert Index.load(tmp_path / "new").fingerprint == Index.load(index_folder).fingerprint
    alone = likewise("index", tmp_path, things, "--as-saved", "-o", tmp_path / "other")
    assert (alone.status, "--as-saved needs --from" in alone.err) == (2, True)


def test_verify_says_what_the_library_says(likewise, run_folder, things) -> None:
    for other, alike in ((1, True), (40, False)):
        pair = (f"{things}:0", f"{things}:{other}")
        answer = json.loads(likewise("verify", run_folder, *pair, "--json").out)
        assert answer == library.Model.load(run_folder).verify(*(record(name) for name in pair)).to_dict()
        assert answer["alike"] is alike
        assert 0 <= answer["probability"] <= 1
        assert likewise("verify", run_folder, *pair).out.startswith("alike" if alike else "not alike")


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("methods", "supcon"),
        ("losses", "TripletMargin"),
        ("datasets", "digits"),
        ("estimators", "LMNN"),
        ("recipes", "siamese-oneshot"),
    ],
)
def test_list_names_what_there_is(likewise, kind: str, known: str) -> None:
    said = likewise("list", kind)
    names = json.loads(likewise("list", kind, "--json").out)
    assert names == sorted(names)
    assert sorted(line.split()[0] for line in said.out.splitlines()) == names
    assert known in names
    assert "``" not in said.out and ":class:" not in said.out


def test_list_methods_are_those_that_train_takes(likewise) -> None:
    from likewise.training import METHODS
    from likewise.training.linear_heads import linear_methods

    assert json.loads(likewise("list", "methods", "--json").out) == sorted([*METHODS, *linear_methods()])


def test_doctor_names_versions_extras_and_data(likewise) -> None:
    import torch

    said = likewise("doctor")
    assert said.status == 0
    assert f"torch          {torch.__version__}" in said.out
    assert "[dev]" in said.out
    assert "digits" in said.out


def test_doctor_tells_a_missing_package_and_the_extra_that_brings_it(likewise, monkeypatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        if name in ("hypothesis", "faiss-cpu"):
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    said = likewise("doctor")
    assert "faiss-cpu      MISSING" in said.out
    assert "missing hypothesis: pip install 'likewise[dev]'" in said.out


def test_help_gives_each_command_one_line(likewise) -> None:
    said = likewise("--help")
    assert said.status == 0
    commands = list(_COMMANDS)
    listed = said.out.partition("COMMAND\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == commands
    assert all(len(line) <= 80 for line in said.out.splitlines())
    assert likewise().out == said.out


def test_version(likewise) -> None:
    assert likewise("--version").out == f"likewise {library.__version__}\n"
