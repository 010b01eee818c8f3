"""The page of evaluation's speed, made of nothing but what ``evaluation.py`` wrote.

python benchmarks/evaluation_page.py [--json FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import ROOT, table, told

COLUMNS = ("n", "dimension", "work", "seconds", "of the product", "extra MB")
TARGETS = {"top-K and R figures": 1.2, "full-rank figures": 2.5}
LOAD = "The machine's load was {load:.0f} when it began."
BARE = "the same without intervals"
MOST_MEGABYTES, MOST_INTERVALS, MOST_NMI = 100.0, 0.10, 1.05
NMI, KMEANS = "NMI", "k-means alone (faiss)"
Row = dict[str, Any]

PAGE = """\
# Evaluation: speed

Made by `benchmarks/evaluation_page.py` from what `benchmarks/evaluation.py` wrote; don't edit it by hand.

Random unit embeddings, five a class, one thread, processor seconds; the best of the rounds that fitted in
the time. "of the product" is how many times the bare product of all embeddings it takes, measured in the
same process; the product's own "extra MB" are one block of 256 of its rows. "the same without intervals"
tries no class without its rivals. What OML calls mean average precision is another definition than ours, so
it is held against no figure here. A run without times measured memory again, after a change to it: of the
same work the later run counts. "NMI" is held against faiss's k-means with as many clusters, iterations and
restarts.

{runs}

## Against what was aimed at

{verdicts}

## How it is done, and what was tried

- Where queries are the gallery, the table of distances equals its transpose: each product serves its row and
  its column, so half of them are taken, and the k nearest of every query are kept on the way (a compiled pass
  over a tile of 512 x 1,024 in cache). Ranks are counted in the same walk; what lies within rounding of an
  item asked for is settled by subtraction, so that full ranks are exact.
- Before that, whole rows: the table of a block of 256 queries, the minima of runs of 64 columns, and the best
  chunks read again. It was slower than the product. That way is still taken
  with a gallery of its own, and where there is no C compiler.
- Each query's neighbours without a class that stands before its matches are looked at for the intervals;
  where no other class does, nothing can change and nothing is looked at. NMI and ARI without some classes
  are read off the table of classes and clusters, which loses rows.
- Whether embeddings hold NaN was asked of each number, which copied them all: at 60,502 x 512 that was 150 of
  the 210 MB of commit `be105c8`. It is asked of each row's largest and smallest.
- Keeping candidates unsorted, and sorting when there is no more room, lets more of them through than keeping
  them sorted; it was slower.
- Tiles of 256 x 2,048 or 1,024 x 1,024 were slower in the product itself.
"""


def runs(path: Path) -> Iterator[tuple[Row, list[Row]]]:
    """Each run's environment and rows."""
    found: list[tuple[Row, list[Row]]] = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        if "commit" in row:
            found.append((row, []))
        else:
            found[-1][1].append(row)
    yield from found


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """What each aim came to."""
    by_work: dict[tuple[int, int, str], Row] = {}
    for row in rows:  # a later run counts; one of memory alone leaves the times
        key = (row["n"], row["dimension"], row["work"])
        by_work[key] = by_work.get(key, {}) | row
    out = []

    def aim(n: int, d: int, what: str, value: float, most: float, unit: str) -> None:
        reached = "reached" if value <= most else "missed"
        out.append(
            {"n": n, "dimension": d, "figure": what, "found": value, "at most": most, "": unit}
            | {"aim": reached}
        )

    for (n, d, work), row in by_work.items():
        if work in TARGETS:
            aim(n, d, work, row["of the product"], TARGETS[work], "products")
            aim(n, d, f"{work}, memory", row["extra MB"], MOST_MEGABYTES, "MB")
            if work == "top-K and R figures" and (n, d, BARE) in by_work:
                part = row["seconds"] / by_work[n, d, BARE]["seconds"] - 1
                aim(n, d, "what intervals add", part, MOST_INTERVALS, "of the figures without")
        if work == NMI:
            alone = by_work[n, d, KMEANS]["seconds"]
            aim(n, d, work, row["seconds"] / alone, MOST_NMI, "of k-means")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "results" / "evaluation.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results" / "evaluation.md")
    options = parser.parse_args()
    parts, rows = [], []
    for environment, found in runs(options.json):
        parts.append(f"{table(found, COLUMNS)}\n\n{told(environment)} {LOAD.format(**environment)}")
        rows += found
    columns = ("n", "dimension", "figure", "found", "at most", "", "aim")
    page = PAGE.format(runs="\n\n".join(parts), verdicts=table(verdicts(rows), columns))
    options.page.write_text(page, encoding="utf-8")
    print(f"wrote {options.page.name}")


if __name__ == "__main__":
    main()
