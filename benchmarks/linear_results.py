"""What linear learners reach: accuracy, clustering, streams, hashing, kernels, queries; writes the page.

    python benchmarks/linear_results.py [--tables iris wine] [--methods LMNN NCA] [--most 1000] [--seconds 60]
        [--json docs/results/linear.jsonl] [--page docs/results/linear.md]

Seeds are 0 to 4 for the five repetitions of two halves, 0 elsewhere. ``--most`` bounds the rows of a table
(drawn, every class alike), ``--seconds`` a single fit. ``--from`` writes the page again from the JSON of a
run, or of several: of what was measured twice the later stands.
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
from harness import environment, table, write_lines
from linear_accuracy import BASELINES, against_standardised, cross_validated, estimators, ranks, subsample
from linear_guide import guide
from linear_page import runs_told
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
    "accuracy": """\
Means of ten halves, the best of a table in bold, by falling mean over all tables; those that took too long on
some table come last. The last line says how much the ten halves of a table differ.""",
    "standardised": """\
On how many tables a learner is better or worse than standardised Euclid by Alpaydin's 5 x 2 cv F test at 5 %:
each test by itself, and all {tests} corrected by Holm's rule, under which a single p-value must be below
{least:.1e}.""",
    "ranks": """\
Mean ranks of the methods that ran on all {tables} tables. Friedman's test that all are alike: p = {p:.2g}.
Nemenyi's critical difference at 5 % is {critical:.2f}: methods whose bars don't overlap differ.""",
    "collapse": """\
MMC is low in the tables above, and that is its objective's doing, not its solver's: the best sum of unlike
distances, known by a bound from the dual, stretches very few directions, and neighbours need more of them.
More pairs change nothing in that.""",
    "regret": """\
One pass over a stream: the mean loss so far less the mean loss, on the same steps, of what the same learner
holds after 20 passes. It falls towards zero where learning online costs nothing in the end. Squared hinge for
POLA, squared distance to the bound for LEGO, hinge for OASIS. Where a curve jumps, pairs of outlying rows
came, on which the one or the other loses hundreds of times the mean.""",
    "hashing": """\
Recall of the 10 nearest rows under the learned metric (LDA) against the part of rows that a query is compared
with, for 4 to 24 bits.""",
    "clustering": """\
Adjusted Rand index (mean and deviation over seeds) of the rows that no pair names, after some alike and as
many unlike pairs were given; "none" is k-means on standardised rows. Fewer alike pairs than features leave
their scatter without an inverse: MMC and RCA, which are made of it, then do worse than no learning, while
ITML, which stays near Euclid, does not.""",
    "rings": "Two concentric rings in two of eight features, the others noise; mean over seeds.",
    "queries": """\
A query of topic t wants documents of topic t + 1: a relation that is not symmetric, so no metric and no
symmetric W can hold it.""",
    "setups": "On optdigits, each by its own measure on held-out rows.",
    "guide": "n rows, d features, C classes, m tuples. Gain and time are over the tables above.",
}

PROTOCOLS = ("accuracy", "collapse", "clustering", "regret", "hashing", "rings", "queries", "setups")

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
    if "collapse" in wanted:
        for name in ("wine", "segment", "optdigits"):
            keep(protocols.collapse(TABLES[name](data=options.data)))
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


def _summary(found: Sequence[Row]) -> str:
    """What the accuracies come to, in three sentences."""
    tables = {row["table"] for row in found}
    means: dict[str, float] = {}
    for method in dict.fromkeys(row["method"] for row in found):
        own = [np.mean(row["scores"]) for row in found if row["method"] == method and "scores" in row]
        if len(own) == len(tables):
            means[method] = float(np.mean(own))
    if not {"raw", "standardised"} <= set(means):
        return ""
    best = max((name for name in means if name not in BASELINES), key=means.__getitem__, default="raw")
    above = sum(means[name] > means["standardised"] for name in means if name not in BASELINES)
    learners = sum(name not in BASELINES for name in means)
    gain, rescaling = means[best] - means["standardised"], means["standardised"] - means["raw"]
    return (
        f"Standardising alone takes the mean accuracy from {means['raw']:.3f} to "
        f"{means['standardised']:.3f}, a gain of {rescaling:.3f}; the best learner here, {best}, "
        f"adds {gain:.3f} to that, and {above} of {learners} learners are above standardised Euclid in "
        "the mean."
    )


def _told(value: Any) -> Any:
    """Figures with three places, also where they are zeros; counts with their thousands set off."""
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def _hashing(rows: Sequence[Row]) -> list[Row]:
    return [
        row | {"recall@10": f"{row['recall@10']:.3f}", "part of rows": f"{row['part of rows']:.1%}"}
        for row in rows
    ]


def _accuracy(rows: Sequence[Row], images: Path) -> list[str]:
    found = _of(rows, "accuracy")
    if not found:
        return []
    tables = list(dict.fromkeys(row["table"] for row in found))
    means = {(row["method"], row["table"]): np.mean(row["scores"]) for row in found if "scores" in row}
    best = {name: max(v for (_, where), v in means.items() if where == name) for name in tables}
    lines: dict[str, Row] = {}
    for row in found:
        line = lines.setdefault(row["method"], {"method": row["method"], "sort": 0.0})
        where = (row["method"], row["table"])
        text = f"{means[where]:.3f}" if where in means else row["refused"][:60]
        line[row["table"]] = f"**{text}**" if means.get(where) == best[row["table"]] else text
    for method, line in lines.items():
        own = [means[method, name] for name in tables if (method, name) in means]
        line["sort"] = -float(np.mean(own)) if len(own) == len(tables) else 1 - len(own) / len(tables)
        line["mean"] = f"{np.mean(own):.3f}" if len(own) == len(tables) else "-"
    spread: Row = {"method": "median deviation"}
    for name in tables:
        deviations = [np.std(row["scores"]) for row in found if row["table"] == name and "scores" in row]
        spread[name] = f"± {np.median(deviations):.3f}"
    tested = against_standardised(found)
    tests = sum(line["tables"] for line in tested)
    for line in tested:
        line["mean gain"] = f"{np.mean(line.pop('gains')):+.3f}"
    parts = [
        _summary(found),
        "## Accuracy of 3 nearest neighbours",
        TEXTS["accuracy"],
        table([*sorted(lines.values(), key=lambda line: line["sort"]), spread], ["method", *tables, "mean"]),
        "## Against standardised Euclid",
        TEXTS["standardised"].format(tests=tests, least=0.05 / max(tests, 1)),
        table(
            tested,
            ["method", "tables", "mean gain", "better", "worse", "better, by Holm", "worse, by Holm"],
        ),
    ]
    if len(tables) > 1:
        ranked = ranks(found)
        critical_differences(ranked, images)
        parts += [
            "## Ranks",
            TEXTS["ranks"].format(tables=ranked.n_tables, p=ranked.p_value, critical=ranked.critical),
            picture("linear-ranks", "Mean ranks of the methods with their critical difference"),
        ]
    return [part for part in parts if part]


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
            percent=True,
        )
        parts += [
            "## Hashing",
            TEXTS["hashing"],
            picture("linear-hashing", "Recall against candidates"),
            table(_hashing(hashed), ["tables", "probes", "bits", "recall@10", "part of rows"]),
        ]
    return parts


KEYS = {
    "accuracy": ("table", "method"),
    "collapse": ("table", "pairs"),
    "clustering": ("table", "pairs a kind"),
    "regret": ("table", "learner"),
    "hashing": ("table", "tables", "bits", "probes"),
    "rings": ("method",),
    "queries": ("method",),
    "setups": ("set-up",),
}


def write_page(path: Path, lines: Sequence[Row]) -> None:
    """Write the page of the lines of a JSON, and its pictures beside it."""
    run, images = next(line for line in lines if line.get("kind") == "run"), path.parent / "images"
    measured_ = {
        (row["kind"], *(row[name] for name in KEYS[row["kind"]])): row
        for row in lines
        if row.get("kind") in KEYS
    }
    rows = list(measured_.values())
    parts = [
        INTRODUCTION.format(**run),
        *runs_told([line for line in lines if "kind" not in line]),
        f"The machine's load was {run['load']:.1f} at the "
        f"beginning; a fit of more than {run['seconds']:g} s was left out.",
    ]
    parts += [line["text"] for line in lines if line.get("kind") == "note"]
    parts += _accuracy(rows, images)
    sections = {
        "collapse": (
            "MMC's optimum",
            (
                "table",
                "pairs",
                "objective, times Euclid's",
                "the best is above by at most",
                "directions",
                "3-NN accuracy",
            ),
        ),
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
        found = [{key: _told(value) for key, value in row.items()} for row in _of(rows, kind)]
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
    parser.add_argument(
        "--from", dest="sources", type=Path, nargs="+", help="the JSON of runs, to write their page again"
    )
    options = parser.parse_args()
    if options.sources:
        texts = [path.read_text("utf-8") for path in options.sources]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
    else:
        lines = [environment(), *measured(options)]
    if options.page:
        write_page(options.page, lines)


if __name__ == "__main__":
    main()
