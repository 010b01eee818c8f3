"""A bench runs every cell once under one budget, goes on where it stopped, and tests what it says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from likewise.bench import CONTROLS, Protocol, bench, folds_of, methods_from_names, picture, summary_of
from likewise.bench.contender import by_class
from likewise.bench.ledger import Ledger
from likewise.bench.page import table
from likewise.bench.summary import Summary
from likewise.bench.tuning import search_space
from likewise.data import Records, records_from_arrays
from likewise.distances import Euclidean
from likewise.errors import ArtifactError, DataError, InputError, MissingExtraError
from likewise.training import METHODS, NotFiniteError

SMALL = Protocol(seeds=2, folds=2, steps=6, batch_size=16, dimension=8)
NAMES = ["triplet", "proxy-nca"]


def blobs(classes: int = 8, each: int = 8) -> Records:
    generator = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), each)
    X = generator.normal(size=(len(y), 10)) + 2 * generator.normal(size=(classes, 10))[y]
    return records_from_arrays(X.astype(np.float32), y, name="blobs")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("bench") / "out"
    return folder, bench(blobs(), methods_from_names(NAMES), out=folder, protocol=SMALL)


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]


def figures_of(summary: Summary) -> dict:
    told = summary.to_dict()
    for row in told["rows"].values():
        del row["seconds"]
    return told


def test_every_class_is_held_out_once_and_learned_from_in_all_other_folds() -> None:
    records = blobs(classes=7)
    folds = folds_of(records, Protocol(folds=3))
    assert sorted(np.concatenate([fold.test.classes for fold in folds])) == list(range(7))
    for fold in folds:
        assert set(fold.test.classes) | set(fold.learn.classes) == set(range(7))
        assert not set(fold.test.classes) & set(fold.learn.classes)


def test_every_cell_has_the_same_budget_and_every_query_is_asked_once_a_seed(done) -> None:
    folder, summary = done
    cells = lines_of(folder)
    assert len(cells) == (len(NAMES) + len(CONTROLS)) * SMALL.seeds * SMALL.folds
    spent = {(cell["steps"], cell["items"], cell["trials"]) for cell in cells if cell["row"] in NAMES}
    assert spent == {(6, 6 * 16, 0)}
    assert {(cell["steps"], cell["items"]) for cell in cells if cell["row"] in CONTROLS} == {(0, 0)}
    for row in [*NAMES, *CONTROLS]:
        own = [cell for cell in cells if cell["row"] == row and cell["seed"] == 1]
        asked = {
            label: count
            for cell in own
            for label, count in zip(cell["classes"], cell["queries"], strict=True)
        }
        assert asked == dict.fromkeys(range(8), 8)
    assert {row.name for row in summary.rows} == {*NAMES, *CONTROLS}


def test_a_row_is_the_mean_over_its_queries_and_seeds(done) -> None:
    folder, summary = done
    for row in summary.rows:
        for name in ("recall@1", "map@r"):
            own = [cell[name] for cell in lines_of(folder) if cell["row"] == row.name]
            assert row.figures[name].value == pytest.approx(np.mean(own))  # folds of equal size
            assert row.figures[name].low <= row.figures[name].value <= row.figures[name].high


def test_a_bench_of_which_half_is_lost_ends_in_the_same_figures(done, tmp_path) -> None:
    folder, summary = done
    lines = (folder / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "bench.json").write_bytes((folder / "bench.json").read_bytes())
    kept = lines[::2]
    (tmp_path / "cells.jsonl").write_text("".join(kept) + lines[1][:40])  # killed while it wrote a line
    told: list[str] = []
    again = bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=SMALL, tell=told.append)
    assert figures_of(again) == figures_of(summary)
    assert len(told) == sum(cell["row"] in NAMES for cell in map(json.loads, lines[1::2]))
    found = lines_of(tmp_path)
    assert len(found) == len(lines) and found[: len(kept)] == [json.loads(line) for line in kept]


def test_nothing_is_run_again_and_more_seeds_and_methods_join_what_is_there(done, tmp_path) -> None:
    folder, _ = done
    for name in ("bench.json", "cells.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    told: list[str] = []
    bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=SMALL, tell=told.append)
    assert told == []
    one = Protocol(seeds=1, folds=2, steps=6, batch_size=16, dimension=8)
    more = methods_from_names([*NAMES, "supcon"])
    summary = bench(blobs(), more, out=tmp_path, protocol=one, tell=told.append)
    assert len(told) == one.folds and all(line.startswith("supcon") for line in told)
    assert [len(row.seeds["map@r"]) for row in summary.rows] == [1] * 6


def test_paired_tests_against_a_loop(done) -> None:
    """The definition in plain loops: leave a class out of figure and gallery; add the variance of seeds."""
    folder, summary = done
    cells = {(c["row"], c["fold"], c["seed"]): c for c in lines_of(folder)}

    def mean(row: str, seed: int, without: int | None) -> float:
        total = count = 0.0
        for fold in range(2):
            cell = cells[row, fold, seed]
            for place, label in enumerate(cell["classes"]):
                if label == without:
                    total += cell["without"]["map@r"][place]
                else:
                    total += cell["sums"]["map@r"][place]
                    count += cell["queries"][place]
        return total / count

    def difference(without: int | None) -> list[float]:
        return [mean("triplet", seed, without) - mean("raw items", seed, without) for seed in (0, 1)]

    whole = difference(None)
    left_out = np.array([np.mean(difference(label)) for label in range(8)])
    moved = left_out - left_out.mean()
    of_classes = 7 / 8 * np.sum(moved**2)
    kurtosis = max(np.mean(moved**4) / np.mean(moved**2) ** 2 - 3, 0.0)
    freedom_of_classes = 2 / (2 / 7 + kurtosis / 8)
    of_seeds = np.var(whole, ddof=1) / 2
    variance = of_classes + of_seeds
    freedom = variance**2 / (of_classes**2 / freedom_of_classes + of_seeds**2 / 1)
    p_value = 2 * t.sf(abs(np.mean(whole)) / np.sqrt(variance), freedom)
    test = next(
        each
        for each in summary.comparisons["map@r"].differences
        if {each.first, each.second} == {"triplet", "raw items"}
    )
    assert abs(test.difference.value) == pytest.approx(abs(np.mean(whole)))
    assert test.p_value == pytest.approx(p_value)
    pairs = sorted(each.p_value for each in summary.comparisons["map@r"].differences)
    assert len(pairs) == 10
    smallest = min(each.corrected_p_value for each in summary.comparisons["map@r"].differences)
    assert smallest == pytest.approx(min(1, 10 * pairs[0]))


def test_a_class_left_out_is_left_out_of_the_gallery_too() -> None:
    generator = np.random.default_rng(3)
    X, y = generator.normal(size=(24, 3)), np.repeat(np.arange(6), 4)
    whole = by_class(X, y, Euclidean())
    for label in range(6):
        kept = y != label
        rest = by_class(X[kept], y[kept], Euclidean())
        for name in ("recall@1", "map@r"):
            others = sum(whole["sums"][name]) - whole["sums"][name][label]
            # exact where rivals kept are enough; MAP@R looks at few classes here
            assert others + whole["without"][name][label] == pytest.approx(sum(rest["sums"][name]))


def test_tuning_counts_the_same_trials_for_all_and_never_sees_the_classes_held_out(
    tmp_path, monkeypatch
) -> None:
    pytest.importorskip("optuna")
    seen: list[tuple[set, set]] = []
    import likewise.bench.tuning as tuning

    def watched(records, method, choice, protocol, *, seed):
        seen.append(set(records.classes.tolist()))
        return trained(records, method, choice, protocol, seed=seed)

    trained = tuning.trained
    monkeypatch.setattr(tuning, "trained", watched)
    protocol = Protocol(seeds=1, folds=2, steps=3, trials=3, batch_size=16, dimension=8)
    summary = bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=protocol)
    trials = [line for line in lines_of(tmp_path) if line["kind"] == "trial"]
    for name in NAMES:
        own = [line for line in trials if line["row"] == name]
        assert [(line["fold"], line["number"]) for line in own] == [(f, n) for f in (0, 1) for n in range(3)]
        assert {(line["steps"], line["items"]) for line in own} == {(3, 48)}
        for line in own:
            if line["number"] == 0:
                assert line["choice"] == {key: value[0] for key, value in search_space(METHODS[name]).items()}
            for key, (_, low, high) in search_space(METHODS[name]).items():
                assert low <= line["choice"][key] <= high
        for cell in (line for line in lines_of(tmp_path) if line["kind"] == "cell" and line["row"] == name):
            best = max((t for t in own if t["fold"] == cell["fold"]), key=lambda line: line["map@r"])
            assert cell["choice"] == best["choice"]
    held_out = [set(part) for part in json.loads((tmp_path / "bench.json").read_text())["held_out"]]
    for classes in seen:
        assert any(not classes & part and len(classes | part) == 6 for part in held_out)
    # Lost in the middle of a search, it asks for the same again.
    before = (tmp_path / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text("".join(before[:5]))
    again = bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=protocol)
    assert figures_of(again) == figures_of(summary)


def test_tuning_without_optuna_says_which_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"likewise\[tuning\]"):
        bench(blobs(), methods_from_names(NAMES), out=tmp_path / "x", protocol=Protocol(folds=2, trials=2))
    assert not (tmp_path / "x").exists()


def test_a_training_that_fails_is_told_and_not_tested(tmp_path, monkeypatch) -> None:
    import likewise.bench.run as run

    def broken(records, method, choice, protocol, *, seed):
        if method.name == "triplet" and seed == 1:
            raise NotFiniteError("the loss became nan in epoch 1, batch 2")
        return trained(records, method, choice, protocol, seed=seed)

    trained = run.trained
    monkeypatch.setattr(run, "trained", broken)
    summary = bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=SMALL)
    failed = summary.rows[-1]
    assert (failed.name, failed.figures) == ("triplet", {})
    assert failed.failed == "2 of 4 failed: the loss became nan in epoch 1, batch 2"
    assert "triplet" not in summary.comparisons["map@r"].runs
    assert "| triplet | - | - | - | - | 2 of 4 failed" in table(summary)


def test_cells_that_are_not_there_are_told(done) -> None:
    folder, _ = done
    cells = [cell for cell in lines_of(folder) if not (cell["row"] == "triplet" and cell["fold"] == 1)]
    summary = summary_of(cells, rows=NAMES, protocol=SMALL, name="blobs")
    assert [(row.name, row.failed) for row in summary.rows] == [("proxy-nca", ""), ("triplet", "not run")]


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if "labels" in m.learns_from])
def test_every_method_that_learns_from_labels_can_be_benched(tmp_path, name: str) -> None:
    protocol = Protocol(seeds=1, folds=2, steps=2, batch_size=16, dimension=4)
    summary = bench(blobs(), methods_from_names([name]), out=tmp_path, protocol=protocol)
    assert {row.name: row.failed for row in summary.rows} == {name: ""} | dict.fromkeys(CONTROLS, "")
    assert next(row for row in summary.rows if row.name == name).items == 32


def test_the_picture_is_the_same_bytes_each_time(done) -> None:
    assert picture(done[1]) == picture(done[1])
    assert picture(done[1])[:5] == b"<?xml"


@pytest.mark.parametrize(
    ("records", "protocol", "told"),
    [
        (blobs(3), Protocol(folds=2), "at least 4 classes"),
        (blobs(4), Protocol(folds=2, trials=1), "at least 8 classes"),
        (blobs(8), Protocol(folds=5), "at least 10 classes"),
        (Records(np.zeros((8, 2), np.float32), None, "bare"), Protocol(folds=2), "no labels"),
    ],
)
def test_data_with_too_few_classes(tmp_path, records, protocol, told) -> None:
    with pytest.raises(DataError, match=told):
        bench(records, methods_from_names(NAMES), out=tmp_path / "x", protocol=protocol)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("classes", range(4, 13))
@pytest.mark.parametrize("folds", [2, 3, 4])
@pytest.mark.parametrize("trials", [0, 2])
def test_the_number_of_classes_that_is_asked_for_is_enough_and_one_less_is_not(
    classes, folds, trials
) -> None:
    try:
        found = folds_of(blobs(classes, each=2), Protocol(folds=folds, trials=trials))
    except DataError as error:
        needed = int(str(error).partition("at least ")[2].split()[0])
        assert classes < needed
        folds_of(blobs(needed, each=2), Protocol(folds=folds, trials=trials))
    else:
        assert min(len(fold.test.classes) for fold in found) >= 2
        assert min(len(fold.learn.classes) for fold in found) >= (4 if trials else 2)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"kind":"cell"}',
        '{"kind":"other"}',
        '{"kind":"cell","row":"a","fold":"0","seed":0}',
    ],
)
def test_a_line_that_is_not_one_of_a_bench(done, tmp_path, line: str) -> None:
    folder, _ = done
    (tmp_path / "bench.json").write_bytes((folder / "bench.json").read_bytes())
    first = (folder / "cells.jsonl").read_text().splitlines()[0]
    (tmp_path / "cells.jsonl").write_text(f"{first}\n{line}\n")
    with pytest.raises(ArtifactError, match=r"cells\.jsonl: line 2 "):
        bench(blobs(), methods_from_names(NAMES), out=tmp_path, protocol=SMALL)


def test_folders_that_are_not_a_bench_and_benches_of_other_things(done, tmp_path) -> None:
    folder, _ = done
    (tmp_path / "file").write_text("dear")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "holiday.txt").write_text("dear")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "bench.json").write_text("{")
    for place, told in (
        (tmp_path / "file", "a file"),
        (theirs, "no bench.json"),
        (damaged, "isn't the file"),
    ):
        with pytest.raises(ArtifactError, match=told):
            bench(blobs(), methods_from_names(NAMES), out=place, protocol=SMALL)
    assert os.listdir(theirs) == ["holiday.txt"]
    with pytest.raises(InputError, match="begun with steps 6; found 7"):
        bench(
            blobs(),
            methods_from_names(NAMES),
            out=folder,
            protocol=Protocol(seeds=2, folds=2, steps=7, batch_size=16, dimension=8),
        )
    with pytest.raises(InputError, match="begun with fingerprint"):
        bench(blobs(each=7), methods_from_names(NAMES), out=folder, protocol=SMALL)


def test_a_method_may_not_bear_the_name_of_a_control(tmp_path) -> None:
    with pytest.raises(InputError, match="raw items is a control"):
        bench(blobs(), {"raw items": METHODS["triplet"]}, out=tmp_path / "x", protocol=SMALL)


@pytest.mark.parametrize("field", ["seeds", "folds", "steps", "batch_size", "dimension", "trials"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "3"])
def test_a_protocol_out_of_range(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        Protocol(**{field: value})


def test_a_ledger_finds_what_it_was_given_after_it_is_opened_again(tmp_path) -> None:
    line = {"kind": "trial", "row": "a", "fold": 0, "number": 3, "items": 1, "choice": {}, "map@r": None}
    Ledger(tmp_path / "x", {"a": 1}).add(line)
    again = Ledger(tmp_path / "x", {"a": 1})
    assert again.find(row="a", fold=0, number=3) == line
    assert again.find(row="a", fold=0, number=4) is None
    assert again.find(row="a", fold=0, seed=3) is None
