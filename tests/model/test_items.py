"""A model embeds whatever its records hold, and brings other records to the form of its training data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import likewise.data.files as files
from likewise.data import ArrayItems, Record, Records, TableItems, TextItems, load, record
from likewise.distances import Cosine, Euclidean
from likewise.encoders import Preprocessing, Standardize, encoder_for, preprocessing_for
from likewise.errors import DataError, InputError
from likewise.model import Calibration, Model

TEXTS = ["a cat sat", "the dog ran", "a dog sat"]
ROWS = np.array([(1.0, "x"), (np.nan, "y"), (3.0, "")], dtype=[("size", "f4"), ("kind", "U1")])


def model_of(records: Records) -> Model:
    preparation = preprocessing_for(records)
    return Model(
        encoder_for(preparation, dimension=4, seed=2),
        Cosine(),
        preparation,
        Calibration(slope=1.0, offset=0.5, threshold=0.5, held_out="classes"),
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 255, size=(12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


RECORDS: dict[str, Records] = {
    "features": Records(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), None, "features"),
    "bytes": Records(np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8), None, "images"),
    "texts": Records(TextItems(TEXTS), None, "texts"),
    "rows": Records(TableItems(ROWS), None, "rows"),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_saved_model_of_any_kind_embeds_the_same(kind: str, tmp_path: Path) -> None:
    records = RECORDS[kind]
    model = model_of(records)
    whole = model.embed(records)
    assert whole.shape == (len(records), 4) and model.dimension == 4 and model.kind == records.kind
    model.save(tmp_path / "run")
    again = Model.load(tmp_path / "run")
    np.testing.assert_array_equal(again.embed(records), whole)
    assert again.fingerprint == model.fingerprint
    np.testing.assert_allclose(again.embed(records, batch_size=2), whole, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.embed(records.X), whole, rtol=1e-5, atol=1e-7)
    one = Record(records.items([1])[0], None, "x", 1)
    for asked in (one, [one]):
        np.testing.assert_allclose(model.embed(asked), whole[1:2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.embed([one, one]), whole[[1, 1]], rtol=1e-4, atol=1e-6)
    verdict = model.verify(one, Record(records.items([2])[0], None, "y", 2))
    expected = Cosine()(torch.from_numpy(whole[1]), torch.from_numpy(whole[2])).item()
    assert verdict.distance == pytest.approx(expected, abs=1e-5)


def test_images_come_as_records_files_pil_bytes_or_arrays(photos: Path) -> None:
    records = load(photos)
    model = model_of(records)
    whole = model.embed(records)
    paths = sorted(photos.rglob("*.png"))
    for asked in (
        paths,
        [str(path) for path in paths],
        [Image.open(path) for path in paths],
        [path.read_bytes() for path in paths],
        [record(path) for path in paths],
        records.X,
        list(records.X),
    ):
        np.testing.assert_allclose(model.embed(asked), whole, rtol=1e-4, atol=1e-6)
    with pytest.raises(DataError, match=r"9\.png: there is no such file"):
        model.embed([photos / "9.png"])


def test_files_of_another_size_are_brought_to_the_models(photos: Path, tmp_path: Path) -> None:
    model = model_of(load(photos))
    large = tmp_path / "large"
    large.mkdir()
    for path in sorted(photos.rglob("*.png")):
        with Image.open(path) as image:
            image.resize((40, 48), Image.Resampling.NEAREST).save(large / f"{path.parent.name}{path.name}")
    records = load(large)
    assert records.item_shape != model.item_shape
    adapted = model.adapted(records)
    assert adapted.item_shape == model.item_shape and adapted.ids == records.ids
    # Each pixel was blown up to 4 x 4 equal ones; smoothing mixes neighbours a little.
    assert np.abs(adapted.X - load(photos).X).mean() < 0.12
    np.testing.assert_array_equal(model.embed(records), model.embed(adapted))
    grey = model_of(load(photos, colour="grey", size=9))
    assert grey.embed(records).shape == (6, 4)
    with pytest.raises(
        InputError, match=r"image \(3, 12, 10\), as in training; found image \(8, 8\); say size="
    ):
        model.embed(load("digits"))


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("width,height,label\n1,20,x\n3,40,y\n5,10,y\n")
    (tmp_path / "b.csv").write_text("label,height,width\nx,20,1\ny,40,3\ny,10,5\n")
    (tmp_path / "c.csv").write_text("label,height,width\nx,20,1\ny,,3\n")
    (tmp_path / "d.csv").write_text("label,height\nx,20\ny,1\n")
    model = model_of(load(tmp_path / "a.csv"))
    expected = model.embed(load(tmp_path / "a.csv"))
    np.testing.assert_array_equal(model.embed(load(tmp_path / "b.csv")), expected)
    with pytest.raises(InputError, match="column 'height' is missing in row 1"):
        model.embed(load(tmp_path / "c.csv"))
    with pytest.raises(InputError, match="'width' isn't there"):
        model.embed(load(tmp_path / "d.csv"))
    gaps = model_of(load(tmp_path / "c.csv"))
    assert gaps.kind == "table"  # and data without a gap serve it as well
    np.testing.assert_allclose(
        gaps.embed(load(tmp_path / "b.csv"))[0], gaps.embed(load(tmp_path / "c.csv"))[0]
    )


@pytest.mark.parametrize(
    ("kind", "asked", "found"),
    [
        ("features", RECORDS["texts"], r"must be features \(3,\), as in training; found text"),
        ("texts", RECORDS["features"], "must be text, as in training"),
        ("texts", np.eye(3), "list of texts"),
        ("texts", ["fine", ""], "row 1 is empty"),
        ("rows", RECORDS["texts"], "must be table"),
        ("rows", Records(TableItems(ROWS[["size"]]), None, "few"), "'kind' isn't there"),
        ("features", Records(np.zeros((0, 3), dtype=np.float32), None, "none"), "no item"),
        ("features", Records(np.zeros((2, 4), dtype=np.float32), None, "wide"), r"found features \(4,\)"),
    ],
)
def test_items_of_another_kind_are_refused(kind: str, asked: Any, found: str) -> None:
    with pytest.raises(InputError, match=found) as error:
        model_of(RECORDS[kind]).embed(asked)
    assert "\n" not in str(error.value)


class Sums(nn.Module):
    """A network of a user's own, over a table's numbers or a text's words."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(places, 2))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return items.float().flatten(1)[:, : len(self.weight)] @ self.weight


@pytest.mark.parametrize("kind", ["rows", "texts"])
def test_a_network_of_ones_own_is_tried_when_it_is_loaded(kind: str, tmp_path: Path) -> None:
    records = RECORDS[kind]
    preparation: Preprocessing = preprocessing_for(records)
    model = Model(Sums(2), Euclidean(), preparation)
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(
        Model.load(tmp_path / "run", encoder=Sums(2)).embed(records), model.embed(records)
    )

    def doubled(self: Sums, items: torch.Tensor) -> torch.Tensor:
        return 2 * items.float().flatten(1)[:, : len(self.weight)] @ self.weight

    other = type("Sums", (Sums,), {"forward": doubled})
    other.__qualname__ = Sums.__qualname__
    with pytest.raises(InputError, match="computes something else"):
        Model.load(tmp_path / "run", encoder=other(2))


def test_images_that_stay_on_the_disk_embed_the_same(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(load(photos))
    expected = model.embed(load(photos), batch_size=4)
    monkeypatch.setattr(files, "_KEPT_BYTES", 0)
    np.testing.assert_array_equal(model.embed(load(photos), batch_size=4), expected)


def test_names_of_features_are_saved(tmp_path: Path) -> None:
    X = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    model = model_of(Records(ArrayItems(X, names=["a", "b"]), None, "named"))
    model.save(tmp_path / "run")
    again = Model.load(tmp_path / "run")
    assert isinstance(again.preprocessing, Standardize) and again.preprocessing.names == ("a", "b")
    swapped = Records(ArrayItems(X[:, ::-1].copy(), names=["b", "a"]), None, "swapped")
    np.testing.assert_array_equal(again.embed(swapped), model.embed(X))
