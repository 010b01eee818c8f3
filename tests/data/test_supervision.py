"""Tables of pairs, scores, triplets and rankings become a relation over the things they speak of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from likewise.data import load, split_by_row
from likewise.data.entries import entries_of
from likewise.errors import DataError
from likewise.relations import Pairs, Scores, Triplets


def write(folder: Path, text: str, name: str = "said.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def told(records) -> list[tuple[object, ...]]:
    """The entries, each with the things themselves."""
    fields = entries_of(records.relation)
    items = records.items()
    places = {"left", "right", "anchor", "positive", "negative"}
    columns = [
        [items[v] for v in values] if name in places else values.tolist() for name, values in fields.items()
    ]
    return list(zip(*columns, strict=True))


def test_pairs_of_texts(tmp_path: Path) -> None:
    records = load(write(tmp_path, "left,right,same,split\na,b,1,x\nb,c,0,y\na,b,1,y\n"))
    assert records.kind == "text" and records.X.tolist() == ["a", "b", "c"] and records.y is None
    assert isinstance(records.relation, Pairs)
    assert told(records) == [("a", "b", True), ("b", "c", False), ("a", "b", True)]
    part = load(f"{tmp_path}/said.csv:split=y")
    assert told(part) == [("b", "c", False), ("a", "b", True)]
    assert part.entries["split"].tolist() == ["y", "y"]


def test_scores_and_triplets(tmp_path: Path) -> None:
    scores = load(write(tmp_path, "left,right,score\na,b,4.5\nb,c,0\n"))
    assert isinstance(scores.relation, Scores)
    assert told(scores) == [("a", "b", 4.5), ("b", "c", 0.0)]
    triplets = load(write(tmp_path, "anchor,positive,negative\na,b,c\nc,b,a\n"))
    assert isinstance(triplets.relation, Triplets)
    assert told(triplets) == [("a", "b", "c"), ("c", "b", "a")]


def test_rankings_are_every_comparison_of_different_ranks(tmp_path: Path) -> None:
    text = "query,item,rank\nq,a,1\nq,b,2\nq,c,2\np,a,5\np,b,1\n"
    found = told(load(write(tmp_path, text)))
    assert sorted(found) == [("p", "b", "a"), ("q", "a", "b"), ("q", "a", "c")]
    better = load(write(tmp_path, "better,worse\na,b\nc,b\n"))
    assert told(better) == [("a", "b", 1.0), ("c", "b", 1.0)]


def test_things_may_be_images_or_rows_of_other_data(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((8, 8), 80 * number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    place = write(tmp_path, "left,right,same\n2.png,0.png,0\n2.png,1.png,1\n")
    images = load(place)
    assert (images.kind, images.item_shape) == ("image", (8, 8))
    assert images.columns["path"].tolist() == ["2.png", "0.png", "1.png"]
    np.testing.assert_allclose(images.X[:, 0, 0] * 255, [160, 0, 80], rtol=1e-6)
    np.savez(tmp_path / "things.npz", X=np.arange(10.0).reshape(5, 2), y=range(5))
    rows = load(write(tmp_path, "left,right,same\n4,0,0\n4,2,1\n"), items=tmp_path / "things.npz")
    assert rows.X.tolist() == [[0, 1], [4, 5], [8, 9]]  # those that are spoken of
    assert [tuple(map(float, (a[0], b[0], same))) for a, b, same in told(rows)] == [(8, 0, 0), (8, 4, 1)]
    said = load(f"{tmp_path}/said.csv:items=things.npz")
    assert said.fingerprint == rows.fingerprint


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("left,right,same\na,b,1\nc,d,0\nb,a,0\n", "rows 0 and 2 contradict"),
        ("left,right,same\na,a,1\n", "row 0 pairs a thing with itself"),
        ("left,right,same\na,b,2\n", "same must be 1 or 0.*found 2 in row 0"),
        ("left,right,same\na,,1\n", "'right' is empty in row 0"),
        ("left,right,same\n1,2,1\n", "items="),
        ("left,right,score\na,b,x\n", "must hold numbers"),
        ("left,right,score\na,b,1\na,c,\n", "found nan in row 1"),
        ("anchor,positive,negative\na,b,c\nx,y,z\na,c,b\n", "rows 0 and 2 contradict"),
        ("anchor,positive,negative\na,b,b\n", "row 0 names one thing twice"),
        ("query,item,rank\nq,a,1\nq,a,2\n", "rows 0 and 1 contradict"),
        ("query,item,rank\nq,a,1\nq,b,1\n", "no query has two items of different rank"),
        ("better,worse\na,b\nb,a\n", "rows 0 and 1 contradict"),
        ("better,worse\nx,a\na,b\nb,c\nc,a\n", "rows 1, 2 and 3 go in a circle: each thing is better"),
        (
            "anchor,positive,negative\nq,a,b\nq,b,c\nr,c,a\nq,c,a\n",
            "rows 0, 1 and 3 go in a circle: each thing is nearer than the next",
        ),
        ("left,right,same\n0.png,1.png,1\n", r"row 0, column 'left': .*0\.png: there is no such file"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        load(write(tmp_path, text))
    assert "said.csv" in str(error.value) and "\n" not in str(error.value)


def test_rows_that_are_not_there_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "things.npz", X=np.arange(10.0).reshape(5, 2))
    with pytest.raises(DataError, match=r"'right' has 7 in row 1; .*things\.npz has no such item"):
        load(write(tmp_path, "left,right,same\n4,0,0\n4,7,1\n"), items=tmp_path / "things.npz")


def test_taking_items_keeps_what_is_said_of_them_alone(tmp_path: Path) -> None:
    records = load(write(tmp_path, "left,right,same\na,b,1\nb,c,0\na,d,0\n"))
    few = records.take([3, 0, 1])
    assert few.X.tolist() == ["d", "a", "b"]
    assert told(few) == [("a", "b", True), ("a", "d", False)]
    one = records.take_entries([1])
    assert one.X.tolist() == ["b", "c"] and told(one) == [("b", "c", False)]


def test_pairs_are_split_by_entry_and_shared_things_are_a_leak(tmp_path: Path) -> None:
    rows = "".join(f"a{i},b{i},{i % 2}\n" for i in range(10))
    parts = split_by_row(load(write(tmp_path, "left,right,same\n" + rows)), test_fraction=0.3)
    assert len(told(parts.train)) == 7 and len(told(parts.test)) == 3
    assert not set(parts.train.X) & set(parts.test.X)
    shared = load(write(tmp_path, "left,right,same\n" + "".join(f"a,b{i},1\n" for i in range(4))))
    with pytest.raises(DataError, match="a leak"):
        split_by_row(shared, test_fraction=0.5)
