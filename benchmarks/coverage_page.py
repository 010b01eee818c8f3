"""The page of the intervals' coverage, made of nothing but what ``coverage.py`` wrote.

python benchmarks/coverage_page.py [--json FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from coverage import WORLDS
from coverage import __doc__ as about
from coverage_skew import COLUMNS as SKEWED
from harness import ROOT, table, told

from likewise.evaluation.intervals import clopper_pearson

LEAST, MOST = 93.0, 97.0
COLUMNS = (
    *("classes", "world", "figure", "truth", "rounds", "held %", "+-", "too high %", "too low %"),
    *("told %", "width"),
)
Row = dict[str, Any]

PAGE = """\
# How often the 95 % intervals hold the truth

Made by `benchmarks/coverage_page.py` from what `benchmarks/coverage.py` wrote; don't edit it by hand.

{about}

Aimed at were 93 to 97 %. A cell is known as well as its rounds allow, so it is called short or wide where
even the 95 % interval of its "held %" (Clopper and Pearson's) lies outside the band. {cells}

{summary}

## Short

{short}

{short_said}

## Wide

{wide}

{wide_said}

## All of it

{everything}

{environment}
"""

SHORT = """\
These are verification's rates where sizes of classes have a Pareto tail (up to 40 items among many of 3 to
5) and widths a log-normal one. A class of 40 has 780 alike pairs, one of 4 has 6: a few classes make most
of the alike pairs, and which they are changes from draw to draw. An interval misses where it is narrow: the
classes that would have widened it were not drawn, and no interval can be made of classes that are not
there. Reports say "few classes decide" of most of them (column "told %"). Figures whose unit is the query
(recall, MAP@R) hold in the same world.

What was tried, on draws of its own (`benchmarks/coverage_skew.py`); "width" is the median one:

{skew}

{skew_environment}"""

WIDE = """\
Most are figures near the end of their range. Where every query of every class is right, the interval is
Clopper and Pearson's over the classes: being of whole classes, it holds 95 % or more, and mostly more.
Those of NMI and ARI hold the clusters fixed, and are taken without each class in turn."""


def outside(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Cells surely below and surely above the band."""
    short, wide = [], []
    for row in rows:
        held = round(row["held %"] * row["rounds"] / 100)
        low, high = clopper_pearson(held, row["rounds"])
        if 100 * high < LEAST:
            short.append(row)
        elif 100 * low > MOST:
            wide.append(row)
    return short, wide


def summary(rows: Sequence[Row]) -> list[Row]:
    """A line for each number of classes and world."""
    out = []
    for n in sorted({row["classes"] for row in rows}):
        for world in WORLDS:
            cells = [row for row in rows if (row["classes"], row["world"]) == (n, world)]
            if not cells:
                continue
            held = np.array([row["held %"] for row in cells])
            short, wide = outside(cells)
            out.append(
                {"classes": n, "world": world, "cells": len(cells), "mean held %": float(held.mean())}
                | {"least": float(held.min()), "most": float(held.max())}
                | {"within 93 to 97": int(((held >= LEAST) & (held <= MOST)).sum())}
                | {"surely short": len(short), "surely wide": len(wide)}
            )
    return out


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "results" / "coverage.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results" / "coverage.md")
    options = parser.parse_args()
    environment, *rows = read(options.json)
    skew_environment, *skew = read(options.json.with_stem("coverage-skew"))
    short, wide = outside(rows)
    cells = (
        f"Of {len(rows)} cells {len(short)} are short, {len(wide)} wide; they hold "
        f"{np.mean([row['held %'] for row in rows]):.1f} % on average."
    )
    columns = (
        *("classes", "world", "cells", "mean held %", "least", "most", "within 93 to 97"),
        *("surely short", "surely wide"),
    )
    page = PAGE.format(
        about=about.split("\n\n", 2)[2].strip(),
        summary=table(summary(rows), columns),
        short=table(short, COLUMNS),
        short_said=SHORT.format(skew=table(skew, SKEWED), skew_environment=told(skew_environment)),
        cells=cells,
        wide=table(wide, COLUMNS),
        wide_said=WIDE,
        everything=table(rows, COLUMNS),
        environment=told(environment),
    )
    options.page.write_text(page, encoding="utf-8")
    print(f"wrote {options.page.name}")


if __name__ == "__main__":
    main()
