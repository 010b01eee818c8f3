"""Image sets of papers from archives of the published layouts: tiny ones, made here."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from likewise.data import load
from likewise.errors import DataError


def picture(shade: int) -> bytes:
    """A plain image, 20 x 10, of one shade of red; PNG, so that it stays exact whatever its name says."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (shade, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def pack(path: Path, members: dict[str, bytes | str]) -> None:
    """An archive of the kind that the name tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {name: data.encode() if isinstance(data, str) else data for name, data in members.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in held.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz") as tar:
        for name, data in held.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def shades(records) -> list[int]:  # type: ignore[no-untyped-def]
    """The red of each image, which must be plain."""
    images = records.held.read(slice(None)) * 255
    assert images.shape[1] == 3 and np.abs(images[:, 1:]).max() == 0
    assert np.ptp(images[:, 0], axis=(1, 2)).max() < 1e-4
    return np.rint(images[:, 0, 0, 0]).astype(int).tolist()


def cub(folder: Path, **changed: str) -> None:
    texts = {
        "images": "1 001.Auk/a.jpg\n2 002.Bee_eater/b.jpg\n3 003.Crow/c.jpg\n4 004.Dove/d.jpg\n",
        "image_class_labels": "1 1\n2 2\n3 3\n4 4\n",
        "classes": "1 001.Auk\n2 002.Bee_eater\n3 003.Crow\n4 004.Dove\n",
        "train_test_split": "1 0\n2 1\n3 1\n4 0\n",
        **changed,
    }
    pictures = {"001.Auk/a": 10, "002.Bee_eater/b": 20, "003.Crow/c": 30, "004.Dove/d": 40}
    pack(
        folder / "cub-200-2011" / "CUB_200_2011.tgz",
        {
            **{f"CUB_200_2011/images/{name}.jpg": picture(shade) for name, shade in pictures.items()},
            **{f"./CUB_200_2011/{name}.txt": text for name, text in texts.items()},
        },
    )


def test_birds(tmp_path: Path) -> None:
    cub(tmp_path)
    birds = load("cub-200-2011", data=tmp_path)
    assert birds.item_shape == (3, 64, 64) and shades(birds) == [10, 20, 30, 40]
    assert birds.labels.tolist() == ["001.Auk", "002.Bee_eater", "003.Crow", "004.Dove"]
    assert birds.columns["split"].tolist() == ["train", "train", "test", "test"]
    assert birds.columns["part"].tolist() == ["test", "train", "train", "test"]
    later = load("cub-200-2011:split=test:size=16x8", data=tmp_path)
    assert later.item_shape == (3, 16, 8) and shades(later) == [30, 40]


def test_cars(tmp_path: Path) -> None:
    pack(
        tmp_path / "cars196" / "car_ims.tgz",
        {f"car_ims/00000{number}.jpg": picture(number) for number in (2, 1, 3)},
    )
    kinds = np.dtype([("relative_im_path", object), ("class", object), ("test", object)])
    rows = np.array(
        [("car_ims/000001.jpg", 2, 1), ("car_ims/000002.jpg", 1, 0), ("car_ims/000003.jpg", 2, 0)], kinds
    )
    table = tmp_path / "cars196" / "cars_annos.mat"
    savemat(
        table, {"annotations": rows[None], "class_names": np.array([["Auto A", "Buick B"]], dtype=object)}
    )
    cars = load("cars196", data=tmp_path)
    assert shades(cars) == [1, 2, 3] and cars.labels.tolist() == [2, 1, 2]
    assert cars.columns["class_name"].tolist() == ["Buick B", "Auto A", "Buick B"]
    assert cars.columns["split"].tolist() == ["test", "train", "test"]
    assert cars.columns["part"].tolist() == ["test", "train", "train"]


def test_products(tmp_path: Path) -> None:
    head = "image_id class_id super_class_id path\n"
    pack(
        tmp_path / "stanford-online-products" / "Stanford_Online_Products.zip",
        {
            "Stanford_Online_Products/Ebay_train.txt": head
            + "1 7 1 bicycle_final/a.JPG\n2 7 1 bicycle_final/b.JPG\n",
            "Stanford_Online_Products/Ebay_test.txt": head + "3 9 2 chair_final/c.JPG\n",
            "Stanford_Online_Products/bicycle_final/a.JPG": picture(1),
            "Stanford_Online_Products/bicycle_final/b.JPG": picture(2),
            "Stanford_Online_Products/chair_final/c.JPG": picture(3),
        },
    )
    products = load("stanford-online-products", data=tmp_path)
    assert shades(products) == [1, 2, 3] and products.labels.tolist() == [7, 7, 9]
    assert products.columns["split"].tolist() == ["train", "train", "test"]
    assert products.columns["kind"].tolist() == ["bicycle", "bicycle", "chair"]


def test_shop(tmp_path: Path) -> None:
    pack(tmp_path / "in-shop" / "img.zip", {f"img/MEN/id_1/{name}.jpg": picture(ord(name)) for name in "abc"})
    (tmp_path / "in-shop" / "list_eval_partition.txt").write_text(
        "3\nimage_name item_id evaluation_status\n"
        "img/MEN/id_1/b.jpg   id_1 query\nimg/MEN/id_1/a.jpg id_1 gallery\nimg/MEN/id_1/c.jpg id_2 train\n"
    )
    shop = load("in-shop", data=tmp_path)
    assert shades(shop) == [98, 97, 99] and shop.labels.tolist() == ["id_1", "id_1", "id_2"]
    assert shop.columns["split"].tolist() == ["query", "gallery", "train"]


def lfw(folder: Path, pairs: str) -> None:
    people = {("Ann_A", 1): 11, ("Ann_A", 2): 12, ("Bo_B", 1): 21, ("Cy", 3): 33}
    pack(
        folder / "lfw" / "lfw.tgz",
        {f"lfw/{person}/{person}_{shot:04d}.jpg": picture(shade) for (person, shot), shade in people.items()},
    )
    (folder / "lfw" / "pairs.txt").write_text(pairs)


def test_faces_in_the_wild_and_their_pairs(tmp_path: Path) -> None:
    lfw(
        tmp_path,
        "2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBo_B\t1\nAnn_A\t2\t1\nBo_B\t1\tCy\t3\n".replace("2\t1\nBo", "1\t2\nBo"),
    )
    faces = load("lfw", data=tmp_path)
    assert shades(faces) == [11, 12, 21, 33] and faces.labels.tolist() == ["Ann_A", "Ann_A", "Bo_B", "Cy"]
    pairs = load("lfw-pairs", data=tmp_path)
    assert shades(pairs) == [11, 12, 21, 33]
    assert pairs.relation.left.tolist() == [0, 0, 0, 2] and pairs.relation.right.tolist() == [1, 2, 1, 3]  # type: ignore[union-attr]
    assert pairs.relation.same.tolist() == [True, False, True, False]  # type: ignore[union-attr]
    assert pairs.entries["fold"].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1 must hold the number of folds and of pairs in each"),
        ("2\t1\nAnn_A\t1\t2\n", "2 folds of 1 pairs of either kind; found 1 lines"),
        ("1\t1\nAnn_A\t1\nAnn_A\t1\tBo_B\t1\n", "line 2 must have 3 or 4 fields; found 2"),
        (
            "1\t1\nAnn_A\t1\t9\nAnn_A\t1\tBo_B\t1\n",
            "1 of its 3 listed images aren't in it, such as lfw/Ann_A/Ann_A_0009",
        ),
    ],
)
def test_pairs_that_do_not_fit_are_refused(text: str, told: str, tmp_path: Path) -> None:
    lfw(tmp_path, text)
    with pytest.raises(DataError, match=told):
        load("lfw-pairs", data=tmp_path)


def test_cifar_100(tmp_path: Path) -> None:
    def row(group: int, fine: int, shade: int) -> bytes:
        return bytes([group, fine]) + bytes([shade]) * 1024 + bytes(2048)

    members: dict[str, bytes | str] = {
        "cifar-100-binary/coarse_label_names.txt": "fish\nflowers\n",
        "cifar-100-binary/fine_label_names.txt": "ray\nrose\nshark\n",
        "cifar-100-binary/train.bin": row(0, 2, 5) + row(1, 1, 6),
        "cifar-100-binary/test.bin": row(0, 0, 7),
    }
    place = tmp_path / "cifar100" / "cifar-100-binary.tar.gz"
    pack(place, members)
    photographs = load("cifar100", data=tmp_path)
    assert photographs.item_shape == (3, 32, 32) and shades(photographs) == [5, 6, 7]
    assert photographs.labels.tolist() == ["shark", "rose", "ray"]
    assert photographs.columns["group"].tolist() == ["fish", "flowers", "fish"]
    assert photographs.columns["split"].tolist() == ["train", "train", "test"]
    with pytest.raises(DataError, match="is of 32x32 alone"):
        load("cifar100:size=16", data=tmp_path)
    pack(place, {**members, "cifar-100-binary/test.bin": b"short"})
    with pytest.raises(DataError, match=r"test.bin: must hold 3074 bytes an image; found 5 in all"):
        load("cifar100", data=tmp_path)


def test_tiny_imagenet(tmp_path: Path) -> None:
    root = "tiny-imagenet-200"
    pack(
        tmp_path / "tiny-imagenet" / f"{root}.zip",
        {
            f"{root}/words.txt": "n01\tgoldfish, Carassius auratus\nn02\tnewt\n",
            f"{root}/train/n02/images/n02_0.JPEG": picture(2),
            f"{root}/train/n01/images/n01_0.JPEG": picture(1),
            f"{root}/val/val_annotations.txt": "val_0.JPEG\tn02\t0\t0\t9\t9\n",
            f"{root}/val/images/val_0.JPEG": picture(3),
            f"{root}/test/images/test_0.JPEG": picture(4),
        },
    )
    photographs = load("tiny-imagenet", data=tmp_path)
    assert shades(photographs) == [1, 2, 3] and photographs.labels.tolist() == ["n01", "n02", "n02"]
    assert photographs.columns["split"].tolist() == ["train", "train", "validation"]
    assert photographs.columns["class_name"].tolist() == ["goldfish, Carassius auratus", "newt", "newt"]


def test_an_archive_that_is_not_here_is_told_with_where_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"CUB_200_2011\.tgz: this built-in set isn't here.*published at https://data"
    ):
        load("cub-200-2011", data=tmp_path)
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip: .*published at http://cs231n"):
        load("tiny-imagenet", data=tmp_path)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"images": "1 001.Auk/a.jpg\n2 002.Bee_eater/b.jpg\n3 003.Crow/x.jpg\n4 004.Dove/d.jpg\n"},
            "aren't in it, such",
        ),
        ({"classes": "1\n"}, "classes.txt: line 1 must have 2 fields; found 1"),
        ({"image_class_labels": "1 1\n2 2\n3 3\n"}, "can't be read from"),
    ],
)
def test_tables_that_do_not_fit_the_archive_are_refused(
    changed: dict[str, str], told: str, tmp_path: Path
) -> None:
    cub(tmp_path, **changed)
    with pytest.raises(DataError, match=told) as error:
        load("cub-200-2011", data=tmp_path)
    assert "\n" not in str(error.value)


def test_another_archive_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "cub-200-2011" / "CUB_200_2011.tgz"
    pack(place, {"other/images.txt": "1 a\n"})
    with pytest.raises(DataError, match=r"holds no CUB_200_2011/images.txt; is it the published archive\?"):
        load("cub-200-2011", data=tmp_path)
    place.write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(DataError, match="cub-200-2011: can't be read from"):
        load("cub-200-2011", data=tmp_path)
    members: dict[str, bytes | str] = {"lfw/A/A_0001.jpg": picture(1)[:40]}
    pack(tmp_path / "lfw" / "lfw.tgz", members)
    with pytest.raises(DataError, match=r"lfw/A/A_0001\.jpg"):
        load("lfw", data=tmp_path)
