"""`likewise bench`, as a user calls it."""

from __future__ import annotations

import json

import pytest


def test_it_prints_the_table_and_goes_on_where_it_stopped(likewise, things, tmp_path) -> None:
    words = ["bench", things, "--methods", "triplet,supcon", "--seeds", 1, "--folds", 2, "--budget", 3]
    said = likewise(*words, "-o", tmp_path / "out", "--batch-size", 16)
    assert said.status == 0, said.err
    assert said.err.count("\n") == 4 and "triplet: fold 2 of 2, seed 0: map@r" in said.err
    for name in ("triplet", "supcon", "raw items", "whitened items", "untrained net"):
        assert name in said.out
    held = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert held == ["bench.json", "bench.svg", "cells.jsonl", "figures.json", "table.md"]
    (tmp_path / "out" / "cells.jsonl").write_text(
        "".join((tmp_path / "out" / "cells.jsonl").read_text().splitlines(keepends=True)[:6])
    )
    again = likewise(*words, "-o", tmp_path / "out", "--batch-size", 16, "--json", "-")
    figures = json.loads(again.out)["rows"]
    shown = said.out.splitlines()
    for name, row in figures.items():
        line = next(line for line in shown if line.lstrip().startswith(name))
        assert f"{row['map@r']['value']:.3f}" in line
    assert likewise(*words, "-o", tmp_path / "out", "--batch-size", 16).err == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("THINGS", "--methods", "triplte"), "did you mean triplet?"),
        (("THINGS", "--methods", "cosent"), "learns from labels"),
        (("THINGS", "--methods", " , "), "found none"),
        (("THINGS", "--methods", "triplet", "--folds", "3"), "at least 6 classes"),
        (("THINGS", "--methods", "triplet", "--folds", "1"), "folds must be"),
        (("THINGS", "--methods", "triplet", "--seeds", "0"), "seeds must be"),
        (("THINGS", "--methods", "triplet", "--budget", "0"), "steps must be"),
        (("THINGS", "--methods", "triplet", "--budgt", "5"), "did you mean '--budget'?"),
        (("THINGS",), "--methods"),
        (("nowhere.npz", "--methods", "triplet"), "nowhere.npz"),
        (("THINGS", "--methods", "triplet", "--folds", "2", "--encoder", "convnte"), "did you mean convnet?"),
    ],
)
def test_wrong_requests_get_one_line_and_leave_nothing(likewise, things, tmp_path, words, told) -> None:
    said = likewise("bench", *(things if word == "THINGS" else word for word in words), "-o", tmp_path / "x")
    assert said.status == 2 and told in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "x").exists()
