"""All promises put to the test, and the figures written down: ``make torture``.

    python tests/torture/program.py [--short] [--only PART ...] [--out docs/results/reliability.md]

The short form is a small part of the long one and writes nothing unless it is told to. With ``--out`` each
result is kept as a line of JSON beside the page as soon as it is there: a program that was broken off, or
asked for one part, goes on from these with ``--resume``; without it, the parts asked for run again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked, which OpenMP's threads don't survive
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Not this folder itself: a part's name must not hide a module of the standard library.
sys.path[:] = [str(ROOT / "tests"), str(ROOT / "benchmarks"), *(p for p in sys.path if p != str(HERE))]

PARTS = tuple(
    sorted(
        path.stem
        for path in HERE.glob("*.py")
        if re.search(r"^def trials\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    )
)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, metavar="PART")
    parser.add_argument("--resume", action="store_true", help="pass over what the page's lines hold already")
    parser.add_argument("--out", type=Path)
    request = parser.parse_args(words)
    lines = None if request.out is None else request.out.with_suffix(".jsonl")
    kept = [] if lines is None else read_lines(lines)
    if not request.resume:
        kept = [row for row in kept if row["part"] not in request.only]
    bad = 0
    for part in request.only:
        for trial in importlib.import_module(f"torture.{part}").trials(short=request.short):
            if any((row["part"], row["promise"]) == (part, trial.promise) for row in kept):
                continue
            begin = time.perf_counter()
            found = trial.run()
            spent = time.perf_counter() - begin
            bad += found.bad
            print(
                f"{'BAD' if found.bad else 'ok '} {trial.promise}: {found.tried:,}; {found.outcome} "
                f"({spent:.0f} s)",
                flush=True,
            )
            row = {"part": part, "promise": trial.promise, **vars(found), "seconds": round(spent, 1)}
            kept.append(row if lines is None else {**row, **_where()})
            if lines is not None:
                write_page(request.out, kept)
    return 1 if bad else 0


def _where() -> dict[str, Any]:
    from harness import environment

    return {"environment": environment()}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The results that lie beside a page."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_page(path: Path, rows: list[dict[str, Any]]) -> None:
    """The figures as a page, and as lines of JSON beside it."""
    from harness import table, told

    rows = sorted(rows, key=lambda row: PARTS.index(row["part"]) if row["part"] in PARTS else len(PARTS))
    columns: list[dict[str, Any]] = [
        {
            "part": row["part"],
            "what": row["promise"],
            "tried": f"{row['tried']:,}",
            "outcome": row["outcome"],
            "against the promise": str(row["bad"]),
            "seconds": f"{row['seconds']:.0f}",
            "commit": f"`{row['environment']['commit']}`",
        }
        for row in rows
    ]
    last = {**rows[-1]["environment"], "command": "make torture"}
    text = f"""# What was done to it, and what it did

Processes killed while they write, files changed, pictures, names, numbers and requests made to break it. A
promise holds when nothing went against it: no change lost that was acknowledged, no changed file taken for
whole, no crash, no answer of 5xx, no path outside. "Checksums made right" means that the change was signed
again: the reader may then take it, as nothing tells it from another artifact, but may not crash or raise
what isn't the library's own error.

{table(columns, list(columns[0]))}

The parts may have run at different times; each line names its commit. {told(last)}
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
