"""5 x 2 cross-validated accuracy of 3 nearest neighbours, for every learner and three plain distances."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from linear_tables import Table
from scipy.stats import f as f_distribution
from scipy.stats import friedmanchisquare, rankdata, studentized_range
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from likewise import linear
from likewise.errors import LikewiseError
from likewise.evaluation.comparison import holm
from likewise.linear.base import Learner

Row = dict[str, Any]
Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]

BASELINES = ("raw", "standardised", "PCA-whitened")
# Learners whose default setting is nobody's use: a head that hashes, a distance of two domains.
NOT_COMPARED = {"LearnedMetricLSH", "AsymmetricTransfer"}


def estimators() -> dict[str, type[Learner]]:
    """Every learner of the library, by discovery."""
    found = {name: getattr(linear, name) for name in linear.__all__}
    return {
        name: kind
        for name, kind in sorted(found.items())
        if inspect.isclass(kind)
        and issubclass(kind, Learner)
        and not inspect.isabstract(kind)
        and name not in NOT_COMPARED
    }


def made(kind: type[Learner], seed: int) -> Any:
    """A learner with its defaults and a seed."""
    known = inspect.signature(kind).parameters
    return kind(**({"random_state": seed} if "random_state" in known else {}))


def _scaler(kind: type[Learner]) -> Any:
    """What rows go through first: histograms can't be standardised, so theirs go from 0 to 1."""
    return MinMaxScaler(clip=True) if kind().__sklearn_tags__().input_tags.positive_only else StandardScaler()


def neighbour_accuracy(
    learner: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
) -> float:
    """Of 3 nearest neighbours under a fitted learner: by its map, or by all pairs where it has none."""
    if hasattr(learner, "transform"):
        neighbours = KNeighborsClassifier(3).fit(learner.transform(X), y)
        return float(neighbours.score(learner.transform(X_test), y_test))
    if hasattr(learner, "predict"):  # of 3 neighbours, by its own rule
        return float((learner.predict(X_test) == y_test).mean())
    right = 0
    for row, label in zip(X_test, y_test, strict=True):
        distances = learner.pair_distance(np.repeat(row[None], len(X), axis=0), X)
        near = y[np.argsort(distances, kind="stable")[:3]]
        right += int(np.bincount(near).argmax() == label)
    return right / len(y_test)


def _baseline(name: str, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> float:
    if name != "raw":
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    if name == "PCA-whitened":
        varied = int(np.linalg.matrix_rank(X - X.mean(axis=0)))
        white = PCA(n_components=varied, whiten=True).fit(X)
        X, X_test = white.transform(X), white.transform(X_test)
    return float(KNeighborsClassifier(3).fit(X, y).score(X_test, y_test))


def subsample(table: Table, most: int) -> Table:
    """At most so many rows, every class alike; a class that would keep fewer than four rows is left out."""
    X, y = table.X, table.y
    if len(y) > most:
        X, _, y, _ = train_test_split(X, y, train_size=most, random_state=0, stratify=y)
    kept = np.isin(y, np.flatnonzero(np.bincount(y) >= 4))
    return Table(table.name, X[kept], np.unique(y[kept], return_inverse=True)[1])


def cross_validated(table: Table, name: str, *, seconds: float) -> Row:
    """Ten accuracies of one method: 5 times halves, each half tested once; seeds 0 to 4.

    Where the first fit takes more than ``seconds`` of the processor, or is refused, the row says so.
    """
    scores, took = [], []
    kinds = estimators()
    for seed in range(5):
        for train, test in StratifiedKFold(2, shuffle=True, random_state=seed).split(table.X, table.y):
            X, y, X_test, y_test = table.X[train], table.y[train], table.X[test], table.y[test]
            if name in BASELINES:
                scores.append(_baseline(name, X, y, X_test, y_test))
                continue
            scaler = _scaler(kinds[name]).fit(X)
            X, X_test = scaler.transform(X), scaler.transform(X_test)
            begin = time.process_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    learner = made(kinds[name], seed).fit(X, y)
                took.append(time.process_time() - begin)
                scores.append(neighbour_accuracy(learner, X, y, X_test, y_test))
            except LikewiseError as error:
                return {"kind": "accuracy", "table": table.name, "method": name, "refused": str(error)}
            if took[0] > seconds:
                return {
                    "kind": "accuracy",
                    "table": table.name,
                    "method": name,
                    "refused": f"> {seconds:g} s",
                }
    row = {"kind": "accuracy", "table": table.name, "method": name, "scores": scores}
    return row | ({"seconds": float(np.median(took))} if took else {})


def f_test(first: Sequence[float], second: Sequence[float]) -> float:
    """The p-value of Alpaydin's 5 x 2 cross-validated F test of two lists of ten accuracies.

    E. Alpaydin, Combined 5 x 2 cv F test for comparing supervised classification learning algorithms, 1999.
    """
    differences = (np.asarray(first) - np.asarray(second)).reshape(5, 2)
    spread = ((differences - differences.mean(axis=1, keepdims=True)) ** 2).sum()
    if spread == 0:
        return 1.0 if not differences.any() else 0.0
    return float(f_distribution.sf((differences**2).sum() / (2 * spread), 10, 5))


@dataclass(frozen=True)
class Ranks:
    """Mean ranks over tables (1 is best), Friedman's p-value, and Nemenyi's critical difference at 5 %."""

    methods: list[str]
    ranks: list[float]
    p_value: float
    critical: float
    n_tables: int


def ranks(rows: Sequence[Row]) -> Ranks:
    """Of the methods that ran on every table."""
    tables = list(dict.fromkeys(row["table"] for row in rows))
    means = {(row["table"], row["method"]): float(np.mean(row["scores"])) for row in rows if "scores" in row}
    methods = [
        name
        for name in dict.fromkeys(row["method"] for row in rows)
        if all((table, name) in means for table in tables)
    ]
    values = np.array([[means[table, name] for name in methods] for table in tables])
    found = np.array([rankdata(-line) for line in values]).mean(axis=0)
    k, n = len(methods), len(tables)
    p_value = float(friedmanchisquare(*values.T).pvalue) if k > 2 and n > 1 else 1.0
    critical = float(studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))
    order = np.argsort(found, kind="stable")
    return Ranks([methods[i] for i in order], [float(found[i]) for i in order], p_value, critical, n)


def against_standardised(rows: Sequence[Row]) -> list[Row]:
    """For each method: the tables where it is better or worse than standardised Euclid, beyond chance.

    Once with each p-value by itself, and once, after all methods and tables were tested, by Holm's rule.
    """
    plain = {
        row["table"]: row["scores"] for row in rows if row["method"] == "standardised" and "scores" in row
    }
    tested = [
        (row, f_test(row["scores"], plain[row["table"]]))
        for row in rows
        if "scores" in row and row["method"] not in BASELINES and row["table"] in plain
    ]
    corrected = holm([p for _, p in tested])
    found: dict[str, Row] = {}
    for (row, p), after in zip(tested, corrected, strict=True):
        gain = float(np.mean(row["scores"]) - np.mean(plain[row["table"]]))
        counts = {"better": 0, "worse": 0, "better, by Holm": 0, "worse, by Holm": 0}
        line = found.setdefault(row["method"], {"method": row["method"], "tables": 0, "gains": [], **counts})
        line["tables"] += 1
        line["gains"].append(gain)
        side = "better" if gain > 0 else "worse"
        line[side] += p <= 0.05
        line[f"{side}, by Holm"] += after <= 0.05
    return sorted(found.values(), key=lambda line: -float(np.mean(line["gains"])))
