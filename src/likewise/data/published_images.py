"""Image sets of papers on metric learning, read from the archives as they are published, with their splits.

CUB-200-2011, Cars196, Stanford Online Products, In-Shop, LFW, CIFAR-100 and Tiny ImageNet. None comes with
the library; each says where it is published. Layouts are from memory, and are checked as they are read.
"""

from __future__ import annotations

import io
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.archives import open_archive
from likewise.data.records import Records
from likewise.data.shared import SharedRequest, SharedSet
from likewise.errors import DataError
from likewise.relations import Pairs

__all__ = ["PUBLISHED_SETS"]

_CUB = "cub-200-2011/CUB_200_2011.tgz"
_CARS, _CARS_TABLE = "cars196/car_ims.tgz", "cars196/cars_annos.mat"
_PRODUCTS = "stanford-online-products/Stanford_Online_Products.zip"
_SHOP, _SHOP_TABLE = "in-shop/img.zip", "in-shop/list_eval_partition.txt"
_LFW, _LFW_PAIRS = "lfw/lfw.tgz", "lfw/pairs.txt"
_CIFAR100 = "cifar100/cifar-100-binary.tar.gz"
_TINY = "tiny-imagenet/tiny-imagenet-200.zip"
_SIZE = (64, 64)


def _cub(request: SharedRequest) -> Records:
    """Birds; the first half of the species is learned from and the other judged, as papers do."""
    with open_archive(request.file(_CUB)) as archive:
        listed = {
            name: _numbered(archive.text(f"CUB_200_2011/{name}.txt"), f"{name}.txt")
            for name in ("images", "image_class_labels", "classes", "train_test_split")
        }
        images = archive.images(
            [f"CUB_200_2011/images/{path}" for path in listed["images"].values()], request.size or _SIZE
        )
    numbers = np.array([int(listed["image_class_labels"][key]) for key in listed["images"]])
    names = np.array([listed["classes"][str(number)] for number in numbers])
    columns = {
        "split": _halves(numbers),
        "part": np.where(
            [listed["train_test_split"][key] == "1" for key in listed["images"]], "train", "test"
        ),
        "path": np.array(list(listed["images"].values())),
    }
    return Records(images, names, request.name, columns=columns)


def _cars(request: SharedRequest) -> Records:
    """Cars; the first half of the models is learned from and the other judged, as papers do."""
    from scipy.io import loadmat

    table = loadmat(request.file(_CARS_TABLE), squeeze_me=True, chars_as_strings=True)
    rows = np.atleast_1d(table["annotations"])
    paths = [str(row["relative_im_path"]) for row in rows]
    numbers = np.array([int(row["class"]) for row in rows])
    names = np.atleast_1d(table["class_names"])
    with open_archive(request.file(_CARS)) as archive:
        images = archive.images(paths, request.size or _SIZE)
    columns = {
        "split": _halves(numbers),
        "part": np.where([bool(row["test"]) for row in rows], "test", "train"),
        "class_name": np.array([str(names[number - 1]) for number in numbers]),
        "path": np.array(paths),
    }
    return Records(images, numbers.astype(np.int64), request.name, columns=columns)


def _products(request: SharedRequest) -> Records:
    """Things sold; the class is the offer."""
    paths, labels, kinds, splits = [], [], [], []
    with open_archive(request.file(_PRODUCTS)) as archive:
        for split in ("train", "test"):
            name = f"Ebay_{split}.txt"
            for fields in _rows(archive.text(f"Stanford_Online_Products/{name}"), name, columns=4, skip=1):
                labels.append(int(fields[1]))
                paths.append(fields[3])
                kinds.append(fields[3].partition("/")[0].removesuffix("_final"))
                splits.append(split)
        images = archive.images([f"Stanford_Online_Products/{path}" for path in paths], request.size or _SIZE)
    columns = {"split": np.array(splits), "kind": np.array(kinds), "path": np.array(paths)}
    return Records(images, np.array(labels), request.name, columns=columns)


def _shop(request: SharedRequest) -> Records:
    """Clothes; ``split`` is train, query or gallery."""
    place = request.file(_SHOP_TABLE)
    rows = _rows(place.read_text("utf-8"), str(place), columns=3, skip=2)
    with open_archive(request.file(_SHOP)) as archive:
        images = archive.images([fields[0] for fields in rows], request.size or _SIZE)
    columns = {
        "split": np.array([fields[2] for fields in rows]),
        "path": np.array([each[0] for each in rows]),
    }
    return Records(images, np.array([fields[1] for fields in rows]), request.name, columns=columns)


def _lfw(request: SharedRequest) -> Records:
    """Faces; the class is the person."""
    with open_archive(request.file(_LFW)) as archive:
        paths = archive.names()
        if not paths:
            raise DataError(f"{request.file(_LFW)}: holds no images; is it the published archive?")
        images = archive.images(paths, request.size or _SIZE)
    persons = np.array([path.split("/")[-2] for path in paths])
    return Records(images, persons, request.name, columns={"path": np.array(paths)})


def _lfw_pairs(request: SharedRequest) -> Records:
    """The faces of the published pairs, which are the relation; ``fold`` is of the pairs, 1 to 10."""
    place = request.file(_LFW_PAIRS)
    lines = [line.split("\t") for line in place.read_text("utf-8").splitlines()]
    head = lines[0] if lines else []
    if len(head) != 2 or not all(each.strip().isdigit() for each in head):
        raise DataError(f"{place}: line 1 must hold the number of folds and of pairs in each")
    folds, each = (int(value) for value in head)
    if len(lines) != 1 + 2 * folds * each:
        raise DataError(
            f"{place}: {folds} folds of {each} pairs of either kind; found {len(lines) - 1} lines"
        )
    places: dict[str, int] = {}
    left: list[int] = []
    right: list[int] = []
    same, fold = [], []
    for number, fields in enumerate(lines[1:]):
        if len(fields) not in (3, 4):
            raise DataError(f"{place}: line {number + 2} must have 3 or 4 fields; found {len(fields)}")
        first, second = (fields[0], fields[1]), (fields[-2] if len(fields) == 4 else fields[0], fields[-1])
        for side, (person, shot) in ((left, first), (right, second)):
            path = f"lfw/{person}/{person}_{int(shot):04d}.jpg"
            side.append(places.setdefault(path, len(places)))
        same.append(len(fields) == 3)
        fold.append(1 + number // (2 * each))
    with open_archive(request.file(_LFW)) as archive:
        images = archive.images(list(places), request.size or _SIZE)
    return Records(
        images,
        None,
        request.name,
        columns={"path": np.array(list(places))},
        relation=Pairs(left, right, same),
        entries={"fold": np.array(fold)},
    )


def _cifar100(request: SharedRequest) -> Records:
    """Photographs, 32 x 32; ``group`` is one of 20 that the classes lie in."""
    side, pixels = (32, 32), 3 * 32 * 32
    if request.size not in (None, side):
        raise DataError(f"{request.name}: is of 32x32 alone; found size={request.size}")
    parts, splits = [], []
    with open_archive(request.file(_CIFAR100)) as archive:
        named = {
            kind: np.array(archive.text(f"cifar-100-binary/{kind}_label_names.txt").split())
            for kind in ("fine", "coarse")
        }
        for split in ("train", "test"):
            data = np.frombuffer(archive.bytes_of(f"cifar-100-binary/{split}.bin"), np.uint8)
            if len(data) % (2 + pixels):
                raise DataError(
                    f"{split}.bin: must hold {2 + pixels} bytes an image; found {len(data)} in all"
                )
            parts.append(data.reshape(-1, 2 + pixels))
            splits += [split] * len(parts[-1])
    rows = np.concatenate(parts)
    images = rows[:, 2:].reshape(-1, 3, *side)
    columns = {"split": np.array(splits), "group": named["coarse"][rows[:, 0]]}
    return Records(images, named["fine"][rows[:, 1]], request.name, columns=columns)


def _tiny(request: SharedRequest) -> Records:
    """Photographs, 64 x 64; the published test images have no labels and are left out."""
    with open_archive(request.file(_TINY)) as archive:
        root = "tiny-imagenet-200"
        held = archive.text(f"{root}/words.txt")
        words = {fields[0]: fields[1] for fields in _rows(held, "words.txt", columns=2, between="\t")}
        paths = [name for name in archive.names() if name.startswith(f"{root}/train/")]
        labels, splits = [name.split("/")[2] for name in paths], ["train"] * len(paths)
        held = archive.text(f"{root}/val/val_annotations.txt")
        for fields in _rows(held, "val_annotations.txt", columns=6, between="\t"):
            paths.append(f"{root}/val/images/{fields[0]}")
            labels.append(fields[1])
            splits.append("validation")
        images = archive.images(paths, request.size or _SIZE)
    columns = {"split": np.array(splits), "class_name": np.array([words.get(each, each) for each in labels])}
    return Records(images, np.array(labels), request.name, columns=columns)


def _halves(numbers: NDArray[Any]) -> NDArray[np.str_]:
    """Classes in order, the first half of them to train on."""
    return np.where(numbers <= len(np.unique(numbers)) // 2, "train", "test")


def _numbered(text: str, name: str) -> dict[str, str]:
    return {fields[0]: fields[1] for fields in _rows(text, name, columns=2)}


def _rows(
    text: str, name: str, *, columns: int, skip: int = 0, between: str | None = None
) -> list[tuple[str, ...]]:
    """The lines of a table without quotes, each with so many fields."""
    rows = []
    for number, line in enumerate(io.StringIO(text), start=1):
        fields = tuple(line.rstrip("\r\n").split(between))
        if number <= skip or not line.strip():
            continue
        if len(fields) != columns:
            raise DataError(f"{name}: line {number} must have {columns} fields; found {len(fields)}")
        rows.append(fields)
    return rows


PUBLISHED_SETS = MappingProxyType(
    {
        "cars196": SharedSet(
            "16,185 photographs of 196 cars, 64x64 (size=); split=train,test (classes 1-98, 99-196)",
            (_CARS, _CARS_TABLE),
            _cars,
            home="Stanford's page of the Cars data set (car_ims.tgz and cars_annos.mat)",
        ),
        "cifar100": SharedSet(
            "60,000 photographs, 32x32, 100 classes in 20 groups; split=train,test; group=",
            (_CIFAR100,),
            _cifar100,
            home="https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
        ),
        "cub-200-2011": SharedSet(
            "11,788 photographs of 200 birds, 64x64 (size=); split=train,test (species 1-100, 101-200)",
            (_CUB,),
            _cub,
            home="https://data.caltech.edu/records/65de6-vp158",
        ),
        "in-shop": SharedSet(
            "52,712 photographs of 7,982 clothes, 64x64 (size=); split=train,query,gallery",
            (_SHOP, _SHOP_TABLE),
            _shop,
            home="the DeepFashion page, In-shop Clothes Retrieval Benchmark",
        ),
        "lfw": SharedSet(
            "13,233 faces of 5,749 persons, 64x64 (size=)",
            (_LFW,),
            _lfw,
            home="http://vis-www.cs.umass.edu/lfw",
        ),
        "lfw-pairs": SharedSet(
            "6,000 pairs of faces, alike or not, in 10 folds",
            (_LFW, _LFW_PAIRS),
            _lfw_pairs,
            home="http://vis-www.cs.umass.edu/lfw",
        ),
        "stanford-online-products": SharedSet(
            "120,053 photographs of 22,634 offers, 64x64 (size=); split=train,test; kind=",
            (_PRODUCTS,),
            _products,
            home="https://cvgl.stanford.edu/projects/lifted_struct",
        ),
        "tiny-imagenet": SharedSet(
            "110,000 photographs, 64x64, 200 classes; split=train,validation",
            (_TINY,),
            _tiny,
            home="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        ),
    }
)
