"""The page and the picture of the losses' benchmark, made of nothing but the figures of its last run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loss_picture
from harness import table, told
from loss_cases import CASES

__all__ = ["write"]

Row = dict[str, Any]
OTHERS = ("theirs", "dense", "compiled")
WHO = {"theirs": "pytorch-metric-learning", "dense": "dense", "compiled": "dense, compiled"}

INTRODUCTION = """\
Forward and backward of every loss, on random unit embeddings (the worst case for hinges), classes of one
size in no order. All contenders compute the same formula, with options that make them equal; before
anything was timed, values and gradients were compared on small batches, and the largest relative difference
was {gap:.0e}.

- **ours**: the loss as a user calls it, eager, on one thread.
- **floor**: the engine's own walk over the same table with its own tiles and constant slopes, and no loss:
  three products, without near cells, labels or autograd. Losses that aren't one walk of a product have none.
- **theirs**: pytorch-metric-learning 2.9, where it has the same formula.
- **dense**: a few lines of plain PyTorch over the whole table, which know that classes are of one size;
  **compiled**: the same under `torch.compile`.

Times are seconds of the processor, the best of nine in turn in the same process (fewer where nine rounds
took more than {seconds:g} s), so ratios are to be read rather than times. ">" stands for what was not
run because it was foreseen, from smaller batches, to take over {longest:.0f} s a step or {gigabytes:.0f} GB;
"-" for what doesn't exist or wasn't asked for. {busy}
"""


def _read(path: Path) -> tuple[Row, Row, list[Row]]:
    environment, run, *rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return environment, run, rows


def _timed(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["kind"] == "cell" and "ours_ms" in row]


def _over_floor(row: Row) -> float | None:
    return row["ours_ms"] / row["floor_ms"] if "floor_ms" in row else None


def _fastest_other(row: Row) -> tuple[str, float] | None:
    """The fastest of the others, and how many times ours it takes."""
    there = [(row[f"{who}_ms"] / row["ours_ms"], who) for who in OTHERS if f"{who}_ms" in row]
    return (min(there)[1], min(there)[0]) if there else None


def _where(row: Row) -> str:
    return f"{row['loss']} at N={row['n']:,}, d={row['d']}, {row['per_class']} a class"


@dataclass(frozen=True)
class Target:
    """A bound on ours over the floor for some cells."""

    told: str
    bound: float
    holds: Callable[[Row], bool]


def _is_fused(row: Row) -> bool:
    return CASES[row["loss"]].fused


TARGETS = (
    Target(
        "softmax-like, contrastive, multi-similarity, batch-hard: 1.3 floors for N = 2,048 to 8,192",
        1.3,
        lambda row: _is_fused(row) and 2048 <= row["n"] <= 8192,
    ),
    Target("the same above 8,192: 1.8 floors", 1.8, lambda row: _is_fused(row) and row["n"] > 8192),
    Target(
        "hinges and the rest, N = 2,048 up, d = 128: 2.5 floors",
        2.5,
        lambda row: not _is_fused(row) and row["n"] >= 2048 and row["d"] == 128,
    ),
    Target(
        "the same at d = 512: 1.6 floors",
        1.6,
        lambda row: not _is_fused(row) and row["n"] >= 2048 and row["d"] == 512,
    ),
)


def _targets(rows: Sequence[Row]) -> list[Row]:
    """Each target, how many cells keep it, and the worst."""
    cells = _timed(rows)
    found = []
    for target in TARGETS:
        held = [
            (ratio, row) for row in cells if (ratio := _over_floor(row)) is not None and target.holds(row)
        ]
        line: Row = {"target": target.told, "reached": "not run", "worst": None}
        if held:
            kept = sum(ratio <= target.bound for ratio, _ in held)
            ratio, row = max(held, key=lambda pair: pair[0])
            line |= {"reached": f"{kept} of {len(held)} cells", "worst": f"{ratio:.2f}: {_where(row)}"}
        found.append(line)
    pairs = [(other, row) for row in cells if (other := _fastest_other(row)) is not None]
    line = {"target": "never slower than the fastest of the others", "reached": "not run", "worst": None}
    if pairs:
        kept = sum(other[1] >= 1 for other, _ in pairs)
        (who, ratio), row = min(pairs, key=lambda pair: pair[0][1])
        worst = f"{1 / ratio:.2f} times {WHO[who]}: {_where(row)}" if ratio < 1 else None
        line |= {"reached": f"{kept} of {len(pairs)} cells", "worst": worst}
    return [*found, line, *_large_targets(rows)]


def _large(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [
        row
        for row in rows
        if row["kind"] == "large" and all(row.get(key) == value for key, value in wanted.items())
    ]


def _extra(row: Row) -> float | None:
    """Peak megabytes beyond inputs and gradients."""
    return row["megabytes"] - row["gradients"] if "megabytes" in row else None


def _verdict(
    target: str, cells: Iterable[tuple[str, float | None]], bound: float, *, least: bool = False
) -> Row:
    """A target with a bound on figures, of which some may be missing."""
    held = [(label, value) for label, value in cells if value is not None]
    if not held:
        return {"target": target, "reached": "not run", "worst": None}
    kept = sum(value >= bound if least else value <= bound for _, value in held)
    label, value = (min if least else max)(held, key=lambda pair: pair[1])
    return {"target": target, "reached": f"{kept} of {len(held)}", "worst": f"{value:.3g}: {label}"}


def _large_targets(rows: Sequence[Row]) -> list[Row]:
    triplets = _large(rows, what="all triplets")
    million = _large(rows, what="class peak", classes=1_000_000)
    times, memory = _large(rows, what="class times"), _large(rows, what="memory times")
    peaks = [row for row in rows if row["kind"] == "peak" and row["who"] == "ours"]
    return [
        _verdict(
            "all triplets of N = 65,536 finish: seconds",
            [("TripletMargin", row.get("seconds")) for row in triplets],
            1e9,
        ),
        _verdict(
            "extra memory up to N = 65,536: 64 MB beyond inputs and gradient",
            [(f"{row['loss']} at N={row['n']:,}", _extra(row)) for row in (*peaks, *triplets)],
            64.0,
        ),
        _verdict(
            "1,000,000 classes, N = 512: 600 MB over the vectors and their gradient",
            [(row["loss"], _extra(row)) for row in million],
            600.0,
        ),
        _verdict(
            "100,000 classes: 3 times faster than pytorch-metric-learning",
            [(row["loss"], row["theirs"] / row["ours"] if "ours" in row else None) for row in times],
            3.0,
            least=True,
        ),
        _verdict(
            "a memory of 65,536, N = 512: 1.5 times its two products",
            [(row["loss"], row["ours"] / row["products"] if "ours" in row else None) for row in memory],
            1.5,
        ),
    ]


def _ratio(row: Row, who: str) -> Any:
    if f"{who}_ms" in row:
        return row[f"{who}_ms"] / row["ours_ms"]
    return ">" if who in row.get("beyond", ()) else None


def _cells(rows: Sequence[Row]) -> str:
    """All cells, a table for each dimension and number of items a class."""
    parts = []
    order = list(CASES)
    cells = [row for row in rows if row["kind"] == "cell"]
    for d, k in sorted({(row["d"], row["per_class"]) for row in cells}):
        lines: list[Row] = []
        here = [row for row in cells if (row["d"], row["per_class"]) == (d, k)]
        for row in sorted(here, key=lambda row: (order.index(row["loss"]), row["n"])):
            line: Row = {"loss": row["loss"], "N": f"{row['n']:,}"}
            if "ours_ms" in row:
                line |= {"ours, ms": row["ours_ms"], "ours / floor": _over_floor(row)}
                line |= {f"{who} / ours": _ratio(row, who) for who in OTHERS}
            else:
                line["ours, ms"] = "not run"
            lines.append(line)
        columns = ("loss", "N", "ours, ms", "ours / floor", *(f"{who} / ours" for who in OTHERS))
        parts.append(f"### d = {d}, {k} a class\n\n{table(lines, columns)}")
    return "\n\n".join(parts)


def _slower(rows: Sequence[Row]) -> str:
    lines = []
    for row in _timed(rows):
        other = _fastest_other(row)
        if other is not None and other[1] < 1:
            line: Row = {
                "loss": row["loss"],
                "N": f"{row['n']:,}",
                "d": row["d"],
                "a class": row["per_class"],
            }
            lines.append(
                line | {"ours, ms": row["ours_ms"], "slower by": 1 / other[1], "than": WHO[other[0]]}
            )
    if not lines:
        return "None was found."
    lines.sort(key=lambda line: -float(line["slower by"]))
    return table(lines, ("loss", "N", "d", "a class", "ours, ms", "slower by", "than"))


def _peaks(rows: Sequence[Row]) -> str:
    peaks = [row for row in rows if row["kind"] == "peak"]
    lines: dict[tuple[str, int], Row] = {}
    for row in sorted(peaks, key=lambda row: (row["loss"], row["n"])):
        line = lines.setdefault((row["loss"], row["n"]), {"loss": row["loss"], "N": f"{row['n']:,}"})
        too_large = row.get("skipped") == "too large" or "failed" in row
        line[row["who"]] = row.get("megabytes", ">" if too_large else "not run")
    return table(list(lines.values()), ("loss", "N", "ours", "theirs", "dense"))


def _large_tables(rows: Sequence[Row]) -> str:
    triplets = [
        {"N": f"{row['n']:,}", "seconds": row.get("seconds", "not run"), "extra MB": _extra(row)}
        for row in _large(rows, what="all triplets")
    ]
    classes = []
    for row in _large(rows, what="class peak"):
        line: Row = {"loss": row["loss"], "classes": f"{row['classes']:,}", "who": row["who"]}
        line |= {"seconds, one step": row.get("seconds", "not run"), "extra MB": _extra(row)}
        classes.append(line)
    classes.sort(key=lambda line: (line["loss"], line["classes"], line["who"]))
    times = [
        {"loss": row["loss"], **{who: row.get(who, "not run") for who in ("ours", "dense", "theirs")}}
        for row in _large(rows, what="class times")
    ]
    memory = [
        {
            "loss": row["loss"],
            **{who: row.get(who, "not run") for who in ("products", "ours", "dense", "theirs")},
        }
        for row in _large(rows, what="memory times")
    ]
    kept = [
        {"loss": row["loss"], "who": row["who"], "extra MB": _extra(row) if "megabytes" in row else "not run"}
        for row in _large(rows, what="memory peak")
    ]
    parts = [
        ("All triplets of one batch, d = 128, 4 a class", triplets, ("N", "seconds", "extra MB")),
        (
            "Learned vectors of many classes, N = 512, d = 128; memory beyond vectors and gradients",
            classes,
            ("loss", "classes", "who", "seconds, one step", "extra MB"),
        ),
        ("100,000 classes, seconds, the best in turn", times, ("loss", "ours", "dense", "theirs")),
        (
            "A memory of 65,536, N = 512, d = 128, seconds beside its two bare products",
            memory,
            ("loss", "products", "ours", "dense", "theirs"),
        ),
        ("The same, memory beyond the inputs", kept, ("loss", "who", "extra MB")),
    ]
    return "\n\n".join(f"{title}:\n\n{table(lines, columns)}" for title, lines, columns in parts if lines)


def _busy(environment: Row, run: Row) -> str:
    cores = int(environment["machine"].rsplit(", ", 1)[-1].split()[0])
    load = f"from {min(run['load']):.1f} to {max(run['load']):.1f} on {cores} cores"
    if max(run["load"]) > 1.5:
        return (
            f"The machine was shared with other work: its load was {load} when runs began and ended. "
            "Caches and memory were shared too, so the figures are rough."
        )
    return f"The machine was quiet: its load was {load} when runs began and ended."


REASONS = """\
What keeps cells above their targets, and what was tried:

- **Small batches.** Below some hundred rows a call's time is overhead. Tables of one tile take four calls
  of C and two products, and the rows of softmaxes one more; what is left is PyTorch's own cost of an
  operation with a gradient (35 us of a dense n-pairs' 110), the checks of the input, and each loss's ten to
  forty small operations. Dense code knows that classes are of one size, needs no checks, isn't a module, and
  of some losses (n-pairs, ranks, scores) is a handful of operations. Tried: fewer listings, gradients of unit
  length inside the kernel, cheaper checks, divisors before gradients, and for mined triplets one measured
  table for miner and loss, which all helped (batch-hard of 32 to 512 items three times faster); own logits
  read off the walk instead of made by autograd (-35 %), one operation for listed pairs, grades compared in C
  (PairwiseRank of 128 items from 4.6 to about 1 time dense, of 2,048 to 0.02), whole crowds in one walk of
  the one tile (IntraPair, Histogram), tables that are kept for the gradients of single rows and near cells
  listed in C (LiftedStructure of 128 items from 1.7 to 1.3 times dense). Tried in vain: gradients in the
  forward pass and a dot product in place of an operation of one's own (41 us against 35). A trace of SupCon
  at N=32 gives a custom operation and its backward a third, the table in C a fifth, the loss's own operations
  an eighth, the rest to Python: one call for everything would save at most a quarter.
- **A memory.** Only rows get a gradient, so one visit does; beyond the two products there stand the
  exponentials or hinges of every cell, the copy of the queue (the call must leave the old one to a backward
  pass), and the scaling of the queue to unit length. Of SupCon's 205 ms the products took 122, exponentials
  26, the copy 15, unit length 11, sorting labels 7, the look for small distances 6. Tried: other tiles (five
  shapes, none better by more than the noise), hidden cells sorted by tile once, slopes of near cells without
  a second distance, maximum and exponentials in one pass, the contrastive hinges in one pass of C (from 2.3
  to 2.0 products).
- **Many classes.** Vectors of the classes get a gradient, which needs each row's sum first: the products
  are taken again in a second visit, four in all where three are the least. Keeping the exponentials instead
  would be the array of rows by classes that must not be held; blocks of 32, 64 and 128 whole rows (51 MB),
  which need no second visit, were slower at 100,000 classes, as their tiles leave the cache. Tried and kept:
  tiles of up to 512 rows, so that vectors are read and scaled once a visit (-10 %), no second look for small
  distances, the rate inside the exponentials.
- **A batch and itself.** Each distance is measured once for both its rows where that gains: two products, or
  one and a half, where the floor takes three, so that some cells are below one floor. With 31 positives
  listed near cells cost what a product less gains; below 1,025 items and 256 numbers an embedding, losses
  that would see each tile twice (triplets, multi-similarity) stay with three products.
- **Several passes over a tile.** Hinges and softmaxes of one threshold or sum read a tile once or twice.
  Losses of a sigmoid for each positive and column (SmoothAP, PNP, SurrogatePrecision, TripletRatio: 130
  million of 2,048 items with 31 positives, each way) read columns by bins: a column enters its bin by the
  powers of its place in it, and a positive takes a series of eight terms a bin (the sigmoids of SmoothAP from
  280 to 34 ms each way, the loss from 298 to 120). Numbers too small to multiply are left out, as denormal
  ones made products three times slower. What is left is a half the columns' places and a half the series.
  Functions that a user writes of whole rows (RowFunction) are differentiated by autograd.
"""


def _left_out(rows: Sequence[Row]) -> str:
    late = sum(row.get("skipped") == "no time" for row in rows)
    heavy = sum(row.get("skipped") == "too large" for row in rows)
    failed = [row for row in rows if "failed" in row]
    lines = [
        f"Of {len(rows)} measurements {late} were left out as the minutes given were over, and {heavy} as "
        "they were foreseen to take too long or too much memory."
    ]
    lines += [
        f"Failed: {row.get('what', row['kind'])}, {row['loss']}, {row.get('who', '')}" for row in failed
    ]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write losses.md and its picture from losses.jsonl in the same folder."""
    environment, run, rows = _read(folder / "losses.jsonl")
    loss_picture.draw(rows, folder / "images")
    text = f"""\
# Losses: time and memory

{INTRODUCTION.format(busy=_busy(environment, run), **run)}
{told(environment | {"command": run["command"]})}
It took {run["minutes"]:.1f} minutes. {_left_out(rows)}

## Targets

{table(_targets(rows), ("target", "reached", "worst"))}

## Against N

<picture><source media="(prefers-color-scheme: dark)" srcset="images/losses-dark.svg">
<img alt="Time and memory of two losses against the size of the batch" src="images/losses.svg"></picture>

## Where ours is slower than the fastest of the others

{_slower(rows)}

## Why

{REASONS}
## Peak memory

Megabytes beyond what the inputs take, with the gradient; each in a process of its own, d = 128, 4 a class.

{_peaks(rows)}

## Beyond the others

{_large_tables(rows)}

## All cells

{_cells(rows)}
"""
    (folder / "losses.md").write_text(text, encoding="utf-8")
