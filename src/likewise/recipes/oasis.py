"""OASIS and HDSL: bilinear similarities learned from triplets (Chechik 2010, Liu 2015).

Ranking is one of the set-ups of similarity learning: of triplets (p, p+, p-) learn ``S(p, p+) > S(p, p-)``.
OASIS has ``S(x, z) = x'Wz`` and takes a passive-aggressive step a triplet, ``W += tau p (p+ - p-)'`` with
``tau = min(C, l / |p|^2 |p+ - p-|^2)`` of the loss ``l = max(0, 1 - S(p, p+) + S(p, p-))``, after which the
triplet costs nothing if C allows; HDSL builds M from matrices of two features each, by Frank and Wolfe. W
need not be symmetric nor positive, so S can rank documents for queries, which no metric does. Judged by the
mean average precision of new documents (and unseen emoji), beside the Euclidean distance and the cosine of
the same rows, which on rows of unit length order alike.

Departures from the papers: 20 newsgroups and emoji for Caltech-256, web images and the papers' text sets;
fewer rows and features; triplets are drawn from classes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from likewise.distances import Dot
from likewise.evaluation import retrieval_scores
from likewise.linear import HDSL, OASIS
from likewise.recipes.experiment import Claim, Outcome, Paper, RecipeConfig, Table
from likewise.recipes.similarity_sets import SIMILARITY_SETS, Split, similarity_split
from likewise.settings import Rule, setting

__all__ = ["CLAIMS", "QUICK", "TABLES", "Config", "build", "objective", "run"]


@dataclass(frozen=True)
class Config(RecipeConfig):
    """Rows, features and triplets."""

    sets: str = setting(",".join(SIMILARITY_SETS), "which sets", Rule(str))
    train: int = setting(2000, "training rows", Rule(int, low=50))
    judged: int = setting(500, "rows that are searched for", Rule(int, low=20))
    words: int = setting(1500, "words of 20 newsgroups", Rule(int, low=10))
    components: int = setting(64, "principal components of emoji", Rule(int, low=2))
    triplets: int = setting(20_000, "triplets drawn from classes", Rule(int, low=10))
    epochs: int = setting(3, "passes of OASIS over them", Rule(int, low=1))
    aggressiveness: float = setting(0.1, "C of OASIS", Rule(float, above=0))
    hdsl_steps: int = setting(150, "steps of HDSL, a pair of features each", Rule(int, low=1))


QUICK = Config(sets="20newsgroups", train=1200, judged=300, words=800, triplets=8000, hdsl_steps=30)
_COSINE, _EUCLID, _OASIS, _SYMMETRIC, _HDSL = "cosine", "Euclidean", "OASIS", "OASIS, W symmetric", "HDSL"
_CALTECH = {_OASIS: "21 %", _EUCLID: "14 %"}
TABLES = (
    *(
        Table(
            name,
            (_EUCLID, _COSINE, _OASIS, _SYMMETRIC, _HDSL),
            ("mAP", "precision@10"),
            about + " The paper's figures are of 20 classes of Caltech-256.",
            {(row, "mAP"): Paper(value) for row, value in _CALTECH.items()},
        )
        for name, about in (
            ("20newsgroups", "New messages search other new messages for their group; TF-IDF rows."),
            ("emoji", "Twemoji's drawings of emoji that weren't trained on search the other styles."),
        )
    ),
    Table(
        "loss of OASIS before each step",
        SIMILARITY_SETS,
        ("first tenth", "last tenth"),
        "The mean hinge of the triplets as they come, each before its step.",
    ),
)
CLAIMS = (
    *(
        Claim(
            f"OASIS ranks {name} better than the cosine",
            name,
            "mAP",
            _OASIS,
            _COSINE,
            control=name == "20newsgroups",
        )
        for name in SIMILARITY_SETS
    ),
    *(
        Claim(f"HDSL ranks {name} better than the cosine", name, "mAP", _HDSL, _COSINE)
        for name in SIMILARITY_SETS
    ),
    Claim("OASIS is better than HDSL", "20newsgroups", "mAP", _OASIS, _HDSL),
)


def build(config: Config, seed: int) -> tuple[OASIS, HDSL]:
    """The two learners."""
    return (
        OASIS(C=config.aggressiveness, n_epochs=config.epochs, n_triplets=config.triplets, random_state=seed),
        HDSL(max_iter=config.hdsl_steps, n_triplets=config.triplets, random_state=seed),
    )


def objective(better: float, worse: float) -> float:
    """The loss of a triplet, ``max(0, 1 - S(p, p+) + S(p, p-))``, from its two similarities.

    >>> objective(better=1.5, worse=1.0)
    0.5
    """
    return max(0.0, 1.0 - better + worse)


def run(config: Config, *, seed: int, data: str | os.PathLike[str] | None = None) -> Outcome:
    """One seed: both learners on every set."""
    outcome = Outcome()
    for name in config.names("sets", SIMILARITY_SETS):
        split = similarity_split(
            name,
            train=config.train,
            judged=config.judged,
            features=config.words if name == "20newsgroups" else config.components,
            dense=False,
            seed=seed,
            data=data,
        )
        oasis, hdsl = build(config, seed)
        oasis.fit(split.train, split.train_labels)
        hdsl.fit(split.train, split.train_labels)
        _record(outcome, name, _EUCLID, split, None, "euclidean")
        _record(outcome, name, _COSINE, split, None, "cosine")
        _record(outcome, name, _OASIS, split, oasis.weight_)
        _record(outcome, name, _SYMMETRIC, split, (oasis.weight_ + oasis.weight_.T) / 2)
        _record(outcome, name, _HDSL, split, hdsl.weight_)
        losses, tenth = oasis.losses_, max(1, len(oasis.losses_) // 10)
        ends = {"first tenth": losses[:tenth].mean(), "last tenth": losses[-tenth:].mean()}
        outcome.record("loss of OASIS before each step", name, ends)
    return outcome


def _record(
    outcome: Outcome, name: str, row: str, split: Split, weight: Any, distance: str | Dot | None = None
) -> None:
    """Search for the queries by ``-q'Wz``, or by a distance of the rows."""
    queries = split.queries if weight is None else split.queries @ weight
    scores = retrieval_scores(
        _dense(queries),
        split.query_labels,
        gallery=_dense(split.gallery),
        gallery_labels=split.gallery_labels,
        distance=Dot() if distance is None else distance,
        figures=["map", "precision@10"],
    )
    outcome.record_retrieval(name, row, scores, {"map": "mAP", "precision@10": "precision@10"})


def _dense(rows: Any) -> Any:
    sparse: bool = scipy.sparse.issparse(rows)
    return rows.toarray() if sparse else np.asarray(rows)
