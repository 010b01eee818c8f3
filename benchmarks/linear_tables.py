"""The tables of the linear benchmarks: UCI sets where they lie, and drawn ones."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from likewise.data import data_folder

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Rows (n, d) and class codes (n,)."""

    name: str
    X: Array
    y: NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """70 % of a table to learn from and 30 % to test on, standardised by the first."""

    X: Array
    y: NDArray[np.int64]
    X_test: Array
    y_test: NDArray[np.int64]


def _read(name: str, path: Path) -> Table:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    rows = list(csv.reader(text.splitlines()))
    if path.suffix == ".gz":  # a header, and the number of the fold in the last column
        rows = [row[:-1] for row in rows[1:]]
    X = np.array([row[:-1] for row in rows], dtype=np.float64)
    return Table(name, X, np.unique([row[-1] for row in rows], return_inverse=True)[1])


def uci(name: str, file: str, data: str | None = None) -> Table:
    """A UCI table from the data folder."""
    folder = data_folder(data)
    if folder is None or not (folder / "uci" / file).is_file():
        raise FileNotFoundError(f"uci/{file}: no such table; set LIKEWISE_DATA")
    return _read(name, folder / "uci" / file)


def drawn(n: int, d: int, data: str | None = None) -> Table:  # noqa: ARG001 - as the tables of files
    """Ten Gaussian classes that differ in 10 directions among d, of which some vary five times as much."""
    generator = np.random.default_rng(0)
    y = np.arange(n) % 10
    informative = 1.2 * generator.normal(size=(10, 10))[y] + generator.normal(size=(n, 10))
    noise = generator.normal(size=(n, d - 10)) * np.where(np.arange(d - 10) % 4 == 0, 5.0, 1.0)
    turn = np.linalg.qr(generator.normal(size=(d, d)))[0]
    return Table(f"synthetic {n:,} x {d}", np.hstack([informative, noise]) @ turn, y)


def digits(data: str | None = None) -> Table:  # noqa: ARG001 - as the tables of files
    """The digits that come with scikit-learn: 1,797 rows of 64 pixels, three of them constant."""
    X, y = load_digits(return_X_y=True)
    return Table("digits", X, y.astype(np.int64))


TABLES: dict[str, Callable[..., Table]] = {
    "iris": partial(uci, "iris", "iris.csv"),
    "wine": partial(uci, "wine", "wine.csv"),
    "ionosphere": partial(uci, "ionosphere", "ionosphere.csv"),
    "glass": partial(uci, "glass", "glass.csv"),
    "wheat-seeds": partial(uci, "wheat-seeds", "wheat-seeds.csv"),
    "balance": partial(uci, "balance", "balance.csv.gz"),
    "newthyroid": partial(uci, "newthyroid", "newthyroid.csv.gz"),
    "wdbc": partial(uci, "wdbc", "wdbc.csv.gz"),
    "segment": partial(uci, "segment", "segment.csv.gz"),
    "digits": digits,
    "optdigits": partial(uci, "optdigits", "optdigits.csv.gz"),
    "letter": partial(uci, "letter", "letter.csv.gz"),
    "synthetic-5000": partial(drawn, 5_000, 100),
    "synthetic-50000": partial(drawn, 50_000, 300),
}


def split(table: Table, *, seed: int = 0) -> Parts:
    """70 % and 30 %, every class alike, standardised."""
    X, X_test, y, y_test = train_test_split(
        table.X, table.y, test_size=0.3, random_state=seed, stratify=table.y
    )
    scaler = StandardScaler().fit(X)
    return Parts(scaler.transform(X), y, scaler.transform(X_test), y_test)
