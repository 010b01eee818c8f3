"""An index answers what a model embeds: an image file, a text, a row of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from likewise.data import Records, TableItems, TextItems, load, record
from likewise.distances import Cosine
from likewise.encoders import encoder_for, preprocessing_for
from likewise.model import Model
from likewise.search import Index


def index_of(records: Records) -> Index:
    preparation = preprocessing_for(records)
    return Index.build(Model(encoder_for(preparation, dimension=4, seed=1), Cosine(), preparation), records)


def test_an_image_file_finds_itself(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(4):
        pixels = generator.integers(0, 255, size=(12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    index = index_of(load(tmp_path))
    for query in (
        tmp_path / "2.png",
        str(tmp_path / "2.png"),
        record(tmp_path / "2.png"),
        load(tmp_path).X[2],
    ):
        assert index.search(query, k=1)[0].row == 2
    assert [hits[0].row for hits in index.search(load(tmp_path).X[[3, 1]], k=1)] == [3, 1]


def test_a_text_is_asked_as_it_is() -> None:
    index = index_of(Records(TextItems(["a red cat", "the blue dog", "one green bird"]), None, "texts"))
    for query in ("the blue dog", "text:the blue dog", record("text:the blue dog")):
        assert index.search(query, k=1)[0].row == 1
    assert [hits[0].row for hits in index.search(["one green bird", "a red cat"], k=1)] == [2, 0]


def test_a_row_of_a_table_finds_itself() -> None:
    rows = np.array([(1.0, "x"), (5.0, "y"), (9.0, "")], dtype=[("size", "f4"), ("kind", "U1")])
    records = Records(TableItems(rows), np.array([0, 1, 1]), "rows")
    index = index_of(records)
    assert [hits[0].row for hits in index.search(rows[[2, 0]], k=1)] == [2, 0]
    assert index.search(rows[1], k=1)[0].row == 1
