"""A folder of images becomes records, whatever its formats; a bad file is named in one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

import likewise.data.files as files
from likewise.data import load, read_image, record
from likewise.errors import DataError

GREY = np.arange(120, dtype=np.uint8).reshape(10, 12) * 2
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label, shade in (("cat", 40), ("dog", 200)):
        for number in range(3):
            save(tmp_path / "photos" / label / f"{number}.png", GREY // 2 + shade // 4 + number)
    return tmp_path / "photos"


def test_the_class_is_the_folder_and_the_pixels_are_the_files(folder: Path) -> None:
    records = load(folder)
    assert (records.kind, records.item_shape, len(records)) == ("image", (10, 12), 6)
    assert records.y.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert records.ids == [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(3)]
    for row, (shade, number) in enumerate([(40, 0), (40, 1), (40, 2), (200, 0), (200, 1), (200, 2)]):
        expected = (GREY // 2 + shade // 4 + number).astype(np.float32) / 255
        np.testing.assert_array_equal(records.items([row])[0], expected)
    np.testing.assert_array_equal(records.items([4, 1]), records.X[[4, 1]])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tif", "pgm", "webp", "jpg", "JPEG"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {"quality": 98} if suffix[0] in "jJ" else {}
    place = save(tmp_path / f"image.{suffix}", GREY, **options)
    found = read_image(place, colour="grey").astype(int)
    tolerance = 4 if suffix[0] in "jJ" else 0
    assert np.abs(found - GREY.astype(int)).max() <= tolerance


def test_every_mode_becomes_grey_or_rgb(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257  # 0xABAB of 0xAB
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", deep)), GREY)
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.tiff", deep)), GREY)
    floats = save(tmp_path / "floats.tiff", (GREY / 255).astype(np.float32))
    np.testing.assert_array_equal(read_image(floats), GREY)
    np.testing.assert_array_equal(read_image(save(tmp_path / "c.png", COLOUR)), COLOUR.transpose(2, 0, 1))
    alpha = np.full((10, 12), 255, dtype=np.uint8)
    alpha[:, 6:] = 0
    clear = read_image(save(tmp_path / "clear.png", np.dstack([COLOUR, alpha])))
    np.testing.assert_array_equal(clear[:, :, :6], COLOUR.transpose(2, 0, 1)[:, :, :6])
    assert (clear[:, :, 6:] == 255).all()  # what is transparent lies on white
    Image.fromarray(np.dstack([GREY, alpha]), "LA").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (10, 12)
    assert (read_image(tmp_path / "grey.png")[:, 6:] == 255).all()
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_image(tmp_path / "palette.png")[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]
    Image.fromarray(GREY > 100).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png"), (GREY > 100) * np.uint8(255))


def test_the_orientation_of_a_camera_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    place = save(tmp_path / "photos" / "a" / "1.png", GREY, exif=exif.tobytes())
    np.testing.assert_array_equal(read_image(place), np.rot90(GREY, -1))
    save(tmp_path / "photos" / "a" / "2.png", np.rot90(GREY, -1).copy())
    assert load(tmp_path / "photos").item_shape == (12, 10)


def test_images_of_different_sizes_get_the_median_size_of_at_most_64(tmp_path: Path) -> None:
    for number, (height, width) in enumerate([(480, 640), (480, 640), (100, 100)]):
        flat = np.full((height, width, 3), 10 * number, dtype=np.uint8)
        save(tmp_path / "photos" / "a" / f"{number}.png", flat)
    records = load(tmp_path / "photos")
    assert records.item_shape == (3, 48, 64)
    for row in range(3):  # resizing keeps what is flat flat
        np.testing.assert_allclose(records.items([row]), 10 * row / 255, atol=1e-6)
    assert load(tmp_path / "photos", size=20, colour="grey").item_shape == (20, 20)
    assert load(f"{tmp_path}/photos:size=16x24").item_shape == (3, 16, 24)
    with pytest.raises(DataError, match="size must be"):
        load(tmp_path / "photos", size="big")


def test_resizing_averages_over_what_it_shrinks(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
    found = read_image(save(tmp_path / "board.png", board.astype(np.uint8)), size=(8, 8))
    assert found.min() > 110 and found.max() < 145  # every second pixel, taken, would be 0 or 255


def test_loose_images_are_unlabelled(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", GREY)
    records = load(tmp_path)
    assert records.y is None and not records.labelled and len(records) == 3
    with pytest.raises(DataError, match="no labels"):
        _ = records.labels
    assert "unlabelled" in repr(records)


def test_deeper_folders_are_kept_as_a_column(tmp_path: Path) -> None:
    for place in ("cat/2020/1.png", "cat/2021/1.png", "dog/1.png"):
        save(tmp_path / place, GREY)
    records = load(tmp_path)
    assert records.y.tolist() == ["cat", "cat", "dog"]
    assert records.columns["folder"].tolist() == ["cat/2020", "cat/2021", "dog"]
    assert load(tmp_path, label="folder").classes.tolist() == ["cat/2020", "cat/2021", "dog"]
    assert len(load(f"{tmp_path}:folder=cat/2021,dog")) == 2


def test_many_images_are_decoded_when_they_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load(folder)
    monkeypatch.setattr(files, "_KEPT_BYTES", 0)
    lazy = load(folder)
    assert lazy.held.costly and not kept.held.costly
    np.testing.assert_array_equal(lazy.take([5, 2]).X, kept.X[[5, 2]])
    assert lazy.fingerprint == kept.fingerprint
    before = lazy.fingerprint
    save(folder / "cat" / "1.png", GREY)
    assert load(folder).fingerprint != before
    assert lazy.held.reshaped((3, 8, 8)).read([0]).shape == (1, 3, 8, 8)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


BAD = {
    "empty": (b"", "empty"),
    "text": (b"no image at all", "not an image"),
    "bomb": (bomb(60_000, 60_000), "pixels"),
    "large": (bomb(10_000, 9_000), "90000000 pixels|pixels"),
    "hollow": (bomb(10, 10), "can't be read"),
}


@pytest.mark.parametrize("kind", [*BAD, "cut", "cut jpeg", "broken"])
@pytest.mark.parametrize("lazily", [False, True])
def test_a_bad_file_is_named_and_can_be_skipped(
    folder: Path, kind: str, lazily: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, size=(64, 64), dtype=np.uint8)
    whole = save(folder.parent / "noise.png", noise).read_bytes()
    name = "bad.jpg" if "jpeg" in kind else "bad.png"
    if kind == "cut jpeg":
        save(folder / "dog" / name, GREY)
        data, found = (folder / "dog" / name).read_bytes()[:-40], "cut short"
    elif kind == "cut":
        data, found = whole[: len(whole) // 2], "cut short"
    elif kind == "broken":
        middle = len(whole) // 2
        data, found = whole[:middle] + bytes(20) + whole[middle + 20 :], "can't be read"
    else:
        data, found = BAD[kind]
    (folder / "dog" / name).write_bytes(data)
    if lazily and kind in ("broken", "hollow"):  # only decoding tells
        monkeypatch.setattr(files, "_KEPT_BYTES", 0)
        lazy = load(folder)
        with pytest.raises(DataError, match=found):
            _ = lazy.X
        return
    with pytest.raises(DataError, match=found) as error:
        load(folder)
    assert f"dog/{name}" in str(error.value) and "\n" not in str(error.value)
    skipping = load(folder, skip_bad=True)
    assert (len(skipping), skipping.skipped) == (6, 1)
    assert skipping.y.tolist() == ["cat"] * 3 + ["dog"] * 3


def test_folders_that_are_no_data_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.doc").write_text("no")
    for name in ("empty", "texts"):
        with pytest.raises(DataError, match=f"{name}: there is no image"):
            load(tmp_path / name)
    save(folder / "loose.png", GREY)
    with pytest.raises(DataError, match=r"loose\.png lies beside class folders"):
        load(folder)
    (folder / "loose.png").unlink()
    save(folder / ".hidden" / "x.png", GREY)
    (folder / "cat" / "notes.txt").write_text("passed over")
    assert len(load(folder)) == 6
    for label in ("cat", "dog"):
        for place in (folder / label).glob("*.png"):
            place.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 6 images"):
        load(folder, skip_bad=True)


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    outside = save(tmp_path / "secret.png", GREY)
    (folder / "dog" / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"link\.png: the link leads out"):
        load(folder)
    left = load(folder, skip_bad=True)
    assert (len(left), left.skipped) == (6, 1)
    (folder / "dog" / "link.png").unlink()
    (folder / "wolf").symlink_to(tmp_path)
    with pytest.raises(DataError, match="wolf: the link leads out"):
        load(folder)
    (folder / "wolf").unlink()
    (folder / "dog" / "again.png").symlink_to(folder / "dog" / "0.png")
    assert len(load(folder)) == 7


def test_one_image_is_a_record(folder: Path) -> None:
    found = record(folder / "cat" / "1.png")
    assert found.id == str(folder / "cat" / "1.png") and found.label is None
    np.testing.assert_array_equal(np.asarray(found.item), GREY // 2 + 10 + 1)
    with pytest.raises(DataError, match="no such file"):
        record(folder / "cat" / "9.png")


def test_lists_of_files_and_of_pil_images_are_images(folder: Path) -> None:
    paths = sorted(folder.rglob("*.png"))
    by_path = load((paths, [0, 0, 0, 1, 1, 1]))
    by_text = load(([str(path) for path in paths], None))
    by_pil = load(([Image.open(path) for path in paths], [0, 0, 0, 1, 1, 1]))
    for records in (by_path, by_text, by_pil):
        np.testing.assert_array_equal(records.X, load(folder).X)
    assert by_text.y is None and by_pil.y.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_a_large_photograph_is_read_as_if_it_were_decoded_whole(
    tmp_path: Path, orientation: int | None, colour: Literal["grey", "rgb"]
) -> None:
    """The decoder halves what is much too large; whichever way up, little changes by it."""
    coarse = np.random.default_rng(0).integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    whole = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    whole.save(tmp_path / "a.jpg", exif=exif, quality=95)
    size = (48, 64) if orientation in (None, 1, 3) else (64, 48)
    turns = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}
    turned = whole.transpose(turns[orientation]) if orientation in turns else whole
    shown = turned.convert("L" if colour == "grey" else "RGB").resize(size[::-1], Image.Resampling.BILINEAR)
    expected = np.asarray(shown).astype(int)
    found = read_image(tmp_path / "a.jpg", size=size, colour=colour).astype(int)
    if colour == "rgb":
        found = found.transpose(1, 2, 0)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 1.5 and np.abs(found - expected).max() < 16


def test_an_image_in_memory_stays_as_it_is() -> None:
    given = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    before = np.array(given)
    assert np.array_equal(read_image(given), before) and np.array_equal(np.array(given), before)
