"""Built-in sets of measurements: tables of the UCI repository."""

from __future__ import annotations

import csv
import gzip
import zipfile
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from likewise.data.items import TableItems
from likewise.data.records import Records, check_items
from likewise.data.shared import SharedRequest, SharedSet

__all__ = ["TABLE_SETS"]

_WEKA = "uci/weka-datasets.zip"
_PLAIN_HOME = "https://github.com/jbrownlee/Datasets"
_FOLDS_HOME = (
    "https://github.com/jlsuarezdiaz/pyDML (KEEL's ten folds), packed as one .csv.gz with a column fold"
)
_WEKA_SPLITS = {"train": "challenge", "test": "test"}


def _plain(request: SharedRequest, file: str) -> Records:
    """A csv without names: numbers, and the class last."""
    with open(request.file(file), encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    return _features(request, [row[:-1] for row in rows], [row[-1] for row in rows])


def _folds(request: SharedRequest, file: str) -> Records:
    """A csv with names: numbers, the class, and the fold of which the row is a test item."""
    with gzip.open(request.file(file), "rt", encoding="utf-8", newline="") as stream:
        _, *rows = [row for row in csv.reader(stream) if row]
    made = _features(request, [row[:-2] for row in rows], [row[-2] for row in rows])
    return Records(made.X, made.y, made.name, columns={"fold": np.array([int(row[-1]) for row in rows])})


def _features(request: SharedRequest, numbers: list[list[str]], labels: list[str]) -> Records:
    X = check_items(np.array(numbers, dtype=np.float64), name=request.name)
    return Records(X, _labels(labels), request.name)


def _labels(labels: list[str]) -> NDArray[np.generic]:
    try:
        return np.array([int(label) for label in labels])
    except ValueError:
        return np.array(labels)


def _soybean(request: SharedRequest) -> Records:
    """Categories with many missing values."""
    names, rows = _arff(request, "soybean")
    columns = {
        name: np.array(["" if row[place] == "?" else row[place] for row in rows])
        for place, name in enumerate(names[:-1])
    }
    table = np.empty(len(rows), dtype=[(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    return Records(TableItems(table), np.array([row[-1] for row in rows]), request.name)


def _weka_segment(request: SharedRequest) -> Records:
    parts = {split: _arff(request, f"segment-{member}")[1] for split, member in _WEKA_SPLITS.items()}
    rows = [row for part in parts.values() for row in part]
    made = _features(request, [row[:-1] for row in rows], [row[-1] for row in rows])
    splits = np.repeat(list(parts), [len(part) for part in parts.values()])
    return Records(made.X, made.y, made.name, columns={"split": splits})


def _arff(request: SharedRequest, member: str) -> tuple[list[str], list[list[str]]]:
    """The attributes' names and the rows of a Weka file (SciPy's reader refuses spaces in a category)."""
    with zipfile.ZipFile(request.file(_WEKA)) as archive:
        lines = archive.read(f"data/{member}.arff").decode("latin-1").splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("%")]
    start = next(number for number, line in enumerate(lines) if line.lower() == "@data")
    declared = (line.split(None, 2) for line in lines[:start])
    names = [words[1].strip("'") for words in declared if words[0].lower() == "@attribute"]
    rows = csv.reader(lines[start + 1 :], quotechar="'", skipinitialspace=True)
    return names, [[cell.strip() for cell in row] for row in rows]


def _set(summary: str, file: str) -> SharedSet:
    reader, home = (_folds, _FOLDS_HOME) if file.endswith(".gz") else (_plain, _PLAIN_HOME)
    return SharedSet(summary, (f"uci/{file}",), partial(reader, file=f"uci/{file}"), home=home)


TABLE_SETS = MappingProxyType(
    {
        "balance": _set("625 states of a scale, 4 numbers, 3 classes; fold=1-10", "balance.csv.gz"),
        "glass": _set("214 splinters of glass, 9 measurements, 6 classes", "glass.csv"),
        "ionosphere": _set("351 radar returns, 34 numbers, 2 classes", "ionosphere.csv"),
        "letter": _set("20,000 letters, 16 numbers, 26 classes; fold=1-10", "letter.csv.gz"),
        "newthyroid": _set("215 patients, 5 measurements, 3 classes; fold=1-10", "newthyroid.csv.gz"),
        "optdigits": _set("5,620 digits, 64 counts of 8x8 blocks, 10 classes; fold=1-10", "optdigits.csv.gz"),
        "segment": _set("2,310 patches of images, 19 numbers, 7 classes; fold=1-10", "segment.csv.gz"),
        "segment-weka": SharedSet(
            "the same 2,310 patches with their published split; split=train,test",
            (_WEKA,),
            _weka_segment,
            home=_PLAIN_HOME,
        ),
        "soybean": SharedSet(
            "683 plants, 35 categories with gaps, 19 classes", (_WEKA,), _soybean, home=_PLAIN_HOME
        ),
        "wdbc": _set("569 tumours, 30 measurements, 2 classes; fold=1-10", "wdbc.csv.gz"),
        "wheat-seeds": _set("210 grains of wheat, 7 measurements, 3 classes", "wheat-seeds.csv"),
        "winequality-red": _set("1,599 red wines, 11 measurements, 6 grades", "winequality-red.csv"),
        "winequality-white": _set("4,898 white wines, 11 measurements, 7 grades", "winequality-white.csv"),
    }
)
