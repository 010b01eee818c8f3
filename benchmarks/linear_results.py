"""What linear learners reach: accuracy, clustering, streams, hashing, kernels, queries; writes the page.

    python benchmarks/linear_results.py [--tables iris wine] [--methods LMNN NCA] [--most 1000] [--seconds 60]
        [--json docs/results/linear.jsonl] [--page docs/results/linear.md]

Seeds are 0 to 4 for the five repetitions of two halves, 0 elsewhere. ``--most`` bounds the rows of a table
(drawn, every class alike), ``--seconds`` a single fit. ``--from`` writes the page again from a run's JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import linear_protocols as protocols
import numpy as np
from harness import environment, table, told, write_lines
from linear_accuracy import BASELINES, against_standardised, cross_validated, estimators, ranks, subsample
from linear_guide import guide
from linear_pictures import critical_differences, curves, picture
from linear_tables import TABLES

Row = dict[str, Any]

ACCURACY_TABLES = (
    "iris",
    "wine",
    "ionosphere",
    "glass",
    "wheat-seeds",
    "balance",
    "newthyroid",
    "wdbc",
    "segment",
    "optdigits",
)
TEXTS = {
    "accuracy": "Mean and standard deviation of ten halves.",
    "standardised": """\
On how many tables a learner is better or worse than standardised Euclid by Alpaydin's 5 x 2 cv F test at 5 %,
all p-values corrected by Holm's rule.""",
    "ranks": """\
Mean ranks of the methods that ran on all {tables} tables. Friedman's test that all are alike: p = {p:.2g}.
Nemenyi's critical difference at 5 % is {critical:.2f}: methods whose bars don't overlap differ.""",
    "regret": """\
One pass over a stream: the mean loss so far less the mean loss, on the same steps, of what the same learner
holds after 20 passes. It falls towards zero where learning online costs nothing in the end. Squared hinge for
POLA, squared distance to the bound for LEGO, hinge for OASIS.""",
    "hashing": """\
Recall of the 10 nearest rows under the learned metric (LDA) against the part of rows that a query is compared
with, for 4 to 24 bits.""",
    "clustering": """\
Adjusted Rand index (mean and deviation over seeds) of the rows that no pair names, after some alike and as
many unlike pairs were given; "none" is k-means on standardised rows.""",
    "rings": "Two concentric rings in two of eight features, the others noise; mean over seeds.",
    "queries": """\
A query of topic t wants documents of topic t + 1: a relation that is not symmetric, so no metric and no
symmetric W can hold it.""",
    "setups": "On optdigits, each by its own measure on held-out rows.",
    "guide": "n rows, d features, C classes, m tuples. Gain and time are over the tables above.",
}

PROTOCOLS = ("accuracy", "clustering", "regret", "hashing", "rings", "queries", "setups")

INTRODUCTION = """\
# Linear learners: results

Accuracy is that of 3 nearest neighbours, 5 x 2 cross-validated: five times halves of a table, each half
tested once. Every learner ran with its defaults on rows standardised by the half it learned from, with
labels alone: those that learn from tuples drew theirs by the library's rules. At most {most:,} rows of a
table were taken.
"""


def measured(options: argparse.Namespace) -> list[Row]:
    """Every figure that was asked for; what is done stays in the JSON, should the rest be interrupted."""
    rows: list[Row] = [
        {"kind": "run", "load": os.getloadavg()[0], "most": options.most, "seconds": options.seconds}
    ]

    def keep(more: Sequence[Row]) -> None:
        rows.extend(more)
        for row in more:
            print(
                {key: value for key, value in row.items() if key not in ("scores", "steps", "average")},
                flush=True,
            )
        if options.json:
            write_lines(options.json, rows)

    def read(name: str) -> Any:
        return subsample(TABLES[name](data=options.data), options.most)

    wanted = options.protocols
    if "accuracy" in wanted:
        for name in options.tables:
            made = read(name)
            for method in [*BASELINES, *options.methods]:
                keep([cross_validated(made, method, seconds=options.seconds)])
    if "clustering" in wanted:
        for name in ("iris", "wine", "wheat-seeds", "wdbc", "segment"):
            keep(protocols.clustering(read(name), seeds=options.repeats))
    if "regret" in wanted:
        for name in ("wine", "segment"):
            keep(protocols.regret(read(name)))
    if "hashing" in wanted:
        keep(protocols.hashing(TABLES["optdigits"](data=options.data)))
    if "rings" in wanted:
        keep(protocols.rings(seeds=min(5, options.repeats)))
    if "queries" in wanted:
        keep(protocols.queries())
    if "setups" in wanted:
        keep(protocols.setups(options.data))
    return rows


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [
        {key: value for key, value in row.items() if key != "kind"} for row in rows if row["kind"] == kind
    ]


def _accuracy(rows: Sequence[Row], images: Path) -> list[str]:
    found = _of(rows, "accuracy")
    if not found:
        return []
    tables = list(dict.fromkeys(row["table"] for row in found))
    lines: dict[str, Row] = {}
    for row in found:
        line = lines.setdefault(row["method"], {"method": row["method"]})
        scores = row.get("scores")
        line[row["table"]] = (
            row["refused"][:60] if scores is None else f"{np.mean(scores):.3f} ± {np.std(scores):.3f}"
        )
    for method, line in lines.items():
        own = [np.mean(row["scores"]) for row in found if row["method"] == method and "scores" in row]
        line["mean"] = float(np.mean(own)) if len(own) == len(tables) else None
    order = sorted(lines.values(), key=lambda line: -(line["mean"] or 0))
    parts = [
        "## Accuracy of 3 nearest neighbours",
        TEXTS["accuracy"],
        table(order, ["method", *tables, "mean"]),
    ]
    tested = against_standardised(found)
    for line in tested:
        line["mean gain"] = f"{np.mean(line.pop('gains')):+.3f}"
    parts += [
        "## Against standardised Euclid",
        TEXTS["standardised"],
        table(tested, ["method", "tables", "better", "worse", "mean gain"]),
    ]
    if len(tables) > 1:
        ranked = ranks(found)
        critical_differences(ranked, images)
        parts += [
            "## Ranks",
            TEXTS["ranks"].format(tables=ranked.n_tables, p=ranked.p_value, critical=ranked.critical),
            picture("linear-ranks", "Mean ranks of the methods with their critical difference"),
        ]
    return parts


def _curves(rows: Sequence[Row], images: Path) -> list[str]:
    parts = []
    streams = _of(rows, "regret")
    if streams:
        panels: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
        for row in streams:
            panels.setdefault(row["learner"], {})[row["table"]] = (row["steps"], row["average"])
        curves(panels, images, name="linear-regret", across="steps", up="average regret", log=True)
        parts += [
            "## Regret",
            TEXTS["regret"],
            picture("linear-regret", "Average regret against steps for POLA, LEGO and OASIS"),
        ]
    hashed = _of(rows, "hashing")
    if hashed:
        lines: dict[str, tuple[list[float], list[float]]] = {}
        for row in hashed:
            name = f"{row['tables']} tables, {row['probes']} probes"
            x, y = lines.setdefault(name, ([], []))
            x.append(row["part of rows"])
            y.append(row["recall@10"])
        curves(
            {hashed[0]["table"]: lines},
            images,
            name="linear-hashing",
            across="part of rows looked at",
            up="recall@10",
            log=True,
        )
        parts += [
            "## Hashing",
            TEXTS["hashing"],
            picture("linear-hashing", "Recall against candidates"),
            table(hashed, ["tables", "probes", "bits", "recall@10", "part of rows"]),
        ]
    return parts


def write_page(path: Path, environment_: Row, rows: Sequence[Row]) -> None:
    """Write the page of these figures, and its pictures beside it."""
    run, images = rows[0], path.parent / "images"
    parts = [
        INTRODUCTION.format(**run),
        told(environment_),
        f"The machine's load was {run['load']:.1f} at the "
        f"beginning; a fit of more than {run['seconds']:g} s was left out.",
    ]
    parts += _accuracy(rows, images)
    sections = {
        "clustering": (
            "k-means with side information",
            ("table", "pairs a kind", "none", "MMC", "RCA", "ITML"),
        ),
        "rings": ("Kernel against linear", ("method", "3-NN accuracy", "deviation")),
        "queries": ("Queries and documents", ("method", "first found is right")),
        "setups": (
            "The four set-ups of similarity learning",
            ("set-up", "estimator", "measure", "learned", "plain", "plain value"),
        ),
    }
    for kind, (title, columns) in sections.items():
        found = _of(rows, kind)
        if found:
            parts += [f"## {title}", TEXTS[kind], table(found, columns)]
    parts += _curves(rows, images)
    lines = guide(_of(rows, "accuracy"))
    parts += ["## Which learner", TEXTS["guide"], table(lines, list(lines[0]))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = list(estimators())
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=ACCURACY_TABLES)
    parser.add_argument("--methods", nargs="*", choices=known, default=known)
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--most", type=int, default=1000, help="rows of a table")
    parser.add_argument("--seconds", type=float, default=20.0, help="of one fit")
    parser.add_argument("--repeats", type=int, default=10, help="seeds of clustering")
    parser.add_argument("--data", help="the folder of data sets")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--from", dest="source", type=Path, help="a run's JSON, to write its page again")
    options = parser.parse_args()
    if options.source:
        made, *rows = (json.loads(line) for line in options.source.read_text("utf-8").splitlines())
    else:
        made, rows = environment(), measured(options)
    if options.page:
        write_page(options.page, made, rows)


if __name__ == "__main__":
    main()
