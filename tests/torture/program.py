"""All promises put to the test, and the figures written down: ``make torture``.

    python tests/torture/program.py [--short] [--only PART] [--out docs/results/reliability.md]

The short form is a hundredth of the long one and writes nothing unless it is told to.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked, which OpenMP's threads don't survive
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

PARTS = ("kills", "mutations", "pictures", "names", "requests")


@dataclass(frozen=True)
class Row:
    """A line of the page: what was tried, how often, what came of it, and whether the promise held."""

    promise: str
    tried: int
    outcome: str
    bad: int
    seconds: float


def rows(parts: tuple[str, ...], *, short: bool) -> Iterator[Row]:
    """Run the parts one after the other."""
    from torture.kills import run_kills
    from torture.mutations import FORMATS, run_mutations
    from torture.names import run_names
    from torture.pictures import run_pictures
    from torture.requests import run_requests

    share = 50 if short else 1
    if "kills" in parts:
        with tempfile.TemporaryDirectory() as place, timed() as spent:
            found = run_kills(Path(place, "index"), 200 // (25 if short else 1))
        told = (
            f"{found.acknowledged} acknowledged changes, {found.lost} lost; {found.unreadable} unreadable; "
            f"{found.saves_cut} kills within a save"
        )
        yield Row(
            "kills during writes of an index", found.kills, told, found.lost + found.unreadable, spent[0]
        )
    if "mutations" in parts:
        for name in FORMATS:
            for right, count in ((False, 10_000), (True, 2_000)):
                with timed() as spent:
                    amount = max(40, count // (4 * share)) if short else count
                    changed = run_mutations(name, amount, checksums_right=right)
                promise = f"changed {name}" + (", checksums made right" if right else "")
                yield Row(promise, changed.tried, outcomes(changed.outcomes), changed.bad, spent[0])
    if "pictures" in parts:
        with timed() as spent:
            pictures = run_pictures(1000 // (10 if short else 1))
        told = f"{outcomes(pictures.outcomes)}; +{pictures.extra_megabytes:.0f} MB at most"
        yield Row("hostile pictures", pictures.tried, told, pictures.bad, spent[0])
    if "names" in parts:
        with tempfile.TemporaryDirectory() as place, timed() as spent:
            names = run_names(Path(place), 1000 // (5 if short else 1))
        yield Row("hostile names", names.tried, outcomes(names.outcomes), names.bad, spent[0])
    if "requests" in parts:
        with server() as (address, item), timed() as spent:
            sent = run_requests(address, 10_000 // (20 if short else 1), item=item)
        for outcome, example in sent.examples.items():
            if outcome[0] not in "24":
                print(f"  {outcome}: {example}")
        yield Row("malformed requests", sent.tried, outcomes(sent.outcomes), sent.bad, spent[0])


@contextmanager
def timed() -> Iterator[list[float]]:
    spent = [0.0]
    begin = time.perf_counter()
    yield spent
    spent[0] = time.perf_counter() - begin


def outcomes(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counted.items(), key=lambda pair: -pair[1]))


@contextmanager
def server() -> Iterator[tuple[str, list]]:
    """A server over digits that takes records, in a process of its own, and one item for it."""
    import subprocess

    from likewise.data import load
    from likewise.distances import Cosine
    from likewise.encoders import Standardize, encoder_for
    from likewise.model import Calibration, Model
    from likewise.search import Index

    digits = load("digits").take(slice(0, 300))
    model = Model(
        encoder_for((8, 8), dimension=16),
        Cosine(),
        Standardize((8, 8)),
        Calibration(slope=8.0, offset=2.0, threshold=0.25, held_out="classes"),
    )
    with tempfile.TemporaryDirectory() as place:
        Index.build(model, digits, metadata={"price": list(range(300))}).save(Path(place, "index"))
        command = [
            sys.executable,
            "-m",
            "likewise",
            "serve",
            str(Path(place, "index")),
            "--port",
            "0",
            "--writable",
        ]
        process = subprocess.Popen(
            [*command, "--data", "digits"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            address = next(word for word in process.stdout.readline().split() if word.startswith("http"))
            yield address, digits.X[0].tolist()
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}")
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--out", type=Path)
    request = parser.parse_args(words)
    parts = (request.only,) if request.only else PARTS
    found: list[Row] = []
    for row in rows(parts, short=request.short):
        print(
            f"{'BAD' if row.bad else 'ok '} {row.promise}: {row.tried}; {row.outcome} ({row.seconds:.0f} s)",
            flush=True,
        )
        found.append(row)
    if request.out is not None:
        write_page(request.out, found)
    return 1 if any(row.bad for row in found) else 0


def write_page(path: Path, found: list[Row]) -> None:
    """The figures as a page."""
    from harness import environment, table, told

    columns: list[dict[str, Any]] = [
        {
            "what": row.promise,
            "tried": f"{row.tried:,}",
            "outcome": row.outcome,
            "against the promise": str(row.bad),
            "seconds": f"{row.seconds:.0f}",
        }
        for row in found
    ]
    text = f"""# What was done to it, and what it did

Processes killed while they write, files changed, pictures, names and requests made to break it. A promise
holds when nothing went against it: no change lost that was acknowledged, no changed file taken for whole, no
crash, no answer of 5xx, no path outside. "Checksums made right" means that the change was signed again: the
reader may then take it, as nothing tells it from another artifact, but may not crash or raise what isn't the
library's own error.

{table(columns, ["what", "tried", "outcome", "against the promise", "seconds"])}

{told(environment())}
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
