"""The page of evaluation's results, made of nothing but what its benchmarks wrote.

    python benchmarks/evaluation_page.py

Reads ``evaluation.jsonl``, ``coverage.jsonl`` and ``audit.jsonl`` of ``docs/results``, each written by the
benchmark of that name with ``--json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from harness import ROOT, table, told

RESULTS = ROOT / "docs" / "results"

PAGE = """\
# Evaluation: speed, coverage of the intervals, audit

Made by `benchmarks/evaluation_page.py` from what the benchmarks wrote.

## Speed

Random unit embeddings, five a class, one thread, processor seconds. "of the product" is how many times the
bare product of all embeddings it takes; aimed at were 1.2 for top-K and R figures, 2.5 for full-rank ones,
100 MB beyond the embeddings, and 1.05 of faiss's k-means for NMI.

{speed}

{speed_environment}

What was tried on the way at n = 60,502 and d = 128, as parts of the product's time:

- Keys and chunk minima in tiles of 1,024 to 65,536 columns and blocks of 64 to 512 queries: 1.14 (256
  queries, whole rows) to 1.97 (64 queries, narrow tiles). Narrow tiles didn't win: the table is written to
  memory either way, and one pass for the minima of 64 columns costs 0.1 to 0.15.
- Minima by halving a tile, or over strided columns in place of runs of 64: no gain.
- Reading the best chunks by `gather`, then `topk` of 1,920 values, then every candidate's distance by
  subtraction cost 1.0 at n = 20,000. Reading whole chunks by `index_select`, keeping only what lies under the
  k-th smallest minimum and the product's rounding, and subtracting only where two keys can't be told apart
  cost 0.4, and gives the same order to the last tie.
- Not done: the symmetry S = S', which would halve the product and is what it takes to come under 1.2 at
  d = 128.

## How often the 95 % intervals hold the truth

Classes are drawn, then items, then pairs and episodes; see `benchmarks/coverage.py`. Held: {held}. With few
rounds a single cell is known to a few points only (the column "+-").

{coverage}

{coverage_environment}

What was tried: Student's t on linked residuals (78 to 97 % at 10 classes: it holds the gallery fixed); the
delete-one-class jackknife with the class out of the gallery too (a little wide: up to 99 %); Wilson's,
the logit's, the arcsine's scale and Korn and Graubard's interval on either. The mean of the two variances on
Wilson's scale, and the logit for figures that aren't means of scores, kept nearest to 95.

## Audit: labels flipped at random

{audit}

{audit_environment}
"""


def read(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    environment, *rows = (json.loads(line) for line in (RESULTS / name).read_text("utf-8").splitlines())
    return environment, rows


def main() -> None:
    said, speed = read("evaluation.jsonl")
    covered, coverage = read("coverage.jsonl")
    audited, audit = read("audit.jsonl")
    parts = []
    for n_classes in sorted({row["classes"] for row in coverage}):
        held = np.array([row["held %"] for row in coverage if row["classes"] == n_classes])
        inside = int(((held >= 93) & (held <= 97)).sum())
        parts.append(
            f"{held.mean():.1f} % on average at {n_classes} classes ({held.min():.1f} to {held.max():.1f}; "
            f"{inside} of {len(held)} figures from 93 to 97)"
        )
    columns = ("classes", "kind", "figure", "truth", "rounds", "held %", "+-", "too high %", "too low %")
    page = PAGE.format(
        speed=table(speed, ("n", "dimension", "work", "seconds", "of the product", "extra MB")),
        speed_environment=told(said),
        held="; ".join(parts),
        coverage=table(coverage, columns),
        coverage_environment=told(covered),
        audit=table(
            audit,
            ("data", "items", "classes", "flipped", "method", "precision", "average precision", "seconds"),
        ),
        audit_environment=told(audited),
    )
    path = Path(RESULTS / "evaluation.md")
    path.write_text(page, encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
