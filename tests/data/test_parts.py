"""Parts of data by what is said after its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.data import Records, load, take_where
from likewise.data.parts import split_source
from likewise.data.reading import Reading
from likewise.errors import DataError


@pytest.fixture
def source(tmp_path: Path) -> str:
    X = np.arange(24.0).reshape(12, 2)
    np.savez(
        tmp_path / "a.npz",
        X=X,
        y=np.repeat([1, 2, 3, 10], 3),
        day=np.tile([1, 2, 3], 4),
        who=list("abcdef" * 2),
    )
    return f"{tmp_path}/a.npz"


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        ("classes=1-2", [0, 1, 2, 3, 4, 5]),
        ("classes=10,1", [0, 1, 2, 9, 10, 11]),
        ("classes!=2-10", [0, 1, 2]),
        ("day=2", [1, 4, 7, 10]),
        ("who=a,f", [0, 5, 6, 11]),
        ("who!=a,b,c,d", [4, 5, 10, 11]),
        ("classes=1-3:day=1:who!=a", [3]),
        ("label=day:classes=3", [2, 5, 8, 11]),
    ],
)
def test_parts_are_the_rows_that_meet_every_condition(source: str, said: str, rows: list[int]) -> None:
    part = load(f"{source}:{said}")
    assert (part.X[:, 0] / 2).tolist() == rows
    assert part.name == f"{source}:{said}"
    assert all(len(values) == len(rows) for values in part.columns.values())


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("dya=2", "no column 'dya'; did you mean day"),
        ("day=7", "day has no 7; found 3 values from 1 to 3"),
        ("day=5-7", "day has none of 5-7"),
        ("day=x", "day must be whole numbers or ranges such as 0-4; found 'x'"),
        ("who=g", "who has no 'g'"),
        ("classes=4", "there is no class 4; found 4 classes from 1 to 10"),
        ("classes=1:classes=2", "there is no class 2"),
        ("day!=1-3", "nothing is left of 12 items"),
        ("label=dya", "must hold X and dya"),
    ],
)
def test_a_part_that_is_not_there_is_refused(source: str, said: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        load(f"{source}:{said}")
    assert "\n" not in str(error.value)


def test_a_path_with_colons_is_taken_whole(tmp_path: Path) -> None:
    place = tmp_path / "a:classes=1.npz"
    np.savez(place, X=np.eye(3), y=[1, 2, 3])
    assert len(load(place)) == 3
    assert len(load(f"{place}:classes=2-3")) == 2


def test_options_are_read_wherever_they_stand() -> None:
    text, reading, parts = split_source("emoji:size=16x24:style=noto:colour=grey", Reading())
    assert (text, reading.size, reading.colour) == ("emoji", (16, 24), "grey")
    assert [(part.column, part.values, part.exclude) for part in parts] == [("style", "noto", False)]


def test_taking_by_a_column_keeps_the_order_of_the_items() -> None:
    records = Records(np.eye(4, dtype=np.float32), None, "four", columns={"c": np.array(list("abab"))})
    assert take_where(records, "c", ["b"]).X.argmax(1).tolist() == [1, 3]
    assert take_where(records, "c", ["b"], exclude=True).X.argmax(1).tolist() == [0, 2]
