"""Tables become features, rows with missing values and categories, images or texts; bad ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from likewise.data import load
from likewise.errors import DataError

ROWS = "age,city,label\n3,Bonn,a\n,Kiel,b\n5.5,,a\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_missing_values_and_categories_are_kept(tmp_path: Path) -> None:
    records = load(write(tmp_path / "people.csv", ROWS))
    assert (records.kind, records.item_shape, records.y.tolist()) == ("table", (2,), ["a", "b", "a"])
    rows = records.items()
    np.testing.assert_array_equal(rows["age"], np.array([3, np.nan, 5.5], dtype=np.float32))
    assert rows["city"].tolist() == ["Bonn", "Kiel", ""]
    assert records.items([2, 0])["age"].tolist() == [5.5, 3.0]
    assert records.digests[0] != records.digests[1]


def test_numbers_alone_are_features_with_their_names(tmp_path: Path) -> None:
    records = load(write(tmp_path / "t.csv", "id,width,height,class\nx,1,2,7\ny,3,4,8\n"))
    assert (records.kind, records.X.tolist(), records.y.tolist()) == ("features", [[1, 2], [3, 4]], [7, 8])
    assert records.held.names == ("width", "height")
    assert records.ids == ["x", "y"]


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet", "pandas", "polars", "arrow"])
def test_every_kind_of_table_gives_the_same(tmp_path: Path, kind: str) -> None:
    expected = load(write(tmp_path / "people.csv", ROWS))
    columns: dict[str, list[Any]] = {
        "age": [3.0, None, 5.5],
        "city": ["Bonn", "Kiel", None],
        "label": ["a", "b", "a"],
    }
    table = pyarrow.table(columns)
    source: Any = tmp_path / f"people.{kind}"
    if kind == "tsv":
        write(source, ROWS.replace(",", "\t"))
    elif kind == "jsonl":
        lines = ['{"age": 3.0, "city": "Bonn", "label": "a"}', '{"city": "Kiel", "label": "b"}']
        write(source, "\n".join([*lines, '{"age": 5.5, "label": "a"}']) + "\n")
    elif kind == "parquet":
        pyarrow.parquet.write_table(table, source)
    else:
        source = {"pandas": pandas.DataFrame(columns), "polars": polars.DataFrame(columns), "arrow": table}[
            kind
        ]
    found = load(source)
    assert found.fingerprint == expected.fingerprint
    assert found.items().dtype.names == ("age", "city")


def test_frames_keep_types_and_leave_the_index_out() -> None:
    frame = pandas.DataFrame(
        {
            "when": pandas.to_datetime(["1970-01-02", "1970-01-11"]),
            "kind": pandas.Categorical(["u", "v"]),
            "good": [True, False],
            "label": [1, 2],
        },
        index=["p", "q"],
    )
    rows = load(frame, name="frame").items()
    assert rows.dtype.names == ("when", "kind", "good")
    assert (rows["when"].tolist(), rows["kind"].tolist()) == ([1.0, 10.0], ["u", "v"])
    assert rows["good"].tolist() == [1.0, 0.0]


def test_a_column_of_texts_makes_texts(tmp_path: Path) -> None:
    text = 'id,text,topic,label\n1,"One, two\nthree",x,a\n2,four,y,b\n'
    records = load(write(tmp_path / "notes.csv", text))
    assert (records.kind, records.X.tolist()) == ("text", ["One, two\nthree", "four"])
    assert records.columns["topic"].tolist() == ["x", "y"]
    only = load(write(tmp_path / "only.csv", "words,label\nsome words,1\nother words,2\n"))
    assert (only.kind, only.y.tolist()) == ("text", [1, 2])
    chosen = load(f"{tmp_path}/notes.csv:text=topic:label=id")
    assert (chosen.X.tolist(), chosen.y.tolist()) == (["x", "y"], [1, 2])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.fromarray(np.full((9, 9), 50 * number, dtype=np.uint8)).save(tmp_path / f"images/{number}.png")
    return tmp_path


def test_a_column_of_files_makes_images(pictures: Path) -> None:
    rows = "path,label,group\nimages/2.png,b,x\nimages/0.png,a,y\n"
    records = load(write(pictures / "list.csv", rows))
    assert (records.kind, records.item_shape, records.y.tolist()) == ("image", (9, 9), ["b", "a"])
    np.testing.assert_allclose(records.X[:, 0, 0], [100 / 255, 0])
    assert records.columns["group"].tolist() == ["x", "y"]
    assert records.ids == ["images/2.png", "images/0.png"]


def test_a_path_that_is_not_there_names_its_row(pictures: Path) -> None:
    place = write(pictures / "list.csv", "path,label\nimages/2.png,b\nimages/9.png,a\nimages/1.png,a\n")
    with pytest.raises(DataError, match=r"list\.csv: row 1: .*images/9\.png: there is no such file"):
        load(place)
    records = load(place, skip_bad=True)
    assert (records.skipped, records.y.tolist()) == (1, ["b", "a"])


def test_without_a_label_records_are_unlabelled(tmp_path: Path) -> None:
    records = load(write(tmp_path / "t.csv", "width,height\n1,2\n3,4\n"))
    assert records.y is None and records.kind == "features"


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        (ROWS, {"label": "ctiy"}, "no column 'ctiy' .*did you mean city"),
        (ROWS, {"text": "age"}, "must hold strings"),
        (ROWS, {"text": "city"}, "'city' is empty in row 2"),
        ("age,label\n1,a\n2,\n", {}, "'label' has no value in row 1"),
        ("age,label\n1,1.5\n2,2\n", {}, "whole numbers or strings as labels; found double"),
        ("age,label\n1,a\n2,b\nthree,a\n4,b\n", {}, "'age' mixes numbers and words: found 'three' in row 2"),
        ("age,label\n1,a\ninf,b\n", {}, "'age' must be finite; found inf in row 1"),
        ("age,label\n1,a\n1e300,b\n", {}, r"1e\+300 \(beyond float32\) in row 1"),
        ("age,age,label\n1,2,a\n", {}, "'age' occurs twice"),
        ("age,,label\n1,2,a\n", {}, "a column has no name"),
        ("5.1,3.5,Iris\n1,2,a\n", {}, "first line must name the columns; found the number 5.1"),
        ("age,label\n", {}, "no row"),
        ("", {}, "empty"),
        ("label\na\nb\n", {}, "nothing to learn from"),
        ("age,label\n1,a\n2\n", {}, "can't be read as a table"),
    ],
)
def test_bad_tables_are_refused_in_one_line(
    tmp_path: Path, text: str, options: dict[str, str], found: str
) -> None:
    with pytest.raises(DataError, match=found) as error:
        load(write(tmp_path / "t.csv", text), **options)
    assert "t.csv" in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.jsonl"):
        with pytest.raises(DataError, match="can't be read as a table") as error:
            load(write(tmp_path / name, "{nothing"))
        assert "\n" not in str(error.value)
    (tmp_path / "latin.csv").write_bytes(b"name,label\n\xe9\xff,1\n")
    with pytest.raises(DataError, match=r"latin\.csv"):
        load(tmp_path / "latin.csv")
    with pytest.raises(DataError, match="give each column one type"):
        load(pandas.DataFrame({"mixed": [1, "two", [3]], "label": [1, 2, 3]}))


def test_arrays_of_a_npz_that_are_as_long_are_columns(tmp_path: Path) -> None:
    X = np.arange(8.0).reshape(4, 2)
    np.savez(tmp_path / "a.npz", X=X, y=[0, 0, 1, 1], person=list("pqrs"), other=np.zeros(7))
    records = load(tmp_path / "a.npz")
    assert list(records.columns) == ["person"] and len(load(f"{tmp_path}/a.npz:person=p,s")) == 2
    assert load(tmp_path / "a.npz", label="person").y.tolist() == list("pqrs")
    np.savez(tmp_path / "bare.npz", X=X)
    assert load(tmp_path / "bare.npz").y is None
