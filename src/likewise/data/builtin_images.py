"""Built-in sets of images: Omniglot, MNIST, the AT&T faces, emoji and a part of CIFAR-10."""

from __future__ import annotations

import csv
import gzip
import zipfile
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from likewise.data.images import read_image
from likewise.data.items import ArrayItems, PackedImages
from likewise.data.records import Records
from likewise.data.shared import SharedRequest, SharedSet
from likewise.errors import DataError

__all__ = ["IMAGE_SETS"]

_OMNIGLOT = "omniglot/omniglot_105.npz"
_MNIST = {"train": "mnist/train", "test": "mnist/t10k"}
_FACES = "att_faces/att_faces.npz"
_EMOJI, _EMOJI_TABLE = "emoji/emoji_png72.zip", "emoji/emoji.tsv"
_CIFAR = (*(f"cifar10/cifar10_batch_{part}.png" for part in (*range(10), 50)),)
_CIFAR_LABELS = "cifar10/labels_batches_0-9_and_50.npy"
_CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _omniglot(request: SharedRequest) -> Records:
    """Ink is 1 on 0. 28 x 28 by averaging, as in Vinyals et al. 2016; 105 x 105 is the original."""
    with open(request.file(_OMNIGLOT), "rb") as stream, np.load(stream, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    whole = PackedImages(arrays["packed"], tuple(int(side) for side in arrays["shape"]))
    size = request.size or (28, 28)
    items = whole if size == whole.item_shape else ArrayItems(_averaged(whole, size))
    columns = {
        "alphabet": arrays["alphabet_names"][arrays["alphabet"]],
        "character": arrays["character"].astype(np.int64),
        "drawer": arrays["drawer"].astype(np.int64),
        "part": np.where(arrays["evaluation"], "evaluation", "background"),
    }
    return Records(items, arrays["label"].astype(np.int64), request.name, columns=columns)


def _mnist(request: SharedRequest) -> Records:
    images, labels, splits = [], [], []
    for split, stem in _MNIST.items():
        images.append(_idx(request, f"{stem}-images-idx3-ubyte.gz"))
        labels.append(_idx(request, f"{stem}-labels-idx1-ubyte.gz"))
        splits += [split] * len(labels[-1])
    items = _sized(np.concatenate(images), request.size)
    y = np.concatenate(labels).astype(np.int64)
    return Records(items, y, request.name, columns={"split": np.array(splits)})


def _faces(request: SharedRequest) -> Records:
    """56 x 46, half of the original 112 x 92."""
    with open(request.file(_FACES), "rb") as stream, np.load(stream, allow_pickle=False) as held:
        images = held["images"]
    persons, shots = images.shape[:2]
    items = _sized(images.reshape(persons * shots, *images.shape[2:]), request.size or (56, 46))
    y = np.repeat(np.arange(1, persons + 1), shots)
    return Records(items, y, request.name, columns={"shot": np.tile(np.arange(1, shots + 1), persons)})


def _emoji(request: SharedRequest) -> Records:
    """RGB on white, 32 x 32; 72 x 72 is the original. The class is the emoji, whatever its style."""
    with open(request.file(_EMOJI_TABLE), encoding="utf-8", newline="") as stream:
        told = {row["name"]: row for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)}
    size = request.size or (32, 32)
    images, styles, names = [], [], []
    with zipfile.ZipFile(request.file(_EMOJI)) as archive:
        for member in sorted(name for name in archive.namelist() if name.endswith(".png")):
            style, _, file = member.partition("/")
            images.append(read_image(archive.read(member), size=size, colour="rgb", name=member))
            styles.append(style)
            names.append(file.removesuffix(".png"))
    columns = {
        "style": np.array(styles),
        **{key: np.array([told[name][key] for name in names]) for key in ("group", "description")},
        "keywords": np.array([told[name]["keywords"] for name in names], dtype=object),
        "char": np.array([told[name]["char"] for name in names]),
    }
    return Records(np.stack(images), np.array(names), request.name, columns=columns)


def _cifar(request: SharedRequest) -> Records:
    parts = []
    for name in _CIFAR:
        with Image.open(request.file(name), formats=("PNG",)) as image:
            parts.append(np.asarray(image).reshape(-1, 32, 32, 3))
    images = np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2))
    labels = np.load(request.file(_CIFAR_LABELS), allow_pickle=False).reshape(-1).astype(np.int64)
    split = np.where(np.arange(len(images)) < 10_000, "train", "test")
    columns = {"split": split, "class_name": np.array(_CIFAR_NAMES)[labels]}
    return Records(_sized(images, request.size), labels, request.name, columns=columns)


def _idx(request: SharedRequest, name: str) -> NDArray[np.uint8]:
    """An array of the idx format: two zeros, type 8 (bytes), number of axes, their lengths, the bytes."""
    with gzip.open(request.file(name)) as stream:
        data = stream.read()
    if data[:3] != b"\0\0\x08":
        raise DataError(f"{request.file(name)}: not an idx file of bytes")
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def _sized(images: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Images (n, ..., height, width) in another size: each pixel is the mean of the area that it covers."""
    if size is None or images.shape[-2:] == size:
        return images
    parts = np.array_split(images, max(1, len(images) // 1000))
    return np.concatenate([_shrunk(part.astype(np.float32), size) for part in parts])


def _averaged(images: PackedImages, size: tuple[int, int]) -> NDArray[np.uint8]:
    parts = [slice(start, start + 1000) for start in range(0, len(images), 1000)]
    return np.concatenate([_shrunk(images.read(part) * 255, size) for part in parts])


def _shrunk(images: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    down, across = (_overlaps(old, new) for old, new in zip(images.shape[-2:], size, strict=True))
    shrunk: NDArray[np.uint8] = np.rint(down @ images @ across.T).astype(np.uint8)
    return shrunk


def _overlaps(old: int, new: int) -> NDArray[np.float32]:
    """Which part of each of ``new`` equal pieces of a line each of its ``old`` equal pieces covers."""
    edges = np.arange(new + 1) * old / new
    start = np.maximum(edges[:-1, None], np.arange(old))
    stop = np.minimum(edges[1:, None], np.arange(1, old + 1))
    overlap: NDArray[np.float32] = (np.clip(stop - start, 0, None) * new / old).astype(np.float32)
    return overlap


IMAGE_SETS = MappingProxyType(
    {
        "att-faces": SharedSet(
            "400 grey faces of 40 persons, 56x46 (size=112x92)",
            (_FACES,),
            _faces,
            home="AT&T Laboratories Cambridge; packed as one .npz",
        ),
        "cifar10": SharedSet(
            "11,000 colour photographs, 32x32, 10 classes; split=train,test (the first 10,000 and 1,000)",
            (*_CIFAR, _CIFAR_LABELS),
            _cifar,
            home="https://github.com/taneishi/convnetjs",
        ),
        "emoji": SharedSet(
            "7,259 drawings of 1,884 emoji, 32x32 (size=72); style=twemoji,noto,openmoji,fluentui; group=",
            (_EMOJI, _EMOJI_TABLE),
            _emoji,
            home="https://github.com/discourse/discourse-emojis; packed as one .zip",
        ),
        "mnist": SharedSet(
            "70,000 handwritten digits, 28x28, 10 classes; split=train,test",
            tuple(
                f"{stem}-{part}-ubyte.gz"
                for stem in _MNIST.values()
                for part in ("images-idx3", "labels-idx1")
            ),
            _mnist,
            home="https://github.com/cvdfoundation/mnist",
        ),
        "omniglot": SharedSet(
            "32,460 drawings of 1,623 characters, 28x28 (size=105); part=background,evaluation; alphabet=",
            (_OMNIGLOT,),
            _omniglot,
            home="https://github.com/brendenlake/omniglot; packed as one .npz",
        ),
    }
)
