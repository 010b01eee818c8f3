"""LSH under a learned metric: how many rows are looked at for how many neighbours (Kulis 2009).

Locality-sensitive hashing is the fourth set-up of similarity learning: similar items fall into one bucket
with high probability. A bit is ``r'L(x - c) >= 0`` with r normal and ``d(x, z) = |L(x - z)|`` the learned
distance; two rows agree in it with probability ``1 - theta / pi``. A bucket is ``n_bits`` bits, and a query
is compared with what shares a bucket with it in any of ``n_tables`` tables. Recall is the part of the 10
nearest rows under the learned metric that are found; candidates are the part of all rows that is looked at.
As many rows at random have recall equal to the candidates.

Departures from the paper: the metric is LDA's or another linear learner's for ITML's online form; 20
newsgroups and emoji for image sets. From memory where numbers are concerned, and none is quoted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.linear import ITML, LDA, LMNN, Covariance, LearnedMetricLSH
from likewise.linear.base import MahalanobisLearner
from likewise.recipes.experiment import Claim, Outcome, RecipeConfig, Scores, Table
from likewise.recipes.similarity_sets import SIMILARITY_SETS, similarity_split
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "QUICK", "TABLES", "Config", "build", "objective", "run"]

_LEARNERS = ("LDA", "ITML", "LMNN", "Covariance")
_NEIGHBOURS = 10


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Rows, metric and tables."""

    sets: str = setting(",".join(SIMILARITY_SETS), "which sets", Rule(str))
    metric: str = setting("LDA", "what learns the metric", Rule(str, choices=_LEARNERS))
    train: int = setting(4000, "rows that are learned from and searched", Rule(int, low=100))
    judged: int = setting(300, "rows that are searched for", Rule(int, low=20))
    features: int = setting(50, "directions of the rows before learning", Rule(int, low=2))
    tables: int = setting(16, "hash tables", Rule(int, low=1))


QUICK = Config(sets="20newsgroups", train=2000, judged=200, features=30, tables=8)
_BITS = (6, 8, 10, 12, 16)
_PROBED = "12 bits, 4 probes"
_ROWS = (*(f"{bits} bits" for bits in _BITS), _PROBED)
_EXACT, _RAW = "learned metric, all rows", "raw rows, all rows"
TABLES = tuple(
    Table(
        name,
        (_RAW, _EXACT, *_ROWS, *(f"as many random rows as with {row}" for row in _ROWS)),
        ("recall", "candidates", "10-NN accuracy"),
        "Recall of the 10 nearest under the learned metric, against the part of the rows that is compared. "
        + ("New messages, rows are singular directions of TF-IDF." if name == "20newsgroups" else
           "Emoji that weren't trained on, Twemoji against the other styles."),
    )
    for name in SIMILARITY_SETS
)  # fmt: skip
CLAIMS = (
    *(
        Claim(
            "Buckets of 8 bits hold the neighbours, far beyond as many random rows",
            name,
            "recall",
            "8 bits",
            "as many random rows as with 8 bits",
            control=name == "20newsgroups",
        )
        for name in SIMILARITY_SETS
    ),
    Claim("Looking into neighbouring buckets finds more", "20newsgroups", "recall", _PROBED, "12 bits"),
    Claim(
        "The learned metric knows groups better than raw rows", "20newsgroups", "10-NN accuracy", _EXACT, _RAW
    ),
)


def build(config: Config, *, bits: int, probes: int, seed: int) -> LearnedMetricLSH:
    """Tables over the metric that is learned."""
    learners: dict[str, MahalanobisLearner] = {
        "LDA": LDA(), "ITML": ITML(random_state=seed), "LMNN": LMNN(), "Covariance": Covariance()
    }  # fmt: skip
    return LearnedMetricLSH(
        learners[config.metric], n_tables=config.tables, n_bits=bits, n_probes=probes, random_state=seed
    )


def objective(angle: float, *, bits: int, tables: int) -> float:
    """How probably two rows at an angle share a bucket: ``1 - (1 - (1 - theta / pi)^bits)^tables``.

    >>> objective(0.0, bits=8, tables=4)
    1.0
    """
    return float(1 - (1 - (1 - angle / np.pi) ** bits) ** tables)


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: all lengths of codes on every set."""
    outcome = Outcome()
    for name in config.names("sets", SIMILARITY_SETS):
        split = similarity_split(
            name,
            train=config.train,
            judged=config.judged,
            features=config.features,
            dense=True,
            seed=seed,
            data=data,
        )
        # messages search the rows that were learned from; emoji are of other classes, and search their own
        own = name == "20newsgroups"
        held = (split.train, split.train_labels) if own else (split.gallery, split.gallery_labels)
        rows, labels = np.asarray(held[0]), np.asarray(held[1])
        queries = np.asarray(split.queries)
        exact: NDArray[np.int64] | None = None
        for row in _ROWS:
            bits, probes = int(row.split()[0]), 4 if row == _PROBED else 0
            tables = build(config, bits=bits, probes=probes, seed=seed)
            tables.fit(np.asarray(split.train), split.train_labels).index(rows)
            if exact is None:
                exact = _nearest(tables.transform(queries), tables.transform(rows))
                _accuracy(outcome, name, _EXACT, exact, labels, split.query_labels)
                raw = _nearest(queries, rows)
                _accuracy(outcome, name, _RAW, raw, labels, split.query_labels)
            found = tables.kneighbors(queries, n_neighbors=_NEIGHBOURS)
            recall = np.array(
                [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found.positions, exact, strict=True)]
            )
            share = found.candidates / len(rows)
            units = np.arange(len(queries))
            _accuracy(outcome, name, row, found.positions, labels, split.query_labels)
            outcome.record(
                name,
                row,
                {"recall": recall.mean(), "candidates": share.mean()},
                scores={"recall": Scores(recall, units)},
            )
            outcome.record(
                name,
                f"as many random rows as with {row}",
                {"recall": share.mean(), "candidates": share.mean()},
                scores={"recall": Scores(share, units)},
            )
    return outcome


def _nearest(queries: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.int64]:
    squares = (queries**2).sum(1)[:, None] + (rows**2).sum(1) - 2 * queries @ rows.T
    return np.argsort(squares, axis=1, kind="stable")[:, :_NEIGHBOURS]


def _accuracy(
    outcome: Outcome,
    name: str,
    row: str,
    near: NDArray[np.int64],
    labels: NDArray[np.generic],
    true: NDArray[np.generic],
) -> None:
    """The label that most of the neighbours have, the first of them in doubt; -1 has no vote."""
    right = np.zeros(len(near))
    for query, places in enumerate(near):
        votes = labels[places[places >= 0]].tolist()
        right[query] = bool(votes) and max(votes, key=votes.count) == true[query]
    figures = {"10-NN accuracy": right.mean()}
    outcome.record(name, row, figures, scores={"10-NN accuracy": Scores(right, np.arange(len(right)))})
